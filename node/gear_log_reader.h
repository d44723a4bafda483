/* node/gear_log_reader.h: reads on where it stopped: one reader a follower. Blocking; one thread at
 * a time. */
#pragma once

#include <stdbool.h>

#include "node/gear_log.h"

struct gear_log_reader;

struct gear_log_reader *gear_log_reader_new(const char *root, const char *gear, size_t lines);
/* Readable when there may be something new; borrowed; -1: no inotify was to be had. */
int gear_log_reader_fd(const struct gear_log_reader *r);
/* Does that fd tell of everything? Else one has to look now and then. */
bool gear_log_reader_is_watching(const struct gear_log_reader *r);
void gear_log_reader_free(struct gear_log_reader *take_r);
DEFINE_AUTO(struct gear_log_reader *, gear_log_reader_free)

/* First the last lines; then what came since, at most some 64 KiB. more: there is more at once. */
int gear_log_reader_next(
    struct gear_log_reader *r, struct gear_log_lines *out, bool *more, struct err *e) MUST_CHECK;
