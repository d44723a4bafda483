#include "router/hedge.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "router/affinity.h"
#include "router/balance.h"
#include "router/client_conn.h"
#include "router/gate.h"
#include "router/lane.h"
#include "router/proxy.h"
#include "router/proxy_route.h"
#include "router/proxy_try.h"
#include "router/route_options.h"
#include "router/stats.h"
#include "router/upstream.h"

struct hedge {
	struct event timer;
	struct proxy *x;                  /* borrowed: owns us */
	struct upstream_conn *up;         /* owned; NULL: not asked yet */
	struct upstream_pool *pool;       /* taken; NULL: none */
	const struct route_options *gate; /* as of a proxy */
	size_t head_sent;
};

static struct lane *
lane_of(const struct hedge *h)
{
	return h->x->client->sock.lane;
}

static void
leave(struct hedge *h)
{
	struct upstream_pool *p = STEAL(h->pool);

	if (h->up != NULL)
		upstream_close(STEAL(h->up));
	if (h->gate != NULL) {
		gate_leave(lane_of(h), h->gate, p->ep);
		route_options_unref(STEAL(h->gate));
	}
	if (p != NULL)
		upstream_pool_release(p);
}

void
hedge_drop(struct hedge *take_h)
{
	struct hedge *h = take_h;

	if (h == NULL)
		return;
	(void)evtimer_del(&h->timer);
	leave(h);
	free(h);
}

bool
hedge_is_at(const struct hedge *h, const struct upstream_pool *p)
{
	return h != NULL && h->pool == p;
}

/* Its instance is x's own from here on. */
static void
move_in(struct proxy *x, struct hedge *take_h)
{
	struct hedge *h = take_h;

	x->up = STEAL(h->up);
	x->up->fn = proxy_on_up;
	x->up->owner = x;
	x->pool = STEAL(h->pool);
	x->gate = STEAL(h->gate);
	x->head_sent = h->head_sent;
	x->fresh = false;
	proxy_try_note(x);
	hedge_drop(h);
}

bool
hedge_take_over(struct proxy *x, struct hedge *take_h)
{
	if (take_h == NULL || take_h->up == NULL) {
		hedge_drop(take_h);
		return false;
	}
	move_in(x, take_h);
	return true;
}

/* The second instance has failed; the first goes on. */
static void
lose(struct hedge *h)
{
	struct proxy *x = h->x;

	if (h->up->connecting)
		upstream_pool_failed(h->pool);
	else if (!h->up->reused)
		balance_failed(h->pool, affinity_part(proxy_route_peek(x), h->pool->ep));
	hedge_drop(STEAL(x->hedge));
}

/* false: h is gone. */
static bool
send_head(struct hedge *h)
{
	const struct buf *head = &h->x->head;
	struct iovec v = { head->p + h->head_sent, head->n - h->head_sent };
	ssize_t n = sock_try(&h->up->sock, &v, 1);

	if (n < 0) {
		lose(h);
		return false;
	}
	if (n > 0)
		upstream_connected(h->up);
	h->head_sent += (size_t)n;
	return true;
}

static void
on_up(struct upstream_conn *u, void *owner)
{
	struct hedge *h = owner;
	struct proxy *x = h->x;
	struct lane *l = lane_of(h);
	ssize_t n;

	if (u->timed_out || sock_flush(&u->sock) < 0) {
		lose(h);
		return;
	}
	if (h->head_sent < x->head.n && !send_head(h))
		return;
	n = sock_read_on(&u->sock, l->scratch, LANE_READ);
	if (n == 0 && !u->sock.eof)
		return;
	if (n <= 0) {
		lose(h);
		return;
	}
	h = STEAL(x->hedge); /* not to go with the first instance */
	l->stats->all.hedges_won++;
	proxy_let_go(x, false);
	move_in(x, h);
	proxy_take_answer(x, l->scratch, (size_t)n);
}

/* One that was not tried, with room; NULL: there is none, or no budget for it. */
static struct upstream_pool *
pick(struct hedge *h, const struct host_route *r)
{
	struct proxy *x = h->x;
	struct host_endpoint *tried[] = { x->pool->ep };
	uint32_t limit = gate_limit(r);
	const struct host_route *part = affinity_part(r, x->pool->ep);
	struct upstream_pool *p = balance_pick(lane_of(h), part, tried, ARRAY_LEN(tried));

	if (p == NULL || !proxy_try_pays(lane_of(h), part) ||
	    (limit != 0 && !gate_enter(p->ep, limit)))
		return NULL;
	if (limit != 0)
		h->gate = route_options_ref(host_route_opts(r));
	return p;
}

static void
ask(struct hedge *h)
{
	struct proxy *x = h->x;
	const struct host_route *r = proxy_route_peek(x);

	if (r == NULL || (h->pool = pick(h, r)) == NULL) {
		hedge_drop(STEAL(x->hedge));
		return;
	}
	upstream_pool_take(h->pool);
	lane_of(h)->stats->all.hedges++;
	h->up = proxy_try_open(x, r, h->pool, true, on_up, h);
	if (h->up != NULL) {
		(void)send_head(h);
		return;
	}
	upstream_pool_failed(h->pool);
	hedge_drop(STEAL(x->hedge));
}

static void
on_time(evutil_socket_t fd, short what, void *arg)
{
	struct hedge *h = arg;
	struct lane *l = lane_of(h);

	(void)fd;
	(void)what;
	lane_begin(l);
	ask(h);
	lane_end(l);
}

/* GET, HEAD, OPTIONS. */
static bool
is_safe(const struct proxy *x)
{
	return x->is_idempotent && strchr("GHO", *x->head.p) != NULL;
}

void
hedge_start(struct proxy *x, const struct host_route *r)
{
	const struct wire_routing *set = &host_route_opts(r)->set;
	struct timeval after = { set->hedge_ms / 1000, set->hedge_ms % 1000 * 1000 };
	struct hedge *h;

	if (!is_safe(x) || !x->up_done || x->upgrade || x->tries != 0 || set->sticky_cookie != NULL)
		return;
	h = xcalloc(1, sizeof *h);
	h->x = x;
	evtimer_assign(&h->timer, lane_of(h)->base, on_time, h);
	evtimer_add(&h->timer, &after);
	x->hedge = h;
}
