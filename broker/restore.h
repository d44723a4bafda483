/* broker/restore.h: a snapshot into an application, its own or another: unpacked beside the data,
 * checked, swapped in while nothing runs on it, databases loaded, the commit deployed. Until the
 * swap a failure changes nothing. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

struct broker;
struct restore;

typedef void restore_line_fn(const char *line, void *arg); /* progress, for a person */
/* Once, later; the handle is gone when this returns. ERR_INVALID: the archive; ERR_LIMIT: it does
 * not fit; ERR_CONFLICT: the state of the gear, or what was restored does not start. */
typedef void restore_done_fn(const struct err *e, void *arg);
typedef void restore_room_fn(void *arg);

struct restore_opts {
	const char *app_id;
	const char *login;   /* who asks */
	const char *git_url; /* for submodules' relative URLs; may be NULL */
	bool wants_git;
	restore_line_fn *on_line; /* may be NULL */
	restore_room_fn *on_room; /* more of the archive may come */
	restore_done_fn *done;
	void *arg;
};
struct restore *restore_start(
    struct broker *b, const struct restore_opts *o, struct err *e) MUST_CHECK;
/* The archive's bytes. false: wait for on_room (they are taken all the same). */
bool restore_write(struct restore *r, const void *p, size_t n);
void restore_close(struct restore *r); /* that was all of it */
/* Instead of restore_close: it is taken back, and then done tells e. */
void restore_abort(struct restore *r, const struct err *e);
/* Before restore_close: forgets all, no callback. After it: the work goes on, without callbacks.
 * NULL is fine. */
void restore_detach(struct restore *take_r);
