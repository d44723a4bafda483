/* router/proxy_relay.h: the next piece of a body, framed anew, as one vector to write. Chunks are
 * made anew; of trailers those pass that b->trailers asks for, if they may (proxy_trailers). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "lib/http/http_body.h"

enum { PROXY_RELAY_SLICES = 60 };

struct proxy_relay {
	struct iovec
	    v[PROXY_RELAY_SLICES + 5]; /* v[0] is the caller's: a head in front, or empty */
	int n;
	size_t data; /* bytes of the body */
	size_t used; /* bytes of the input */
	enum http_body_result result;
	char size_line[20];
};

/* Takes from p[0..n) what fits one vector. chunked: as a chunk, with the last one at the end. */
void proxy_relay_fill(
    struct proxy_relay *r, struct http_body *b, const char *p, size_t n, bool chunked);
