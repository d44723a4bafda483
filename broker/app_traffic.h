/* broker/app_traffic.h: what applications had in requests during the last minute, as all routers
 * together tell it every second: for who scales, for administrators. In memory only, and only of
 * those with traffic. Loop thread. Times are of the loop (loop_now_ms). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/wire/wire_took.h"

struct app_traffic;
struct wire_traffic;

enum {
	APP_TRAFFIC_WINDOW_MAX = 60, /* seconds that are kept */
	APP_TRAFFIC_FINE = 5,        /* of them single ones; older ones in steps of as many */
	APP_TRAFFIC_APPS_MAX = 100000,
	APP_TRAFFIC_ROUTERS_MAX = 1000,
};

struct app_traffic *app_traffic_new(void);
void app_traffic_free(struct app_traffic *take_t); /* NULL is fine */

/* What a router reports. One that is silent for 5 s has nothing under way. */
void app_traffic_add(struct app_traffic *t, const struct wire_traffic *in, int64_t now_ms);

/* Whole seconds that have ended. */
struct app_traffic_window {
	int64_t seconds;                      /* that it covers: as asked, or a few more */
	uint64_t requests, errors, us, bytes; /* of those that ended; errors: 5xx */
	uint64_t active_ms;                   /* under way, times how long */
	uint64_t took[WIRE_TOOK_PLACES];      /* see wire_took_quantile */
};
/* The requests under way now; 0 for one without traffic. */
uint64_t app_traffic_active(const struct app_traffic *t, const char *app_id, int64_t now_ms);
/* The last `seconds`, 1 to APP_TRAFFIC_WINDOW_MAX. All 0 but seconds for one without traffic. */
void app_traffic_window(const struct app_traffic *t, const char *app_id, int seconds,
    int64_t now_ms, struct app_traffic_window *out);
/* Requests under way on average. */
double app_traffic_concurrency(const struct app_traffic_window *w);

/* All that have traffic. The window is borrowed for the call. */
typedef void app_traffic_visit_fn(
    const char *app_id, uint64_t active, const struct app_traffic_window *w, void *arg);
void app_traffic_each(
    const struct app_traffic *t, int seconds, int64_t now_ms, app_traffic_visit_fn *fn, void *arg);
size_t app_traffic_count(const struct app_traffic *t);
