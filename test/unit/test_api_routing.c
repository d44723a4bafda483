/* What owners set about their routes: APP/routing. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "broker/route_record.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "test/lib/api_world.h"

#define APP "/domain/shop/application/web"
#define ROUTING APP "/routing"
#define BAD(what, body, field, text)                                                               \
	{                                                                                          \
		what, "ann", "PATCH", ROUTING, body, 422, 109, field, text                         \
	}

static void
refused(void **state)
{
	static const struct api_world_row rows[] = {
		BAD("unknown", "{\"speed\":1}", "speed", "not known"),
		BAD("a number", "{\"rate\":\"many\"}", "rate", "number"),
		BAD("a burst alone", "{\"rate_burst\":5}", "rate", "rate_burst"),
		BAD("a network", "{\"allow\":[\"10.0.0.1/8\"]}", "allow", "item 0"),
		BAD("a header of the router",
		    "{\"headers\":[{\"op\":\"set\",\"name\":\"Host\","
		    "\"value\":\"x\"}]}",
		    "headers", "Host"),
		BAD("a header with a line end",
		    "{\"headers\":[{\"op\":\"add\",\"name\":\"A\",\"value\":\"x\\r\\nB: c\"}]}",
		    "headers", "control"),
		BAD("a redirect", "{\"redirects\":[{\"path\":\"/a\",\"to\":\"javascript:x\"}]}",
		    "redirects", "URL"),
		BAD("an application that is none", "{\"paths\":[{\"path\":\"/a\",\"app\":\"no\"}]}",
		    "paths", "no"),
		BAD("itself", "{\"paths\":[{\"path\":\"/a\",\"app\":\"web\"}]}", "paths", "web"),
		BAD("a host of one's own", "{\"paths\":[{\"path\":\"/a\",\"host\":\"evil.test\"}]}",
		    "paths", "app"),
		BAD("a share of nobody", "{\"weights\":[{\"weight\":60}]}", "weights", "app"),
		BAD("the life of no cookie", "{\"sticky_s\":60}", "sticky_s", "GEAR"),
		BAD("a cookie that is none", "{\"sticky_cookie\":\"a b\"}", "sticky_cookie",
		    "name"),
		BAD("no password", "{\"auth_users\":[{\"name\":\"eve\"}]}", "auth_users",
		    "password"),
		BAD("a hash", "{\"auth_users\":[{\"name\":\"eve\",\"hash\":\"x\"}]}", "auth_users",
		    "password"),
		BAD("https", "{\"https\":\"maybe\"}", "https", "allow"),
		BAD("hsts without https", "{\"https\":\"off\",\"hsts_s\":1}", "hsts_s", "off"),
		BAD("a short preload",
		    "{\"hsts_s\":86400,\"hsts_subdomains\":true,\"hsts_preload\":true}",
		    "hsts_preload", "31536000"),
		BAD("unset", "{\"unset\":[\"speed\"]}", "unset", "speed"),
		{ "a stranger", "bob", "GET", ROUTING, NULL, 404, 127, "", "shop" },
	};
	struct api_world *w = *state;

	api_world_rows(w, rows, ARRAY_LEN(rows));
}

/* Many passwords are hashed beside the loop; what is wrong is told all the same. */
static void
passwords(void **state)
{
	struct api_world *w = *state;
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	for (int n = 10; n <= 11; n++) {
		buf_truncate(&b, 0);
		buf_adds(&b, "{\"auth_users\":[");
		for (int i = 0; i < n; i++)
			buf_addf(&b, "%s{\"name\":\"u%d\",\"password\":\"p%d\"}", i == 0 ? "" : ",",
			    i, i % 10 + 10 * (i / 10));
		buf_adds(&b, "]}");
		assert_int_equal(api_world_as(w, "ann", "PUT", ROUTING, b.p), n == 10 ? 200 : 422);
	}
	assert_non_null(strstr(api_world_text(w), "10 can be set"));
	assert_int_equal(api_world_as(w, "ann", "PATCH", ROUTING,
	                     "{\"auth_users\":[{\"name\":\"u1\"},{\"name\":\"u2\","
	                     "\"password\":\"\"}]}"),
	    422);
}

static char *
route_options(struct api_world *w)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = { 0 };

	assert_true(route_record_get(&w->b, "web-shop.apps.test", &r, NULL));
	return STEAL(r.options);
}

static void
life(void **state)
{
	struct api_world *w = *state;
	AUTO(free) char *first = NULL;
	AUTO(free) char *second = NULL;
	AUTO(free) char *third = NULL;

	assert_int_equal(api_world_as(w, "ann", "PUT", ROUTING,
	                     "{\"rate\":\"5\",\"compress\":true,\"auth_users\":[{\"name\":\"eve\","
	                     "\"password\":\"s3cret\"}]}"),
	    200);
	assert_null(
	    codec_get(codec_at(codec_get(codec_get(w->json, "data"), "auth_users"), 0), "hash"));
	first = route_options(w);
	assert_non_null(strstr(first, "\"rate\":5"));
	assert_non_null(strstr(first, "pbkdf2-sha256$"));
	assert_null(strstr(first, "s3cret"));
	/* a user that is named keeps the password */
	assert_int_equal(api_world_as(w, "ann", "PATCH", ROUTING,
	                     "{\"unset\":[\"compress\"],\"auth_users\":[{\"name\":\"eve\"}]}"),
	    200);
	second = route_options(w);
	assert_null(strstr(second, "compress"));
	assert_memory_equal(strstr(second, "pbkdf2"), strstr(first, "pbkdf2"), 100);
	assert_int_equal(api_world_as(w, "ann", "PUT", ROUTING, "{\"maintenance\":true}"), 200);
	third = route_options(w);
	assert_string_equal(third, "{\"maintenance\":true}");
	assert_int_equal(api_world_as(w, "ann", "DELETE", ROUTING, NULL), 200);
	assert_null(route_options(w));
}

#define T(f) cmocka_unit_test_setup_teardown(f, api_world_setup_app, api_world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(refused), T(passwords), T(life) };

	return cmocka_run_group_tests_name("api_routing", tests, NULL, NULL);
}
