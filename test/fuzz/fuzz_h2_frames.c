/* A client's frames of HTTP/2, at a real lane. The first byte: of an odd one the bytes go as they
 * are; else they are records (kind, flags, stream, length, payload) of which frames are made,
 * behind a good beginning. Bits 1 and 2: in what pieces. What the instance gets is strict HTTP/1.1
 * for its host; what the client gets are frames in order. */
#include "test/fuzz/fuzz.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "test/fuzz/h2_frames.h"
#include "test/lib/router_lane.h"
#include "test/lib/strict_app.h"

enum { DATA = 0, HEADERS = 1, SETTINGS = 4, CONTINUATION = 9, END_STREAM = 1, ACK = 1 };
enum { STREAMS = 1 << 16, FRAME_MAX = 16384 };

static const size_t pieces[] = { 65536, 1, 7, 100 };

static void
make_frames(struct buf *out, const uint8_t *p, size_t n)
{
	static const char start[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

	h2_frames_make(out, start, sizeof start - 1, p, n);
}

static uint32_t
number(const char *p, int n)
{
	uint32_t v = 0;

	for (int i = 0; i < n; i++)
		v = v << 8 | (uint8_t)p[i];
	return v;
}

/* The frames that the router sent, but for one that is cut off. */
static void
check_frames(const char *p, size_t n)
{
	static uint8_t seen[STREAMS]; /* 1: it has a head, 2: it ended */
	bool is_first = true;

	memset(seen, 0, sizeof seen);
	while (n >= H2_FRAMES_HEAD) {
		size_t len = number(p, 3);
		uint32_t id = number(p + 5, 4) % STREAMS;
		int kind = p[3], flags = p[4];

		check(len <= FRAME_MAX && kind <= CONTINUATION && (p[5] & 0x80) == 0);
		check(!is_first || (kind == SETTINGS && (flags & ACK) == 0 && id == 0));
		is_first = false;
		if (kind == DATA || kind == HEADERS) {
			check((id & 1) == 1 && (seen[id] & 2) == 0);
			check(kind == HEADERS || (seen[id] & 1) != 0);
			seen[id] |= 1 | ((flags & END_STREAM) != 0 ? 2 : 0);
		}
		if (len > n - H2_FRAMES_HEAD)
			break;
		p += H2_FRAMES_HEAD + len;
		n -= H2_FRAMES_HEAD + len;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct router_lane *l;
	AUTO_FINI(buf_fini) struct buf in = { 0 };
	const struct buf *got;
	bool is_end;

	if (n == 0)
		return 0;
	if (l == NULL)
		l = router_lane_new("a.test %\n", false, false, strict_app, NULL);
	if (data[0] % 2 == 0)
		make_frames(&in, data + 1, n - 1);
	else
		buf_add(&in, data + 1, n - 1);
	router_lane_connect(l);
	router_lane_send(l, in.p, in.n, pieces[data[0] / 2 % 4]);
	got = router_lane_got(l, &is_end);
	if (in.n >= 24 && memcmp(in.p, "PRI * HTTP/2.0\r\n\r\n", 18) == 0)
		check_frames(got->p, got->n);
	router_lane_leave(l);
	return 0;
}
