#include "router/h2_stream.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_body.h"
#include "lib/http/http_head.h"
#include "router/client_conn.h"
#include "router/h2_head.h"
#include "router/h2_session.h"
#include "router/h2_wire.h"
#include "router/proxy.h"

enum {
	OUT_MAX = 32 * 1024, /* of an answer that its client has not room for */
	CHUNK_EXTRA = 24,    /* the lines around the data of a chunk */
	KEY_BYTES = 16,
	CLIENT_GONE = 499,
};

struct h2_stream {
	LIST_ENTRY(h2_stream) link;
	struct h2_session *session; /* borrowed; NULL: it is gone */
	struct client_conn *conn;   /* borrowed: owns us as its layer; NULL: it is gone */
	struct h2_head *request;    /* owned; NULL: it is text already */
	struct buf in;              /* the head as text, then what came of the body */
	struct buf out;             /* of the answer's body, not sent yet */
	struct buf head;            /* an answer's head that came in parts */
	struct buf trailers;        /* of the answer */
	struct buf in_trailers;     /* of the request, as lines */
	struct http_body body;      /* of the answer */
	size_t in_off, in_head;     /* read; of the head not read */
	size_t out_off;
	int32_t id;
	bool is_head, asks_upgrade;
	bool is_chunked; /* the request's body goes in chunks */
	bool in_end;     /* the request is all here */
	bool has_last;   /* and its last chunk was read, with its trailers */
	bool has_answer, is_tunnel;
	bool out_end;     /* the answer is all here */
	bool out_sent;    /* and went out with its end */
	bool is_deferred; /* nghttp2 waits for data */
	bool is_full;     /* the sock waits for room */
	bool is_closed;   /* in nghttp2 */
};

/* --- life --- */

struct h2_stream *
h2_stream_new(struct h2_session *session, struct h2_stream_list *list, int32_t id)
{
	struct h2_stream *st = xcalloc(1, sizeof *st);

	LIST_INSERT_HEAD(list, st, link);
	st->session = session;
	st->id = id;
	st->request = xcalloc(1, sizeof *st->request);
	return st;
}

static void
free_stream(struct h2_stream *st)
{
	LIST_REMOVE(st, link);
	if (st->request != NULL)
		h2_head_fini(st->request);
	free(st->request);
	buf_fini(&st->in);
	buf_fini(&st->out);
	buf_fini(&st->head);
	buf_fini(&st->trailers);
	buf_fini(&st->in_trailers);
	free(st);
}

static void
wake_conn(struct h2_stream *st)
{
	if (st->conn == NULL)
		return;
	st->conn->sock.can_read = true;
	sock_again(&st->conn->sock);
}

void
h2_stream_closed(struct h2_stream *take_st, bool is_error)
{
	struct h2_stream *st = take_st;

	st->is_closed = true;
	if (st->conn == NULL)
		free_stream(st);
	else if (st->conn->x == NULL)
		client_conn_close(st->conn); /* drops us */
	else if (is_error)
		proxy_abort(st->conn->x, CLIENT_GONE, "The client reset its stream.");
	else
		wake_conn(st); /* a tunnel: what came is still passed on */
}

void
h2_stream_cut(struct h2_stream *take_st)
{
	h2_stream_closed(take_st, true);
}

void
h2_stream_sent(struct h2_stream *st)
{
	st->out_sent = true;
	if (st->conn == NULL && !st->in_end) /* nobody reads the rest (RFC 9113 8.1) */
		(void)nghttp2_submit_rst_stream(
		    h2_session_ng(st->session), NGHTTP2_FLAG_NONE, st->id, NGHTTP2_NO_ERROR);
	wake_conn(st);
}

bool
h2_stream_is_cut(const struct h2_stream *st)
{
	return !st->in_end;
}

/* --- the request --- */

/* As much of a trailer as is enough to be refused. */
static struct str
cut(struct str s)
{
	return s.n <= HTTP_BODY_TRAILERS_MAX ? s : (struct str){ s.p, HTTP_BODY_TRAILERS_MAX };
}

void
h2_stream_field(struct h2_stream *st, struct str name, struct str value)
{
	if (st->request != NULL)
		h2_head_add(st->request, name, value);
	else if (st->is_chunked && st->in_trailers.n <= HTTP_BODY_TRAILERS_MAX)
		h2_head_add_line(&st->in_trailers, cut(name), cut(value));
}

void
h2_stream_data(struct h2_stream *st, const void *p, size_t n)
{
	if (st->conn == NULL) { /* nobody will read it */
		(void)nghttp2_session_consume(h2_session_ng(st->session), st->id, n);
		return;
	}
	buf_add(&st->in, p, n);
	wake_conn(st);
}

void
h2_stream_end(struct h2_stream *st)
{
	st->in_end = true;
	wake_conn(st);
}

/* Gives the memory of what was read back, all of it or a large part. */
static void
forget_read(struct buf *b, size_t *off)
{
	if (*off == b->n) {
		buf_fini(b);
		*off = 0;
	} else if (*off >= OUT_MAX) {
		buf_drop(b, *off);
		*off = 0;
	}
}

static size_t
read_head(struct h2_stream *st, char *p, size_t n)
{
	if (n > st->in_head)
		n = st->in_head;
	if (n == 0)
		return 0;
	memcpy(p, st->in.p + st->in_off, n);
	st->in_off += n;
	st->in_head -= n;
	return n;
}

static size_t
read_body(struct h2_stream *st, char *p, size_t n)
{
	size_t left = st->in.n - st->in_off, room = n, k = 0;
	bool chunked = st->is_chunked && !st->is_tunnel;

	if (st->in_head != 0)
		return 0;
	if (chunked)
		room = n < CHUNK_EXTRA ? 0 : n - CHUNK_EXTRA;
	if (room > left)
		room = left;
	if (room == 0)
		return 0;
	if (chunked)
		k = (size_t)snprintf(p, CHUNK_EXTRA, "%zx\r\n", room);
	memcpy(p + k, st->in.p + st->in_off, room);
	k += room;
	if (chunked) {
		memcpy(p + k, "\r\n", 2);
		k += 2;
	}
	st->in_off += room;
	(void)nghttp2_session_consume(h2_session_ng(st->session), st->id, room);
	h2_session_wake(st->session);
	return k;
}

/* The last chunk, with the trailers. */
static size_t
read_last(struct h2_stream *st, char *p, size_t n)
{
	size_t k = st->in_trailers.n;

	if (n < k + 5)
		return 0;
	memcpy(p, "0\r\n", 3);
	if (k != 0)
		memcpy(p + 3, st->in_trailers.p, k);
	memcpy(p + 3 + k, "\r\n", 2);
	buf_fini(&st->in_trailers);
	st->has_last = true;
	return k + 5;
}

static ssize_t
stream_recv(struct sock *s, void *p, size_t n, bool *out_more)
{
	struct h2_stream *st = s->over;
	char *to = p;
	size_t k;

	if (st->is_closed && st->out_sent)
		return 0;
	if (st->is_closed) {
		errno = ECONNRESET;
		return -1;
	}
	k = read_head(st, to, n);
	k += read_body(st, to + k, n - k);
	*out_more = st->in_off < st->in.n;
	forget_read(&st->in, &st->in_off);
	if (st->in_end && st->is_chunked && !st->has_last && !*out_more)
		k += read_last(st, to + k, n - k);
	if (k != 0)
		return (ssize_t)k;
	if (st->in_end && (st->is_tunnel || st->out_sent))
		return 0;
	errno = EAGAIN;
	return -1;
}

/* --- the answer --- */

static ssize_t
on_out(nghttp2_session *ng, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
    nghttp2_data_source *source, void *arg)
{
	struct h2_stream *st = source->ptr;
	size_t left = st->out.n - st->out_off;

	(void)arg;
	if (left == 0 && !st->out_end) {
		st->is_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n > left)
		n = left;
	if (n != 0)
		memcpy(p, st->out.p + st->out_off, n);
	st->out_off += n;
	forget_read(&st->out, &st->out_off);
	if (st->out_off == st->out.n) {
		if (st->out_end)
			*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (st->out_end && h2_wire_trailers(ng, id, &st->trailers))
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (st->is_full)
			wake_conn(st);
		st->is_full = false;
	}
	return (ssize_t)n;
}

/* Tells the client of h. */
static int
submit(struct h2_stream *st, const struct http_head *h)
{
	nghttp2_session *ng = h2_session_ng(st->session);
	nghttp2_data_provider data = { .source.ptr = st, .read_callback = on_out };
	nghttp2_nv nv[H2_HEAD_FIELDS_MAX];
	struct buf text = { 0 };
	size_t n = h2_head_answer(h, st->is_tunnel, &text, nv);
	int rc;

	if (h->status < 200 && !st->is_tunnel)
		rc = nghttp2_submit_headers(ng, NGHTTP2_FLAG_NONE, st->id, NULL, nv, n, NULL);
	else
		rc = nghttp2_submit_response(ng, st->id, nv, n, st->out_end ? NULL : &data);
	buf_fini(&text);
	return rc < 0 ? -1 : 0;
}

/* A head from p[0..n). Returns the bytes that it took: 0 when it is not whole, -1 when it is not
 * one. */
static ssize_t
take_head(struct h2_stream *st, const char *p, size_t n)
{
	struct http_head h;
	struct str method = str_of(st->is_head ? "HEAD" : "GET");
	enum http_head_result r = http_head_response(p, n, 0, method, &h);

	if (r == HTTP_HEAD_MORE && n < PROXY_ANSWER_HEAD_MAX)
		return 0;
	if (r != HTTP_HEAD_OK)
		return -1;
	if (h.status == 101 && st->asks_upgrade)
		st->is_tunnel = true;
	if (h.status >= 200 || st->is_tunnel) {
		st->has_answer = true;
		http_body_init(&st->body, &h);
		st->body.trailers = &st->trailers;
		st->out_end =
		    !st->is_tunnel && (h.framing == HTTP_BODY_NONE ||
		                          (h.framing == HTTP_BODY_LENGTH && h.length == 0));
	}
	return submit(st, &h) < 0 ? -1 : (ssize_t)h.size;
}

static int
take_body(struct h2_stream *st, const char *p, size_t n)
{
	while (n != 0 && !st->out_end) {
		enum http_body_result r;
		struct str data;
		size_t used;

		if (st->is_tunnel) {
			buf_add(&st->out, p, n);
			break;
		}
		r = http_body_next(&st->body, p, n, &used, &data);
		if (r == HTTP_BODY_BAD || (used == 0 && r == HTTP_BODY_MORE))
			return -1;
		if (data.n != 0)
			buf_add(&st->out, data.p, data.n);
		st->out_end = r == HTTP_BODY_DONE;
		p += used;
		n -= used;
	}
	return 0;
}

static int
take(struct h2_stream *st, const char *p, size_t n)
{
	while (n != 0 && !st->has_answer) {
		size_t had = st->head.n;
		ssize_t used;

		if (had != 0) {
			buf_add(&st->head, p, n);
			used = take_head(st, st->head.p, st->head.n);
		} else {
			used = take_head(st, p, n);
		}
		if (used < 0)
			return -1;
		if (used == 0) {
			if (had == 0)
				buf_add(&st->head, p, n);
			return 0;
		}
		buf_fini(&st->head);
		p += (size_t)used - had;
		n -= (size_t)used - had;
	}
	return take_body(st, p, n);
}

static void
resume(struct h2_stream *st)
{
	if (st->is_deferred && (st->out_end || st->out.n != st->out_off)) {
		st->is_deferred = false;
		(void)nghttp2_session_resume_data(h2_session_ng(st->session), st->id);
	}
	h2_session_wake(st->session);
}

static ssize_t
stream_send(struct sock *s, const struct iovec *v, int n)
{
	struct h2_stream *st = s->over;
	ssize_t all = 0;

	if (st->is_closed) {
		errno = EPIPE;
		return -1;
	}
	if (st->out.n - st->out_off >= OUT_MAX) {
		st->is_full = true;
		errno = EAGAIN;
		return -1;
	}
	for (int i = 0; i < n; i++) {
		if (v[i].iov_len != 0 && take(st, v[i].iov_base, v[i].iov_len) < 0) {
			errno = EPROTO;
			return -1;
		}
		all += (ssize_t)v[i].iov_len;
	}
	resume(st);
	return all;
}

static void
stream_shut(struct sock *s)
{
	struct h2_stream *st = s->over;

	if (!st->is_tunnel || st->is_closed)
		return;
	st->out_end = true;
	resume(st);
}

/* The connection is done with the stream. */
static void
stream_drop(struct sock *s, bool is_reset)
{
	struct h2_stream *st = s->over;
	size_t left = st->in.n - st->in_off - st->in_head;

	(void)is_reset;
	st->conn = NULL;
	if (st->is_closed) {
		free_stream(st);
		return;
	}
	if (left != 0)
		(void)nghttp2_session_consume(h2_session_ng(st->session), st->id, left);
	buf_fini(&st->in);
	st->in_off = st->in_head = 0;
	if (!st->out_sent || !st->in_end)
		(void)nghttp2_submit_rst_stream(h2_session_ng(st->session), NGHTTP2_FLAG_NONE,
		    st->id, st->out_sent ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR);
	h2_session_wake(st->session);
}

static bool
stream_pending(const struct sock *s)
{
	const struct h2_stream *st = s->over;

	return !st->is_closed && st->out_end && !st->out_sent;
}

static const struct sock_layer stream_layer = {
	.recv = stream_recv,
	.send = stream_send,
	.shut = stream_shut,
	.drop = stream_drop,
	.pending = stream_pending,
};

/* --- the start --- */

static void
make_text(struct h2_stream *st, bool has_body)
{
	struct h2_head *h = st->request;
	unsigned char bytes[KEY_BYTES];
	AUTO(free) char *key = NULL;

	st->is_head = str_eq(buf_str(&h->method), "HEAD");
	st->asks_upgrade = h2_head_is_websocket(h);
	st->is_chunked = h2_head_is_chunked(h, has_body);
	if (st->asks_upgrade) {
		secret_random(bytes, sizeof bytes);
		key = str_base64(bytes, sizeof bytes);
	}
	if (h->is_bad || h->is_large) /* the parser of HTTP/1.1 refuses it, with a page */
		buf_adds(&st->in, "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
	else
		h2_head_request(h, has_body, key, &st->in);
	st->in_head = st->in.n;
	h2_head_fini(h);
	free(STEAL(st->request));
}

void
h2_stream_start(struct h2_stream *st, bool has_body)
{
	bool is_large = st->request->is_large;

	make_text(st, has_body);
	st->in_end = !has_body;
	st->conn = client_conn_start_stream(h2_session_conn(st->session), &stream_layer, st);
	if (st->conn != NULL)
		st->conn->is_large = is_large;
	else /* it was not looked at: the client may send it again (RFC 9113 8.7) */
		(void)nghttp2_submit_rst_stream(
		    h2_session_ng(st->session), NGHTTP2_FLAG_NONE, st->id, NGHTTP2_REFUSED_STREAM);
}
