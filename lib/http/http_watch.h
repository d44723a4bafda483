/* lib/http/http_watch.h: JSON lines without end: a sender on the server's side, a resuming client.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct http_client;
struct http_req;
struct loop;
struct http_watch;

/* Splits a byte stream into lines, without their ends (LF or CRLF); empty ones are left out.
 * Zero-initialise. Lines above max are ERR_LIMIT. */
struct http_lines {
	char *p; /* owned */
	size_t n, cap;
};
typedef void http_line_fn(struct str line, void *arg);
int http_lines_feed(struct http_lines *l, const char *p, size_t n, size_t max, http_line_fn *fn,
    void *arg, struct err *e) MUST_CHECK;
void http_lines_fini(struct http_lines *l);

struct http_watch_opts {
	const char
	    *url; /* as http_call_opts; "%" PRId64 is not expanded: from is added as ?from= */
	const char *bearer;
	int64_t from;       /* first revision wanted; 0: a snapshot first */
	int64_t silence_ms; /* reconnect when nothing (not even a blank line) came; default 15 s */
};
/* line: one JSON object. Returning -1 drops the connection and resumes. */
typedef int http_watch_line_fn(struct str line, void *arg);
/* Tells how it stands; connected: an answer 200 began. The next ?from= is asked for by from(). */
typedef void http_watch_state_fn(bool connected, const struct err *e, void *arg);
typedef int64_t http_watch_from_fn(void *arg);

/* For the first call from is that of o, then that of from() (NULL: o's again).
 * Connects, and connects again with backoff (50 ms … 2 s, jittered) for ever. */
struct http_watch *http_watch_start(struct loop *l, struct http_client *c,
    const struct http_watch_opts *o, http_watch_from_fn *from, http_watch_line_fn *on_line,
    http_watch_state_fn *on_state, void *arg);
void http_watch_cancel(struct http_watch *take_w);
