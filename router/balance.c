#include "router/balance.h"

#include <stdbool.h>

#include "router/host_table.h"
#include "router/lane.h"
#include "router/upstream.h"

static bool
is_better(const struct lane *l, const struct upstream_pool *a, const struct upstream_pool *b)
{
	bool a_down = a->down_until_ms > l->now_ms, b_down = b->down_until_ms > l->now_ms;

	if (a_down != b_down)
		return b_down;
	if (a->active != b->active)
		return a->active < b->active;
	return a->last_pick < b->last_pick;
}

struct upstream_pool *
balance_pick(
    struct lane *l, const struct host_route *r, struct host_endpoint *const *tried, size_t n)
{
	struct upstream_pool *best = NULL;

	if (r->n == 1 && n == 0)
		return upstream_pool_of(l, r->ep[0]);
	for (size_t i = 0; i < r->n; i++) {
		struct upstream_pool *p;
		bool was_tried = false;

		for (size_t k = 0; k < n; k++)
			was_tried |= tried[k] == r->ep[i];
		if (was_tried)
			continue;
		p = upstream_pool_of(l, r->ep[i]);
		if (best == NULL || is_better(l, p, best))
			best = p;
	}
	return best;
}
