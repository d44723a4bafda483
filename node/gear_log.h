/* node/gear_log.h: reads what pinion-init wrote: ROOT/<instance>/<source>.log[.N], lines that begin
 * with an RFC 3339 time. Memory is bounded by what is asked for; a slow asker costs the writer
 * nothing, for it reads files. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/wire/wire_node.h"

struct loop;
struct worker;

enum { GEAR_LOG_LINES_MAX = 10000, GEAR_LOG_LINE_MAX = 16 * 1024 };

struct gear_log_lines {
	struct wire_log_line *v; /* owned */
	size_t n;
};
void gear_log_lines_fini(struct gear_log_lines *l);

/* The last lines over all instances, sources and rotated files, by time, oldest first; together at
 * most 4 MiB. only: one instance's, or NULL. Blocks: for a worker. An absent root has none. */
int gear_log_tail(const char *root, const char *gear, const char *only, size_t lines,
    struct gear_log_lines *out, struct err *e) MUST_CHECK;

/* Follows: first the last lines, then each new one, across rotations and instances that come. */
struct gear_log_follow;
/* A batch (at most 64 KiB of text), borrowed for the call; or the reason why it ended, then no more
 * calls. Loop thread. Return false to pause: no further batch until gear_log_follow_resume. */
typedef bool gear_log_fn(const struct gear_log_lines *lines, const struct err *e, void *arg);
/* Disk is read on w only. Without inotify (its instances are few) it looks twice a second. */
struct gear_log_follow *gear_log_follow_start(struct loop *l, struct worker *w, const char *root,
    const char *gear, size_t lines, gear_log_fn *fn, void *arg);
void gear_log_follow_resume(struct gear_log_follow *f);
void gear_log_follow_cancel(struct gear_log_follow *take_f); /* NULL is fine */

/* Removes the directories of the oldest instances that are not in live (NULL: none lives) until at
 * most keep_bytes are left. Blocks. */
int gear_log_prune(
    const char *root, const struct str_list *live, int64_t keep_bytes, struct err *e) MUST_CHECK;
