/* router/traffic.h: tells the broker which applications had requests: every few seconds, those that
 * had some. A lane is asked now and then; a request pays with one store. */
#pragma once

#include "lib/base/err.h"

struct fleet;
struct loop;
struct router_conf;
struct traffic;

/* Reads the token (blocks). All borrowed, outlive it. */
struct traffic *traffic_new(
    struct loop *l, struct fleet *f, const struct router_conf *conf, struct err *e);
void traffic_stop(struct traffic *t);      /* before the fleet is freed; NULL is fine */
void traffic_free(struct traffic *take_t); /* after it */
