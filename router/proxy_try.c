#include "router/proxy_try.h"

#include <errno.h>
#include <string.h>

#include "lib/base/mem.h"
#include "router/affinity.h"
#include "router/balance.h"
#include "router/client_conn.h"
#include "router/gate.h"
#include "router/hedge.h"
#include "router/host_table.h"
#include "router/lane.h"
#include "router/proxy.h"
#include "router/proxy_log.h"
#include "router/proxy_page.h"
#include "router/proxy_route.h"
#include "router/route_options.h"
#include "router/router_conf.h"
#include "router/stats.h"
#include "router/tls_conn.h"
#include "router/upstream.h"

static const char not_accepted[] = "The application does not accept connections.";

enum { MISSES = 8 };

static const char over_budget[] = "The application fails, and too many requests were tried again "
                                  "already.";

static struct lane *
lane_of(const struct proxy *x)
{
	return x->client->sock.lane;
}

static void
note_choice(struct proxy *x, const struct host_route *r, const struct upstream_pool *p)
{
	buf_truncate(&x->names, x->host_n + 1);
	buf_add(&x->names, host_route_app(r), strlen(host_route_app(r)) + 1);
	buf_add(&x->names, p->name, p->name_n + 1u);
}

void
proxy_try_note(struct proxy *x)
{
	buf_truncate(&x->names, x->host_n + 1 + strlen(x->names.p + x->host_n + 1) + 1);
	buf_add(&x->names, x->pool->name, x->pool->name_n + 1u);
}

/* Seconds until a browser gets a page instead; 0: it waits as others do. */
static int64_t
page_after_s(const struct proxy *x)
{
	const struct router_conf *c = lane_of(x)->conf;

	return x->is_browsed && c->hold_page_s < c->hold_timeout_s ? c->hold_page_s : 0;
}

/* Waits until the table says that the application takes requests again. */
static void
hold(struct proxy *x, const struct host_route *r)
{
	struct lane *l = lane_of(x);
	size_t bytes = sizeof *x + x->head.cap + x->client->view_n;
	int64_t s = page_after_s(x);

	x->tries = 0; /* those that were tried are gone */
	if (hold_add(l->hold, &x->held, r, bytes, false)) {
		proxy_log_mark(x);
		client_conn_deadline(x->client, (s != 0 ? s : l->conf->hold_timeout_s) * 1000);
	} else {
		proxy_fail_later(
		    x, 503, "Too many requests wait for the application to become ready.", 1);
	}
}

void
proxy_try_held_long(struct proxy *x)
{
	if (x->queue_end_ms != 0 || page_after_s(x) == 0)
		proxy_fail_later(x, 503, hold_late(&x->held), 5);
	else
		proxy_answer(
		    x, (struct proxy_page){ .status = 503,
		           .why = "The application is starting. This page loads itself again.",
		           .retry_after_s = 2,
		           .fields = "Refresh: 2\r\n" });
}

void
proxy_unhold(struct hold_link *k)
{
	struct proxy *x = CONTAINER_OF(k, struct proxy, held);

	proxy_log_released(x);
	proxy_try(x);
}

/* Whose instances are one another's measure. */
static const struct host_route *
route_of(struct proxy *x)
{
	return affinity_part(proxy_route_peek(x), x->pool->ep);
}

/* Waits until an instance has room. is_next: it waited already. */
static void
queue(struct proxy *x, const struct host_route *r, bool is_next)
{
	struct lane *l = lane_of(x);
	size_t bytes = sizeof *x + x->head.cap + x->client->view_n;
	int64_t s = host_route_opts(r)->set.queue_s;

	if (!hold_add(l->queue, &x->held, r, bytes, is_next)) {
		proxy_fail_later(
		    x, 503, "All instances of the application have as much to do as they may.", 1);
		return;
	}
	proxy_log_mark(x);
	if (x->queue_end_ms == 0)
		x->queue_end_ms = l->now_ms + (s == 0 ? l->conf->hold_timeout_s : s) * 1000;
	client_conn_deadline(
	    x->client, x->queue_end_ms > l->now_ms ? x->queue_end_ms - l->now_ms : 1);
}

void
proxy_unqueue(struct hold_link *k)
{
	struct proxy *x = CONTAINER_OF(k, struct proxy, held);

	x->is_next = true;
	proxy_unhold(k);
}

/* Counts the requests of all its instances; the budget is at the first one's. */
bool
proxy_try_pays(struct lane *l, const struct host_route *r)
{
	const struct route_options *o = host_route_opts(r);
	int64_t percent = o == NULL ? 0 : o->set.retry_percent, requests = 0;

	if (percent == WIRE_ROUTING_RETRY_NEVER)
		return false;
	for (size_t i = 0; i < r->n; i++) {
		const struct host_use *u = host_endpoint_used(r->ep[i], l->index);

		if (u == NULL || u->pool == NULL)
			continue;
		requests += u->pool->requests - u->pool->budgeted;
		u->pool->budgeted = u->pool->requests;
	}
	if (retry_budget_take(&upstream_pool_of(l, r->ep[0])->budget, requests,
	        percent == 0 ? RETRY_BUDGET_PERCENT : percent, l->now_ms))
		return true;
	l->stats->all.over_budget++;
	return false;
}

struct upstream_conn *
proxy_try_open(const struct proxy *x, const struct host_route *r, struct upstream_pool *p,
    bool must_live, upstream_fn *fn, void *owner)
{
	if (route_options_h2c(host_route_opts(r)) && !p->ep->is_tls)
		return upstream_open_h2c(p, fn, owner);
	return upstream_open(p, x->names.p, x->fresh, must_live, fn, owner);
}

static void
fail_unpaid(struct proxy *x, const struct host_route *r)
{
	const struct route_options *o = host_route_opts(r);
	int status = x->lost_status == 0 ? 502 : x->lost_status;

	if (o != NULL && o->set.retry_percent == WIRE_ROUTING_RETRY_NEVER)
		proxy_fail(x, status, x->lost_why == NULL ? not_accepted : x->lost_why);
	else
		proxy_fail_later(x, status, over_budget, 1);
}

/* Picks an instance and sends the head, until it works or nothing is left. */
void
proxy_try(struct proxy *x)
{
	struct lane *l = lane_of(x);
	const struct host_route *r = proxy_route_find(x);
	struct upstream_pool *p;
	bool is_next = x->is_next, is_paid = false;
	uint32_t limit, misses = 0;

	x->is_next = false;
	if (r == NULL)
		return;
	if (r->rare != NULL && r->rare->sleep != 0 && l->on_sleep != NULL)
		l->on_sleep(l, r);
	if (hold_waits(r)) {
		hold(x, r);
		return;
	}
	if (r->host_n > x->host_n && host_route_host(r)[x->host_n] == '/')
		proxy_route_rewrite(x, r);
	x->timeout_ms =
	    (r->timeout_s != 0 ? (int64_t)r->timeout_s : l->conf->request_timeout_s) * 1000;
	limit = gate_limit(r);
	if (limit != 0 && !is_next && gate_is_waited_for(r)) {
		queue(x, r, false);
		return;
	}
	while (misses < MISSES && (p = affinity_pick(x, r)) != NULL) {
		bool must_live = !x->is_idempotent || !x->up_done;

		if (x->tries != 0 && !is_paid && !proxy_try_pays(l, affinity_part(r, p->ep))) {
			fail_unpaid(x, r);
			return;
		}
		is_paid = true;
		if (limit != 0) {
			if (!gate_enter(p->ep, limit)) { /* another lane was quicker */
				misses++;
				continue;
			}
			x->gate = route_options_ref(host_route_opts(r));
		}
		upstream_pool_take(p);
		x->pool = p;
		note_choice(x, r, p);
		stats_take(x, p);
		x->up = proxy_try_open(x, r, p, must_live, proxy_on_up, x);
		if (x->up != NULL) {
			if (x->up->connecting)
				proxy_log_mark(x);
			proxy_touch(x);
			if (host_route_opts(r) != NULL && host_route_opts(r)->set.hedge_ms != 0)
				hedge_start(x, r);
			(void)proxy_send(x);
			return;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			proxy_fail_later(x, 503, "The router has no connection to spare.", 1);
			return;
		}
		upstream_pool_failed(p);
		proxy_let_go(x, false);
		is_paid = false;
		if (x->tries == PROXY_TRIES)
			break;
		x->tried[x->tries++] = p->ep;
	}
	if (misses == MISSES ||
	    (limit != 0 && x->tries < PROXY_TRIES && gate_is_full(r, x->tried, x->tries)))
		queue(x, r, is_next);
	else if (x->lost_why != NULL)
		proxy_fail(x, x->lost_status, x->lost_why);
	else
		proxy_fail(x, 502, not_accepted);
}

void
proxy_lost(struct proxy *x)
{
	struct upstream_conn *u = x->up;
	struct hedge *hedge = STEAL(x->hedge);
	bool refused = u->connecting, stale = u->reused, late = u->timed_out;
	const char *tls_why = tls_conn_why(&u->sock);
	bool can_retry =
	    !x->has_byte && (x->head_sent == 0 || (x->is_idempotent && x->body_in == 0));

	proxy_log_failed_try(x);
	if (refused)
		upstream_pool_failed(x->pool);
	else if (!stale || x->fresh)
		balance_failed(x->pool, route_of(x));
	if (stale && !x->fresh) {
		x->fresh = true;
	} else if (x->tries < PROXY_TRIES) {
		x->tried[x->tries++] = x->pool->ep;
		x->fresh = false;
	}
	proxy_let_go(x, false);
	x->head_sent = 0;
	x->up_broken = false;
	x->answer_seen = 0;
	buf_clear(&x->answer);
	if (hedge_take_over(x, hedge))
		return;
	x->lost_status = late ? 504 : 502;
	if (late)
		x->lost_why = "The application did not accept a connection in time.";
	else if (refused)
		x->lost_why = tls_why != NULL ? tls_why : not_accepted;
	else
		x->lost_why = "The application closed the connection without an answer.";
	if (can_retry && x->tries < PROXY_TRIES)
		proxy_try(x);
	else
		proxy_fail(x, x->lost_status, x->lost_why);
}

void
proxy_try_failed(struct proxy *x)
{
	balance_failed(x->pool, route_of(x));
}

void
proxy_try_answered(struct proxy *x, int status)
{
	balance_answered(x->pool, route_of(x), status);
}
