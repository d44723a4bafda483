/* router/gate.h: how many requests an instance gets at once, where its application's owner has set
 * that (concurrency). All lanes count together, at the endpoint; other routes never touch that.
 * Who finds all instances full waits in its lane (hold_new with gate_kind), in order; a place that
 * becomes free is told to one lane that waits, each in turn. New requests queue behind. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "router/hold.h"
#include "router/host_route.h"
#include "router/route_options.h"

struct lane;

extern const struct hold_kind gate_kind;

/* 0: any number. */
static inline uint32_t
gate_limit(const struct host_route *r)
{
	const struct route_options *o = host_route_opts(r);

	return o == NULL ? 0 : (uint32_t)o->set.concurrency;
}

static inline bool
gate_has_room(const struct host_endpoint *ep, uint32_t limit)
{
	return limit == 0 || atomic_load(&((struct host_endpoint *)ep)->taken) < limit;
}

/* Whether requests wait, in any lane. */
bool gate_is_waited_for(const struct host_route *r);
/* Whether instances but tried[0..n), also those of a canary, have no room. */
bool gate_is_full(const struct host_route *r, struct host_endpoint *const *tried, size_t n);
/* Takes a place. false: there is none. Every place is left. */
bool gate_enter(struct host_endpoint *ep, uint32_t limit);
void gate_leave(struct lane *l, const struct route_options *o, struct host_endpoint *ep);
