/* router/h2_session.h: a client's connection that speaks HTTP/2 (RFC 9113), by nghttp2: frames to
 * streams and back. Each stream is a client_conn by itself, see h2_stream. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/base/str.h"

struct client_conn;
struct h2_session;
struct h2_stream;

enum {
	H2_STREAMS_MAX = 100, /* of a connection at the same time */
	H2_WINDOW = 256 * 1024,
	H2_CONNECTION_WINDOW = 1024 * 1024,
	H2_RESETS_BURST = 200, /* streams that a client may reset at once, and in a second */
	H2_RESETS_RATE = 50,
};

/* Whether what a connection begins with is the preface of RFC 9113 3.4. */
bool h2_session_is_preface(struct str in);
/* c speaks HTTP/2 from here on. NULL: out of memory. */
struct h2_session *h2_session_new(struct client_conn *c);
/* With all its streams. NULL is fine. */
void h2_session_free(struct h2_session *take_s);
/* Takes bytes that were read already. false: the connection is to be closed, once all is out. */
bool h2_session_feed(struct h2_session *s, const char *p, size_t n);
/* Reads and writes what there is. false: the connection is to be closed. */
bool h2_session_ready(struct h2_session *s);
/* Tells that it will end: the client makes no new streams (RFC 9113 6.8), and those under way, or
 * on their way, are finished. */
void h2_session_drain(struct h2_session *s);
/* It has no streams. */
bool h2_session_is_idle(const struct h2_session *s);
/* A deadline passed. false: the connection is to be closed. */
bool h2_session_timeout(struct h2_session *s);

/* --- for its streams --- */

nghttp2_session *h2_session_ng(struct h2_session *s);
struct client_conn *h2_session_conn(struct h2_session *s);
void h2_session_wake(struct h2_session *s); /* there is something to send */
