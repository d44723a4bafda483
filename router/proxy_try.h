/* router/proxy_try.h: an instance for an exchange: the choice, a connection, another try, or a wait
 * until the application serves. */
#pragma once

#include <stdbool.h>

#include "router/upstream.h"

struct hold_link;
struct host_route;
struct proxy;

/* Picks an instance and sends the head, until it works or nothing is left. x may be gone. */
void proxy_try(struct proxy *x);
/* The connection failed before an answer: another try, if that is safe, or the end. */
void proxy_lost(struct proxy *x);
/* The instance, which x still has, broke its answer off or is late; or it answered with
 * 5xx, or after failures. */
void proxy_try_failed(struct proxy *x);
void proxy_try_answered(struct proxy *x, int status);
/* Takes one try more from the budget of r (a route, or its canary). false: there is none. */
bool proxy_try_pays(struct lane *l, const struct host_route *r);
/* A connection for x's request to p, an instance of r. NULL: it cannot be made (errno). */
struct upstream_conn *proxy_try_open(const struct proxy *x, const struct host_route *r,
    struct upstream_pool *p, bool must_live, upstream_fn *fn, void *owner);
/* x has another instance: for the log. */
void proxy_try_note(struct proxy *x);
/* A held exchange waits no longer. */
void proxy_try_held_long(struct proxy *x);
/* The application of a held exchange may take it now: for hold_new. */
void proxy_unhold(struct hold_link *k);
/* The same of one whose turn it is. */
void proxy_unqueue(struct hold_link *k);
