/* router/hedge.h: a request that its instance does not answer for hedge_ms is sent to a second one,
 * too; who answers first has it, and the other is let go. Where the route's owner set that, for
 * requests that are safe and have no body, not where sessions are sticky, and within the budget of
 * tries (router/retry_budget.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct hedge;
struct host_route;
struct proxy;
struct upstream_pool;

/* x has its first instance, of r: waits for its time, if r and x are such. */
void hedge_start(struct proxy *x, const struct host_route *r);
/* The first instance is lost: the second takes its place. false: there is none. */
bool hedge_take_over(struct proxy *x, struct hedge *take_h);
/* NULL is fine. */
void hedge_drop(struct hedge *take_h);
/* Whether an instance of p is asked. NULL is fine. */
bool hedge_is_at(const struct hedge *h, const struct upstream_pool *p);
