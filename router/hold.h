/* router/hold.h: requests that wait until their application can take them: while an exclusive one
 * is handed over, or one asleep wakes (hold_asleep), or while its instances have as much to do as
 * they may (gate_kind). Bounded in number, bytes and time; let go oldest first. A lane's own; no
 * locks.
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
struct route_options;
struct router_conf;

/* A part of what waits. */
struct hold_link {
	struct hold_group *group; /* borrowed; NULL: does not wait */
	struct hold_link *next, **pprev;
	size_t bytes;
};

/* It waits no more: the route is another, or gone. May hold it anew. */
typedef void hold_fn(struct hold_link *k);

/* Why they wait. */
struct hold_kind {
	bool (*waits)(const struct host_route *r);
	/* One that was let go and waits again is_first. false: there is no room. NULL: there is. */
	bool (*join)(const struct route_options *o, bool is_first);
	void (*leave)(const struct route_options *o);
	/* The first of a host waits; the last one does no more. */
	void (*on_first)(struct lane *l, const struct host_route *r);
	void (*on_last)(struct lane *l, const struct route_options *o);
	const char *late;   /* what those are told that waited too long: a sentence */
	bool is_of_options; /* with other options of the route they wait no more */
};
extern const struct hold_kind hold_asleep;

/* lanes: share the limits of conf. kind: borrowed. */
struct hold *hold_new(struct lane *l, const struct router_conf *conf, int lanes,
    const struct hold_kind *kind, hold_fn *on_release);
void hold_free(struct hold *take_h); /* nothing waits any more; NULL is fine */

/* Must a request for r wait? */
bool hold_waits(const struct host_route *r);
/* Lets k wait for r; bytes: what it holds in memory; is_first: before all others, since it was let
 * go already. false: there is no room. */
bool hold_add(
    struct hold *h, struct hold_link *k, const struct host_route *r, size_t bytes, bool is_first);
void hold_remove(struct hold_link *k);            /* twice is fine */
const char *hold_late(const struct hold_link *k); /* of one that waits */
/* Another table is in force: lets go those whose route waits no more. Some in each turn of the
 * loop, so that others get theirs. */
void hold_changed(struct hold *h);
/* The same, for those with these options alone. */
void hold_open(struct hold *h, const struct route_options *o);
size_t hold_count(const struct hold *h);
