/* router/hold.h: requests that wait until their application can take them: while an exclusive one
 * is handed over, or one asleep wakes. Bounded in number, bytes and time; let go oldest first as
 * soon as the table says that the application serves. A lane's own; no locks.
 *
 * proxy holds an exchange when hold_waits says so of its route; what makes the route change is not
 * the router's affair, but lane->on_hold is told of the first request for a host. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hold;
struct hold_group;
struct host_route;
struct lane;
struct router_conf;

/* A part of what waits. */
struct hold_link {
	struct hold_group *group; /* borrowed; NULL: does not wait */
	struct hold_link *next, **pprev;
	size_t bytes;
};

/* It waits no more: the route is another, or gone. May hold it anew. */
typedef void hold_fn(struct hold_link *k);

/* lanes: share the limits of conf. */
struct hold *hold_new(
    struct lane *l, const struct router_conf *conf, int lanes, hold_fn *on_release);
void hold_free(struct hold *take_h); /* nothing waits any more; NULL is fine */

/* Must a request for r wait? */
bool hold_waits(const struct host_route *r);
/* Lets k wait for r; bytes: what it holds in memory. false: there is no room. */
bool hold_add(struct hold *h, struct hold_link *k, const struct host_route *r, size_t bytes);
void hold_remove(struct hold *h, struct hold_link *k); /* twice is fine */
/* Another table is in force: lets go those whose route waits no more. Some in each turn of the
 * loop, so that others get theirs. */
void hold_changed(struct hold *h);
size_t hold_count(const struct hold *h);
