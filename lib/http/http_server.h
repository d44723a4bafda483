/* lib/http/http_server.h: HTTP/1.1 server on the loop: requests to a handler, keep-alive, timeouts,
 * streaming both ways with backpressure, Unix sockets with peer credentials, graceful stop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct loop;
struct http_server;
struct http_req; /* one request; the server's, valid until it was answered or on_close ran */

struct http_server_opts {
	size_t head_max;         /* default 32 KiB: 431 */
	int64_t idle_timeout_ms; /* keep-alive, default 75 s */
	int64_t head_timeout_ms; /* slow heads, default 20 s: 408 */
	int64_t body_timeout_ms; /* without a byte of the body, default 120 s */
	size_t write_max;        /* queued bytes above which http_req_write says "full"; 256 KiB */
	int connections_max; /* default 10,000: then those idle longest give way, else more wait */
	const char *server_name; /* Server header, or NULL */
};

typedef void http_handler_fn(struct http_req *r, void *arg);

/* opts NULL: defaults. handler runs once the head is there; it must arrange for an answer. */
struct http_server *http_server_new(
    struct loop *l, const struct http_server_opts *opts, http_handler_fn *handler, void *arg);
/* "127.0.0.1:8000", "[::1]:0", "unix:/path" (replaces a dead socket file; mode for unix). */
int http_server_listen(
    struct http_server *s, const char *address, mode_t mode, struct err *e) MUST_CHECK;
/* Port of the last TCP listener. */
int http_server_port(const struct http_server *s);
/* Stops accepting; idle connections close, running requests may finish. */
void http_server_drain(struct http_server *s);
size_t http_server_active(const struct http_server *s); /* requests under way */
void http_server_free(struct http_server *take_s);      /* closes all at once */

/* --- the request; slices and strings are borrowed until it is answered --- */
struct str http_req_method(const struct http_req *r);
const char *http_req_path(const struct http_req *r);  /* decoded, "/a/b"; never NULL */
const char *http_req_query(const struct http_req *r); /* raw, without '?'; "" if none */
/* A decoded query parameter, or NULL; borrowed. */
const char *http_req_param(struct http_req *r, const char *name);
const char *http_req_header(const struct http_req *r, const char *name); /* or NULL */
const char *http_req_peer(const struct http_req *r); /* "192.0.2.1", or "unix" */
int64_t http_req_length(const struct http_req *r);   /* -1: unknown (chunked) */
struct loop *http_req_loop(const struct http_req *r);

/* Reads the whole body, then calls fn once; more than max bytes answers 413 by itself and fn gets
 * e. A lost client: on_close only. The body is borrowed for the call. */
typedef void http_body_fn(struct http_req *r, struct str body, const struct err *e, void *arg);
void http_req_read_all(struct http_req *r, size_t max, http_body_fn *fn, void *arg);
/* Streams the body: n == 0 is the end. Until called, nothing is read (backpressure).
 * Content-Encoding is the handler's affair. */
typedef void http_data_fn(struct http_req *r, const char *p, size_t n, void *arg);
void http_req_read(struct http_req *r, http_data_fn *fn, void *arg);
void http_req_pause(struct http_req *r, bool paused);

/* The client went away before the answer ended, or the server is freed: r is invalid after it.
 * Not called after a complete answer. */
typedef void http_close_fn(struct http_req *r, void *arg);
void http_req_on_close(struct http_req *r, http_close_fn *fn, void *arg);

/* headers: "Name: value" strings, NULL-terminated, or NULL. Content-Length, Date and Connection
 * are the server's. Body is copied. */
void http_req_reply(
    struct http_req *r, int status, const char *const *headers, const void *body, size_t n);
void http_req_reply_text(struct http_req *r, int status, const char *fmt, ...) PRINTF(3, 4);
/* A streamed answer: begin, write…, end. Chunked for HTTP/1.1. */
void http_req_begin(struct http_req *r, int status, const char *const *headers);
/* Copies. false: the queue is above write_max; wait for on_drain (the bytes are queued all the
 * same). */
bool http_req_write(struct http_req *r, const void *p, size_t n);
typedef void http_drain_fn(struct http_req *r, void *arg);
void http_req_on_drain(struct http_req *r, http_drain_fn *fn, void *arg);
void http_req_end(struct http_req *r);
/* Breaks the connection in the middle of an answer: the client sees a truncated message. */
void http_req_abort(struct http_req *r);
