/* router/balance.h: which instance gets the request, and which ones are left alone.
 *
 * Of two instances by chance the one with fewer requests under way; of four or less, all are looked
 * at. Lanes share nothing for it: each reads what the others count, and writes its own.
 *
 * Where instances have weights (wire_endpoint.weight; 0 beside others that have one counts as 1),
 * the two are drawn by weight, and the first is taken unless it has clearly more to do for its
 * weight than the second: so shares hold, down to one in a hundred. The weight of an instance that
 * is new on its route grows for slow_start_s from a tenth to all of it.
 *
 * Those that refuse or fail (router/outlier.h) are not chosen while there are others. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct host_endpoint;
struct host_route;
struct lane;
struct upstream_pool;

/* tried[0..n): endpoints that failed this request already. NULL: none is left, or none has room
 * (router/gate.h). */
struct upstream_pool *balance_pick(
    struct lane *l, const struct host_route *r, struct host_endpoint *const *tried, size_t n);
/* Whether this lane thinks well of ep: for who wants that one and no other. */
bool balance_is_in(const struct lane *l, const struct host_endpoint *ep);
/* A request to p failed: no answer, a broken one, or a late one. r: its route; NULL: not known. */
void balance_failed(struct upstream_pool *p, const struct host_route *r);
/* It was answered, with 5xx or after failures. */
void balance_answered(struct upstream_pool *p, const struct host_route *r, int status);
