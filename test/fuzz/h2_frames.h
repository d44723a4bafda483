/* test/fuzz/h2_frames.h: frames of HTTP/2 (RFC 9113 4.1) made of a fuzz target's bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

enum { H2_FRAMES_HEAD = 9 };

/* Adds start[0..start_n), then a frame for each kind, flags, stream and length of p[0..n), with as
 * many of the bytes behind these as are there. */
static inline void
h2_frames_make(struct buf *out, const char *start, size_t start_n, const uint8_t *p, size_t n)
{
	buf_add(out, start, start_n);
	while (n >= 4) {
		size_t len = p[3] < n - 4 ? p[3] : n - 4;
		char head[H2_FRAMES_HEAD] = { 0, 0, (char)len, (char)p[0], (char)p[1], 0, 0, 0,
			(char)p[2] };

		buf_add(out, head, sizeof head);
		buf_add(out, p + 4, len);
		p += 4 + len;
		n -= 4 + len;
	}
}
