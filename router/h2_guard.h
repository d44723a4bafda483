/* router/h2_guard.h: what a client of HTTP/2 may do that nghttp2 does not look at: frames of
 * streams that ended (RFC 9113 5.1), and frames without a use, in bounds. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stddef.h>
#include <stdint.h>

enum {
	H2_GUARD_ENDED = 32,         /* streams whose end by the client is remembered */
	H2_GUARD_FRAMES = 10000,     /* frames without a use, at once */
	H2_GUARD_FRAMES_RATE = 1000, /* and in a second */
	H2_GUARD_HEAD = 13,          /* of a frame, with the first field of PRIORITY */
};

struct h2_guard {
	size_t left; /* bytes of the frame that are still to come */
	uint32_t ended_n;
	int32_t ended[H2_GUARD_ENDED]; /* by the client, the last ones */
	int32_t last;                  /* the newest stream */
	int32_t skipped_from;          /* streams that were left out last: up to the next */
	int32_t skipped_to;
	int32_t spent; /* frames without a use */
	int64_t spent_ms;
	uint8_t head[H2_GUARD_HEAD]; /* of the next frame */
	uint8_t head_n;
};

/* At the first byte of a connection. */
void h2_guard_init(struct h2_guard *g);
/* Looks at p[0..n), which nghttp2 has not seen. Returns how much of it nghttp2 must take before the
 * rest is looked at. *out_code: the error of the connection that it is, or NGHTTP2_NO_ERROR. */
size_t h2_guard_scan(struct h2_guard *g, nghttp2_session *ng, const char *p, size_t n,
    int64_t now_ms, uint32_t *out_code);
void h2_guard_ended(struct h2_guard *g, int32_t id); /* the client sends no more on it */
/* A frame of an answer went out: some that acknowledge it are of use. */
void h2_guard_sent(struct h2_guard *g);
/* The client made us reset a stream by what it sent. */
void h2_guard_fault(struct h2_guard *g);
