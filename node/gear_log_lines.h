/* node/gear_log_lines.h: text of log files into lines, and merging by time. */
#pragma once

#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/base/str.h"
#include "node/gear_log.h"
#include "node/gear_log_scan.h"

/* Appends the lines of text, which ends at a line's end. A line without a time gets that of the one
 * before. */
void gear_log_lines_parse(
    struct str text, const char *gear, const struct gear_log_group *g, struct gear_log_lines *out);
/* Merges two lists that are each in order; take_b's lines move to a. */
void gear_log_lines_merge(struct gear_log_lines *a, struct gear_log_lines *take_b);
/* Drops from the front until at most lines and about bytes are left. */
void gear_log_lines_trim(struct gear_log_lines *l, size_t lines, size_t bytes);
/* Bytes [from, to) of the file, up to the end of the last line there; less if it has become
 * shorter. all: also an unfinished line. Returns the offset behind what was read. */
off_t gear_log_lines_read(int fd, off_t from, off_t to, bool all, struct buf *out);
