#include "lib/http/http_conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum {
	STEPS_A_TURN = 32,
	HEAD_READ = 4 * 1024,
	BODY_READ = 64 * 1024,
	SKIP_MAX = 1024 * 1024, /* of a body nobody wanted; more costs the connection */
	LINGER_MS = 5000,
};

size_t
http_conn_queued(const struct http_conn *c)
{
	return c->out.n - c->out_off;
}

static size_t
unread(const struct http_conn *c)
{
	return c->in.n - c->in_off;
}

/* An idle connection holds no buffer; one buffer stays with the server for the next reader. */
static void
release_input(struct http_conn *c)
{
	c->in_off = c->in_seen = 0;
	if (c->in.p == NULL)
		return;
	if (c->server->spare.p == NULL && c->in.cap <= 2 * BODY_READ) {
		c->server->spare = c->in;
		buf_clear(&c->server->spare);
		c->in = (struct buf){ 0 };
		return;
	}
	buf_fini(&c->in);
	c->in = (struct buf){ 0 };
}

static void
release_output(struct http_conn *c)
{
	buf_fini(&c->out);
	c->out = (struct buf){ 0 };
	c->out_off = 0;
}

struct buf *
http_conn_out(struct http_conn *c)
{
	if (http_conn_queued(c) == 0)
		c->tx_ms = loop_now_ms();
	if (c->out_off > BODY_READ && c->out_off > c->out.n / 2) {
		buf_drop(&c->out, c->out_off);
		c->out_off = 0;
	}
	return &c->out;
}

void
http_conn_kick(struct http_conn *c)
{
	c->again = true;
	if (!c->is_pumping && c->state != HTTP_CONN_DEAD)
		event_active(&c->kick, EV_TIMEOUT, 0);
}

static void
free_conn(void *p)
{
	free(p);
}

static bool
is_active(const struct http_conn *c)
{
	return c->state == HTTP_CONN_REQUEST || c->state == HTTP_CONN_FLUSH;
}

/* Takes it out of the server; what it holds but socket and request is gone. */
static void
retire(struct http_conn *c)
{
	if (is_active(c))
		c->server->active--;
	c->state = HTTP_CONN_DEAD;
	event_del(&c->io);
	event_del(&c->timer);
	event_del(&c->kick);
	release_input(c);
	release_output(c);
	http_server_conn_closed(c->server, c);
	loop_free_later(c->server->loop, free_conn, c);
}

void
http_conn_close(struct http_conn *c)
{
	struct http_req *r;

	if (c->state == HTTP_CONN_DEAD)
		return;
	r = STEAL(c->req);
	retire(c);
	close(c->fd);
	if (r != NULL && !r->has_ended && !r->is_aborted && r->close_fn != NULL)
		r->close_fn(r, r->close_arg);
	http_req_free(r);
}

int
http_conn_release(struct http_conn *c, struct buf *early)
{
	assert(c->state == HTTP_CONN_REQUEST && !c->req->has_begun && http_conn_queued(c) == 0);
	buf_add(early, c->in.p == NULL ? "" : c->in.p + c->in_off, unread(c));
	retire(c);
	http_req_free(STEAL(c->req));
	return c->fd;
}

static void
set_state(struct http_conn *c, enum http_conn_state state)
{
	bool was_active = is_active(c);

	c->state = state;
	c->since_ms = loop_now_ms();
	if (was_active && !is_active(c))
		c->server->active--;
	else if (!was_active && is_active(c))
		c->server->active++;
}

/* Tells the handler that its client is lost, if it waits for one. */
static void
drop_request(struct http_conn *c)
{
	struct http_req *r = STEAL(c->req);

	if (r != NULL && !r->has_ended && r->close_fn != NULL)
		r->close_fn(r, r->close_arg);
	http_req_free(r);
}

/* Answers what cannot be handled, and ends the connection after it. */
static void
refuse(struct http_conn *c, int status, const char *text)
{
	bool has_begun = c->req != NULL && c->req->has_begun;

	drop_request(c);
	if (c->state == HTTP_CONN_DEAD)
		return;
	if (has_begun) {
		http_conn_close(c);
		return;
	}
	c->close_after = true;
	c->body_done = true;
	http_req_write_error(c, status, text);
	release_input(c);
	set_state(c, HTTP_CONN_FLUSH);
}

static void
refuse_head(struct http_conn *c, enum http_head_result why, const struct http_head *h)
{
	switch (why) {
	case HTTP_HEAD_LARGE:
		refuse(c, 431, "The request has too many header fields.");
		break;
	case HTTP_HEAD_UNSUPPORTED:
		if (h->n == 0) /* it ended with the request line */
			refuse(c, 505, "This server speaks HTTP/1.0 and HTTP/1.1.");
		else
			refuse(c, 501, "The only transfer coding understood is \"chunked\".");
		break;
	default:
		refuse(c, 400, h->why);
		break;
	}
}

static void
start_request(struct http_conn *c, const struct http_head *h, const char *p)
{
	struct http_req *r;

	if (str_eq(h->method, "CONNECT")) {
		refuse(c, 501, "This server is no proxy.");
		return;
	}
	r = http_req_new(c, h, p);
	if (r == NULL) {
		refuse(c, 400, "The path has a malformed percent escape.");
		return;
	}
	http_body_init(&c->body, h);
	c->body_done =
	    h->framing == HTTP_BODY_NONE || (h->framing == HTTP_BODY_LENGTH && h->length == 0);
	c->skipped = 0;
	c->in_off += h->size;
	c->in_seen = 0;
	r->wants_continue = h->expect_continue && !c->body_done;
	if (!h->keep_alive || c->server->is_draining)
		c->close_after = true;
	c->req = r;
	set_state(c, HTTP_CONN_REQUEST);
	c->server->handler(r, c->server->arg);
}

static void
use_head(struct http_conn *c)
{
	struct http_head h;
	const char *p = c->in.p + c->in_off;
	enum http_head_result why;

	if (c->in_seen == 0)
		c->since_ms = loop_now_ms();
	why = http_head_request(p, unread(c), c->in_seen, &h);
	if (why == HTTP_HEAD_OK && h.size > c->server->opts.head_max)
		refuse(c, 431, "The request's header fields are too large.");
	else if (why == HTTP_HEAD_OK)
		start_request(c, &h, p);
	else if (why != HTTP_HEAD_MORE)
		refuse_head(c, why, &h);
	else if (unread(c) >= c->server->opts.head_max)
		refuse(c, 431, "The request's header fields are too large.");
	else
		c->in_seen = unread(c);
	if (c->state != HTTP_CONN_DEAD && unread(c) == 0)
		release_input(c);
}

static void
fail_too_large(struct http_conn *c, struct http_req *r)
{
	struct err e = { 0 };
	http_body_fn *fn = r->body_fn;

	(void)err_set(&e, ERR_LIMIT, NULL, "the body may have at most %zu bytes", r->body_max);
	r->body_fn = NULL;
	r->told_end = true;
	c->close_after = true;
	fn(r, (struct str){ 0 }, &e, r->read_arg);
	if (c->state == HTTP_CONN_DEAD || c->req != r || r->is_aborted || r->has_begun)
		return;
	http_req_reply_text(r, 413, "The body may have at most %zu bytes.\n", r->body_max);
}

/* Hands body bytes (n 0: its end) to who reads. */
static void
deliver(struct http_conn *c, const char *p, size_t n)
{
	struct http_req *r = c->req;
	struct err e = { 0 };

	if (n == 0)
		r->told_end = true;
	if (r->data_fn != NULL) {
		r->data_fn(r, p, n, r->read_arg);
	} else if (r->body_fn != NULL && n > 0) {
		if (buf_add_max(&r->body, p, n, r->body_max, &e) < 0)
			fail_too_large(c, r);
	} else if (r->body_fn != NULL) {
		http_body_fn *fn = r->body_fn;

		r->body_fn = NULL;
		fn(r, (struct str){ r->body.p == NULL ? "" : r->body.p, r->body.n }, NULL,
		    r->read_arg);
	}
}

/* Takes the next piece of the body out of the input; false: it is malformed. */
static bool
take_body(struct http_conn *c, struct str *out)
{
	size_t used;
	enum http_body_result res;

	res = http_body_next(&c->body, c->in.p + c->in_off, unread(c), &used, out);
	c->in_off += used;
	c->body_done = res == HTTP_BODY_DONE;
	return res != HTTP_BODY_BAD;
}

static void
use_body(struct http_conn *c)
{
	struct str data;

	if (!take_body(c, &data)) {
		refuse(c, 400, "The chunked body is malformed.");
		return;
	}
	if (data.n > 0)
		deliver(c, data.p, data.n);
	if (c->state != HTTP_CONN_DEAD && unread(c) == 0)
		release_input(c);
}

static void
skip_body(struct http_conn *c)
{
	struct str data;

	if (!take_body(c, &data)) {
		c->close_after = true;
		c->body_done = true;
	}
	c->skipped += (int64_t)data.n;
	if (unread(c) == 0)
		release_input(c);
}

static bool
reads_body(const struct http_conn *c)
{
	const struct http_req *r = c->req;

	return !r->is_paused && !c->body_done && (r->data_fn != NULL || r->body_fn != NULL);
}

static bool
wants_input(const struct http_conn *c)
{
	switch (c->state) {
	case HTTP_CONN_HEAD:
	case HTTP_CONN_LINGER:
		return true;
	case HTTP_CONN_REQUEST:
		return reads_body(c);
	case HTTP_CONN_FLUSH:
		return !c->body_done;
	default:
		return false;
	}
}

static void
on_input_end(struct http_conn *c)
{
	if (c->state == HTTP_CONN_FLUSH) {
		c->body_done = true;
		c->close_after = true;
		return;
	}
	http_conn_close(c);
}

/* Reads once; false: nothing there. */
static bool
fill(struct http_conn *c)
{
	size_t want = c->state == HTTP_CONN_HEAD ? HEAD_READ : BODY_READ;
	ssize_t n;

	if (c->in.p == NULL && c->server->spare.p != NULL) {
		c->in = c->server->spare;
		c->server->spare = (struct buf){ 0 };
	}
	if (c->in_off > 0) {
		buf_drop(&c->in, c->in_off);
		c->in_off = 0;
	}
	buf_reserve(&c->in, want);
	n = read(c->fd, c->in.p + c->in.n, want);
	if (n > 0) {
		c->in.n += (size_t)n;
		c->in.p[c->in.n] = '\0';
		c->rx_ms = loop_now_ms();
		if ((size_t)n < want)
			c->can_read = c->peer_closed;
		return true;
	}
	if (n < 0 && errno == EINTR)
		return true;
	if (unread(c) == 0)
		release_input(c);
	c->can_read = false;
	if (n == 0) {
		on_input_end(c);
		return c->state != HTTP_CONN_DEAD;
	}
	c->is_broken = errno != EAGAIN;
	return false;
}

/* Writes once; false: nothing to do or no room. */
static bool
flush_output(struct http_conn *c)
{
	ssize_t n;

	if (http_conn_queued(c) == 0 || !c->can_write)
		return false;
	n = send(c->fd, c->out.p + c->out_off, http_conn_queued(c), MSG_NOSIGNAL);
	if (n < 0) {
		if (errno == EAGAIN)
			c->can_write = false;
		else if (errno != EINTR)
			c->is_broken = true;
		return errno == EINTR;
	}
	c->out_off += (size_t)n;
	c->tx_ms = loop_now_ms();
	if (http_conn_queued(c) == 0)
		release_output(c);
	else
		c->can_write = false; /* a short write: the kernel tells when there is room */
	return true;
}

static void
after_flush(struct http_conn *c)
{
	if (c->body_done && !c->close_after) {
		set_state(c, HTTP_CONN_HEAD);
	} else if (c->close_after && c->body_done && !c->can_read && unread(c) == 0) {
		http_conn_close(c);
	} else if (c->close_after || c->skipped > SKIP_MAX) {
		/* Closing with input unread would reset the connection before the peer read. */
		release_input(c);
		shutdown(c->fd, SHUT_WR);
		c->can_read = true;
		set_state(c, HTTP_CONN_LINGER);
	}
}

static void
finish_request(struct http_conn *c)
{
	struct http_req *r = STEAL(c->req);

	if (r->wants_continue)
		c->close_after = true; /* whether the body still comes is the peer's choice */
	if (r->head.framing == HTTP_BODY_LENGTH && c->body.left > SKIP_MAX)
		c->close_after = true;
	http_req_free(r);
	c->rx_ms = loop_now_ms();
	set_state(c, HTTP_CONN_FLUSH);
}

/* What the handler's calls asked for; false: nothing. */
static bool
obey_request(struct http_conn *c)
{
	struct http_req *r = c->req;
	bool reads = r->data_fn != NULL || r->body_fn != NULL;

	if (r->is_aborted) {
		(void)flush_output(c);
		http_conn_close(c);
		return true;
	}
	if (r->has_ended) {
		finish_request(c);
		return true;
	}
	if (r->is_full && r->drain_fn != NULL &&
	    http_conn_queued(c) <= c->server->opts.write_max / 2) {
		r->is_full = false;
		r->drain_fn(r, r->drain_arg);
		return true;
	}
	if (r->body_fn != NULL && c->body.framing == HTTP_BODY_LENGTH &&
	    (uint64_t)r->head.length > r->body_max) {
		fail_too_large(c, r);
		return true;
	}
	if (reads && r->wants_continue) {
		r->wants_continue = false;
		if (unread(c) == 0 && !r->has_begun)
			buf_adds(http_conn_out(c), "HTTP/1.1 100 Continue\r\n\r\n");
		return true;
	}
	if (reads && c->body_done && !r->told_end && !r->is_paused) {
		deliver(c, "", 0);
		return true;
	}
	return false;
}

static void
use_input(struct http_conn *c)
{
	switch (c->state) {
	case HTTP_CONN_HEAD:
		use_head(c);
		break;
	case HTTP_CONN_REQUEST:
		use_body(c);
		break;
	case HTTP_CONN_FLUSH:
		skip_body(c);
		break;
	default:
		release_input(c);
		break;
	}
}

/* One thing that can be done; false: all waits for the peer or the handler. */
static bool
step(struct http_conn *c)
{
	if (c->is_broken) {
		http_conn_close(c);
		return false;
	}
	if (flush_output(c))
		return true;
	if (c->is_broken)
		return true;
	if (c->state == HTTP_CONN_REQUEST && obey_request(c))
		return true;
	if (c->state == HTTP_CONN_FLUSH && http_conn_queued(c) == 0) {
		enum http_conn_state was = c->state;

		after_flush(c);
		if (c->state != was)
			return c->state != HTTP_CONN_DEAD;
	}
	if (!wants_input(c))
		return false;
	if (unread(c) > (c->state == HTTP_CONN_HEAD ? c->in_seen : 0)) {
		use_input(c);
		return true;
	}
	return c->can_read && fill(c);
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a == 0 || b < a ? b : a;
}

static int64_t
find_deadline(const struct http_conn *c)
{
	const struct http_server_opts *o = &c->server->opts;
	int64_t at = 0;

	switch (c->state) {
	case HTTP_CONN_HEAD:
		return c->since_ms + (unread(c) == 0 ? o->idle_timeout_ms : o->head_timeout_ms);
	case HTTP_CONN_REQUEST:
	case HTTP_CONN_FLUSH:
		if (wants_input(c))
			at = c->rx_ms + o->body_timeout_ms;
		if (http_conn_queued(c) > 0)
			at = earlier(at, c->tx_ms + o->body_timeout_ms);
		return at;
	case HTTP_CONN_LINGER:
		return c->since_ms + LINGER_MS;
	default:
		return 0;
	}
}

static void
arm_timer(struct http_conn *c, int64_t at)
{
	int64_t ms = at - loop_now_ms();
	struct timeval tv;

	if (ms < 1)
		ms = 1;
	tv = (struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	event_add(&c->timer, &tv);
	c->timer_ms = at;
}

/* The timer is only moved to an earlier time; when it fires early it is set again. */
static void
settle_deadline(struct http_conn *c)
{
	c->deadline_ms = find_deadline(c);
	if (c->deadline_ms != 0 && (c->timer_ms == 0 || c->deadline_ms < c->timer_ms))
		arm_timer(c, c->deadline_ms);
}

static void
pump(struct http_conn *c)
{
	bool more = true;

	if (c->is_pumping || c->state == HTTP_CONN_DEAD)
		return;
	c->is_pumping = true;
	for (int i = 0; i < STEPS_A_TURN && more && c->state != HTTP_CONN_DEAD; i++) {
		c->again = false;
		more = step(c) || c->again || c->is_broken;
	}
	c->is_pumping = false;
	if (c->state == HTTP_CONN_DEAD)
		return;
	if (more) {
		/* Not at once: after a look at all other connections. */
		event_add(&c->kick, &(struct timeval){ 0 });
	} else if (c->peer_closed && c->state == HTTP_CONN_REQUEST) {
		http_conn_close(c);
		return;
	}
	settle_deadline(c);
}

bool
http_conn_is_idle(const struct http_conn *c)
{
	return c->state == HTTP_CONN_HEAD && unread(c) == 0;
}

bool
http_conn_try(struct http_conn *c)
{
	if (c->state == HTTP_CONN_HEAD)
		c->can_read = true;
	pump(c);
	return http_conn_is_idle(c);
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;
	int error = 0;
	socklen_t n = sizeof error;

	if ((what & EV_READ) != 0)
		c->can_read = true;
	if ((what & EV_WRITE) != 0)
		c->can_write = true;
	if ((what & EV_CLOSED) != 0)
		c->peer_closed = c->can_read = true;
	/* An error shows as readable and writable at once. */
	if ((what & EV_READ) != 0 && (what & EV_WRITE) != 0 && !wants_input(c) &&
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error != 0)
		c->is_broken = true;
	pump(c);
}

static void
on_kick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pump(arg);
}

static void
on_deadline(struct http_conn *c)
{
	switch (c->state) {
	case HTTP_CONN_HEAD:
		if (unread(c) == 0)
			http_conn_close(c);
		else
			refuse(c, 408, "The request's head took too long.");
		break;
	case HTTP_CONN_REQUEST:
		if (http_conn_queued(c) > 0)
			http_conn_close(c);
		else
			refuse(c, 408, "The request's body took too long.");
		break;
	default:
		http_conn_close(c);
		break;
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;

	(void)fd;
	(void)what;
	c->timer_ms = 0;
	if (c->deadline_ms == 0)
		return;
	if (loop_now_ms() < c->deadline_ms) {
		arm_timer(c, c->deadline_ms);
		return;
	}
	on_deadline(c);
	pump(c);
}

static void
name_peer(struct http_conn *c, const struct sockaddr *a)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
	const struct sockaddr_in *four = (const struct sockaddr_in *)a;

	c->is_unix = a->sa_family != AF_INET && a->sa_family != AF_INET6;
	if (c->is_unix)
		memcpy(c->peer, "unix", 5);
	else if (a->sa_family == AF_INET)
		inet_ntop(AF_INET, &four->sin_addr, c->peer, sizeof c->peer);
	else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, c->peer, sizeof c->peer);
	else
		inet_ntop(AF_INET6, &six->sin6_addr, c->peer, sizeof c->peer);
}

void
http_conn_new(struct http_server *s, int take_fd, const struct sockaddr *peer)
{
	struct http_conn *c = xcalloc(1, sizeof *c);
	struct event_base *base = loop_base(s->loop);
	const int on = 1;

	c->server = s;
	c->fd = take_fd;
	c->body_done = true;
	name_peer(c, peer);
	if (!c->is_unix)
		(void)setsockopt(take_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	c->next = s->conns;
	if (s->conns != NULL)
		s->conns->prev = c;
	s->conns = c;
	s->conn_n++;
	c->since_ms = loop_now_ms();
	event_assign(
	    &c->io, base, take_fd, EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_io, c);
	event_assign(&c->timer, base, -1, EV_TIMEOUT, on_timer, c);
	event_assign(&c->kick, base, -1, EV_TIMEOUT, on_kick, c);
	event_add(&c->io, NULL);
	settle_deadline(c);
}
