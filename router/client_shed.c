#include "router/client_shed.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "router/client_conn.h"
#include "router/h2_session.h"
#include "router/lane.h"
#include "router/proxy.h"
#include "router/router_conf.h"

/* --- idle ones --- */

/* Since when it is idle; INT64_MAX: it is not. */
static int64_t
idle_since(const struct client_conn *c)
{
	const struct router_conf *conf = c->sock.lane->conf;
	int64_t end_ms = c->timer.timer.deadline_ms;

	if (c->is_stream || sock_pending(&c->sock))
		return INT64_MAX;
	switch (c->state) {
	case CLIENT_LINGER:
		return 0;
	case CLIENT_IDLE:
		return end_ms - (c->may_be_h2 ? conf->head_timeout_s : conf->idle_timeout_s) * 1000;
	case CLIENT_HEAD:
	case CLIENT_GREET:
		return end_ms - conf->head_timeout_s * 1000;
	case CLIENT_H2:
		if (h2_session_is_idle(c->h2))
			return end_ms - conf->idle_timeout_s * 1000;
		return INT64_MAX;
	default:
		return INT64_MAX;
	}
}

/* Whether a request came to its end there. */
static bool
was_used(const struct client_conn *c)
{
	return c->state == CLIENT_H2 || (c->state == CLIENT_IDLE && !c->may_be_h2);
}

/* Those found so far that are idle longest; the longest first. */
struct oldest {
	size_t n, max;
	struct {
		struct client_conn *c; /* borrowed */
		int64_t since;
	} v[CLIENT_SHED_MOST];
};

static void
consider(struct oldest *o, struct client_conn *c, int64_t since)
{
	size_t i;

	if (o->n == o->max && since >= o->v[o->n - 1].since)
		return;
	if (o->n < o->max)
		o->n++;
	for (i = o->n - 1; i > 0 && o->v[i - 1].since > since; i--)
		o->v[i] = o->v[i - 1];
	o->v[i].c = c;
	o->v[i].since = since;
}

/* Whether a request of it has come that was not looked at. */
static bool
has_input(const struct client_conn *c)
{
	char b;

	return c->state != CLIENT_LINGER && recv(c->sock.fd, &b, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void
close_now(struct client_conn *c)
{
	if (c->state == CLIENT_H2) /* says that it will take no more */
		(void)h2_session_timeout(c->h2);
	else if (c->state != CLIENT_GREET)
		sock_shut(&c->sock);
	client_conn_close(c);
}

size_t
client_shed_idle(struct lane *l, size_t n)
{
	struct oldest o = { .max = n < CLIENT_SHED_MOST ? n : CLIENT_SHED_MOST };
	size_t done = 0;

	for (struct client_conn *c = l->clients; c != NULL && o.max != 0; c = c->next) {
		int64_t since = c->running ? INT64_MAX : idle_since(c);

		if (since <= l->now_ms - (was_used(c) ? CLIENT_SHED_USED_MS : CLIENT_SHED_YOUNG_MS))
			consider(&o, c, since);
	}
	for (size_t i = 0; i < o.n; i++) {
		if (has_input(o.v[i].c))
			continue;
		close_now(o.v[i].c);
		done++;
	}
	return done;
}

/* --- stalled ones --- */

/* Whether the client's window is closed, or it does not even answer. */
static bool
takes_nothing(const struct client_conn *c)
{
	struct tcp_info i = { 0 };
	socklen_t n = sizeof i;

	if (c->sock.fd < 0) /* a stream: its window, not the connection's */
		return true;
	return getsockopt(c->sock.fd, IPPROTO_TCP, TCP_INFO, &i, &n) == 0 &&
	       (i.tcpi_unacked == 0 || i.tcpi_retransmits != 0);
}

static bool
is_stalled(const struct client_conn *c)
{
	const struct lane *l = c->sock.lane;
	int64_t end_ms = c->timer.timer.deadline_ms, ms = l->conf->request_timeout_s * 1000;

	if (c->state == CLIENT_BUSY && c->x != NULL && c->x->has_answer && !c->x->tunnel)
		ms = c->x->timeout_ms;
	else if (c->state != CLIENT_FLUSH)
		return false;
	return end_ms - ms <= l->now_ms - CLIENT_SHED_STALLED_MS && sock_is_unsent(&c->sock) &&
	       takes_nothing(c);
}

size_t
client_shed_stalled(struct lane *l)
{
	struct client_conn *v[CLIENT_SHED_MOST];
	size_t n = 0;

	for (struct client_conn *c = l->clients; c != NULL && n < CLIENT_SHED_MOST; c = c->next) {
		if (!c->running && is_stalled(c))
			v[n++] = c;
	}
	for (size_t i = 0; i < n; i++) {
		sock_reset(&v[i]->sock);
		if (v[i]->state == CLIENT_BUSY)
			proxy_abort(v[i]->x, v[i]->x->status,
			    "The client did not take the answer, and memory was short.");
		else
			client_conn_close(v[i]);
	}
	return n;
}
