/* router/balance.h: which instance gets the request: each in turn, but none that has clearly more
 * to do than the others; those that refused last. */
#pragma once

#include <stddef.h>

struct host_endpoint;
struct host_route;
struct lane;
struct upstream_pool;

/* tried[0..n): endpoints that failed this request already. NULL: none is left. */
struct upstream_pool *balance_pick(
    struct lane *l, const struct host_route *r, struct host_endpoint *const *tried, size_t n);
