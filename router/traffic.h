/* router/traffic.h: what applications had in requests: gathered from the lanes every second, from
 * those only that had some; told to the broker, which puts others to sleep and scales; kept as
 * totals for metrics. A request pays nothing for it. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"
#include "router/stats.h"

struct fleet;
struct loop;
struct router_conf;
struct traffic;

/* All that was since the router began. */
struct traffic_app {
	const char *id;
	char *name; /* "": not known, or a host that stands for an application */
	uint64_t requests[STATS_CLASSES], all;
	uint64_t retries, us, bytes;
	uint64_t active;
};

/* Reads the token (blocks). All borrowed, outlive it. */
struct traffic *traffic_new(
    struct loop *l, struct fleet *f, const struct router_conf *conf, struct err *e);
typedef void traffic_visit_fn(const struct traffic_app *a, void *arg);
/* Those seen within an hour. */
void traffic_each(const struct traffic *t, traffic_visit_fn *fn, void *arg);
void traffic_stop(struct traffic *t);      /* before the fleet is freed; NULL is fine */
void traffic_free(struct traffic *take_t); /* after it */
