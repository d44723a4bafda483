/* test/lib/router_lane.h: a lane of the router in this process, with one client and an instance
 * that says what a test wants. All goes turn by turn in one thread: what can happen has happened
 * when a call returns. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"
#include "router/route_feed.h"

struct host_root;
struct host_table;

enum { ROUTER_LANE_APPS = 16 };

/* A connection that the router made to the instance. */
struct router_lane_app {
	int fd;        /* -1: none */
	struct buf in; /* what came; the test drops what it has seen */
	uint64_t n;    /* the test's own, 0 at first */
};

/* Something came on a (or, the first time, it is there). The test may write, and close. */
typedef void router_lane_fn(struct router_lane_app *a, void *arg);

struct router_lane;

/* routes: a static table, in which % stands for the instance's address. is_tls: clients come by
 * https; greets: with the PROXY protocol. arg: handed to fn. */
struct router_lane *router_lane_new(
    const char *routes, bool is_tls, bool greets, router_lane_fn *fn, void *arg);
void router_lane_free(struct router_lane *take_l);
/* A line of the broker's feed; a sync makes the table the lane's. */
enum route_feed_step router_lane_line(struct router_lane *l, struct str line, struct err *e);
/* The broker connects anew. */
void router_lane_begin(struct router_lane *l);
const struct host_table *router_lane_table(const struct router_lane *l); /* control's view */
const struct host_root *router_lane_root(const struct router_lane *l);   /* the lane's */
int router_lane_port(const struct router_lane *l); /* of the instance, 127.0.0.1 */

void router_lane_connect(struct router_lane *l);
/* The client sends p[0..n), in pieces of at most `piece` bytes. */
void router_lane_send(struct router_lane *l, const void *p, size_t n, size_t piece);
/* What the client got. *out_end: and the end of it. */
const struct buf *router_lane_got(const struct router_lane *l, bool *out_end);
/* The client sends no more, then leaves; nothing of it is left, nor are connections to the
 * instance.
 */
void router_lane_leave(struct router_lane *l);

void router_lane_app_send(struct router_lane_app *a, const void *p, size_t n);
void router_lane_app_close(struct router_lane_app *a);
