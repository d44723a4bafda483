/* router/h2_head.h: heads between HTTP/2 (RFC 9113) and the HTTP/1.1 that exchanges speak. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/str.h"

struct http_head;

enum { H2_HEAD_FIELDS_MAX = 106 }; /* those of HTTP/1.1, and the pseudo-fields */

/* A request's head as its fields come. Zero-initialise. */
struct h2_head {
	struct buf text; /* the other fields, as lines */
	struct buf method, path, authority, protocol;
	struct buf cookies; /* in one field again (RFC 9113 8.2.3) */
	bool has_length;
	bool is_large; /* more than fits: 431 */
	bool is_bad;
};

void h2_head_fini(struct h2_head *h);
/* nghttp2 has looked at it: order, names and values are valid. */
void h2_head_add(struct h2_head *h, struct str name, struct str value);
bool h2_head_is_websocket(const struct h2_head *h); /* RFC 8441 */
/* Whether a body follows whose length is not told. */
bool h2_head_is_chunked(const struct h2_head *h, bool has_body);
/* Appends the request as HTTP/1.1, which the parser of that looks at again. key: of a WebSocket. */
void h2_head_request(const struct h2_head *h, bool has_body, const char *key, struct buf *out);

/* A field as a line of HTTP/1.1. */
void h2_head_add_line(struct buf *out, struct str name, struct str value);
/* The request h as fields, as below. is_tunnel: as the CONNECT of a WebSocket (RFC 8441). */
size_t h2_head_call(const struct http_head *h, bool is_tunnel, struct buf *text, nghttp2_nv *out);
/* The fields of a trailer section (lines, then an empty one). */
size_t h2_head_trailers(const struct buf *section, struct buf *text, nghttp2_nv *out);

/* The answer h as fields in out[H2_HEAD_FIELDS_MAX], slices of text, to which their names are
 * added; text is cleared. Returns how many. is_tunnel: it opens a tunnel, 101 is said as 200. */
size_t h2_head_answer(const struct http_head *h, bool is_tunnel, struct buf *text, nghttp2_nv *out);
