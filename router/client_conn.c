#include "router/client_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/mem.h"
#include "router/crowd.h"
#include "router/h2_session.h"
#include "router/hedge.h"
#include "router/listener.h"
#include "router/origin.h"
#include "router/proxy.h"
#include "router/proxy_protocol.h"
#include "router/router_conf.h"
#include "router/shed.h"
#include "router/stats.h"
#include "router/tls_conn.h"

enum { ROUNDS = 64 };

static const char head_is_large[] =
    "The head of the request is larger than 32 KiB: send fewer or shorter fields.";

static void run(struct client_conn *c);

static bool
is_closed(const struct client_conn *c)
{
	return c->next == c;
}

static void
drop_in(struct client_conn *c)
{
	if (c->in == NULL)
		return;
	buf_fini(c->in);
	free(STEAL(c->in));
}

void
client_conn_close(struct client_conn *take_c)
{
	struct client_conn *c = take_c;
	struct lane *l = c->sock.lane;

	if (is_closed(c))
		return; /* is buried already */
	h2_session_free(STEAL(c->h2));
	proxy_free(STEAL(c->x));
	wheel_clear(&l->wheel, &c->timer.timer);
	sock_close(&c->sock);
	drop_in(c);
	c->view_n = 0;
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		l->clients = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	c->next = c;
	l->client_n -= !c->is_stream;
	if (c->is_counted)
		crowd_leave(l->crowd, client_conn_hop(c));
	free(STEAL(c->hop));
	lane_bury(l, &c->grave);
}

static void
set_state(struct client_conn *c, enum client_state s)
{
	c->state = (uint8_t)s;
}

void
client_conn_deadline(struct client_conn *c, int64_t ms)
{
	struct lane *l = c->sock.lane;

	wheel_set(&l->wheel, &c->timer.timer, l->now_ms + ms);
}

/* --- input --- */

bool
client_conn_fill(struct client_conn *c, size_t max, bool *out_broken)
{
	struct lane *l = c->sock.lane;
	ssize_t n;

	if (c->view_n > 0)
		return true;
	n = c->state == CLIENT_IDLE ? sock_read(&c->sock, l->scratch, max)
	                            : sock_read_on(&c->sock, l->scratch, max);
	if (n < 0)
		*out_broken = true;
	if (n <= 0)
		return false;
	c->view = l->scratch;
	c->view_n = (uint32_t)n;
	c->view_is_kept = false;
	return true;
}

void
client_conn_consume(struct client_conn *c, size_t n)
{
	c->view += n;
	c->view_n -= (uint32_t)n;
	if (c->view_n == 0 && c->view_is_kept)
		drop_in(c);
}

void
client_conn_park(struct client_conn *c)
{
	if (c->view_n == 0)
		return;
	if (c->view_is_kept) {
		if (c->view == c->in->p)
			return;
		buf_drop(c->in, (size_t)(c->view - c->in->p));
	} else {
		if (c->in == NULL)
			c->in = xcalloc(1, sizeof *c->in);
		buf_clear(c->in);
		buf_add(c->in, c->view, c->view_n);
	}
	c->view = c->in->p;
	c->view_n = (uint32_t)c->in->n;
	c->view_is_kept = true;
}

/* More bytes of a head that began. false: none now. */
static bool
read_more(struct client_conn *c, bool *out_broken)
{
	struct lane *l = c->sock.lane;
	ssize_t n;

	if (c->view_n == 0)
		return client_conn_fill(c, LANE_READ, out_broken);
	client_conn_park(c);
	n = sock_read_on(&c->sock, l->scratch, LANE_READ);
	if (n < 0)
		*out_broken = true;
	if (n <= 0)
		return false;
	buf_add(c->in, l->scratch, (size_t)n);
	c->view = c->in->p;
	c->view_n = (uint32_t)c->in->n;
	return true;
}

/* --- the end --- */

/* Throws away what still comes, so that the peer reads our answer before a reset. */
static void
linger(struct client_conn *c)
{
	struct lane *l = c->sock.lane;
	ssize_t n;

	c->view_n = 0;
	drop_in(c);
	while ((n = sock_read_on(&c->sock, l->scratch, LANE_SCRATCH)) > 0) {
		c->lingered += (uint32_t)n;
		if (c->lingered > CLIENT_LINGER_MAX)
			break;
	}
	if (n != 0 || c->sock.eof)
		client_conn_close(c);
}

static void
start_linger(struct client_conn *c)
{
	c->lingered = 0;
	set_state(c, CLIENT_LINGER);
	client_conn_deadline(c, CLIENT_LINGER_MS);
	sock_shut(&c->sock);
	linger(c);
}

/* Writes the rest of the last answer, then ends. */
static void
flush_and_end(struct client_conn *c)
{
	if (sock_flush(&c->sock) < 0) {
		client_conn_close(c);
	} else if (sock_is_unsent(&c->sock)) {
		set_state(c, CLIENT_FLUSH);
		client_conn_deadline(c, c->sock.lane->conf->request_timeout_s * 1000);
	} else if (c->closes) {
		client_conn_close(c);
	} else {
		start_linger(c);
	}
}

void
client_conn_done(struct client_conn *c, enum client_next next)
{
	struct lane *l = c->sock.lane;

	proxy_free(STEAL(c->x));
	c->seen = 0;
	if (is_closed(c))
		return;
	if (next != CLIENT_NEXT_REQUEST || c->is_stream || (l->draining && c->view_n == 0)) {
		c->closes =
		    next == CLIENT_NEXT_CLOSE || (c->is_stream && next != CLIENT_NEXT_LINGER);
		flush_and_end(c);
		return;
	}
	set_state(c, CLIENT_IDLE);
	client_conn_deadline(c, l->conf->idle_timeout_s * 1000);
	if (!c->running)
		run(c);
}

/* --- requests --- */

static void
refuse(struct client_conn *c, int status, const char *why)
{
	proxy_refuse(c, status, why);
	client_conn_done(c, CLIENT_NEXT_LINGER);
}

static int
status_of(enum http_head_result r, const struct http_head *h)
{
	if (r == HTTP_HEAD_LARGE)
		return 431;
	if (r == HTTP_HEAD_UNSUPPORTED)
		return h->target.n != 0 && h->n == 0 ? 505 : 501;
	return 400;
}

/* The connection speaks HTTP/2 from its first byte on. */
static void
start_h2(struct client_conn *c)
{
	set_state(c, CLIENT_H2);
	c->h2 = h2_session_new(c);
	client_conn_park(c); /* the scratch is its streams' */
	if (!h2_session_feed(c->h2, c->view, c->view_n)) {
		(void)h2_session_ready(c->h2);
		client_conn_close(c);
		return;
	}
	client_conn_consume(c, c->view_n);
}

/* Its last frames go out, what still comes is thrown away. */
static void
end_h2(struct client_conn *c)
{
	h2_session_free(STEAL(c->h2));
	flush_and_end(c);
}

/* One head from the input. false: no more can be done now. */
static bool
next_request(struct client_conn *c)
{
	struct lane *l = c->sock.lane;
	struct http_head *h = &l->head;
	enum http_head_result r;
	bool broken = false, has;

	has = c->state == CLIENT_HEAD ? read_more(c, &broken)
	                              : client_conn_fill(c, LANE_READ, &broken);
	if (!has) {
		if (broken || c->sock.eof)
			client_conn_close(c);
		return false;
	}
	if (c->may_be_h2 && h2_session_is_preface((struct str){ c->view, c->view_n })) {
		start_h2(c);
		return false;
	}
	r = http_head_request(c->view, c->view_n, c->seen, h);
	if (r == HTTP_HEAD_MORE && c->view_n < CLIENT_HEAD_MAX) {
		if (c->state == CLIENT_IDLE)
			client_conn_deadline(c, l->conf->head_timeout_s * 1000);
		set_state(c, CLIENT_HEAD);
		c->seen = c->view_n;
		return c->sock.can_read;
	}
	if (r == HTTP_HEAD_OK && h->size > CLIENT_HEAD_MAX)
		r = HTTP_HEAD_MORE;
	if (r == HTTP_HEAD_MORE && memchr(c->view, '\n', CLIENT_HEAD_MAX) == NULL) {
		refuse(c, 414, "The target of the request is larger than 32 KiB.");
		return false;
	}
	if (r == HTTP_HEAD_MORE) {
		refuse(c, 431, head_is_large);
		return false;
	}
	if (r != HTTP_HEAD_OK) {
		refuse(
		    c, c->is_large ? 431 : status_of(r, h), c->is_large ? head_is_large : h->why);
		return false;
	}
	c->may_be_h2 = false;
	set_state(c, CLIENT_BUSY);
	l->requests++;
	proxy_start(c, h);
	return true;
}

/* --- the PROXY protocol --- */

/* Counts the connection for its address. false: that has enough of them, and is told so. */
static bool
is_admitted(struct client_conn *c)
{
	struct lane *l = c->sock.lane;
	enum shed_why why;

	if (l->crowd == NULL || c->is_trusted || !crowd_holds(client_conn_hop(c)))
		return true;
	c->is_counted = crowd_enter(l->crowd, client_conn_hop(c), l->now_ms, &why);
	if (!c->is_counted)
		shed_refuse(l, c->entry->tls == NULL ? c->sock.fd : -1, client_conn_hop(c), why);
	return c->is_counted;
}

/* The proxy's address stays, while each request may tell another client. */
static void
note_hop(struct client_conn *c)
{
	if (!c->is_trusted)
		return;
	c->hop = xmalloc(sizeof *c->hop);
	*c->hop = c->peer;
}

/* Who it is, is known. false: c is gone. */
static bool
set_peer(struct client_conn *c, const struct peer *p)
{
	const struct entry *entry = c->entry;

	c->peer = *p;
	c->is_trusted = origin_is_trusted(entry->origin, p);
	note_hop(c);
	if (is_admitted(c) && (entry->tls == NULL || tls_conn_start(&c->sock, entry->tls) == 0))
		return true;
	client_conn_close(c);
	return false;
}

/* It is looked at until it is whole, then read: what follows is TLS's, or a request. */
static void
greet(struct client_conn *c)
{
	char *p = c->sock.lane->scratch;
	ssize_t n = recv(c->sock.fd, p, PROXY_PROTOCOL_MAX, MSG_PEEK);
	struct proxy_protocol in;
	enum proxy_protocol_result r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	r = n <= 0 ? PROXY_PROTOCOL_BAD : proxy_protocol_parse(p, (size_t)n, &in);
	if (r == PROXY_PROTOCOL_MORE && !c->sock.half_closed)
		return;
	if (r != PROXY_PROTOCOL_OK || recv(c->sock.fd, p, in.size, 0) != (ssize_t)in.size) {
		client_conn_close(c);
		return;
	}
	set_state(c, CLIENT_IDLE);
	c->sock.can_read = true;
	(void)set_peer(c, in.has_client ? &in.client : &c->peer);
}

static void
run(struct client_conn *c)
{
	c->running = true;
	for (int i = 0; !is_closed(c); i++) {
		if (i == ROUNDS) { /* others wait too */
			sock_again(&c->sock);
			break;
		}
		if (c->state == CLIENT_FLUSH) {
			flush_and_end(c);
			break;
		}
		if (c->state == CLIENT_GREET) {
			greet(c);
			if (is_closed(c) || c->state == CLIENT_GREET)
				break;
			continue;
		}
		if (c->state == CLIENT_H2) {
			if (!h2_session_ready(c->h2))
				end_h2(c);
			break;
		}
		if (c->state == CLIENT_LINGER) {
			linger(c);
			break;
		}
		if (c->state == CLIENT_BUSY) {
			proxy_client_ready(c->x);
			if (is_closed(c) || c->state == CLIENT_BUSY)
				break;
			continue;
		}
		if (sock_pending(&c->sock)) { /* answers go out before more work comes in */
			if (sock_flush(&c->sock) < 0)
				client_conn_close(c);
			if (is_closed(c) || sock_pending(&c->sock))
				break;
		}
		if (!next_request(c) && (is_closed(c) || c->state != CLIENT_H2))
			break;
		if (!is_closed(c) && c->state == CLIENT_BUSY)
			break;
	}
	c->running = false;
	if (is_closed(c))
		return;
	client_conn_park(c);
	/* While a whole request is with the instance there is nothing to hear from the client. */
	if (c->state != CLIENT_BUSY || !c->x->up_done || c->x->tunnel)
		sock_watch(&c->sock);
}

static void
on_sock(struct sock *s)
{
	run(CONTAINER_OF(s, struct client_conn, sock));
}

static void
on_deadline(struct lane_timer *t)
{
	struct client_conn *c = CONTAINER_OF(t, struct client_conn, timer);

	switch (c->state) {
	case CLIENT_HEAD:
		refuse(c, 408, "The head of the request did not arrive in time.");
		break;
	case CLIENT_BUSY:
		proxy_timeout(c->x);
		break;
	case CLIENT_H2:
		if (!h2_session_timeout(c->h2))
			client_conn_close(c);
		break;
	default:
		client_conn_close(c);
	}
}

static void
link_conn(struct lane *l, struct client_conn *c)
{
	c->timer.fn = on_deadline;
	c->next = l->clients;
	if (c->next != NULL)
		c->next->prev = c;
	l->clients = c;
	client_conn_deadline(c, l->conf->head_timeout_s * 1000);
	c->sock.can_read = true; /* as a rule its request has come */
}

void
client_conn_start(struct lane *l, const struct entry *entry, int take_fd, const struct peer *peer)
{
	struct client_conn *c = xcalloc(1, sizeof *c);

	sock_start(&c->sock, l, take_fd, true, on_sock);
	c->entry = entry;
	c->may_be_h2 = true;
	l->client_n++;
	l->stats->all.connections++;
	link_conn(l, c);
	if (entry->greets && origin_must_greet(entry->origin, peer)) {
		c->peer = *peer;
		set_state(c, CLIENT_GREET);
	} else if (!set_peer(c, peer)) {
		return;
	}
	run(c);
}

struct client_conn *
client_conn_start_stream(struct client_conn *c, const struct sock_layer *layer, void *over)
{
	struct lane *l = c->sock.lane;
	bool is_counted = c->is_counted && crowd_join(l->crowd, client_conn_hop(c));
	struct client_conn *s;

	if (c->is_counted && !is_counted) {
		shed_refuse(l, -1, client_conn_hop(c), SHED_CROWD);
		return NULL;
	}
	s = xcalloc(1, sizeof *s);
	sock_start_layer(&s->sock, l, layer, over, on_sock);
	s->entry = c->entry;
	s->peer = *client_conn_hop(c);
	s->is_trusted = c->is_trusted;
	note_hop(s);
	s->is_stream = true;
	s->is_counted = is_counted;
	link_conn(l, s);
	sock_again(&s->sock);
	return s;
}

void
client_conn_drain(struct lane *l, bool idle_too)
{
	struct client_conn *next;

	l->draining = true;
	for (struct client_conn *c = l->clients; c != NULL; c = next) {
		next = c->next;
		if (c->state == CLIENT_H2)
			h2_session_drain(c->h2);
		if (idle_too && c->state == CLIENT_IDLE && !sock_pending(&c->sock) &&
		    c->view_n == 0) {
			/* A request that is on its way already is still served. */
			c->sock.can_read = true;
			run(c);
			if (!is_closed(c) && c->state == CLIENT_IDLE)
				start_linger(c);
		}
	}
}

void
client_conn_cut(struct lane *l, const struct upstream_pool *p)
{
	struct client_conn *next;

	for (struct client_conn *c = l->clients; c != NULL; c = next) {
		next = c->next;
		if (c->x != NULL && hedge_is_at(c->x->hedge, p)) {
			hedge_drop(STEAL(c->x->hedge));
			continue;
		}
		if (c->x == NULL || c->x->pool != p)
			continue;
		proxy_cut(c->x);
		if (next != NULL && is_closed(next)) /* it was on the same connection */
			next = l->clients;
	}
}
