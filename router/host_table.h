/* router/host_table.h: host name -> route. What lanes read is immutable: a change copies one shard
 * and a new root takes effect in each lane when it says so; the old one is freed when all did. */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_route.h"

struct fleet;
struct route_options;
struct upstream_pool;

enum {
	HOST_NAME_MAX = 253,
	HOST_SHARDS = 256,
	HOST_ENDPOINTS_MAX = 10000, /* of a route */
	HOST_PATH_MAX = 128,        /* of the path of a route that has one */
};

/* A lane's part of an endpoint; written by that lane only. */
struct host_use {
	struct upstream_pool *pool; /* its alone */
	atomic_uint active;         /* its exchanges; other lanes read it to balance */
};

/* One instance's address. Made and freed by the control thread. */
struct host_endpoint {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} addr;
	uint32_t refs;              /* control thread: routes that name it */
	atomic_int holders;         /* lanes that may still use it, once retired */
	struct host_endpoint *next; /* in a publication's list of retired ones */
	struct host_endpoint *drain_next, **drain_pprev; /* control thread: retired, still used */
	struct fleet *fleet;                             /* borrowed: whose it is, once retired */
	char app[32]; /* id of the application of the route that named it first */
	char *id;     /* inside this allocation; "" in a static table */
	char *name;   /* "address:port" */
	int lanes;
	struct host_use use[];
};

struct host_route {
	struct host_route *next; /* in the list of retired ones */
	atomic_uint turn;        /* counts picks of all lanes, where there is a choice */
	atomic_bool is_woken;    /* asleep: a request has asked for its wake already */
	int64_t sleep;           /* the order with which it sleeps; 0: awake */
	uint32_t hash;
	uint32_t timeout_s; /* 0: the default */
	uint32_t mark;      /* control thread: the last sweep that kept it */
	uint16_t host_n;
	uint16_t n;
	uint8_t state;    /* enum wire_route_state */
	const char *host; /* inside this allocation, as the next three */
	const char *app_id;
	const char *app;
	const char *domain;
	const char *wake;    /* where to wake it: URLs, a space between two */
	const char *paths;   /* those with routes of their own, longest first, a space after each */
	const char *backend; /* what takes the path's place; of one with a path */
	uint8_t answer;      /* enum wire_route_answer */
	struct route_options *opts; /* what its owner set; NULL: nothing. Borrowed */
	const uint16_t *weights;    /* of ep, in this allocation; NULL: all alike */
	struct host_endpoint *ep[];
};

struct host_root;

/* What changed since the last one: take it, tell all lanes, free it. */
struct host_publication {
	const struct host_root *root;
	struct host_endpoint *gone; /* retired endpoints, by next; the taker's */
	struct host_root *old_root;
	struct host_shard *old_shards;
	struct host_route *old_routes;
	struct route_options *old_options;
	atomic_int left;     /* lanes that have not applied it */
	int64_t revision;    /* the publisher's */
	struct fleet *fleet; /* borrowed: the publisher */
};

struct host_table;

struct host_table *host_table_new(int lanes);
void host_table_free(struct host_table *take_t); /* with all its endpoints */
/* Whether host_table_put takes it. */
int host_table_check(const struct wire_route *r, struct err *e) MUST_CHECK;
/* Takes in a route. ERR_INVALID: an address or host is malformed; the table is unchanged. */
int host_table_put(struct host_table *t, const struct wire_route *r, struct err *e) MUST_CHECK;
bool host_table_delete(struct host_table *t, const char *host);
/* A table that is given anew as a whole: what is put or kept between these stays, the rest goes. */
void host_table_begin_sweep(struct host_table *t);
void host_table_keep(struct host_table *t, const struct host_route *r);
void host_table_sweep(struct host_table *t);
/* The control thread's view, with all changes. */
const struct host_route *host_table_get(const struct host_table *t, const char *host, size_t n);
/* Whether a request has asked for the wake of a route that sleeps. Control thread. */
void host_table_set_woken(struct host_table *t, const char *host, int64_t order, bool is_woken);
/* Whether the instance of a retired endpoint is routed again. */
bool host_table_has_instance(const struct host_table *t, const struct host_endpoint *ep);
size_t host_table_count(const struct host_table *t);
typedef void host_table_visit_fn(const struct host_route *r, void *arg);
/* The table must not change meanwhile. */
void host_table_each(const struct host_table *t, host_table_visit_fn *fn, void *arg);
/* NULL when nothing changed since the last one. */
struct host_publication *host_table_publish(struct host_table *t);
void host_publication_free(struct host_publication *take_p); /* all lanes have applied it */
void host_endpoint_free(struct host_endpoint *take_ep);

/* Lower case, without port or final dot, into out. 0: no valid host. */
size_t host_key(const char *p, size_t n, char out[HOST_NAME_MAX + 1]);
/* The route of the longest of r's paths that lies above the request's target, or NULL. Any thread
 * with its root. */
const struct host_route *host_find_path(
    const struct host_root *root, const struct host_route *r, const char *target, size_t n);
/* Exact, then *.rest from the longest. host: a key. Any thread with its root. */
const struct host_route *host_find(const struct host_root *root, const char *host, size_t n);
