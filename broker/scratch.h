/* broker/scratch.h: directories below DATA/scratch, for what one operation needs meanwhile. */
#pragma once

struct broker;

/* Path of a new one, which the caller makes; owned by the caller. */
char *scratch_path(const struct broker *b);
/* Removes it on a worker. NULL is fine. What cannot be removed is logged. */
void scratch_remove(struct broker *b, char *take_dir);
