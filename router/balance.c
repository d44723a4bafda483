#include "router/balance.h"

#include <stdbool.h>
#include <stdint.h>

#include "router/host_table.h"
#include "router/lane.h"
#include "router/upstream.h"

struct choice {
	struct upstream_pool *pool;
	uint32_t active; /* in all lanes */
	bool is_down;
};

/* Lanes share nothing, but read each other's counts: of three slow requests to three instances none
 * may wait behind another because they came by different lanes. */
static uint32_t
count_active(const struct host_endpoint *ep)
{
	uint32_t n = 0;

	for (int i = 0; i < ep->lanes; i++)
		n += atomic_load_explicit(&ep->use[i].active, memory_order_relaxed);
	return n;
}

static bool
is_better(const struct choice *a, const struct choice *b)
{
	if (b->pool == NULL)
		return true;
	if (a->is_down != b->is_down)
		return b->is_down;
	if (a->active != b->active)
		return a->active < b->active;
	return a->pool->last_pick < b->pool->last_pick;
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

struct upstream_pool *
balance_pick(
    struct lane *l, const struct host_route *r, struct host_endpoint *const *tried, size_t n)
{
	struct choice best = { 0 };

	if (r->n == 1 && n == 0)
		return upstream_pool_of(l, r->ep[0]);
	for (size_t i = 0; i < r->n; i++) {
		/* each lane begins its turns at another one */
		struct host_endpoint *ep = r->ep[(i + (size_t)l->index) % r->n];
		struct choice c;

		if (was_tried(ep, tried, n))
			continue;
		c.pool = upstream_pool_of(l, ep);
		c.active = count_active(ep);
		c.is_down = c.pool->down_until_ms > l->now_ms;
		if (is_better(&c, &best))
			best = c;
	}
	return best.pool;
}
