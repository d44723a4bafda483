#include "router/h2_wire.h"

#include "lib/base/buf.h"
#include "router/h2_head.h"
#include "router/lane.h"
#include "router/sock.h"

enum { GATHER = 64 * 1024 };

bool
h2_wire_flush(nghttp2_session *ng, struct sock *to)
{
	struct buf *gather = &to->lane->frames;
	ssize_t n = 1;

	while (n > 0) {
		const uint8_t *p;
		struct iovec v;

		if (sock_flush(to) < 0)
			return false;
		if (sock_pending(to))
			return true;
		buf_clear(gather);
		while (gather->n < GATHER && (n = nghttp2_session_mem_send(ng, &p)) > 0)
			buf_add(gather, p, (size_t)n);
		v = (struct iovec){ gather->p, gather->n };
		if (n < 0 || (gather->n != 0 && sock_write(to, &v, 1) < 0))
			return false;
	}
	return nghttp2_session_want_read(ng) || nghttp2_session_want_write(ng) || sock_pending(to);
}

bool
h2_wire_trailers(nghttp2_session *ng, int32_t id, const struct buf *section)
{
	nghttp2_nv nv[H2_HEAD_FIELDS_MAX];
	struct buf text = { 0 };
	bool done;
	size_t n;

	if (section->n <= 2)
		return false;
	n = h2_head_trailers(section, &text, nv);
	done = n != 0 && nghttp2_submit_trailer(ng, id, nv, n) == 0;
	buf_fini(&text);
	return done;
}
