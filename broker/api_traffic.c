/* For administrators: which applications have requests now. GET traffic: window (seconds), sort,
 * limit. */
#include <stdlib.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/app_traffic.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_app.h"

enum { EXIT_TRAFFIC = 109, SORT_MAX = 20, LIMIT = 50, LIMIT_MAX = 1000 };

enum order { BY_REQUESTS, BY_ERRORS, BY_LATENCY, BY_ACTIVE };
static const char *const orders[] = { "requests", "errors", "latency", "active" };

struct row {
	const char *id; /* borrowed */
	uint64_t key, active;
};

struct view {
	enum order order;
	int64_t window, limit;
	struct row *rows; /* owned: as many as there are applications */
	size_t n;
	uint64_t active;
	struct app_traffic_window all;
};

static uint64_t
key_of(enum order o, uint64_t active, const struct app_traffic_window *w)
{
	switch (o) {
	case BY_ERRORS:
		return w->errors;
	case BY_LATENCY:
		return (uint64_t)wire_took_quantile(w->took, 950);
	case BY_ACTIVE:
		return active;
	default:
		return w->requests;
	}
}

static void
see(const char *app_id, uint64_t active, const struct app_traffic_window *w, void *arg)
{
	struct view *v = arg;

	if (active == 0 && w->requests == 0)
		return;
	v->rows[v->n++] = (struct row){ app_id, key_of(v->order, active, w), active };
	v->active += active;
	v->all.requests += w->requests;
	v->all.errors += w->errors;
	v->all.bytes += w->bytes;
	v->all.active_ms += w->active_ms;
	for (size_t i = 0; i < WIRE_TOOK_PLACES; i++)
		v->all.took[i] += w->took[i];
}

/* The highest first; by id where they are equal, so that rows keep their places. */
static int
compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? 1 : -1;
	return strcmp(x->id, y->id);
}

static void
write_counts(struct api_json *j, uint64_t active, const struct app_traffic_window *w)
{
	AUTO(free) char *concurrency = xasprintf("%.3f", app_traffic_concurrency(w));

	api_json_int(j, "active", (int64_t)active);
	api_json_raw(j, "concurrency", concurrency);
	api_json_int(j, "requests", (int64_t)w->requests);
	api_json_int(j, "errors", (int64_t)w->errors);
	api_json_int(j, "bytes", (int64_t)w->bytes);
	api_json_int(j, "p50_us", wire_took_quantile(w->took, 500));
	api_json_int(j, "p95_us", wire_took_quantile(w->took, 950));
	api_json_int(j, "p99_us", wire_took_quantile(w->took, 990));
	api_json_arr(j, "took");
	for (unsigned i = 0; i < WIRE_TOOK_PLACES; i++) {
		if (w->took[i] == 0)
			continue;
		api_json_obj(j, NULL);
		api_json_int(j, "below_us", wire_took_end(i));
		api_json_int(j, "requests", (int64_t)w->took[i]);
		api_json_end_obj(j);
	}
	api_json_end_arr(j);
}

static void
write_row(struct api_call *c, const struct view *v, const struct row *r)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct app_traffic_window w;
	struct err e = { 0 };

	if (record_app_by_id(c->b->store, r->id, &a, NULL, &e) < 0)
		log_debug("traffic_of_unknown_app", LOG_STR("app", r->id)); /* gone by now */
	app_traffic_window(c->b->traffic, r->id, (int)v->window, loop_now_ms(), &w);
	api_json_obj(&c->json, NULL);
	api_json_str(&c->json, "id", r->id);
	api_json_str(&c->json, "name", a.name);
	api_json_str(&c->json, "domain_id", a.domain);
	write_counts(&c->json, r->active, &w);
	api_json_end_obj(&c->json);
}

static void
send(struct api_call *c, struct view *v)
{
	const struct app_traffic *t = c->b->traffic;
	struct api_json *j = api_data(c, "traffic");

	v->rows = xcalloc(app_traffic_count(t) + 1, sizeof v->rows[0]);
	app_traffic_window(t, "", (int)v->window, loop_now_ms(), &v->all);
	app_traffic_each(t, (int)v->window, loop_now_ms(), see, v);
	qsort(v->rows, v->n, sizeof v->rows[0], compare);
	api_json_obj(j, NULL);
	api_json_int(j, "seconds", v->all.seconds);
	api_json_int(j, "applications_with_traffic", (int64_t)v->n);
	api_json_obj(j, "total");
	write_counts(j, v->active, &v->all);
	api_json_end_obj(j);
	api_json_arr(j, "applications");
	for (size_t i = 0; i < v->n && i < (size_t)v->limit; i++)
		write_row(c, v, &v->rows[i]);
	api_json_end_arr(j);
	api_json_end_obj(j);
	free(v->rows);
	api_send(c, 200);
}

static int
read_order(const struct api_call *c, enum order *out, struct err *e)
{
	const char *sort = orders[BY_REQUESTS];

	if (api_param_str(c->params, "sort", SORT_MAX, &sort, e) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
		if (strcmp(orders[i], sort) == 0) {
			*out = (enum order)i;
			return 0;
		}
	}
	return err_set(e, ERR_INVALID, "sort", "must be requests, errors, latency or active");
}

void
api_traffic_show(struct api_call *c)
{
	struct view v = { .window = APP_TRAFFIC_WINDOW_MAX, .limit = LIMIT };
	struct err e = { 0 };

	if (api_param_int(c->params, "window", 1, APP_TRAFFIC_WINDOW_MAX, &v.window, &e) < 0 ||
	    api_param_int(c->params, "limit", 1, LIMIT_MAX, &v.limit, &e) < 0 ||
	    read_order(c, &v.order, &e) < 0)
		api_fail_err(c, &e, EXIT_TRAFFIC);
	else
		send(c, &v);
}
