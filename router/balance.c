#include "router/balance.h"

#include <stdbool.h>
#include <stdint.h>

#include "router/host_table.h"
#include "router/lane.h"
#include "router/upstream.h"

/* Lanes share nothing but this: the route's turn, and each other's counts, which they only read. So
 * turns are fair over all connections, and of three slow requests none waits behind another. */
static uint32_t
count_active(const struct host_endpoint *ep)
{
	const struct host_use *u = host_endpoint_used(ep, 0);
	uint32_t n = 0;

	for (int i = 0; u != NULL && i < ep->lanes; i++)
		n += atomic_load_explicit(&u[i].active, memory_order_relaxed);
	return n;
}

static bool
was_tried(const struct host_endpoint *ep, struct host_endpoint *const *tried, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (tried[i] == ep)
			return true;
	}
	return false;
}

/* More than 1 above 5/4 of the average. */
static bool
is_busy(uint64_t active, uint64_t total, uint64_t endpoints)
{
	return active * endpoints * 4 > total * 5 + endpoints * 4;
}

static bool
is_down(const struct lane *l, const struct host_endpoint *ep)
{
	const struct host_use *u = host_endpoint_used(ep, l->index);
	const struct upstream_pool *p = u == NULL ? NULL : u->pool;

	return p != NULL && p->down_until_ms > l->now_ms;
}

static size_t
next_turn(const struct host_route *r)
{
	atomic_uint *turn = &((struct host_route *)r)->turn; /* all else of a route is immutable */

	return atomic_fetch_add_explicit(turn, 1, memory_order_relaxed);
}

struct upstream_pool *
balance_pick(
    struct lane *l, const struct host_route *r, struct host_endpoint *const *tried, size_t n)
{
	struct host_endpoint *best = NULL; /* if all are busy or down */
	uint64_t total = 0, best_active = 0;
	bool best_is_down = false;
	size_t turn;

	if (r->n == 1 && n == 0)
		return upstream_pool_of(l, r->ep[0]);
	turn = next_turn(r);
	for (size_t i = 0; i < r->n; i++)
		total += count_active(r->ep[i]);
	for (size_t i = 0; i < r->n; i++) {
		struct host_endpoint *ep = r->ep[(turn + i) % r->n];
		uint64_t active = count_active(ep);
		bool down = is_down(l, ep);

		if (was_tried(ep, tried, n))
			continue;
		if (!down && !is_busy(active, total, r->n))
			return upstream_pool_of(l, ep);
		if (best == NULL || (down == best_is_down ? active < best_active : best_is_down)) {
			best = ep;
			best_active = active;
			best_is_down = down;
		}
	}
	return best == NULL ? NULL : upstream_pool_of(l, best);
}
