/* router/wake.h: wakes applications that are asleep: the first request for one asks its nodes,
 * which need no broker for that. The request itself goes its way meanwhile: it lies in the queue of
 * the frozen listener, or is held until the application was started. */
#pragma once

#include "lib/base/err.h"

struct fleet;
struct loop;
struct router_conf;
struct wake;

/* Reads the token (blocks). All borrowed, outlive it. Before fleet_start. */
struct wake *wake_new(
    struct loop *l, struct fleet *f, const struct router_conf *conf, struct err *e);
void wake_stop(struct wake *w);      /* before the fleet is freed; NULL is fine */
void wake_free(struct wake *take_w); /* after it */
