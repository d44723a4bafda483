/* What an instance may say: the first byte chooses whether it speaks HTTP/1.1 (even) or HTTP/2, the
 * request that it gets, whether its frames are made of records (as in fuzz_h2_frames), and in what
 * pieces they come. What the client gets is one valid answer, or is cut off. */
#include "test/fuzz/fuzz.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/http/http_body.h"
#include "lib/http/http_head.h"
#include "test/fuzz/h2_frames.h"
#include "test/lib/router_lane.h"

static const size_t pieces[] = { 65536, 1, 7, 100 };

struct script {
	struct buf text; /* what the instance says */
	size_t piece;
};

static void
say(struct router_lane_app *a, void *arg)
{
	const struct script *s = arg;
	size_t n = s->text.n - a->n;

	buf_clear(&a->in);
	for (int i = 0; n != 0 && a->fd >= 0 && i < 64; i++) {
		size_t k = n < s->piece ? n : s->piece;

		a->n += k;
		n -= k;
		router_lane_app_send(a, s->text.p + a->n - k, k);
	}
	if (n == 0 && s->text.n != 0 && s->text.p[s->text.n - 1] == 'x')
		router_lane_app_close(a);
}

static void
make_frames(struct buf *out, const uint8_t *p, size_t n)
{
	static const char start[] = "\0\0\6\4\0\0\0\0\0\0\10\0\0\0\1"; /* with RFC 8441 */

	h2_frames_make(out, start, sizeof start - 1, p, n);
}

static void
check_answer(struct str method, const struct buf *got)
{
	const char *p = got->p;
	size_t n = got->n, used;
	enum http_head_result r;
	struct http_head h;
	struct http_body b;
	struct str data;

	do {
		r = http_head_response(p, n, 0, method, &h);
		check(r == HTTP_HEAD_OK || r == HTTP_HEAD_MORE);
		if (r == HTTP_HEAD_MORE)
			return;
		p += h.size;
		n -= h.size;
	} while (h.status < 200 && h.status != 101);
	if (h.status == 101)
		return;
	http_body_init(&b, &h);
	if (h.framing == HTTP_BODY_NONE || (h.framing == HTTP_BODY_LENGTH && h.length == 0))
		check(n == 0);
	while (n != 0) {
		enum http_body_result done = http_body_next(&b, p, n, &used, &data);

		check(done != HTTP_BODY_BAD);
		p += used;
		n -= used;
		check(done != HTTP_BODY_DONE || n == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct {
		const char *method, *rest;
	} requests[] = {
		{ "GET", "TE: trailers\r\nConnection: TE\r\nAccept-Encoding: gzip\r\n\r\n" },
		{ "POST", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n" },
		{ "GET", "Connection: upgrade\r\nUpgrade: websocket\r\n"
		         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" },
		{ "HEAD", "\r\n" },
	};
	static struct router_lane *l;
	static struct script s;
	AUTO_FINI(buf_fini) struct buf request = { 0 };
	const struct buf *got;
	unsigned kind;
	bool is_h2, is_end;

	if (n == 0)
		return 0;
	if (l == NULL)
		l = router_lane_new(
		    "a.test % compress=true\nh.test % protocol=h2c\n", false, false, say, &s);
	is_h2 = data[0] & 1;
	kind = data[0] >> 1 & 3;
	s.piece = pieces[data[0] >> 3 & 3];
	buf_clear(&s.text);
	if (is_h2 && (data[0] & 32) == 0)
		make_frames(&s.text, data + 1, n - 1);
	else
		buf_add(&s.text, data + 1, n - 1);
	buf_addf(&request, "%s / HTTP/1.1\r\nHost: %s\r\n%s", requests[kind].method,
	    is_h2 ? "h.test" : "a.test", requests[kind].rest);
	router_lane_connect(l);
	router_lane_send(l, request.p, request.n, request.n);
	got = router_lane_got(l, &is_end);
	if (got->n != 0)
		check_answer(str_of(requests[kind].method), got);
	router_lane_leave(l);
	return 0;
}
