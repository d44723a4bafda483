/* lib/loop/child.h: child processes: argv only (no shell), fresh environment, limits, pidfd,
 * output streamed or captured, dies with its parent thread's process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"

struct loop;
struct child;

struct child_opts {
	const char *const *argv; /* argv[0] is an absolute path; borrowed for the call */
	const char *const *env;  /* NULL: PATH and LANG=C.UTF-8 only */
	const char *cwd;         /* NULL: / */
	uid_t uid;               /* with set_ids */
	gid_t gid;
	bool set_ids;
	bool new_session;
	bool keep_on_exit; /* do not die with the parent */
	bool has_stdin;    /* a pipe for child_write; else /dev/null */
	bool merge_stderr; /* stderr goes to on_out too */
	int in_fd;         /* > 0: the child's stdin is a dup of this; overrides has_stdin */
	int out_fd;        /* > 0: stdout goes to a dup of this, unread by us */
	int err_fd;        /* > 0: the same for stderr */
	size_t out_max; /* captured bytes of stdout and of stderr when no on_out (default 64 KiB) */
	int64_t timeout_ms;  /* 0: none; then SIGKILL and child_end.timed_out */
	const int *pass_fds; /* given as fds 3, 4 …; borrowed for the call */
	size_t pass_n;
};

struct child_end {
	int status; /* exit code, or 128 + signal; -1 when it could not start */
	bool timed_out;
	const char
	    *why; /* "exit 3", "killed by signal 9 (KILL)", "timed out after 10 s"; borrowed */
	const char *out; /* captured stdout when no on_out; borrowed, NUL-terminated */
	size_t out_len;
	const char *err; /* captured stderr */
	size_t err_len;
};

typedef void child_out_fn(struct child *c, int fd /* 1 or 2 */, const char *p, size_t n, void *arg);
typedef void child_end_fn(struct child *c, const struct child_end *end, void *arg);
typedef void child_drain_fn(struct child *c, void *arg);

/* on_end: once, on the loop, after the process ended and its pipes were read (or 1 s after its
 * end, when a grandchild holds them). on_out NULL: captured. The handle is the caller's; call
 * child_free in or after on_end. NULL: ERR_SYSTEM. */
struct child *child_start(struct loop *l, const struct child_opts *o, child_out_fn *on_out,
    child_end_fn *on_end, void *arg, struct err *e);
/* Queues bytes for stdin. Returns the bytes now queued; on_drain (child_on_drain) fires when the
 * queue is empty again. */
size_t child_write(struct child *c, const void *p, size_t n);
void child_on_drain(struct child *c, child_drain_fn *fn);
void child_close_stdin(struct child *c);        /* after what is queued */
void child_pause(struct child *c, bool paused); /* stops reading its output: backpressure */
void child_kill(struct child *c, int signo);
pid_t child_pid(const struct child *c);
/* Forgets it without a word, for one started with keep_on_exit: it runs on. NULL is fine. */
void child_leave(struct child *take_c);
/* Kills with SIGKILL if it still runs, reaps, never calls back again. NULL is fine. */
void child_free(struct child *take_c);
