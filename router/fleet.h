/* router/fleet.h: all lanes: threads, the table in force, instances that drain, the end. Control
 * thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "router/listener.h"

struct access_log;
struct challenge_table;
struct fleet;
struct host_route;
struct host_table;
struct lane;
struct loop;
struct router_conf;
struct takeover_sockets;
struct tls_ctx;

/* A table took effect, or an instance has drained. */
typedef void fleet_fn(void *arg);

/* Opens the sockets, or takes those of its addresses out of inherited; nothing is served before
 * fleet_start. conf, log: borrowed, outlive it. */
struct fleet *fleet_new(struct loop *l, const struct router_conf *conf, int lanes,
    struct access_log *log, struct takeover_sockets *inherited, fleet_fn *on_change, void *arg,
    struct err *e);
int fleet_start(struct fleet *f, struct err *e) MUST_CHECK;
/* The first one's of proto "http" or "https"; 0: there is none. */
int fleet_port(const struct fleet *f, const char *proto);
struct tls_ctx *fleet_tls(struct fleet *f);                /* borrowed; NULL: no https */
struct challenge_table *fleet_challenges(struct fleet *f); /* borrowed; in force at once */
struct host_table *fleet_table(struct fleet *f);           /* borrowed; change it, then publish */
/* Makes all changes so far take effect, as revision. Never blocks; what comes while one is under
 * way goes together. */
void fleet_publish(struct fleet *f, int64_t revision);
/* The same of a change that no revision has. */
void fleet_publish_own(struct fleet *f);
/* Calls fn in each lane, later, in the order of publications. */
void fleet_each_lane(struct fleet *f, void (*fn)(struct lane *l, void *arg), void *arg);
struct lane *fleet_lane(struct fleet *f, int i); /* before fleet_start; borrowed */
int fleet_lanes(const struct fleet *f);
/* Tells of requests for what is asleep: in their lanes. arg: lane->sleep_arg. */
void fleet_on_sleep(
    struct fleet *f, void (*fn)(struct lane *l, const struct host_route *r), void *arg);
int64_t fleet_applied(const struct fleet *f); /* the revision in force in all lanes */
bool fleet_is_settled(const struct fleet *f); /* nothing is under way */
/* Adds the ids of instances off every route that still have requests. */
void fleet_draining(const struct fleet *f, struct str_list *out);
/* No new connections; calls done when the last client left. is_handed_over: another process serves
 * on; then idle connections may stay until their next answer. */
void fleet_drain(struct fleet *f, bool is_handed_over, fleet_fn *done);
/* They may no longer. */
void fleet_drain_idle(struct fleet *f);
/* All listening sockets, while it serves. */
void fleet_each_socket(struct fleet *f, listener_fn *fn, void *arg);
/* Ends the threads and closes all. NULL is fine. */
void fleet_free(struct fleet *take_f);
