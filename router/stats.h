/* router/stats.h: what a lane counts: requests, where their time went, bytes, and the same by
 * application for those that have traffic. A lane writes its own only; others get a copy made in
 * the lane. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/wire/wire_took.h"
#include "router/shed.h"

struct map;
struct proxy;
struct upstream_pool;

enum {
	STATS_CLASSES = 6, /* of status: 0 is none */
	STATS_APPS_MAX = 100000,
};

struct stats_times {
	uint64_t n, sum_us;
	uint64_t bucket[WIRE_TOOK_PLACES];
};

/* All that happened in a lane. */
struct stats_all {
	uint64_t requests[STATS_CLASSES];
	uint64_t retries, tunnels, tunnels_us;
	uint64_t bytes_in, bytes_out; /* of bodies and tunnels */
	uint64_t connections;         /* of clients */
	uint64_t refused[SHED_WHYS];  /* of them, and streams */
	uint64_t shed_clients, shed_upstreams, shed_answers;
	uint64_t connects, connect_failures;
	uint64_t ejections;          /* of instances that fail */
	uint64_t over_budget;        /* requests that were not tried again: too many were */
	uint64_t hedges, hedges_won; /* a second instance was asked; and answered first */
	uint64_t handshakes, handshake_failures;
	/* Where the time of requests went; total: without tunnels; tls: of handshakes. */
	struct stats_times total, router, queue, connect, app, tls;
};

/* An application, or in a table without any a host, since the last look. */
struct stats_app {
	struct stats_app *next; /* in stats->apps */
	uint32_t active;        /* exchanges that have an instance */
	uint32_t started;
	uint32_t retries;
	uint32_t requests[STATS_CLASSES]; /* ended ones */
	uint64_t us, bytes;
	int64_t used_ms; /* when one last got or left an instance; 0: none did */
	uint32_t took[WIRE_TOOK_PLACES];
	bool is_host;    /* id is one */
	uint32_t name_n; /* bytes of the application's name, behind the id's NUL */
	char id[];
};

struct stats {
	struct stats_all all;
	struct map *by_id;      /* owned: id → borrowed */
	struct stats_app *apps; /* owned: those with something since the last look, or active */
	uint32_t generation;    /* of apps: pools remember theirs */
};

struct stats *stats_new(void);
void stats_free(struct stats *take_s); /* NULL is fine */

/* An exchange got an instance: x->app counts it from now on. Once for each attempt. */
void stats_take(struct proxy *x, struct upstream_pool *p);
/* It ends, as x tells. */
void stats_end(struct proxy *x, int64_t took_us);

/* Visits all, which count anew then; those that are not active are gone. In the lane. */
typedef void stats_visit_fn(const struct stats_app *a, void *arg);
void stats_look(struct stats *s, stats_visit_fn *fn, void *arg);

void stats_time(struct stats_times *t, int64_t us);
void stats_add_times(struct stats_times *to, const struct stats_times *from);
