/* router/upstream.h: connections to instances: a pool for each instance and lane, newest first.
 * A lane's own; no locks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "router/lane.h"
#include "router/outlier.h"
#include "router/retry_budget.h"
#include "router/sock.h"

struct h2_client;
struct host_endpoint;
struct host_use;
struct ssl_session_st;
struct stats_app;
struct upstream_conn;

enum {
	UPSTREAM_IDLE_MS = 60000, /* unless the instance names a shorter time */
	UPSTREAM_IDLE_MAX = 256,  /* kept for each instance and lane */
	UPSTREAM_LEARNED_MS = 10000,
};

struct upstream_pool {
	struct upstream_pool *next, *prev; /* in lane->pools */
	struct host_endpoint *ep;          /* borrowed: outlives the pool */
	struct host_use *use;              /* borrowed: this lane's, of ep */
	struct lane *lane;                 /* borrowed */
	struct h2_client *h2;              /* owned: connections of HTTP/2 that take more */
	struct ssl_session_st *session;    /* owned: of TLS, the last one; NULL: none */
	struct upstream_conn *idle;
	struct upstream_conn *idle_last;
	uint32_t idle_n;
	uint32_t active;          /* exchanges and tunnels that use it */
	int64_t learned_until_ms; /* idle_limit_ms holds until then */
	int64_t idle_limit_ms;    /* it was seen to close idle connections of that age */
	uint32_t requests;        /* that ever took it */
	uint32_t budgeted;        /* of them: that count in a budget already */
	struct outlier health;
	struct retry_budget budget; /* of routes that have its instance first */
	struct lane_timer end;      /* of the exchanges, once it is retired */
	uint32_t stats_generation;  /* of the lane's: then stats is the application's */
	struct stats_app *stats;    /* borrowed */
	bool retired;               /* off every route: gone when the last exchange ends */
	uint32_t name_n;            /* bytes of name */
	char name[];                /* the instance's id, or its address:port */
};

/* Something happened to the connection of an exchange. */
typedef void upstream_fn(struct upstream_conn *u, void *owner);

struct upstream_conn {
	struct lane_grave grave;
	struct lane_timer timer;
	struct sock sock;
	struct upstream_pool *pool;        /* borrowed */
	struct upstream_conn *next, *prev; /* in pool->idle */
	upstream_fn *fn;
	int64_t kept_ms; /* when it became idle */
	void *owner;     /* borrowed; NULL: idle */
	bool reused;     /* it served before */
	bool connecting; /* not known to be established */
	bool timed_out;  /* the connection was not made in time */
};

/* The pool of ep in this lane, made when needed. */
struct upstream_pool *upstream_pool_of(struct lane *l, struct host_endpoint *ep);
/* Counts an exchange on the pool; every take has its release. */
void upstream_pool_take(struct upstream_pool *p);
void upstream_pool_release(struct upstream_pool *p);
void upstream_pool_failed(struct upstream_pool *p); /* refused or timed out */

/* An idle connection (unless fresh), else a new one. must_live: looks that the idle one was not
 * closed by its peer. host: that of the request; TLS asks for it, and keeps to it. NULL: it cannot
 * be made (errno). */
struct upstream_conn *upstream_open(struct upstream_pool *p, const char *host, bool fresh,
    bool must_live, upstream_fn *fn, void *owner);
/* A stream on a connection of HTTP/2, as a connection of its own. */
struct upstream_conn *upstream_open_h2c(struct upstream_pool *p, upstream_fn *fn, void *owner);
/* A socket that is about to be connected to p's endpoint; the caller's. -1: errno. */
int upstream_connect(const struct upstream_pool *p);
/* Back to the pool, for idle_ms at most, or the time that the instance was seen to allow. */
void upstream_keep(struct upstream_conn *take_u, int64_t idle_ms);
void upstream_close(struct upstream_conn *take_u);
/* The connection is established. */
void upstream_connected(struct upstream_conn *u);

/* ep left the table: its idle connections close now, and exchanges have conf->drain_instance_s to
 * end. true: nothing of it is left in this lane, else lane->on_gone tells when the last one ended.
 */
bool upstream_retire(struct lane *l, struct host_endpoint *ep);
/* Closes up to n idle ones, of each instance those that are idle longest. Returns how many. */
size_t upstream_shed(struct lane *l, size_t n);
/* At the end, when no client is left. */
void upstream_free_all(struct lane *l);
