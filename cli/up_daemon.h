/* cli/up_daemon.h: one daemon that `pinion up` keeps alive: started, its ready line awaited,
 * started again with backoff when it dies. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct loop;
struct up_daemon;

/* Fills argv (argv[0] an absolute path) for the next start; the ready line is to be written to
 * fd 3. */
typedef void up_daemon_argv_fn(struct str_list *argv, void *arg);
/* The first line that the daemon wrote to its ready fd; each start once. Borrowed. */
typedef void up_daemon_ready_fn(const char *line, void *arg);
/* It ended and is not started again (up_daemon_stop was called). */
typedef void up_daemon_gone_fn(void *arg);
/* It never became ready: its settings are wrong (exit 2), or it failed again and again for 10 s. It
 * is not started again; up_daemon_stop is still to be called. */
typedef void up_daemon_lost_fn(const char *name, void *arg);

struct up_daemon_opts {
	const char *name; /* static */
	up_daemon_argv_fn *argv;
	up_daemon_ready_fn *on_ready;
	up_daemon_gone_fn *on_gone;
	up_daemon_lost_fn *on_lost;
	void *arg;
};

struct up_daemon *up_daemon_start(struct loop *l, const struct up_daemon_opts *o);
/* No more restarts; SIGTERM now (unless is_leaving: it ends by itself), SIGKILL after grace_ms. */
void up_daemon_stop(struct up_daemon *d, bool is_leaving, int64_t grace_ms);
/* Started again after all. One that still runs is left beside it: its place is taken, it ends by
 * itself. */
void up_daemon_renew(struct up_daemon *d);
bool up_daemon_is_running(const struct up_daemon *d);
bool up_daemon_is_stopping(const struct up_daemon *d);
void up_daemon_free(struct up_daemon *take_d);
