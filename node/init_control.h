/* node/init_control.h: what the node says to pinion-init (settings) and what it answers (status).
 * The format of the settings file is in node/init.c's head. Blocking, short. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/codec/codec.h"

/* Lists borrowed for the call. */
struct init_settings {
	const struct str_list *start; /* argv; NULL or empty: idle until SIGTERM (builders) */
	const struct str_list *stop;  /* argv run first on SIGTERM; NULL: none */
	const struct str_list *env;   /* "K=V" of both; NULL: init's own environment */
	const char *cwd;              /* in the container; NULL: "/" */
	const char *log_dir;     /* in the container; NULL: output goes where init's own does */
	const char *source;      /* logs go to LOG_DIR/<source>.log; NULL: "app" */
	int64_t log_size;        /* bytes of one file; 0: 10 MiB */
	int64_t log_count;       /* files kept, the current one included; 0: 5 */
	int64_t stop_timeout_ms; /* SIGTERM (and stop's run) … end of all; 0: 30 s */
	int64_t umask;           /* 0: 077 */
	bool stays;              /* lives on when the start command leaves no process */
};
/* Writes DIR/settings (mode 0644: secrets of env are the instance's own; DIR keeps others out). */
int init_control_write(const char *dir, const struct init_settings *s, struct err *e) MUST_CHECK;

enum init_phase { INIT_STARTING, INIT_RUNNING, INIT_STOPPING, INIT_EXITED };

/* DIR/status, written by init, which runs as the gear's user: believe nothing of it that could hurt
 * anyone but that gear. Times are Unix time in ms. */
struct init_status {
	int phase;         /* enum init_phase; exited: no process is left, init ends */
	int64_t pid;       /* of the start command, in the container's pid namespace */
	bool start_ended;  /* the start command ended (a daemonising one: exit 0, phase running) */
	int64_t exit_code; /* of the start command, once it ended by itself; else -1 */
	int64_t exit_signal;                         /* that killed it; else 0 */
	int64_t began_ms, start_ended_ms, exited_ms; /* 0: not yet */
	int64_t lines_dropped;                       /* of the output, disk full or slow */
	char *error; /* why the start command could not run at all: "…: No such file" or "" */
};
DECLARE_CODEC(init_status, struct init_status)

/* ERR_NOT_FOUND: init did not write one yet. out: zeroed by the caller. */
int init_control_status(const char *dir, struct init_status *out, struct err *e) MUST_CHECK;
