/* router/balance.h: which instance gets the request: the least loaded, in turn, those that refused
 * last. */
#pragma once

#include <stddef.h>

struct host_endpoint;
struct host_route;
struct lane;
struct upstream_pool;

/* tried[0..n): endpoints that failed this request already. NULL: none is left. */
struct upstream_pool *balance_pick(
    struct lane *l, const struct host_route *r, struct host_endpoint *const *tried, size_t n);
