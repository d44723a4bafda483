/* node/instance_session.h: sessions (exec, ssh, forwarded ports) in an instance: which one is
 * entered, with what environment, and how many are in it, so that it is not taken away under them
 * at once. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/loop/child.h"

struct container_entry;
struct instance_session;
struct instances;

struct instance_session_opts { /* borrowed for the call */
	const char *gear;
	const char *instance; /* NULL: the newest ready one of the kind */
	const char *cart;     /* of a service instance; NULL: a web instance */
};

struct instance_session_calls {
	/* Once, later: may be entered; env: "NAME=value", borrowed for the call. Or e: why not. */
	void (*ready)(const struct str_list *env, const struct err *e, void *arg);
	/* Once: the instance is replaced, and stays at most so long. May be NULL. */
	void (*retires)(int64_t seconds, void *arg);
};

/* NULL: ERR_NOT_FOUND (no such instance), ERR_BUSY (none is ready), ERR_LIMIT (too many sessions).
 */
struct instance_session *instance_session_open(struct instances *is,
    const struct instance_session_opts *o, const struct instance_session_calls *calls, void *arg,
    struct err *e) MUST_CHECK;
void instance_session_close(struct instance_session *take_s);
const char *instance_session_id(const struct instance_session *s); /* the instance's */

/* After ready. As container_terminal, container_enter. */
int instance_session_terminal(
    struct instance_session *s, int *out_master, int *out_slave, struct err *e) MUST_CHECK;
struct child *instance_session_enter(struct instance_session *s,
    const struct container_entry *entry, child_end_fn *on_end, void *arg, struct err *e) MUST_CHECK;
/* Kills what is left of the program's session (processes with the same session id); on a worker. */
void instance_session_kill(struct instance_session *s, int leader);
