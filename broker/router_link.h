/* broker/router_link.h: the routers: which revision each has in force, which retired instances
 * still serve requests there, whose feed is connected. In memory only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct broker;
struct http_req;
struct router_link;

enum { ROUTER_LINK_AWAY_MS = 30000 }; /* a router that is gone so long is not waited for */

struct router_link *router_link_new(struct broker *b, struct err *e);
void router_link_free(struct router_link *take_rl);

/* POST /internal/router/report. Takes the request. */
void router_link_handle(struct router_link *rl, struct http_req *r);
/* POST /internal/router/traffic, likewise. */
void router_link_traffic(struct router_link *rl, struct http_req *r);
const char *router_link_token(const struct router_link *rl); /* what routers show; borrowed */

/* A feed of the router was connected (+1) or ended (-1). */
void router_link_attach(struct router_link *rl, const char *router, int by);

/* Have all connected routers the revision in force? With none connected: true. */
bool router_link_has(const struct router_link *rl, int64_t rev);
/* May an instance that revision rev took off the route be stopped, as far as routers go: all
 * connected ones have rev and name it no more in `draining`, none went away less than 30 s ago.
 * again_ms: when only time is missing, ask again after so long; else 0. */
bool router_link_released(
    const struct router_link *rl, const char *instance, int64_t rev, int64_t *again_ms);

/* Called after each report and each change of a connection. */
typedef void router_link_change_fn(void *arg);
void router_link_on_change(struct router_link *rl, router_link_change_fn *fn, void *arg);

/* Has each router revision rev in force, and told of all requests by the tables before? With none
 * known, or one away (it may serve an old table): false. */
bool router_link_is_quiet(const struct router_link *rl, int64_t rev);

/* For the status page: id, revision, connected. */
typedef bool router_link_visit_fn(const char *router, int64_t rev, bool is_alive, void *arg);
void router_link_each(const struct router_link *rl, router_link_visit_fn *fn, void *arg);
