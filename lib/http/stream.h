/* lib/http/stream.h: a byte stream with channels on a connection that was upgraded from HTTP/1.1
 * ("Upgrade: pinion-stream"): exec, forwarded ports, git. Each channel has a window in each
 * direction, so neither side holds more than STREAM_WINDOW bytes that nobody takes. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/http/stream_frame.h"

struct buf;
struct http_req;
struct loop;
struct stream;

enum { STREAM_WINDOW_SIZE = 256 * 1024, STREAM_STDIN = 0, STREAM_STDOUT = 1, STREAM_STDERR = 2 };
#define STREAM_PROTOCOL "pinion-stream"

struct stream_calls {
	/* n 0: the end of the channel. What was taken is to be given back with stream_used. NULL:
	 * nobody wants it. */
	void (*on_data)(struct stream *s, int channel, const char *p, size_t n, void *arg);
	/* stream_room of some channel was short and has grown. May be NULL. */
	void (*on_room)(struct stream *s, void *arg);
	/* ORDER, READY, RESIZE, SIGNAL, EXIT, as it came; ERROR comes as on_close. May be NULL. */
	void (*on_control)(struct stream *s, const struct stream_frame *f, void *arg);
	/* Once: the peer closed, broke the rules, said ERROR or nothing for too long. The stream
	 * is only to be freed now. */
	void (*on_close)(struct stream *s, const struct err *e, void *arg);
};

/* Takes a connected socket; early: bytes that were read from it already. calls: borrowed. */
struct stream *stream_new(
    struct loop *l, int take_fd, struct str early, const struct stream_calls *calls, void *arg);
void stream_free(struct stream *take_s); /* closes at once; no callback after it */
DEFINE_AUTO(struct stream *, stream_free)
/* Other callbacks from now on. */
void stream_set_calls(struct stream *s, const struct stream_calls *calls, void *arg);
struct loop *stream_loop(const struct stream *s);

/* Bytes that may be sent on the channel now. */
size_t stream_room(struct stream *s, int channel);
void stream_data(struct stream *s, int channel, const void *p, size_t n); /* n ≤ room */
void stream_end(struct stream *s, int channel);
void stream_used(struct stream *s, int channel, size_t n);
/* A control frame. */
void stream_send(struct stream *s, enum stream_type type, const void *p, size_t n);
void stream_send_size(struct stream *s, struct stream_size size);
void stream_send_exit(struct stream *s, int status, const char *signal /* NULL: none */);
/* Says why, then ends as stream_finish does. */
void stream_send_error(struct stream *s, const struct err *e);
/* Sends what is queued, closes and frees itself; no callback after it. */
void stream_finish(struct stream *take_s);

/* Gives the connection back, from a callback or later: nothing was sent on it but what is out
 * already; early gets what was read and not taken. -1: it is gone, or has unsent bytes. Takes the
 * stream either way. */
int stream_detach(struct stream *take_s, struct buf *early);

/* Server: is it a well-formed wish to upgrade? Else it was answered. */
bool stream_wanted(struct http_req *r);
/* Server: 101, and the connection is a stream from now on; takes the request. A client that gives
 * no order in time, or a second one, or sends data before READY, is told and closed. */
struct stream *stream_accept(struct http_req *r, const struct stream_calls *calls, void *arg);
/* Server: takes the connection as it is, 101 not sent; early gets what was read. */
int stream_take_fd(struct http_req *take_r, struct buf *early);
