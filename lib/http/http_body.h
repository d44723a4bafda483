/* lib/http/http_body.h: incremental decoding of message bodies: lengths and chunks, with limits. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/http/http_head.h"

enum { HTTP_BODY_TRAILERS_MAX = 8192 };

struct http_body {
	enum http_framing framing;
	int64_t left;         /* bytes of the body or of the chunk */
	int state;            /* of the chunk parser */
	size_t line;          /* bytes of the present chunk line or trailer section */
	struct buf *trailers; /* borrowed, set after http_body_init: gets the trailer section, up
	                         to its empty line; NULL: it is dropped */
};

enum http_body_result {
	HTTP_BODY_MORE,
	HTTP_BODY_DONE,
	HTTP_BODY_BAD,
};

void http_body_init(struct http_body *b, const struct http_head *h);
/* Consumes from p[0..n): *used bytes were taken, of which out (a slice of p) is body data (may be
 * empty). Call again until all is used or DONE. Trailers are bounded. */
enum http_body_result http_body_next(
    struct http_body *b, const char *p, size_t n, size_t *used, struct str *out);
const char *http_body_why(const struct http_body *b); /* a BAD one: a sentence */
