/* router/metrics.h: GET /metrics in the text format of Prometheus, for who shows the token. Lanes
 * copy their counts when they are asked; applications come from traffic's totals, those with the
 * most requests. */
#pragma once

#include "lib/base/err.h"

struct access_log;
struct fleet;
struct loop;
struct metrics;
struct router_conf;
struct traffic;

/* Reads the token (blocks), listens. All borrowed, outlive it; log may be NULL. */
struct metrics *metrics_new(struct loop *l, struct fleet *f, const struct traffic *t,
    const struct access_log *log, const struct router_conf *conf, struct err *e);
void metrics_stop(struct metrics *m);      /* before the fleet is freed; NULL is fine */
void metrics_free(struct metrics *take_m); /* after it */
