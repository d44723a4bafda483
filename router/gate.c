#include "router/gate.h"

#include "router/fleet.h"
#include "router/lane.h"
#include "router/router_conf.h"

_Static_assert((int)ROUTER_THREADS_MAX <= 64, "a lane has no bit");

/* All else of options is immutable. */
static struct route_gate *
gate_of(const struct route_options *o)
{
	return &((struct route_options *)o)->gate;
}

bool
gate_is_waited_for(const struct host_route *r)
{
	return atomic_load(&gate_of(host_route_opts(r))->lanes) != 0;
}

/* Of one part: whether there is any but those tried, and whether one of these has room. */
static bool
part_has_room(const struct host_route *r, uint32_t limit, struct host_endpoint *const *tried,
    size_t n, bool *is_any)
{
	for (size_t i = 0; i < r->n; i++) {
		bool was_tried = false;

		for (size_t k = 0; k < n; k++)
			was_tried = was_tried || tried[k] == r->ep[i];
		if (!was_tried && gate_has_room(r->ep[i], limit))
			return true;
		*is_any = *is_any || !was_tried;
	}
	return false;
}

bool
gate_is_full(const struct host_route *r, struct host_endpoint *const *tried, size_t n)
{
	const struct host_route *canary = r->rare == NULL ? NULL : r->rare->canary;
	uint32_t limit = gate_limit(r);
	bool is_any = false;

	if (limit == 0 || part_has_room(r, limit, tried, n, &is_any) ||
	    (canary != NULL && part_has_room(canary, limit, tried, n, &is_any)))
		return false;
	return is_any;
}

bool
gate_enter(struct host_endpoint *ep, uint32_t limit)
{
	uint32_t n = atomic_load(&ep->taken);

	while (n < limit) {
		if (atomic_compare_exchange_weak(&ep->taken, &n, n + 1))
			return true;
	}
	return false;
}

static void
on_place(struct lane *l, void *arg)
{
	hold_open(l->queue, arg);
}

/* Tells the next lane that waits, after this one; o is a name only when it is read. */
static void
tell_next(struct lane *l, const struct route_options *o)
{
	uint64_t lanes = atomic_load(&gate_of(o)->lanes);

	for (int i = 1; lanes != 0 && i <= ROUTER_THREADS_MAX; i++) {
		int at = (l->index + i) % ROUTER_THREADS_MAX;

		if ((lanes >> at & 1) != 0) {
			lane_post(
			    at == l->index ? l : fleet_lane(l->fleet, at), on_place, (void *)o);
			return;
		}
	}
}

void
gate_leave(struct lane *l, const struct route_options *o, struct host_endpoint *ep)
{
	atomic_fetch_sub(&ep->taken, 1);
	tell_next(l, o);
}

/* --- who waits --- */

static bool
is_shut(const struct host_route *r)
{
	return gate_is_full(r, NULL, 0);
}

static bool
join(const struct route_options *o, bool is_first)
{
	struct route_gate *g = gate_of(o);
	uint32_t n = atomic_load(&g->queued);

	do {
		if (!is_first && n >= (uint64_t)o->set.queue)
			return false;
	} while (!atomic_compare_exchange_weak(&g->queued, &n, n + 1));
	return true;
}

static void
leave(const struct route_options *o)
{
	atomic_fetch_sub(&gate_of(o)->queued, 1);
}

/* A place that became free before the others knew that this lane waits is not told. */
static void
on_first(struct lane *l, const struct host_route *r)
{
	const struct route_options *o = host_route_opts(r);

	atomic_fetch_or(&gate_of(o)->lanes, UINT64_C(1) << l->index);
	if (!is_shut(r))
		lane_post(l, on_place, (void *)o);
}

/* What it was told of may be for others now. */
static void
on_last(struct lane *l, const struct route_options *o)
{
	atomic_fetch_and(&gate_of(o)->lanes, ~(UINT64_C(1) << l->index));
	tell_next(l, o);
}

const struct hold_kind gate_kind = {
	.waits = is_shut,
	.join = join,
	.leave = leave,
	.on_first = on_first,
	.on_last = on_last,
	.late = "No instance of the application had room in time.",
	.is_of_options = true,
};
