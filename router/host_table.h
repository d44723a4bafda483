/* router/host_table.h: all routes and their endpoints, as the control thread changes them. Lanes
 * read the same by its root. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_route.h"
#include "router/host_endpoint.h"
#include "router/host_key.h"
#include "router/host_root.h"
#include "router/host_route.h"

struct fleet;
struct route_options;

/* What changed since the last one, once lanes see it: tell all of them, then free it. */
struct host_publication {
	const struct host_root *root;
	struct host_gone *gone; /* retired endpoints; the taker's */
	struct host_old *old;   /* owned, as the next */
	struct host_route **old_route;
	size_t old_n;
	struct route_options *old_options;
	atomic_int left;     /* lanes that have not applied it */
	int64_t revision;    /* the publisher's */
	struct fleet *fleet; /* borrowed: the publisher */
};

struct host_table;

struct host_table *host_table_new(int lanes);
void host_table_free(struct host_table *take_t); /* with all its endpoints */
/* Takes in a route. ERR_INVALID: an address or host is malformed; the table is unchanged. */
int host_table_put(struct host_table *t, const struct wire_route *r, struct err *e) MUST_CHECK;
bool host_table_delete(struct host_table *t, const char *host);
/* A table that is given anew as a whole: what is put between these stays, the rest goes. */
void host_table_begin_sweep(struct host_table *t);
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
/* Some routes; where to go on, 0 at the end and to begin with. The table may change between two
 * steps: a route may be seen twice then, but none that stays is left out. */
uint64_t host_table_step(
    const struct host_table *t, uint64_t from, host_table_visit_fn *fn, void *arg);
/* Lanes that have the root see all changes from now on. */
void host_table_show(struct host_table *t);
/* The same, and what is to be freed once all lanes know. NULL when nothing changed since the last
 * one. */
struct host_publication *host_table_publish(struct host_table *t);
void host_publication_free(struct host_publication *take_p); /* all lanes have applied it */
