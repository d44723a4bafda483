#include "router/balance.h"

#include <stdint.h>

#include "router/gate.h"
#include "router/host_table.h"
#include "router/lane.h"
#include "router/outlier.h"
#include "router/route_options.h"
#include "router/stats.h"
#include "router/upstream.h"

enum {
	FEW = 4,       /* all of them are looked at */
	WEIGHT = 1000, /* parts of a weight */
	YOUNGEST = 10, /* an instance begins with a tenth of its weight */
	SLACK = 2,     /* requests that one may have more than its share */
};

/* A pick under way. */
struct pick {
	const struct lane *lane;
	const struct host_route *r;
	struct host_endpoint *const *tried;
	size_t tried_n;
	uint32_t limit; /* of requests of one at once; 0: any */
};

static const struct upstream_pool *
pool_at(const struct lane *l, const struct host_endpoint *ep)
{
	const struct host_use *u = host_endpoint_used(ep, l->index);

	return u == NULL ? NULL : u->pool;
}

bool
balance_is_in(const struct lane *l, const struct host_endpoint *ep)
{
	const struct upstream_pool *p = pool_at(l, ep);

	return p == NULL || outlier_is_in(&p->health, l->now_ms);
}

/* Of all lanes; they go on counting. */
static uint32_t
count_active(const struct host_endpoint *ep)
{
	const struct host_use *u = host_endpoint_used(ep, 0);
	uint32_t n = 0;

	for (int i = 0; u != NULL && i < ep->lanes; i++)
		n += atomic_load_explicit(&u[i].active, memory_order_relaxed);
	return n;
}

/* Failed this request already, or has no room. */
static bool
is_barred(const struct pick *k, const struct host_endpoint *ep)
{
	if (!gate_has_room(ep, k->limit))
		return true;
	for (size_t i = 0; i < k->tried_n; i++) {
		if (k->tried[i] == ep)
			return true;
	}
	return false;
}

static bool
may_take(const struct pick *k, const struct host_endpoint *ep)
{
	return !is_barred(k, ep) && balance_is_in(k->lane, ep);
}

static size_t
below(struct lane *l, size_t n)
{
	return (size_t)((lane_random(l) >> 32) * n >> 32);
}

/* --- all alike --- */

/* The one with the least to do; of those that are out only if all are. */
static struct host_endpoint *
least_of_all(const struct pick *k, struct lane *l)
{
	struct host_endpoint *best = NULL;
	uint32_t best_active = 0;
	bool best_is_in = false;
	size_t n = k->r->n, i = below(l, n);

	for (size_t left = n; left > 0; left--, i = i + 1 == n ? 0 : i + 1) {
		struct host_endpoint *ep = k->r->ep[i];
		bool is_in = balance_is_in(k->lane, ep);
		uint32_t active;

		if ((best_is_in && !is_in) || is_barred(k, ep))
			continue;
		active = count_active(ep);
		if (best == NULL || is_in != best_is_in || active < best_active) {
			best = ep;
			best_active = active;
			best_is_in = is_in;
		}
	}
	return best;
}

static struct host_endpoint *
less_of_two(const struct pick *k, struct lane *l)
{
	size_t i = below(l, k->r->n), other = below(l, k->r->n - 1u);
	struct host_endpoint *a = k->r->ep[i], *b = k->r->ep[other + (other >= i)];

	if (!may_take(k, a) || !may_take(k, b))
		return least_of_all(k, l);
	return count_active(a) <= count_active(b) ? a : b;
}

/* --- by weight --- */

static int64_t
slow_start_ms(const struct host_route *r)
{
	const struct route_options *o = host_route_opts(r);

	return o == NULL ? 0 : o->set.slow_start_s * 1000;
}

/* In thousandths of the whole. */
static uint64_t
ramp(const struct host_endpoint *ep, int64_t slow_ms, int64_t now_ms)
{
	int64_t age = host_endpoint_age_ms(ep, now_ms);

	if (age >= slow_ms)
		return WEIGHT;
	return age * YOUNGEST < slow_ms ? WEIGHT / YOUNGEST : (uint64_t)(age * WEIGHT / slow_ms);
}

/* 0: not to be chosen. */
static uint64_t
weight_of(const struct pick *k, size_t i)
{
	const uint16_t *weights = k->r->rare->weights;
	uint64_t w = weights == NULL || weights[i] == 0 ? 1 : weights[i];

	if (!may_take(k, k->r->ep[i]))
		return 0;
	return w * ramp(k->r->ep[i], slow_start_ms(k->r), k->lane->now_ms);
}

/* By weight, but not the one at skip; sum: of all weights but its. */
static size_t
draw(const struct pick *k, struct lane *l, uint64_t sum, size_t skip)
{
	uint64_t at = lane_random(l) % sum;

	for (size_t i = 0; i < k->r->n; i++) {
		uint64_t w = i == skip ? 0 : weight_of(k, i);

		if (at < w)
			return i;
		at -= w;
	}
	return k->r->n; /* never */
}

static struct host_endpoint *
by_weight(const struct pick *k, struct lane *l)
{
	uint64_t sum = 0, aw, bw;
	size_t a, b;

	for (size_t i = 0; i < k->r->n; i++)
		sum += weight_of(k, i);
	if (sum == 0)
		return least_of_all(k, l);
	a = draw(k, l, sum, k->r->n);
	aw = weight_of(k, a);
	if (aw == sum)
		return k->r->ep[a];
	b = draw(k, l, sum - aw, a);
	bw = weight_of(k, b);
	return count_active(k->r->ep[a]) * bw > (count_active(k->r->ep[b]) + 1) * aw + SLACK * bw
	           ? k->r->ep[b]
	           : k->r->ep[a];
}

/* Weights that differ. */
static bool
is_weighed(const struct lane *l, const struct host_route *r)
{
	int64_t slow_ms;

	if (r->rare == NULL)
		return false;
	if (r->rare->weights != NULL)
		return true;
	slow_ms = slow_start_ms(r);
	for (size_t i = 0; slow_ms != 0 && i < r->n; i++) {
		if (host_endpoint_age_ms(r->ep[i], l->now_ms) < slow_ms)
			return true;
	}
	return false;
}

struct upstream_pool *
balance_pick(
    struct lane *l, const struct host_route *r, struct host_endpoint *const *tried, size_t n)
{
	struct pick k = { .lane = l, .r = r, .tried = tried, .tried_n = n, .limit = gate_limit(r) };
	struct host_endpoint *ep;
	struct upstream_pool *p;

	if (r->n == 1 && n == 0 && k.limit == 0)
		return upstream_pool_of(l, r->ep[0]);
	if (is_weighed(l, r))
		ep = by_weight(&k, l);
	else
		ep = r->n <= FEW ? least_of_all(&k, l) : less_of_two(&k, l);
	if (ep == NULL)
		return NULL;
	p = upstream_pool_of(l, ep);
	outlier_chosen(&p->health, l->now_ms);
	return p;
}

/* --- what fails --- */

/* Half of a route's instances at most. */
static bool
may_eject(const struct lane *l, const struct upstream_pool *p, const struct host_route *r)
{
	size_t out = 1;

	for (size_t i = 0; i < r->n; i++) {
		const struct upstream_pool *other = pool_at(l, r->ep[i]);

		out += other != NULL && other != p && other->health.state == OUTLIER_EJECTED;
	}
	return out * 2 <= r->n;
}

/* Whether the others fail less than half as often. */
static bool
is_worse(const struct lane *l, const struct upstream_pool *p, const struct host_route *r)
{
	int rate = outlier_rate(&p->health, p->requests, l->now_ms), others = 0, n = 0;

	for (size_t i = 0; i < r->n; i++) {
		const struct upstream_pool *other = pool_at(l, r->ep[i]);
		int theirs = other == NULL || other == p
		                 ? -1
		                 : outlier_rate(&other->health, other->requests, l->now_ms);

		if (theirs < 0)
			continue;
		others += theirs;
		n++;
	}
	return n > 0 && others * 2 < rate * n;
}

static void
judge(struct upstream_pool *p, const struct host_route *r, enum outlier_verdict v)
{
	if (v == OUTLIER_FINE || r == NULL || !may_eject(p->lane, p, r) ||
	    (v == OUTLIER_WORSE && !is_worse(p->lane, p, r)))
		return;
	outlier_eject(&p->health, p->lane->now_ms);
	p->lane->stats->all.ejections++;
}

void
balance_failed(struct upstream_pool *p, const struct host_route *r)
{
	judge(p, r, outlier_failed(&p->health, p->requests, p->lane->now_ms));
}

void
balance_answered(struct upstream_pool *p, const struct host_route *r, int status)
{
	judge(p, r, outlier_answered(&p->health, status, p->requests, p->lane->now_ms));
}
