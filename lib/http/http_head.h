/* lib/http/http_head.h: HTTP/1.1 message heads, parsed in place (RFC 9112). Strict framing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/str.h"

enum { HTTP_HEADERS_MAX = 100 };

struct http_header {
	struct str name;  /* slice of the input */
	struct str value; /* trimmed slice */
};

enum http_framing { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE };

struct http_head {
	struct str method; /* request */
	struct str target; /* request: as sent */
	int status;        /* response */
	struct str reason; /* response */
	int minor;         /* HTTP/1.minor: 0 or 1 */
	struct http_header headers[HTTP_HEADERS_MAX];
	size_t n;
	enum http_framing framing;
	int64_t length; /* HTTP_BODY_LENGTH */
	bool keep_alive;
	bool expect_continue;
	bool upgrade; /* Connection: upgrade with an Upgrade header */
	struct str
	    host; /* of absolute-form target or the Host header; lower case is the caller's */
	const char *why; /* a refused one: a sentence */
	size_t size;     /* bytes of the head, blank line included */
};

enum http_head_result {
	HTTP_HEAD_OK,
	HTTP_HEAD_MORE,        /* incomplete */
	HTTP_HEAD_BAD,         /* 400 */
	HTTP_HEAD_LARGE,       /* more headers than HTTP_HEADERS_MAX: 431 */
	HTTP_HEAD_UNSUPPORTED, /* unknown transfer coding: 501, or version: 505 */
};

/* p[0..n): starts at the message. from: bytes already seen without an end (0 at first), so that a
 * slow sender costs no rescans. Slices in out point into p. Refused: bare CR, NUL, obs-fold,
 * space before the colon, Content-Length with Transfer-Encoding, several of either, malformed
 * lengths, chunked not last, several Host headers, a missing one in HTTP/1.1, targets with '#' or
 * bytes beyond ASCII. One blank line before a request is forgiven. */
enum http_head_result http_head_request(
    const char *p, size_t n, size_t from, struct http_head *out);
/* request_method decides about the body (HEAD; CONNECT). */
enum http_head_result http_head_response(
    const char *p, size_t n, size_t from, struct str request_method, struct http_head *out);
/* First header of that name (ASCII case-insensitive), or {NULL,0}. */
struct str http_head_get(const struct http_head *h, const char *name);
const char *http_reason(int status);
