/* router/proxy_route.h: the route of an exchange: by its host, what its owner set, its path. */
#pragma once

struct host_route;
struct proxy;

/* Of each attempt anew. NULL: it was answered, x is gone. */
const struct host_route *proxy_route_find(struct proxy *x);
/* The same for who only looks; NULL: there is none. */
const struct host_route *proxy_route_peek(struct proxy *x);
/* On the way to the application another path takes the place of the one that led to r. Once: a
 * further attempt sends the same head. */
void proxy_route_rewrite(struct proxy *x, const struct host_route *r);
