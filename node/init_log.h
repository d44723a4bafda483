/* node/init_log.h: output of an instance into bounded, rotated files; a thread writes them, so that
 * neither a slow nor a full disk holds up the application: what does not fit into memory is
 * dropped, line by line, and counted. Part of the static program: libc only.
 *
 * Each line in the file is `2026-01-31T09:15:00.123Z TEXT`, the time that of its first byte. Lines
 * over INIT_LOG_LINE_MAX bytes are cut into several. SOURCE.log is the newest file, then
 * SOURCE.log.1 and so on. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { INIT_LOG_LINE_MAX = 8192, INIT_LOG_RING = 256 * 1024 };

struct init_log; /* there is one */

/* dir_fd: borrowed. NULL: no thread could be made. All signals should be blocked. */
struct init_log *init_log_start(int dir_fd, const char *source, int64_t size, int64_t count);
/* Bytes as they come. Does not block. */
void init_log_write(struct init_log *l, const char *p, size_t n);
int64_t init_log_dropped(struct init_log *l);
/* An unfinished line is finished; waits until all is written, but not longer than this. */
void init_log_flush(struct init_log *l, int64_t timeout_ms);
