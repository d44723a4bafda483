/* What the routers tell of applications' requests, put together; and as the API shows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/app_traffic.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_route.h"
#include "test/lib/api_world.h"

enum { T0 = 1000 * 1000 }; /* ms; a multiple of the steps */

struct told {
	const char *router, *app;
	int look, active, requests, errors;
	const char *took;
	bool more;
};

static void
tell(struct app_traffic *t, const struct told *m, int64_t now_ms)
{
	AUTO_FINI(wire_traffic_fini)
	struct wire_traffic in = {
		.router = xstrdup(m->router), .look = m->look, .more = m->more, .ms = 1000
	};

	if (m->app != NULL) {
		struct wire_traffic_app *a = codec_list_add(&wire_traffic_app_codec, &in.apps);

		*a = (struct wire_traffic_app){ .id = xstrdup(m->app),
			.active = m->active,
			.requests = m->requests,
			.errors = m->errors,
			.us = m->requests * 100,
			.bytes = m->requests * 10,
			.took = m->took == NULL ? NULL : xstrdup(m->took) };
	}
	app_traffic_add(t, &in, now_ms);
}

static struct app_traffic_window
window(const struct app_traffic *t, const char *app, int seconds, int64_t now_ms)
{
	struct app_traffic_window w;

	app_traffic_window(t, app, seconds, now_ms, &w);
	return w;
}

static int
setup(void **state)
{
	*state = app_traffic_new();
	return 0;
}

static int
teardown(void **state)
{
	app_traffic_free(*state);
	return 0;
}

/* 100 seconds with 10 requests each: windows have what they cover, and no more. */
static void
windows_by_seconds(void **state)
{
	struct app_traffic *t = *state;
	int64_t now = T0;
	struct app_traffic_window w;

	for (int i = 1; i <= 100; i++, now += 1000)
		tell(t, &(struct told){ "r", "a", i, 3, 10, 1, "20:9 24:1", false }, now);
	w = window(t, "a", 5, now);
	assert_int_equal(w.seconds, 5);
	assert_int_equal(w.requests, 50);
	assert_int_equal(w.errors, 5);
	assert_int_equal(w.us, 5000);
	assert_int_equal(w.bytes, 500);
	assert_int_equal(w.took[20], 45);
	assert_int_equal(w.took[24], 5);
	assert_true(app_traffic_concurrency(&w) > 2.99 && app_traffic_concurrency(&w) < 3.01);
	for (int64_t later = now; later < now + 5000; later += 1000) {
		w = window(t, "a", 60, later);
		assert_in_range(w.seconds, 60, 64);
		assert_int_equal(w.requests, 10 * (w.seconds - (later - now) / 1000));
		assert_int_equal(w.took[20], 9 * (w.seconds - (later - now) / 1000));
	}
	assert_int_equal(window(t, "a", 1, now).requests, 10);
	assert_int_equal(window(t, "a", 1, now + 1000).requests, 0);
	assert_int_equal(window(t, "b", 60, now).requests, 0);
}

/* Half of the requests took 1 ms, some 10, one in a hundred a second. */
static void
percentiles_of_all_routers(void **state)
{
	struct app_traffic *t = *state;
	AUTO(free) char *fast = xasprintf("%u:300", wire_took_place(1000));
	AUTO(free)
	char *slow = xasprintf("%u:200 %u:90 %u:10", wire_took_place(1000), wire_took_place(10000),
	    wire_took_place(1000000));
	struct app_traffic_window w;

	tell(t, &(struct told){ "r1", "a", 1, 2, 300, 0, fast, false }, T0);
	tell(t, &(struct told){ "r2", "a", 7, 1, 300, 0, slow, false }, T0 + 500);
	w = window(t, "a", 5, T0 + 1000);
	assert_int_equal(w.requests, 600);
	assert_in_range(wire_took_quantile(w.took, 500), 1000, 1500);
	assert_in_range(wire_took_quantile(w.took, 950), 10000, 15000);
	assert_in_range(wire_took_quantile(w.took, 990), 1000000, 1500000);
	assert_int_equal(app_traffic_active(t, "a", T0 + 1000), 3);
}

/* What is under way is each router's last word; that of one that is silent is not believed long. */
static void
active_by_router(void **state)
{
	struct app_traffic *t = *state;

	tell(t, &(struct told){ "r1", "a", 1, 2, 0, 0, NULL, false }, T0);
	tell(t, &(struct told){ "r2", "a", 1, 5, 0, 0, NULL, false }, T0);
	assert_int_equal(app_traffic_active(t, "a", T0), 7);
	tell(t, &(struct told){ "r1", "b", 2, 1, 0, 0, NULL, false }, T0 + 1000);
	assert_int_equal(app_traffic_active(t, "a", T0 + 1000), 5);
	tell(t, &(struct told){ "r2", "a", 1, 4, 0, 0, NULL, false }, T0 + 1000); /* restarted */
	assert_int_equal(app_traffic_active(t, "a", T0 + 1000), 4);
	tell(t, &(struct told){ "r2", "b", 2, 1, 0, 0, NULL, true }, T0 + 2000);
	assert_int_equal(app_traffic_active(t, "a", T0 + 2000), 4); /* the rest is still to come */
	tell(t, &(struct told){ "r2", NULL, 2, 0, 0, 0, NULL, false }, T0 + 2000);
	assert_int_equal(app_traffic_active(t, "a", T0 + 2000), 0);
	assert_int_equal(app_traffic_active(t, "b", T0 + 2000), 2);
	assert_int_equal(app_traffic_active(t, "b", T0 + 6000), 1); /* r1 is silent */
	assert_int_equal(app_traffic_active(t, "b", T0 + 7000), 0);
}

static void
forgotten_with_bounds(void **state)
{
	struct app_traffic *t = *state;
	char app[32], router[32];

	for (int i = 0; i < APP_TRAFFIC_APPS_MAX + 10; i++) {
		(void)snprintf(app, sizeof app, "app%d", i);
		tell(t, &(struct told){ "r", app, 1, 1, 1, 0, "3:1", true }, T0);
	}
	assert_int_equal(app_traffic_count(t), APP_TRAFFIC_APPS_MAX);
	for (int i = 0; i < APP_TRAFFIC_ROUTERS_MAX + 10; i++) {
		(void)snprintf(router, sizeof router, "r%d", i);
		tell(t, &(struct told){ router, "app1", 1, 1, 1, 0, NULL, false }, T0 + 1000);
	}
	assert_int_equal(app_traffic_active(t, "app1", T0 + 1000), APP_TRAFFIC_ROUTERS_MAX);
	assert_int_equal(window(t, "app1", 5, T0 + 2000).requests, APP_TRAFFIC_ROUTERS_MAX + 11);
	tell(t, &(struct told){ "r", "app7", 2, 1, 1, 0, "99:1", false }, T0 + 70000);
	assert_int_equal(app_traffic_count(t), 1);
	assert_int_equal(window(t, "app7", 5, T0 + 71000).requests, 1); /* a place that is none */
}

/* --- the API --- */

static void
api_shows(void **state)
{
	struct api_world *w = *state;
	const struct codec_value *data, *row;
	const char *id;

	static const struct api_world_row rows[] = {
		{ "no administrator", "ann", "GET", "/traffic", NULL, 403, 1, "", "" },
		{ "a window", "admin", "GET", "/traffic?window=61", NULL, 422, 109, "window", "" },
		{ "a limit", "admin", "GET", "/traffic?limit=0", NULL, 422, 109, "limit", "" },
		{ "an order", "admin", "GET", "/traffic?sort=x", NULL, 422, 109, "sort",
		    "latency" },
	};
	api_world_rows(w, rows + 1, ARRAY_LEN(rows) - 1);
	assert_int_equal(api_world_as(w, "ann", "GET", "/traffic", NULL), 403);
	assert_int_equal(api_world_as(w, "ann", "GET", "/domain/shop/application/web", NULL), 200);
	AUTO(free) char *web = xstrdup(api_world_data(w, "id"));
	tell(w->b.traffic, &(struct told){ "r", web, 1, 2, 40, 0, "20:40", false },
	    loop_now_ms() - 2000);
	tell(w->b.traffic, &(struct told){ "r", "gone", 1, 0, 4, 4, "40:4", false },
	    loop_now_ms() - 2000);
	assert_int_equal(api_world_as(w, "admin", "GET", "/traffic?sort=errors", NULL), 200);
	data = codec_get(w->json, "data");
	assert_int_equal(codec_int(codec_get(data, "applications_with_traffic"), 0), 2);
	assert_int_equal(codec_int(codec_get(codec_get(data, "total"), "requests"), 0), 44);
	row = codec_at(codec_get(data, "applications"), 0);
	id = codec_string(codec_get(row, "id"));
	assert_string_equal(id, "gone");
	assert_int_equal(codec_type(codec_get(row, "name")), CODEC_NULL);
	assert_int_equal(codec_int(codec_get(row, "p50_us"), 0), wire_took_end(40));
	assert_int_equal(
	    api_world_as(w, "admin", "GET", "/traffic?sort=requests&limit=1&window=5", NULL), 200);
	data = codec_get(w->json, "data");
	assert_int_equal(codec_int(codec_get(data, "seconds"), 0), 5);
	assert_int_equal(codec_count(codec_get(data, "applications")), 1);
	row = codec_at(codec_get(data, "applications"), 0);
	assert_string_equal(codec_string(codec_get(row, "domain_id")), "shop");
	assert_int_equal(codec_int(codec_get(row, "active"), 0), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(windows_by_seconds, setup, teardown),
		cmocka_unit_test_setup_teardown(percentiles_of_all_routers, setup, teardown),
		cmocka_unit_test_setup_teardown(active_by_router, setup, teardown),
		cmocka_unit_test_setup_teardown(forgotten_with_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(api_shows, api_world_setup_app, api_world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
