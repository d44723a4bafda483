/* router/h2_stream.h: a stream of HTTP/2 as a connection of its own: the layer of a client_conn
 * that reads the request as HTTP/1.1 and writes the answer so. What passes between is data alone;
 * flow control of HTTP/2 is the room of the sock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "lib/base/str.h"

struct client_conn;
struct h2_session;
struct h2_stream;

LIST_HEAD(h2_stream_list, h2_stream);

/* A request begins. In the list until it is freed: after h2_stream_closed, or by h2_stream_cut. */
struct h2_stream *h2_stream_new(
    struct h2_session *session, struct h2_stream_list *list, int32_t id);
void h2_stream_field(struct h2_stream *st, struct str name, struct str value);
/* Its head is whole: it is served. */
void h2_stream_start(struct h2_stream *st, bool has_body);
void h2_stream_data(struct h2_stream *st, const void *p, size_t n);
void h2_stream_end(struct h2_stream *st); /* of the request */
/* It is closed in nghttp2: st is freed as soon as its connection is. is_error: what is under way on
 * it ends. Not from within that. */
void h2_stream_closed(struct h2_stream *take_st, bool is_error);
/* The session ends: with its connection. */
void h2_stream_cut(struct h2_stream *take_st);
void h2_stream_sent(struct h2_stream *st);         /* the end of the answer went out */
bool h2_stream_is_cut(const struct h2_stream *st); /* the request did not end yet */
