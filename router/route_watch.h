/* router/route_watch.h: the broker's feed -> the fleet's table and the saved table; reports to the
 * broker what is in force and what still drains. */
#pragma once

#include "lib/base/err.h"
#include "router/route_saved.h"

struct fleet;
struct loop;
struct route_watch;
struct router_conf;
struct worker;

/* All borrowed, outlive it. */
struct route_watch *route_watch_new(
    struct loop *l, struct worker *w, const struct router_conf *conf, struct err *e);
void route_watch_free(struct route_watch *take_w);
/* Reads the saved table into the fleet and publishes it, if there is one; blocks. */
int route_watch_load(struct route_watch *w, struct fleet *f, struct err *e) MUST_CHECK;
/* Connects to the broker, for ever. */
int route_watch_start(struct route_watch *w, struct err *e) MUST_CHECK;
/* The fleet changed: tells the broker. */
void route_watch_report(struct route_watch *w);
/* Another process saves the table from now on: calls fn once nothing is under way. */
void route_watch_stop_saving(struct route_watch *w, route_saved_fn *fn, void *arg);
/* It does not after all. */
void route_watch_save_again(struct route_watch *w);
/* conf->id is another: the broker sees one router go and one come. */
void route_watch_rename(struct route_watch *w);
