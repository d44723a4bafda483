#include "router/h2_session.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "router/client_conn.h"
#include "router/h2_guard.h"
#include "router/h2_stream.h"
#include "router/h2_wire.h"
#include "router/lane.h"
#include "router/router_conf.h"

enum {
	ROUNDS = 4,
	HEAD_FIELDS_MAX = 4096,
	GATHER = 64 * 1024,
	NOTICE_MS = 1000, /* from the notice of the end to it: what was on its way is served */
};

static const char preface[] = "PRI * HTTP/2.0\r\n\r\n";

struct h2_session {
	nghttp2_session *ng;      /* owned */
	struct client_conn *conn; /* borrowed: owns us */
	struct h2_stream_list streams;
	struct h2_guard guard;
	size_t stream_n;
	uint32_t head_fields; /* of the head that is coming */
	int64_t head_ms;      /* when the head began that is coming; 0: none is */
	bool is_busy;         /* within nghttp2: what there is to send waits for its end */
};

bool
h2_session_is_preface(struct str in)
{
	return in.n >= sizeof preface - 1 && memcmp(in.p, preface, sizeof preface - 1) == 0;
}

nghttp2_session *
h2_session_ng(struct h2_session *s)
{
	return s->ng;
}

struct client_conn *
h2_session_conn(struct h2_session *s)
{
	return s->conn;
}

void
h2_session_wake(struct h2_session *s)
{
	if (!s->is_busy)
		sock_again(&s->conn->sock);
}

/* --- what nghttp2 tells --- */

static void
set_deadline(struct h2_session *s)
{
	const struct lane *l = s->conn->sock.lane;
	int64_t ms = l->conf->idle_timeout_s * 1000;

	if (s->head_ms != 0)
		ms = s->head_ms + l->conf->head_timeout_s * 1000 - l->now_ms;
	else if (s->stream_n != 0)
		ms = l->conf->request_timeout_s * 1000;
	else if (l->draining)
		ms = NOTICE_MS;
	client_conn_deadline(s->conn, ms);
}

static int
on_begin(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2_session *s = arg;
	struct h2_stream *st;

	s->head_fields = 0;
	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	st = h2_stream_new(s, &s->streams, f->hd.stream_id);
	s->stream_n++;
	s->head_ms = s->conn->sock.lane->now_ms;
	(void)nghttp2_session_set_stream_user_data(ng, f->hd.stream_id, st);
	if ((f->hd.flags & NGHTTP2_FLAG_PRIORITY) != 0 &&
	    f->headers.pri_spec.stream_id == f->hd.stream_id) /* RFC 7540 5.3.1 */
		(void)nghttp2_submit_rst_stream(
		    ng, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
	return 0;
}

static int
on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t name_n,
    const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
	struct h2_session *s = arg;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	(void)flags;
	if (++s->head_fields > HEAD_FIELDS_MAX) /* a few bytes may stand for a lot */
		(void)nghttp2_session_terminate_session(ng, NGHTTP2_ENHANCE_YOUR_CALM);
	else if (st != NULL)
		h2_stream_field(st, (struct str){ (const char *)name, name_n },
		    (struct str){ (const char *)value, value_n });
	return 0;
}

static int
on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	struct h2_session *s = arg;
	bool ends = (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

	if (f->hd.type == NGHTTP2_RST_STREAM)
		h2_guard_ended(&s->guard, f->hd.stream_id);
	if (st == NULL || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) {
		s->head_ms = 0;
		h2_stream_start(st, !ends);
	} else if (ends) {
		h2_stream_end(st);
	}
	return 0;
}

static int
on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);

	(void)flags;
	(void)arg;
	if (st == NULL)
		(void)nghttp2_session_consume(ng, id, n);
	else
		h2_stream_data(st, p, n);
	return 0;
}

static int
on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2_session *s = arg;
	struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);

	if (st == NULL)
		return 0;
	if (id == s->guard.last)
		s->head_ms = 0;
	(void)nghttp2_session_set_stream_user_data(ng, id, NULL);
	s->stream_n--;
	if (!h2_stream_is_cut(st))
		h2_guard_ended(&s->guard, id);
	if (s->stream_n == 0)
		set_deadline(s);
	h2_stream_closed(st, code != NGHTTP2_NO_ERROR);
	return 0;
}

/* Whether the client brought an error upon a stream. */
static bool
is_fault(uint32_t code)
{
	return code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_STREAM_CLOSED ||
	       code == NGHTTP2_FLOW_CONTROL_ERROR || code == NGHTTP2_FRAME_SIZE_ERROR;
}

static int
on_sent(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2_session *s = arg;
	struct h2_stream *st;

	if (f->hd.type == NGHTTP2_RST_STREAM && is_fault(f->rst_stream.error_code))
		h2_guard_fault(&s->guard);
	if (f->hd.type != NGHTTP2_DATA && f->hd.type != NGHTTP2_HEADERS)
		return 0;
	h2_guard_sent(&s->guard);
	if ((f->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
		return 0;
	st = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	if (st != NULL)
		h2_stream_sent(st);
	return 0;
}

/* --- life --- */

static nghttp2_session *
new_ng(struct h2_session *s)
{
	nghttp2_session_callbacks *c = NULL;
	nghttp2_option *o = NULL;
	nghttp2_session *ng = NULL;

	if (nghttp2_session_callbacks_new(&c) != 0 || nghttp2_option_new(&o) != 0)
		abort(); /* out of memory */
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_stream_reset_rate_limit(o, H2_RESETS_BURST, H2_RESETS_RATE);
	if (nghttp2_session_server_new2(&ng, c, s, o) != 0)
		abort();
	nghttp2_session_callbacks_del(c);
	nghttp2_option_del(o);
	return ng;
}

struct h2_session *
h2_session_new(struct client_conn *c)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, CLIENT_HEAD_MAX },
		{ NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	};
	struct h2_session *s = xcalloc(1, sizeof *s);

	s->conn = c;
	h2_guard_init(&s->guard);
	LIST_INIT(&s->streams);
	s->ng = new_ng(s);
	(void)nghttp2_submit_settings(
	    s->ng, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof settings[0]);
	(void)nghttp2_session_set_local_window_size(
	    s->ng, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW);
	return s;
}

void
h2_session_free(struct h2_session *take_s)
{
	struct h2_session *s = take_s;

	if (s == NULL)
		return;
	while (!LIST_EMPTY(&s->streams))
		h2_stream_cut(LIST_FIRST(&s->streams));
	nghttp2_session_del(s->ng);
	free(s);
}

/* --- bytes --- */

/* false: it is not HTTP/2. */
static bool
take(struct h2_session *s, const char *p, size_t n)
{
	int64_t now_ms = s->conn->sock.lane->now_ms;
	bool lives = true;

	s->is_busy = true;
	while (n != 0 && lives) {
		uint32_t code;
		size_t k = h2_guard_scan(&s->guard, s->ng, p, n, now_ms, &code);

		if (code != NGHTTP2_NO_ERROR)
			(void)nghttp2_session_terminate_session(s->ng, code);
		lives = nghttp2_session_mem_recv(s->ng, (const uint8_t *)p, k) >= 0;
		p += k;
		n -= k;
	}
	s->is_busy = false;
	return lives;
}

bool
h2_session_feed(struct h2_session *s, const char *p, size_t n)
{
	bool lives = take(s, p, n);

	if (s->stream_n != 0)
		set_deadline(s);
	return lives;
}

bool
h2_session_ready(struct h2_session *s)
{
	struct sock *from = &s->conn->sock;
	char *in = lane_frames(from->lane);

	for (int i = 0; !sock_pending(from); i++) {
		ssize_t n;

		if (i == ROUNDS) { /* others wait too */
			sock_again(from);
			break;
		}
		n = sock_read(from, in, LANE_FRAMES);
		if (n == 0 && !from->eof)
			break;
		if (n <= 0)
			return false;
		if (!h2_session_feed(s, in, (size_t)n)) {
			(void)h2_wire_flush(s->ng, &s->conn->sock);
			return false;
		}
		if (!h2_wire_flush(s->ng, &s->conn->sock))
			return false;
	}
	if (!h2_wire_flush(s->ng, &s->conn->sock))
		return false;
	if (from->lane->draining && s->stream_n == 0)
		set_deadline(s);
	return true;
}

/* --- the end --- */

void
h2_session_drain(struct h2_session *s)
{
	(void)nghttp2_submit_shutdown_notice(s->ng);
	set_deadline(s);
	h2_session_wake(s);
}

bool
h2_session_is_idle(const struct h2_session *s)
{
	return s->stream_n == 0;
}

bool
h2_session_timeout(struct h2_session *s)
{
	if (sock_pending(&s->conn->sock))
		return false;                      /* nobody reads */
	if (s->stream_n != 0 && s->head_ms == 0) { /* each has a deadline of its own */
		set_deadline(s);
		return true;
	}
	(void)nghttp2_session_terminate_session(s->ng, NGHTTP2_NO_ERROR);
	(void)h2_wire_flush(s->ng, &s->conn->sock);
	return false;
}
