/* node/tree_size.h: how much a tree holds. Blocks (75 ms for 5,000 files on a cold disk). */
#pragma once

#include <stdint.h>

/* Bytes on disk of all below path, and a block for each name; ends early once it is above stop_at
 * (0: never). Absent, or unreadable: what could be counted. Links are not followed. */
int64_t tree_size(const char *path, int64_t stop_at);
