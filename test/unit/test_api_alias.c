/* Aliases of applications and their certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "broker/route_record.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/http/tls_cert.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "test/lib/api_world.h"

#define NONE INT64_MIN
#define APP "/domain/shop/application/web"
#define ALIASES APP "/aliases"

static void
refused(void **state)
{
	static const struct api_world_row rows[] = {
		{ "none", "ann", "POST", ALIASES, "{}", 422, 105, "id", "Invalid alias" },
		{ "one label", "ann", "POST", ALIASES, "{\"id\":\"www\"}", 422, 105, "id", "www" },
		{ "an address", "ann", "POST", ALIASES, "{\"id\":\"10.0.0.1\"}", 422, 105, "id",
		    "10.0.0.1" },
		{ "a format", "ann", "POST", ALIASES, "{\"id\":\"www.x.json\"}", 422, 105, "id",
		    "json" },
		{ "a path", "ann", "POST", ALIASES, "{\"id\":\"www.x.com/a\"}", 422, 105, "id",
		    "/a" },
		{ "a star inside", "ann", "POST", ALIASES, "{\"id\":\"a.*.com\"}", 422, 105, "id",
		    "*" },
		{ "a hyphen first", "ann", "POST", ALIASES, "{\"id\":\"-a.com\"}", 422, 105, "id",
		    "-a" },
		{ "of the platform", "ann", "POST", ALIASES, "{\"id\":\"x.APPS.test\"}", 422, 105,
		    "id", "platform" },
		{ "all of the platform", "ann", "POST", ALIASES, "{\"id\":\"*.apps.test\"}", 422,
		    105, "id", "platform" },
		{ "no key", "ann", "POST", ALIASES, "{\"id\":\"a.com\",\"ssl_certificate\":\"x\"}",
		    422, 172, "private_key", "private_key" },
		{ "no certificate", "ann", "POST", ALIASES,
		    "{\"id\":\"a.com\",\"ssl_certificate\":\"x\",\"private_key\":\"y\"}", 422, 174,
		    "ssl_certificate", "BEGIN CERTIFICATE" },
		{ "missing", "ann", "GET", APP "/alias/www.x.com", NULL, 404, 173, "",
		    "www.x.com" },
		{ "missing to change", "ann", "PUT", APP "/alias/www.x.com", "{}", 404, 173, "",
		    "www.x.com" },
		{ "missing to delete", "ann", "DELETE", APP "/alias/www.x.com", NULL, 404, 173, "",
		    "www.x.com" },
		{ "event without one", "ann", "POST", APP "/events", "{\"event\":\"add-alias\"}",
		    422, 126, "alias", "alias" },
		{ "event of a bad one", "ann", "POST", APP "/events",
		    "{\"event\":\"add-alias\",\"alias\":\"x\"}", 422, 105, "id", "x" },
		{ "event of a missing one", "ann", "POST", APP "/events",
		    "{\"event\":\"remove-alias\",\"alias\":\"w.x.com\"}", 404, 173, "", "w.x.com" },
		{ "a stranger", "bob", "GET", ALIASES, NULL, 404, 127, "", "shop" },
	};
	struct api_world *w = *state;

	api_world_rows(w, rows, ARRAY_LEN(rows));
	w->b.conf.private_certs = false;
	assert_int_equal(api_world_as(w, "ann", "POST", ALIASES,
	                     "{\"id\":\"a.com\",\"ssl_certificate\":\"x\",\"private_key\":\"y\"}"),
	    403);
	assert_int_equal(api_world_exit(w), 175);
}

static bool
has_route(const struct api_world *w, const char *host, const char *app_id)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = { 0 };

	return route_record_get(&w->b, host, &r, NULL) && strcmp(r.host, host) == 0 &&
	       (app_id == NULL || strcmp(r.app_id, app_id) == 0);
}

static void
life(void **state)
{
	struct api_world *w = *state;
	AUTO(free) char *id = NULL;

	assert_int_equal(api_world_as(w, "ann", "GET", APP, NULL), 200);
	id = xstrdup(api_world_data(w, "id"));
	assert_non_null(strstr(w->body.p, "\"aliases\":[]"));
	assert_int_equal(api_world_as(w, "ann", "POST", ALIASES,
	                     "{\"event\":\"add-alias\",\"alias\":\"WWW.Example.com.\"}"),
	    201);
	assert_string_equal(api_world_data(w, "id"), "www.example.com");
	assert_non_null(strstr(w->body.p, "\"type\":\"alias\""));
	assert_non_null(strstr(w->body.p, "\"has_private_ssl_certificate\":false"));
	assert_non_null(strstr(w->body.p, "\"certificate_added_at\":null"));
	assert_non_null(strstr(w->body.p, "\"UPDATE\":"));
	assert_true(has_route(w, "www.example.com", id));
	assert_int_equal(
	    api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"*.example.com\"}"), 201);
	assert_true(has_route(w, "*.example.com", id));
	assert_int_equal(
	    api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"www.example.com\"}"), 422);
	assert_int_equal(api_world_exit(w), 140);
	assert_string_equal(api_world_field(w), "id");
	assert_int_equal(api_world_as(w, "ann", "GET", ALIASES, NULL), 200);
	assert_non_null(strstr(w->body.p, "\"id\":\"*.example.com\""));
	assert_int_equal(api_world_as(w, "ann", "DELETE", APP "/alias/WWW.example.com", NULL), 200);
	assert_false(has_route(w, "www.example.com", NULL));
	assert_int_equal(api_world_as(w, "ann", "GET", APP "/alias/www.example.com", NULL), 404);
}

static void
events(void **state)
{
	struct api_world *w = *state;

	assert_int_equal(api_world_as(w, "ann", "POST", APP "/events",
	                     "{\"event\":\"add-alias\",\"alias\":\"www.x.com\"}"),
	    200);
	assert_non_null(strstr(w->body.p, "\"type\":\"application\""));
	w->headers[0] = "Accept: application/json; version=1.3";
	w->headers[1] = NULL;
	w->user = "ann";
	w->password = "ann-password";
	assert_int_equal(api_world_call(w, "GET", APP, NULL), 200);
	assert_non_null(strstr(w->body.p, "\"aliases\":[\"www.x.com\"]"));
	assert_non_null(strstr(w->body.p, "\"REMOVE_ALIAS\""));
	assert_null(strstr(w->body.p, "LIST_ALIASES"));
	assert_int_equal(api_world_as(w, "ann", "POST", APP "/events",
	                     "{\"event\":\"remove-alias\",\"alias\":\"www.x.com\"}"),
	    200);
	assert_false(has_route(w, "www.x.com", NULL));
}

static void
many(void **state)
{
	struct api_world *w = *state;

	for (int i = 0; i < WIRE_ALIASES_MAX; i++) {
		AUTO(free) char *body = xasprintf("{\"id\":\"a%d.example.com\"}", i);

		assert_int_equal(api_world_as(w, "ann", "POST", ALIASES, body), 201);
	}
	assert_int_equal(api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"more.x.com\"}"), 422);
	assert_int_equal(api_world_exit(w), 105);
}

static void
in_domain(void **state)
{
	struct api_world *w = *state;

	w->b.conf.allow_alias_in_domain = true;
	assert_int_equal(
	    api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"shop.apps.test\"}"), 201);
	assert_int_equal(
	    api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"a-b.apps.test\"}"), 422);
	assert_int_equal(api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"*.apps.test\"}"), 422);
}

/* {"id":…, "ssl_certificate":…, "private_key":…}; caller owns. */
static char *
cert_body(const char *id, const struct tls_cert *c, const char *key)
{
	struct buf b = { 0 };

	buf_addc(&b, '{');
	buf_add_json_member(&b, "id", id);
	buf_add_json_member(&b, "ssl_certificate", c->chain);
	buf_add_json_member(&b, "private_key", key);
	buf_addc(&b, '}');
	return buf_steal(&b);
}

static void
certificates(void **state)
{
	struct api_world *w = *state;
	AUTO_FINI(tls_cert_fini) struct tls_cert one = { 0 };
	AUTO_FINI(tls_cert_fini) struct tls_cert other = { 0 };
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	AUTO(free) char *key = store_key_cert("www.x.com");
	struct err e = { 0 };
	struct store_kv kv;

	str_list_add(&names, "www.x.com");
	assert_int_equal(tls_cert_make(&names, &one, &e), 0);
	assert_int_equal(tls_cert_make(&names, &other, &e), 0);
	AUTO(free) char *body = cert_body("www.x.com", &one, one.key);
	AUTO(free) char *wrong = cert_body("www.x.com", &one, other.key);

	assert_int_equal(api_world_as(w, "ann", "POST", ALIASES, wrong), 422);
	assert_int_equal(api_world_exit(w), 172);
	assert_string_equal(api_world_field(w), "private_key");
	assert_int_equal(api_world_as(w, "ann", "POST", ALIASES, body), 201);
	assert_non_null(strstr(w->body.p, "\"has_private_ssl_certificate\":true"));
	assert_non_null(strstr(w->body.p, "T00:00:00Z"));
	assert_null(strstr(w->body.p, "PRIVATE KEY"));
	assert_true(store_get(w->b.store, key, &kv));
	assert_int_equal(api_world_as(w, "ann", "PUT", APP "/alias/www.x.com", "{}"), 200);
	assert_non_null(strstr(w->body.p, "\"has_private_ssl_certificate\":false"));
	assert_false(store_get(w->b.store, key, &kv));
	assert_int_equal(api_world_as(w, "ann", "PUT", APP "/alias/www.x.com", body), 200);
	assert_true(store_get(w->b.store, key, &kv));
	assert_int_equal(api_world_as(w, "ann", "DELETE", APP "/alias/www.x.com", NULL), 200);
	assert_false(store_get(w->b.store, key, &kv));
}

static int
setup(void **state)
{
	int rc = api_world_setup_app(state);
	struct api_world *w = *state;

	w->b.conf.private_certs = true;
	return rc;
}

static void
by_acme(void **state)
{
	struct api_world *w = *state;
	AUTO(free) char *key = store_key_acme("www.x.com");
	AUTO(free) char *all = store_key_acme("all.x.com");
	struct store_kv kv;

	assert_int_equal(
	    api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"www.x.com\",\"acme\":\"any\"}"),
	    422);
	assert_string_equal(api_world_field(w), "acme"); /* the platform offers none */
	w->b.conf.acme_directory = (char *)(uintptr_t) "https://authority.test/dir";
	assert_int_equal(
	    api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"www.x.com\",\"acme\":\"dns-01\"}"),
	    422);
	assert_int_equal(
	    api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"*.x.com\",\"acme\":\"any\"}"), 422);
	assert_string_equal(api_world_field(w), "acme");
	assert_int_equal(
	    api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"www.x.com\",\"acme\":\"http-01\"}"),
	    201);
	assert_non_null(strstr(w->body.p, "\"acme\":\"http-01\",\"acme_status\":\"pending\""));
	assert_true(store_get(w->b.store, key, &kv));
	assert_int_equal(
	    api_world_as(w, "ann", "PUT", APP "/alias/www.x.com", "{\"acme\":\"none\"}"), 200);
	assert_non_null(strstr(w->body.p, "\"acme\":null,\"acme_status\":null"));
	assert_false(store_get(w->b.store, key, &kv));
	assert_int_equal(
	    api_world_as(w, "ann", "PUT", APP "/alias/www.x.com", "{\"acme\":\"any\"}"), 200);
	assert_true(store_get(w->b.store, key, &kv));
	assert_int_equal(api_world_as(w, "ann", "DELETE", APP "/alias/www.x.com", NULL), 200);
	assert_false(store_get(w->b.store, key, &kv));
	w->b.conf.acme_all = true;
	assert_int_equal(api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"all.x.com\"}"), 201);
	assert_true(store_get(w->b.store, all, &kv));
	assert_int_equal(api_world_as(w, "ann", "POST", ALIASES, "{\"id\":\"*.x.com\"}"), 201);
	assert_non_null(strstr(w->body.p, "\"acme\":null"));
	w->b.conf.acme_directory = NULL;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, api_world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(refused), T(life), T(events), T(many), T(in_domain),
		T(certificates), T(by_acme) };

	return cmocka_run_group_tests_name("api_alias", tests, NULL, NULL);
}
