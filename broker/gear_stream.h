/* broker/gear_stream.h: byte streams of clients (ssh, API) passed on to the node of a gear: exec
 * and forwarded ports (doc/protocol.md). */
#pragma once

#include "lib/base/err.h"
#include "lib/base/str.h"

struct broker;
struct gear_stream;
struct gear_streams;
struct stream;

struct gear_streams *gear_streams_new(struct broker *b);
void gear_streams_free(struct gear_streams *take_s); /* ends all */

struct gear_stream_opts { /* borrowed for the call */
	const char *gear; /* uuid */
	const char *what; /* "exec" or "port" */
	struct str order; /* JSON for the node */
};

/* It is over, or could not begin (the client was told). Once, later; the handle is gone then. */
typedef void gear_stream_end_fn(void *arg);
/* Takes the client's stream, whose ORDER was read. NULL: refused; the client was told. */
struct gear_stream *gear_stream_start(struct gear_streams *all, struct stream *take_s,
    const struct gear_stream_opts *o, gear_stream_end_fn *on_end, void *arg);
void gear_stream_cancel(struct gear_stream *take_g); /* closes both sides; NULL is fine */
