#include "router/h2_client.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/http/http_body.h"
#include "lib/http/http_head.h"
#include "router/h2_head.h"
#include "router/h2_wire.h"
#include "router/host_endpoint.h"
#include "router/lane.h"
#include "router/upstream.h"

enum { OUT_MAX = 32 * 1024, HEAD_MAX = 64 * 1024, ROUNDS = 16 };

struct h2_call {
	LIST_ENTRY(h2_call) link;
	struct h2_client *client; /* borrowed */
	struct sock *sock;        /* borrowed: owns us as its layer */
	struct buf head;          /* the request's, while it is not whole */
	struct buf out;           /* of its body, not sent yet */
	struct buf fields;        /* of a head of the answer that is coming */
	struct buf trailers;      /* of the request */
	struct buf in;            /* the answer as text, not read yet */
	struct http_body body;    /* of the request */
	size_t out_off, in_off;
	size_t in_data; /* bytes that the instance may not send again yet */
	int32_t id;     /* 0: not asked yet */
	int status;
	bool is_head, has_length, has_answer, is_chunked;
	bool out_end, in_end;
	bool is_deferred, is_full;
	bool is_closed;    /* in nghttp2 */
	bool asks_tunnel;  /* a WebSocket, by RFC 8441 */
	bool is_tunnel;    /* and it has it */
	bool waits;        /* until it is known whether the instance can that */
	struct buf accept; /* the Sec-WebSocket-Accept of the answer */
};

LIST_HEAD(h2_call_list, h2_call);

struct h2_client {
	struct lane_grave grave;
	struct lane_timer timer; /* idle */
	struct sock sock;
	struct h2_client *next;     /* in pool->h2 */
	struct upstream_pool *pool; /* borrowed */
	nghttp2_session *ng;        /* owned */
	struct h2_call_list calls;
	size_t call_n;
	bool is_up;   /* the connection is made */
	bool is_told; /* the instance's settings came */
	bool is_busy; /* within nghttp2 */
	bool is_off;  /* out of the pool's list: takes no more */
	bool is_dead; /* it is closed */
};

/* --- life --- */

static void
wake(struct h2_call *c)
{
	c->sock->can_read = true;
	sock_again(c->sock);
}

static void
tell(struct h2_client *h)
{
	if (!h->is_busy && !h->is_dead)
		sock_again(&h->sock);
}

static void
leave_pool(struct h2_client *h)
{
	struct h2_client **at = &h->pool->h2;

	if (h->is_off)
		return;
	h->is_off = true;
	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
}

static void
free_client(struct h2_client *h)
{
	nghttp2_session_del(STEAL(h->ng));
	lane_bury(h->sock.lane, &h->grave);
}

/* The connection ends: what is under way on it breaks. */
static void
end_client(struct h2_client *h)
{
	struct h2_call *c;

	if (h->is_dead)
		return;
	leave_pool(h);
	h->is_dead = true;
	wheel_clear(&h->sock.lane->wheel, &h->timer.timer);
	sock_close(&h->sock);
	h->sock.lane->upstream_n--;
	LIST_FOREACH (c, &h->calls, link) {
		c->is_closed = true;
		wake(c);
	}
	if (h->call_n == 0)
		free_client(h);
}

static void ask_waiting(struct h2_client *h);

/* --- what the instance says --- */

static int
on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t name_n,
    const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
	struct h2_call *c = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	struct str key = { (const char *)name, name_n }, v = { (const char *)value, value_n };

	(void)flags;
	(void)arg;
	if (c == NULL)
		return 0;
	if (c->fields.n + name_n + value_n > HEAD_MAX)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (str_eq(key, ":status")) {
		c->status = (v.p[0] - '0') * 100 + (v.p[1] - '0') * 10 + v.p[2] - '0';
		return 0;
	}
	c->has_length |= str_eq(key, "content-length");
	if (c->asks_tunnel && str_eq(key, "sec-websocket-accept")) /* as the client wants it */
		return 0;
	h2_head_add_line(&c->fields, key, v);
	return 0;
}

static void
add_tunnel(struct h2_call *c)
{
	buf_addf(&c->in,
	    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
	    "websocket\r\nSec-WebSocket-Accept: %s\r\n",
	    c->accept.p);
	buf_addstr(&c->in, buf_str(&c->fields));
	buf_adds(&c->in, "\r\n");
	buf_fini(&c->fields);
	c->has_answer = c->is_tunnel = true;
}

/* A head is whole: as text. */
static void
add_answer(struct h2_call *c, bool ends)
{
	bool has_body = !c->is_head && c->status >= 200 && c->status != 204 && c->status != 304;

	if (c->asks_tunnel && c->status >= 200 && c->status < 300) {
		add_tunnel(c);
		return;
	}
	buf_addf(&c->in, "HTTP/1.1 %03d \r\n", c->status);
	buf_addstr(&c->in, buf_str(&c->fields));
	c->has_answer = c->status >= 200;
	if (has_body && !c->has_length) {
		c->is_chunked = !ends;
		buf_adds(&c->in, ends ? "content-length: 0\r\n" : "transfer-encoding: chunked\r\n");
	}
	buf_adds(&c->in, "\r\n");
	buf_fini(&c->fields);
	c->has_length = false;
}

static int
on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2_client *h = arg;
	struct h2_call *c = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	bool ends = (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

	if (f->hd.type == NGHTTP2_GOAWAY)
		leave_pool(h);
	if (f->hd.type == NGHTTP2_SETTINGS && !h->is_told)
		ask_waiting(h);
	if (c == NULL || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS && !c->has_answer)
		add_answer(c, ends);
	if (ends) {
		if (c->is_chunked) {
			buf_adds(&c->in, "0\r\n");
			buf_addstr(&c->in, buf_str(&c->fields));
			buf_adds(&c->in, "\r\n");
		}
		c->in_end = true;
	}
	wake(c);
	return 0;
}

static int
on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct h2_call *c = nghttp2_session_get_stream_user_data(ng, id);

	(void)flags;
	(void)arg;
	(void)nghttp2_session_consume_connection(ng, n); /* a slow client holds back its own only */
	if (c == NULL || n == 0)
		return 0;
	if (c->is_chunked)
		buf_addf(&c->in, "%zx\r\n", n);
	buf_add(&c->in, p, n);
	if (c->is_chunked)
		buf_adds(&c->in, "\r\n");
	c->in_data += n;
	wake(c);
	return 0;
}

static int
on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2_call *c = nghttp2_session_get_stream_user_data(ng, id);

	(void)code;
	(void)arg;
	if (c == NULL)
		return 0;
	c->is_closed = true;
	wake(c);
	return 0;
}

/* --- what it is asked --- */

static ssize_t
on_out(nghttp2_session *ng, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
    nghttp2_data_source *source, void *arg)
{
	struct h2_call *c = nghttp2_session_get_stream_user_data(ng, id);
	size_t left;

	(void)source;
	(void)arg;
	if (c == NULL)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	left = c->out.n - c->out_off;
	if (left == 0 && !c->out_end) {
		c->is_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n > left)
		n = left;
	if (n != 0)
		memcpy(p, c->out.p + c->out_off, n);
	c->out_off += n;
	if (c->out_off == c->out.n) {
		buf_fini(&c->out);
		c->out_off = 0;
		if (c->out_end)
			*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (c->out_end && h2_wire_trailers(ng, id, &c->trailers))
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (c->is_full)
			wake(c);
		c->is_full = false;
	}
	return (ssize_t)n;
}

/* An answer of the router's own: the instance is not asked. */
static void
refuse(struct h2_call *c, int status, const char *why)
{
	buf_addf(&c->in,
	    "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s", status,
	    http_reason(status), strlen(why), why);
	c->id = -1;
	c->in_end = c->out_end = true;
	wake(c);
}

/* What a client wants to see of the key that it sent (RFC 6455 4.2.2). */
static void
note_key(struct h2_call *c, struct str key)
{
	AUTO_FINI(buf_fini) struct buf both = { 0 };
	AUTO(free) char *text = NULL;
	uint8_t sum[20];

	buf_addstr(&both, key);
	buf_adds(&both, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	secret_sha1(both.p, both.n, sum);
	text = str_base64(sum, sizeof sum);
	buf_clear(&c->accept);
	buf_adds(&c->accept, text);
}

/* Whether h, which asks for a WebSocket, can be sent now. */
static bool
may_ask_tunnel(struct h2_call *c, const struct http_head *h)
{
	struct h2_client *to = c->client;

	c->waits = !to->is_told; /* RFC 8441 3 */
	if (c->waits)
		return false;
	if (nghttp2_session_get_remote_settings(to->ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) !=
	    1)
		refuse(c, 501,
		    "The application speaks HTTP/2 and takes no WebSockets by it (RFC 8441).\n");
	else if (http_head_get(h, "sec-websocket-key").n == 0)
		refuse(c, 400, "A WebSocket needs the field Sec-WebSocket-Key.\n");
	else
		note_key(c, http_head_get(h, "sec-websocket-key"));
	return c->id == 0;
}

/* A head from p[0..n). Returns the bytes that it took: 0 when it is not whole or must wait, -1 for
 * an error. */
static ssize_t
take_head(struct h2_call *c, const char *p, size_t n)
{
	nghttp2_data_provider data = { .read_callback = on_out };
	nghttp2_nv nv[H2_HEAD_FIELDS_MAX];
	struct buf text = { 0 };
	struct http_head h;
	enum http_head_result r = http_head_request(p, n, 0, &h);
	size_t k;

	if (r == HTTP_HEAD_MORE)
		return 0;
	if (r != HTTP_HEAD_OK)
		return -1;
	c->asks_tunnel = h.upgrade && str_eq_nocase(http_head_get(&h, "upgrade"), "websocket");
	if (c->asks_tunnel && !may_ask_tunnel(c, &h))
		return c->waits ? 0 : (ssize_t)h.size;
	c->is_head = str_eq(h.method, "HEAD");
	http_body_init(&c->body, &h);
	c->body.trailers = &c->trailers;
	c->out_end = !c->asks_tunnel && (h.framing == HTTP_BODY_NONE ||
	                                    (h.framing == HTTP_BODY_LENGTH && h.length == 0));
	k = h2_head_call(&h, c->asks_tunnel, &text, nv);
	c->id = nghttp2_submit_request(c->client->ng, NULL, nv, k, c->out_end ? NULL : &data, c);
	buf_fini(&text);
	return c->id < 0 ? -1 : (ssize_t)h.size;
}

static int
take_body(struct h2_call *c, const char *p, size_t n)
{
	while (n != 0 && !c->out_end) {
		struct str data;
		size_t used;
		enum http_body_result r;

		if (c->asks_tunnel) {
			buf_add(&c->out, p, n);
			break;
		}
		r = http_body_next(&c->body, p, n, &used, &data);

		if (r == HTTP_BODY_BAD || (used == 0 && r == HTTP_BODY_MORE))
			return -1;
		if (data.n != 0)
			buf_add(&c->out, data.p, data.n);
		c->out_end = r == HTTP_BODY_DONE;
		p += used;
		n -= used;
	}
	return 0;
}

static int
take(struct h2_call *c, const char *p, size_t n)
{
	size_t had = c->head.n;
	ssize_t used;

	if (c->id != 0)
		return take_body(c, p, n);
	if (had != 0) {
		buf_add(&c->head, p, n);
		used = take_head(c, c->head.p, c->head.n);
	} else {
		used = take_head(c, p, n);
	}
	if (used < 0)
		return -1;
	if (used == 0) {
		if (had == 0)
			buf_add(&c->head, p, n);
		return 0;
	}
	buf_fini(&c->head);
	return take_body(c, p + ((size_t)used - had), n - ((size_t)used - had));
}

/* The instance's settings are known. */
static void
ask_waiting(struct h2_client *h)
{
	struct h2_call *c;

	h->is_told = true;
	LIST_FOREACH (c, &h->calls, link) {
		if (!c->waits)
			continue;
		c->waits = false;
		if (take_head(c, c->head.p, c->head.n) < 0) {
			c->is_closed = true;
			wake(c);
		}
		buf_fini(&c->head);
	}
}

static void
resume(struct h2_call *c)
{
	if (c->is_deferred && (c->out_end || c->out.n != c->out_off)) {
		c->is_deferred = false;
		(void)nghttp2_session_resume_data(c->client->ng, c->id);
	}
	tell(c->client);
}

static ssize_t
call_send(struct sock *s, const struct iovec *v, int n)
{
	struct h2_call *c = s->over;
	ssize_t all = 0;

	if (c->is_closed || c->client->is_dead) {
		errno = c->client->is_up ? EPIPE : ECONNREFUSED;
		return -1;
	}
	if (!c->client->is_up || c->out.n - c->out_off >= OUT_MAX) {
		c->is_full = true;
		errno = EAGAIN;
		return -1;
	}
	for (int i = 0; i < n; i++) {
		if (v[i].iov_len != 0 && take(c, v[i].iov_base, v[i].iov_len) < 0) {
			errno = EPROTO;
			return -1;
		}
		all += (ssize_t)v[i].iov_len;
	}
	resume(c);
	return all;
}

static ssize_t
call_recv(struct sock *s, void *p, size_t n, bool *out_more)
{
	struct h2_call *c = s->over;
	size_t left = c->in.n - c->in_off, data;

	*out_more = left > n;
	if (left != 0) {
		if (n > left)
			n = left;
		memcpy(p, c->in.p + c->in_off, n);
		c->in_off += n;
		if (c->in_off == c->in.n) {
			buf_fini(&c->in);
			c->in_off = 0;
		}
		data = n < c->in_data ? n : c->in_data;
		c->in_data -= data;
		if (data != 0 && !c->is_closed) {
			(void)nghttp2_session_consume_stream(c->client->ng, c->id, data);
			tell(c->client);
		}
		return (ssize_t)n;
	}
	if (c->in_end)
		return 0;
	errno = c->is_closed ? ECONNRESET : EAGAIN;
	return -1;
}

static void
call_shut(struct sock *s)
{
	struct h2_call *c = s->over;

	if (!c->is_tunnel || c->is_closed) /* the end of a request is told by its length */
		return;
	c->out_end = true;
	resume(c);
}

/* The end of a tunnel, with what was sent before it, is not out. */
static bool
call_pending(const struct sock *s)
{
	const struct h2_call *c = s->over;

	return c->is_tunnel && c->out_end && !c->is_closed;
}

static void
call_drop(struct sock *s, bool is_reset)
{
	struct h2_call *c = s->over;
	struct h2_client *h = c->client;

	(void)is_reset;
	LIST_REMOVE(c, link);
	h->call_n--;
	if (c->id > 0 && !c->is_closed) {
		(void)nghttp2_session_set_stream_user_data(h->ng, c->id, NULL);
		(void)nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, c->id, NGHTTP2_CANCEL);
		tell(h);
	}
	buf_fini(&c->head);
	buf_fini(&c->out);
	buf_fini(&c->trailers);
	buf_fini(&c->fields);
	buf_fini(&c->in);
	buf_fini(&c->accept);
	free(c);
	if (h->call_n != 0)
		return;
	if (h->is_dead)
		free_client(h);
	else if (!h->is_up || h->is_off)
		end_client(h);
	else
		wheel_set(
		    &h->sock.lane->wheel, &h->timer.timer, h->sock.lane->now_ms + UPSTREAM_IDLE_MS);
}

static const struct sock_layer call_layer = {
	.recv = call_recv,
	.send = call_send,
	.shut = call_shut,
	.drop = call_drop,
	.pending = call_pending,
};

/* --- the connection --- */

/* false: it is broken, or the end. */
static bool
read_frames(struct h2_client *h)
{
	char *in = lane_frames(h->sock.lane);

	for (int i = 0;; i++) {
		ssize_t n, used;

		if (i == ROUNDS) { /* others wait too */
			sock_again(&h->sock);
			return true;
		}
		n = sock_read(&h->sock, in, LANE_FRAMES);
		if (n == 0 && !h->sock.eof)
			return true;
		if (n <= 0)
			return false;
		h->is_busy = true;
		used = nghttp2_session_mem_recv(h->ng, (const uint8_t *)in, (size_t)n);
		h->is_busy = false;
		if (used < 0)
			return false;
	}
}

static bool
is_made(struct h2_client *h)
{
	struct h2_call *c;
	int code = 0;
	socklen_t n = sizeof code;

	if (getsockopt(h->sock.fd, SOL_SOCKET, SO_ERROR, &code, &n) < 0 || code != 0)
		return false;
	h->is_up = true;
	LIST_FOREACH (c, &h->calls, link)
		wake(c);
	return true;
}

static void
on_sock(struct sock *s)
{
	struct h2_client *h = CONTAINER_OF(s, struct h2_client, sock);

	if (h->is_dead)
		return;
	if ((!h->is_up && s->can_write && !is_made(h)) ||
	    (h->is_up && (!read_frames(h) || !h2_wire_flush(h->ng, s))))
		end_client(h);
}

static void
on_idle(struct lane_timer *t)
{
	end_client(CONTAINER_OF(t, struct h2_client, timer));
}

static nghttp2_session *
new_ng(struct h2_client *h)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_CLIENT_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEAD_MAX },
	};
	nghttp2_session_callbacks *c = NULL;
	nghttp2_option *o = NULL;
	nghttp2_session *ng = NULL;

	if (nghttp2_session_callbacks_new(&c) != 0 || nghttp2_option_new(&o) != 0)
		abort(); /* out of memory */
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
	nghttp2_option_set_no_auto_window_update(o, 1);
	if (nghttp2_session_client_new2(&ng, c, h, o) != 0)
		abort();
	nghttp2_session_callbacks_del(c);
	nghttp2_option_del(o);
	(void)nghttp2_submit_settings(
	    ng, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof settings[0]);
	(void)nghttp2_session_set_local_window_size(
	    ng, NGHTTP2_FLAG_NONE, 0, H2_CLIENT_STREAMS * H2_CLIENT_WINDOW);
	return ng;
}

static struct h2_client *
new_client(struct upstream_pool *p)
{
	int fd = upstream_connect(p);
	struct h2_client *h;

	if (fd < 0)
		return NULL;
	h = xcalloc(1, sizeof *h);
	h->pool = p;
	h->timer.fn = on_idle;
	LIST_INIT(&h->calls);
	h->ng = new_ng(h);
	sock_start(&h->sock, p->lane, fd, false, on_sock);
	sock_watch(&h->sock);
	p->lane->upstream_n++;
	h->next = p->h2;
	p->h2 = h;
	return h;
}

static bool
has_room(const struct h2_client *h)
{
	return h->call_n < H2_CLIENT_STREAMS &&
	       h->call_n < nghttp2_session_get_remote_settings(
	                       h->ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) &&
	       nghttp2_session_check_request_allowed(h->ng) != 0;
}

int
h2_client_open(struct upstream_pool *p, struct sock *s, sock_fn *fn)
{
	struct h2_client *h = p->h2;
	struct h2_call *c;

	while (h != NULL && !has_room(h))
		h = h->next;
	if (h == NULL && (h = new_client(p)) == NULL)
		return -1;
	c = xcalloc(1, sizeof *c);
	c->client = h;
	c->sock = s;
	LIST_INSERT_HEAD(&h->calls, c, link);
	h->call_n++;
	wheel_clear(&p->lane->wheel, &h->timer.timer);
	sock_start_layer(s, p->lane, &call_layer, c, fn);
	return 0;
}

void
h2_client_close_all(struct upstream_pool *p)
{
	while (p->h2 != NULL)
		end_client(p->h2);
}
