/* broker/session.h: a program in a gear for somebody outside: finds or makes the instance that is
 * entered, keeps the application awake meanwhile, passes the bytes on. */
#pragma once

#include <stdbool.h>

#include "lib/wire/wire_exec.h"

struct broker;
struct session;
struct session_set;
struct stream;

struct session_set *session_set_new(struct broker *b);
void session_set_free(struct session_set *take_s);

struct session_opts { /* borrowed for the call */
	const char *app_id, *gear;
	const struct wire_exec *exec;
	bool is_fresh; /* in an instance of its own */
};
/* Once, later. */
typedef void session_end_fn(void *arg);
/* Takes the stream, whose ORDER was read; errors are told to it. on_end may be NULL. */
struct session *session_start(struct session_set *all, struct stream *take_s,
    const struct session_opts *o, session_end_fn *on_end, void *arg);
/* Ends it; no on_end any more. NULL is fine. */
void session_cancel(struct session *take_x);
