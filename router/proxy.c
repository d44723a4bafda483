#include "router/proxy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "router/client_conn.h"
#include "router/compress.h"
#include "router/filter.h"
#include "router/gate.h"
#include "router/hedge.h"
#include "router/lane.h"
#include "router/listener.h"
#include "router/origin.h"
#include "router/proxy_log.h"
#include "router/proxy_page.h"
#include "router/proxy_relay.h"
#include "router/proxy_try.h"
#include "router/router_conf.h"
#include "router/stats.h"
#include "router/tunnel.h"
#include "router/upstream.h"

enum { ROUNDS = 16, SPARES = 256, SPARE_HEAD_MAX = 4096, CLIENT_GONE = 499 };
enum {
	ID_DIGITS = 32,
	PARENT_DIGITS = 16,
	TRACE_ID = 16, /* where it begins in the field */
	TRACE_LEN = TRACE_ID + ID_DIGITS + 1 + PARENT_DIGITS + 5,
};

static struct lane *
lane_of(const struct proxy *x)
{
	return x->client->sock.lane;
}

/* --- life --- */

static struct proxy *
new_exchange(struct client_conn *c)
{
	struct lane *l = c->sock.lane;
	struct proxy *x = l->spare;
	struct buf head, answer, names;

	if (x == NULL) {
		x = xcalloc(1, sizeof *x);
	} else {
		l->spare = x->next;
		if (--l->spare_n < l->spare_low)
			l->spare_low = l->spare_n;
	}
	head = x->head;
	answer = x->answer;
	names = x->names;
	memset(x, 0, offsetof(struct proxy, id));
	x->head = head;
	x->answer = answer;
	x->names = names;
	x->client = c;
	x->read_max = lane_read_first(c->sock.lane);
	c->x = x;
	return x;
}

void
proxy_let_go(struct proxy *x, bool keep)
{
	struct upstream_conn *u = STEAL(x->up);
	struct upstream_pool *p = STEAL(x->pool);

	if (x->hedge != NULL)
		hedge_drop(STEAL(x->hedge));
	if (u != NULL && keep)
		upstream_keep(u, x->up_idle_ms);
	else if (u != NULL)
		upstream_close(u);
	if (x->gate != NULL) {
		gate_leave(lane_of(x), x->gate, p->ep);
		route_options_unref(STEAL(x->gate));
	}
	if (p != NULL)
		upstream_pool_release(p);
}

void
proxy_free(struct proxy *take_x)
{
	struct proxy *x = take_x;
	struct lane *l;

	if (x == NULL)
		return;
	l = lane_of(x);
	proxy_log_end(x);
	hold_remove(&x->held);
	proxy_let_go(x, false);
	filter_free(x->filter);
	if (x->head.cap > SPARE_HEAD_MAX)
		buf_fini(&x->head);
	if (x->answer.cap != 0)
		buf_fini(&x->answer);
	buf_fini(&x->trailers);
	if (x->up_chunked)
		buf_fini(&x->asked_trailers);
	buf_clear(&x->head);
	buf_clear(&x->names);
	if (l->spare_n < SPARES) {
		x->next = l->spare;
		l->spare = x;
		l->spare_n++;
		return;
	}
	buf_fini(&x->head);
	buf_fini(&x->names);
	free(x);
}

static void
drop_spares(struct lane *l, int n)
{
	for (; n > 0; n--) {
		struct proxy *x = l->spare;

		l->spare = x->next;
		l->spare_n--;
		buf_fini(&x->head);
		buf_fini(&x->answer);
		buf_fini(&x->names);
		free(x);
	}
}

void
proxy_trim_spares(struct lane *l)
{
	drop_spares(l, (l->spare_low + 1) / 2);
	l->spare_low = l->spare_n;
}

void
proxy_drop_spares(struct lane *l)
{
	drop_spares(l, l->spare_n);
}

void
proxy_touch(struct proxy *x)
{
	int64_t ms = x->timeout_ms;

	if (x->filter != NULL)
		ms = filter_deadline(x, ms);
	client_conn_deadline(x->client, ms);
}

static enum client_next
next_of(const struct proxy *x)
{
	if (!x->up_done)
		return CLIENT_NEXT_LINGER;
	if (x->keep && !lane_of(x)->draining)
		return CLIENT_NEXT_REQUEST;
	/* Some clients send a line end behind a body: with it unread, a close would be a reset. */
	if (x->client_closes && x->body_in == 0 && x->client->view_n == 0)
		return CLIENT_NEXT_CLOSE;
	return CLIENT_NEXT_LINGER;
}

void
proxy_finish(struct proxy *x)
{
	struct client_conn *c = x->client;
	enum client_next next = next_of(x);

	proxy_let_go(x, x->up_keep && x->up_done && !x->up_broken);
	client_conn_done(c, next);
}

void
proxy_abort(struct proxy *x, int status, const char *why)
{
	x->status = status;
	x->why = why;
	proxy_let_go(x, false);
	client_conn_close(x->client);
}

/* --- the router's own answers --- */

static void
write_page(struct client_conn *c, const struct proxy_page *p)
{
	struct lane *l = c->sock.lane;
	struct iovec v;

	buf_clear(&l->out);
	c->x->bytes = (int64_t)proxy_page_add(&l->out, p);
	v = (struct iovec){ l->out.p, l->out.n };
	(void)sock_write(&c->sock, &v, 1);
}

void
proxy_answer(struct proxy *x, struct proxy_page p)
{
	struct client_conn *c = x->client;
	enum client_next next;

	p.id = (struct str){ x->id, x->id_n };
	p.wants_json = x->wants_json;
	p.is_head = x->is_head;
	p.minor = x->minor;
	if (x->has_answer) { /* too late for a page: the client sees that it is cut off */
		proxy_abort(x, x->status, p.why);
		return;
	}
	if (x->filter != NULL)
		filter_page(x, &p);
	if (x->pool != NULL && (p.status == 502 || p.status == 504))
		proxy_try_failed(x);
	proxy_let_go(x, false);
	x->status = p.status;
	if (x->why == NULL && p.status >= 400)
		x->why = p.why;
	next = next_of(x);
	p.keep = next == CLIENT_NEXT_REQUEST;
	write_page(c, &p);
	client_conn_done(c, next);
}

void
proxy_fail_later(struct proxy *x, int status, const char *why, int retry_after_s)
{
	proxy_answer(
	    x, (struct proxy_page){ .status = status, .why = why, .retry_after_s = retry_after_s });
}

void
proxy_fail(struct proxy *x, int status, const char *why)
{
	proxy_fail_later(x, status, why, 0);
}

static void
make_id(struct lane *l, struct proxy *x)
{
	x->id_n = ID_DIGITS;
	lane_random_hex(l, x->id, ID_DIGITS);
}

/* An id of our own names the trace, too. */
static struct str
make_trace(struct lane *l, const struct proxy *x, char to[TRACE_LEN])
{
	static const char field[TRACE_LEN + 1] =
	    "Traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\n";

	memcpy(to, field, TRACE_LEN);
	if (x->has_own_id)
		memcpy(to + TRACE_ID, x->id, ID_DIGITS);
	else
		lane_random_hex(l, to + TRACE_ID, ID_DIGITS);
	lane_random_hex(l, to + TRACE_ID + ID_DIGITS + 1, PARENT_DIGITS);
	return (struct str){ to, TRACE_LEN };
}

void
proxy_refuse(struct client_conn *c, int status, const char *why)
{
	struct proxy *x = new_exchange(c);
	struct proxy_page p = { .status = status, .why = why, .minor = 1 };

	make_id(c->sock.lane, x);
	p.id = (struct str){ x->id, x->id_n };
	x->start_us = lane_monotonic_us();
	x->start_unix_us = lane_unix_us(c->sock.lane, x->start_us);
	x->status = status;
	x->why = why;
	x->minor = 1;
	buf_adds(&x->head, "- -");
	x->method_n = x->target_n = 1;
	write_page(c, &p);
}

/* --- request, to the instance --- */

/* The connection takes no more. false: x is gone. */
static bool
write_failed(struct proxy *x)
{
	if (x->head_sent == 0 || x->up->connecting) {
		proxy_lost(x);
		return false;
	}
	/* It may have answered before it closed. */
	x->up_broken = true;
	x->up->sock.can_read = true;
	x->up->sock.half_closed = true;
	return true;
}

/* The head alone. false: x is gone. */
static bool
send_head(struct proxy *x)
{
	struct upstream_conn *u = x->up;
	struct iovec v = { x->head.p + x->head_sent, x->head.n - x->head_sent };
	ssize_t n = sock_try(&u->sock, &v, 1);

	if (n < 0)
		return write_failed(x);
	if (n > 0) {
		if (u->connecting)
			proxy_log_connected(x);
		upstream_connected(u);
	}
	x->head_sent += (size_t)n;
	if (x->head_sent == x->head.n)
		x->sent_us = lane_monotonic_us();
	return true;
}

/* Larger reads while the other side takes all at once. n: bytes of the last one. */
static void
size_reads(struct proxy *x, const struct sock *to, size_t n)
{
	uint32_t first = lane_read_first(lane_of(x));

	if (sock_pending(to) || first != LANE_READ)
		x->read_max = first;
	else if (n == x->read_max && x->read_max < LANE_SCRATCH && !x->client->is_stream)
		x->read_max *= 2;
}

/* One piece of the body, behind the head if that was not sent. false: x is gone. */
static bool
send_body(struct proxy *x)
{
	struct client_conn *c = x->client;
	struct sock *to = &x->up->sock;
	struct http_body before = x->up_body;
	struct proxy_relay r;

	proxy_relay_fill(&r, &x->up_body, c->view, c->view_n, x->up_chunked);
	if (r.result == HTTP_BODY_BAD) {
		x->keep = false;
		if (x->head_sent == 0 || !x->has_answer)
			proxy_fail(x, 400, http_body_why(&x->up_body));
		else
			proxy_abort(x, 400, http_body_why(&x->up_body));
		return false;
	}
	if (x->filter != NULL && !filter_body(x, r.data))
		return false;
	r.v[0] = (struct iovec){ x->head.p + x->head_sent, x->head.n - x->head_sent };
	if (sock_write(to, r.v, r.n) < 0) {
		x->up_body = before;
		buf_clear(&x->asked_trailers); /* who is asked again gets them anew */
		if (x->filter != NULL)
			x->filter->body_seen -= (int64_t)r.data;
		return write_failed(x);
	}
	if (x->sent_us == 0)
		x->sent_us = lane_monotonic_us();
	x->head_sent = x->head.n;
	x->body_in += (int64_t)r.used;
	client_conn_consume(c, r.used);
	x->up_done = r.result == HTTP_BODY_DONE;
	proxy_touch(x);
	return true;
}

/* false: x is gone. */
static bool
pump_up_some(struct proxy *x)
{
	struct client_conn *c = x->client;
	struct sock *to = &x->up->sock;
	bool broken = false;

	if (sock_flush(to) < 0)
		return write_failed(x);
	if (x->head_sent < x->head.n && (x->up->connecting || x->up_done || c->view_n == 0)) {
		if (!send_head(x))
			return false;
		if (x->head_sent < x->head.n)
			return true;
	}
	for (int i = 0; !x->up_done && !x->up_broken && !sock_pending(to); i++) {
		size_t n;

		if (i == ROUNDS) {
			sock_again(&c->sock);
			return true;
		}
		if (!client_conn_fill(c, x->read_max, &broken)) {
			if (!broken && !c->sock.eof)
				return true;
			proxy_abort(
			    x, CLIENT_GONE, "The client left within the body of its request.");
			return false;
		}
		n = c->view_n;
		if (!send_body(x))
			return false;
		size_reads(x, to, n);
	}
	return true;
}

bool
proxy_send(struct proxy *x)
{
	struct client_conn *c = x->client;
	bool lives;

	if (x->up == NULL || x->up_broken ||
	    (x->up_done && x->head_sent == x->head.n && !sock_pending(&x->up->sock)))
		return true;
	lives = pump_up_some(x);
	client_conn_park(c);
	return lives;
}

/* --- answer, to the client --- */

static void
settle_answer(struct proxy *x, const struct http_head *h)
{
	int64_t idle_s = proxy_head_keep_alive_s(h);

	http_body_init(&x->down_body, h);
	x->up_keep = h->keep_alive;
	/* Before the instance closes it, not after. */
	x->up_idle_ms = idle_s < 0 ? UPSTREAM_IDLE_MS : idle_s * 1000 - 1000;
	if (x->up_idle_ms > UPSTREAM_IDLE_MS)
		x->up_idle_ms = UPSTREAM_IDLE_MS;
	if (h->framing == HTTP_BODY_CHUNKED || h->framing == HTTP_BODY_UNTIL_CLOSE) {
		x->down_chunked = x->minor == 1;
		x->down_body.trailers = x->wants_trailers ? &x->trailers : NULL;
		x->keep = x->keep && x->minor == 1;
	}
	x->keep = x->keep && !lane_of(x)->draining;
	x->down_done =
	    h->framing == HTTP_BODY_NONE || (h->framing == HTTP_BODY_LENGTH && h->length == 0);
	x->status = h->status;
	x->has_answer = true;
	if (h->status >= 500 || outlier_is_marked(&x->pool->health))
		proxy_try_answered(x, h->status);
	if (x->filter != NULL)
		filter_answer(x, h);
}

static void
add_head(struct proxy *x, const char *raw, const struct http_head *h)
{
	struct proxy_head_answer a = {
		.id = { x->id, x->id_n },
		.minor = x->minor,
		.keep = x->keep,
		.chunked = x->down_chunked,
		.upgrade = x->tunnel,
		.is_interim = h->status < 200 && !x->tunnel,
	};

	size_t from = lane_of(x)->out.n;

	proxy_head_response(&lane_of(x)->out, raw, h, &a);
	if (x->filter != NULL && x->has_answer)
		filter_answer_head(x, h, from);
}

/* false: x is gone. */
static bool
write_client(struct proxy *x, const struct iovec *v, int n)
{
	if (sock_write(&x->client->sock, v, n) == 0)
		return true;
	proxy_abort(x, CLIENT_GONE, "The client left before it had the answer.");
	return false;
}

static const char *
why_bad_answer(enum http_head_result r, const struct http_head *h)
{
	if (r == HTTP_HEAD_OK)
		return "The application switched protocols unasked.";
	return r == HTTP_HEAD_MORE ? "The head of the application's answer is larger than 64 KiB."
	                           : h->why;
}

/* Parses heads from p[0..n): interim ones pass, the final one is put into lane->out. Returns the
 * bytes used, or -1 when x is gone. */
static ssize_t
take_heads(struct proxy *x, const char *p, size_t n)
{
	struct lane *l = lane_of(x);
	struct http_head *h = &l->head;
	size_t used = 0;

	buf_clear(&l->out);
	while (!x->has_answer && used < n) {
		struct str method = { x->head.p, x->method_n };
		enum http_head_result r =
		    http_head_response(p + used, n - used, x->answer_seen, method, h);

		if (r == HTTP_HEAD_MORE && n - used < PROXY_ANSWER_HEAD_MAX) {
			x->answer_seen = n - used;
			break;
		}
		x->answer_seen = 0;
		if (r != HTTP_HEAD_OK || (h->status == 101 && !x->upgrade)) {
			x->up_broken = true;
			x->why = why_bad_answer(r, h);
			proxy_fail(x, 502, "The application's answer is not valid HTTP.");
			return -1;
		}
		if (h->status == 101) {
			x->tunnel = true;
			x->timeout_ms = PROXY_TUNNEL_IDLE_S * 1000;
		}
		if (x->filter != NULL && h->status >= 200 && filter_replaces(x, h))
			return -1;
		if (h->status >= 200 || x->tunnel)
			settle_answer(x, h);
		if (x->has_answer || x->minor == 1)
			add_head(x, p + used, h);
		used += h->size;
	}
	return (ssize_t)used;
}

static bool
compresses(const struct proxy *x)
{
	return x->filter != NULL && x->filter->z != NULL;
}

/* The bytes of the body in p[0..n), behind what is in lane->out. false: x is gone. */
static bool
pass_body(struct proxy *x, const char *p, size_t n)
{
	struct lane *l = lane_of(x);
	struct iovec head = { l->out.p, l->out.n };
	struct proxy_relay r;

	do {
		if (x->down_done) {
			x->up_keep = x->up_keep && n == 0; /* nobody asked for more */
			return write_client(x, &head, 1);
		}
		proxy_relay_fill(&r, &x->down_body, p, n, x->down_chunked && !compresses(x));
		if (compresses(x) && !compress_relay(x->filter->z, &r)) {
			proxy_abort(x, x->status, "The router could not compress the answer.");
			return false;
		}
		r.v[0] = head;
		head = (struct iovec){ 0 };
		if (!write_client(x, r.v, r.n))
			return false;
		if (r.result == HTTP_BODY_BAD) {
			proxy_abort(x, x->status, http_body_why(&x->down_body));
			return false;
		}
		x->bytes += (int64_t)r.data;
		p += r.used;
		n -= r.used;
		x->down_done = r.result == HTTP_BODY_DONE;
	} while (n != 0);
	return true;
}

static bool
pass_tunnel_start(struct proxy *x, const char *p, size_t n)
{
	struct lane *l = lane_of(x);
	struct iovec v[2] = { { l->out.p, l->out.n }, { (char *)p, n } };

	x->bytes += (int64_t)n;
	return write_client(x, v, 2);
}

/* false: x is gone. */
static bool
take_answer(struct proxy *x, const char *p, size_t n)
{
	struct lane *l = lane_of(x);
	ssize_t used;
	bool ok;

	if (!x->has_byte) {
		x->first_us = lane_monotonic_us();
		if (x->hedge != NULL)
			hedge_drop(STEAL(x->hedge));
	}
	x->has_byte = true;
	if (x->has_answer) {
		buf_clear(&l->out);
		return pass_body(x, p, n);
	}
	if (x->answer.n != 0) {
		buf_add(&x->answer, p, n);
		p = x->answer.p;
		n = x->answer.n;
	}
	used = take_heads(x, p, n);
	if (used < 0)
		return false;
	p += used;
	n -= (size_t)used;
	if (!x->has_answer) {
		struct iovec v = { l->out.p, l->out.n };

		if (x->answer.n != 0)
			buf_drop(&x->answer, (size_t)used);
		else
			buf_add(&x->answer, p, n);
		return v.iov_len == 0 || write_client(x, &v, 1);
	}
	ok = x->tunnel ? pass_tunnel_start(x, p, n) : pass_body(x, p, n);
	if (ok)
		buf_fini(&x->answer);
	return ok;
}

/* The instance closed. x is gone after it. */
static void
answer_ended(struct proxy *x)
{
	static char last[] = "0\r\n\r\n";
	struct iovec v = { last, sizeof last - 1 };

	if (!x->has_byte) {
		proxy_lost(x);
	} else if (!x->has_answer) {
		proxy_fail(
		    x, 502, "The application closed the connection within the head of its answer.");
	} else if (x->down_body.framing == HTTP_BODY_UNTIL_CLOSE && x->up->sock.eof) {
		if (x->down_chunked && !write_client(x, &v, 1))
			return;
		proxy_finish(x);
	} else {
		/* Cut short: so must the client's be, also where the end of the connection is the
		 * end of the body. */
		if (x->minor == 0)
			sock_reset(&x->client->sock);
		proxy_abort(
		    x, x->status, "The application closed the connection within its answer.");
	}
}

/* false: x is gone. */
static bool
pump_down(struct proxy *x)
{
	struct lane *l = lane_of(x);
	struct sock *to = &x->client->sock;

	for (int i = 0; x->up != NULL; i++) {
		struct sock *from = &x->up->sock;
		ssize_t n;

		if (sock_pending(to)) {
			uint32_t before = to->spill_n;

			if (sock_flush(to) < 0) {
				proxy_abort(
				    x, CLIENT_GONE, "The client left before it had the answer.");
				return false;
			}
			if (to->spill_n != before)
				proxy_touch(x);
			if (sock_pending(to))
				break;
		}
		if (i == ROUNDS || (i == COMPRESS_ROUNDS && compresses(x))) {
			sock_again(from);
			break;
		}
		n = sock_read_on(from, l->scratch, compresses(x) ? COMPRESS_PIECE : x->read_max);
		if (n == 0 && !from->eof)
			break;
		if (n <= 0) {
			answer_ended(x);
			return false;
		}
		if (!take_answer(x, l->scratch, (size_t)n))
			return false;
		if (x->tunnel) {
			proxy_touch(x);
			sock_watch(to);
			return tunnel_pump(x);
		}
		if (x->down_done) {
			proxy_finish(x);
			return false;
		}
		proxy_touch(x);
		size_reads(x, to, (size_t)n);
	}
	return true;
}

void
proxy_take_answer(struct proxy *x, const char *p, size_t n)
{
	if (!take_answer(x, p, n))
		return;
	if (x->down_done) {
		proxy_finish(x);
		return;
	}
	proxy_touch(x);
	(void)pump_down(x);
}

void
proxy_on_up(struct upstream_conn *u, void *owner)
{
	struct proxy *x = owner;

	if (u->timed_out)
		proxy_lost(x);
	else if (x->tunnel)
		(void)tunnel_pump(x);
	else if (proxy_send(x))
		(void)pump_down(x);
}

void
proxy_cut(struct proxy *x)
{
	if (x->has_answer && x->minor == 0) /* an end would be the end of the answer */
		sock_reset(&x->client->sock);
	if (x->has_answer)
		proxy_abort(
		    x, x->status, "The instance was taken away, and the time to end was over.");
	else
		proxy_fail_later(x, 503, "The instance was taken away before it had answered.", 1);
}

void
proxy_client_ready(struct proxy *x)
{
	if (x->tunnel)
		(void)tunnel_pump(x);
	else if (proxy_send(x))
		(void)pump_down(x);
}

void
proxy_timeout(struct proxy *x)
{
	if (x->held.group != NULL)
		proxy_try_held_long(x);
	else if (x->tunnel)
		proxy_abort(x, x->status, "Nothing came through the tunnel for too long.");
	else if (x->has_answer)
		proxy_abort(x, x->status,
		    sock_pending(&x->client->sock)
		        ? "The client did not take the answer in time."
		        : "The rest of the application's answer did not arrive in time.");
	else if (!x->up_done && x->up != NULL && !sock_pending(&x->up->sock))
		proxy_fail(x, 408, "The rest of the request did not arrive in time.");
	else
		proxy_fail(x, 504, "The application did not answer in time.");
}

/* --- start --- */

static bool
is_idempotent(struct str m)
{
	return str_eq(m, "GET") || str_eq(m, "HEAD") || str_eq(m, "OPTIONS") || str_eq(m, "PUT") ||
	       str_eq(m, "DELETE");
}

static void
note_request(struct proxy *x, const struct http_head *h)
{
	struct lane *l = lane_of(x);
	struct str id = http_head_get(h, "x-request-id");
	bool names_html;

	x->start_us = lane_monotonic_us();
	x->start_unix_us = lane_unix_us(l, x->start_us);
	x->minor = (uint8_t)h->minor;
	x->client_closes = !h->keep_alive;
	x->keep = h->keep_alive && !l->draining;
	x->is_head = str_eq(h->method, "HEAD");
	x->is_idempotent = is_idempotent(h->method);
	x->wants_json = proxy_page_wants_json(h, &names_html);
	x->upgrade = proxy_head_may_upgrade(h);
	x->up_chunked = h->framing == HTTP_BODY_CHUNKED;
	x->up_done =
	    h->framing == HTTP_BODY_NONE || (h->framing == HTTP_BODY_LENGTH && h->length == 0);
	x->is_browsed = names_html && x->up_done && !x->upgrade && str_eq(h->method, "GET");
	x->method_n = (uint32_t)h->method.n;
	http_body_init(&x->up_body, h);
	x->up_body.trailers = &x->asked_trailers;
	if (proxy_head_id_is_valid(id)) {
		memcpy(x->id, id.p, id.n);
		x->id_n = (uint8_t)id.n;
	} else {
		x->has_own_id = true;
		make_id(l, x);
	}
}

/* What the router says to a method that it answers itself; NULL: it is the application's. */
static const char *
own_answer(const struct http_head *h)
{
	switch (*h->method.p) {
	case 'C':
		return str_eq(h->method, "CONNECT")
		           ? "This router does not open tunnels by CONNECT."
		           : NULL;
	case 'T': /* it would show what stands in front of the application */
		return str_eq(h->method, "TRACE") ? "This router does not answer TRACE." : NULL;
	case 'O':
		return str_eq(h->method, "OPTIONS") && !proxy_head_take_hop(h)
		           ? "Max-Forwards allows no hop behind this router."
		           : NULL;
	default:
		return NULL;
	}
}

void
proxy_start(struct client_conn *c, const struct http_head *h)
{
	struct proxy *x = new_exchange(c);
	struct lane *l = c->sock.lane;
	struct proxy_head_facts f;
	struct origin origin;
	char key[HOST_NAME_MAX + 1], peer[PEER_TEXT], trace[TRACE_LEN];
	size_t key_n = host_key(h->host.p, h->host.n, key);
	const char *end;
	const char *own = own_answer(h);
	bool too_large = l->conf->body_max != 0 && h->framing == HTTP_BODY_LENGTH &&
	                 h->length > l->conf->body_max;

	note_request(x, h);
	(void)peer_text(client_conn_hop(c), peer);
	f = (struct proxy_head_facts){ .peer = peer,
		.port = c->entry->port_text,
		.proto = c->entry->proto,
		.id = { x->id, x->id_n },
		.trace = make_trace(l, x, trace),
		.start_us = x->start_unix_us,
		.upgrade = x->upgrade };
	if (c->is_trusted) {
		origin_read(c->entry->origin, client_conn_hop(c), h, &origin);
		c->peer = origin.client;
		f.origin = &origin;
	}
	x->wants_trailers = proxy_head_request(&x->head, c->view, h, &f) || c->is_stream;
	end = memchr(x->head.p + x->method_n + 1, ' ', x->head.n - x->method_n - 1);
	x->target_n = (uint32_t)(end - x->head.p - x->method_n - 1);
	x->host_n = (uint32_t)key_n;
	buf_add(&x->names, key, key_n);
	buf_addc(&x->names, '\0');
	client_conn_consume(c, h->size);
	if (own != NULL)
		proxy_answer(x, (struct proxy_page){ .status = *x->head.p == 'O' ? 200 : 405,
		                    .why = own,
		                    .says_methods = true });
	else if (too_large)
		proxy_fail(x, 413, "The body of the request is larger than this router accepts.");
	else
		proxy_try(x);
}
