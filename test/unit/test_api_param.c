/* Parameters, versions, routes, the memory of logins, names: tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/api_param.h"
#include "broker/api_route.h"
#include "broker/api_version.h"
#include "broker/app.h"
#include "broker/auth.h"
#include "broker/auth_memory.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"

static void
forms(void **state)
{
	static const struct {
		const char *form, *json; /* json NULL: refused */
	} rows[] = {
		{ "", "{}" },
		{ "a=1", "{\"a\":\"1\"}" },
		{ "a=1&a=2", "{\"a\":\"2\"}" },
		{ "a", "{\"a\":\"\"}" },
		{ "&&a=1&", "{\"a\":\"1\"}" },
		{ "a+b=c+d%20e", "{\"a b\":\"c d e\"}" },
		{ "a[]=1&a[]=2", "{\"a\":[\"1\",\"2\"]}" },
		{ "a[b]=1&a[c]=2", "{\"a\":{\"b\":\"1\",\"c\":\"2\"}}" },
		{ "a%5Bb%5D=1", "{\"a\":{\"b\":\"1\"}}" },
		{ "a[][n]=x&a[][v]=1&a[][n]=y&a[][v]=2",
		    "{\"a\":[{\"n\":\"x\",\"v\":\"1\"},{\"n\":\"y\",\"v\":\"2\"}]}" },
		{ "a[][n]=x&a[][n]=y", "{\"a\":[{\"n\":\"x\"},{\"n\":\"y\"}]}" },
		{ "a[][n][]=x&a[][n][]=y", "{\"a\":[{\"n\":[\"x\",\"y\"]}]}" },
		{ "a[b]=1&a=2", NULL },
		{ "a=1&a[]=2", NULL },
		{ "a[=1", NULL },
		{ "[]=1", NULL },
		{ "a[b]c=1", NULL },
		{ "a=%", NULL },
		{ "a=%ff", NULL },
		{ "a=%00", NULL },
		{ "a[b][c][d][e][f][g][h]=1",
		    "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":\"1\"}}}}}}}}" },
		{ "a[b][c][d][e][f][g][h][i]=1", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FINI(buf_fini) struct buf out = { 0 };
		struct err e = { 0 };
		int rc = api_param_form_to_json(str_of(rows[i].form), &out, &e);

		if ((rc == 0) != (rows[i].json != NULL))
			fail_msg("%s: %d %s", rows[i].form, rc, e.text);
		if (rc == 0)
			assert_string_equal(out.p, rows[i].json);
	}
}

static void
many_pairs(void **state)
{
	AUTO_FINI(buf_fini) struct buf form = { 0 };
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	struct err e = { 0 };

	(void)state;
	for (int i = 0; i <= API_PARAM_PAIRS_MAX; i++)
		buf_addf(&form, "a%d=1&", i);
	assert_int_equal(api_param_form_to_json(buf_str(&form), &out, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

static void
precedence_and_types(void **state)
{
	struct api_param *p = api_param_new();
	struct err e = { 0 };
	const char *s = NULL;
	bool b = false;
	int64_t n = -1;
	AUTO_FINI(str_list_fini) struct str_list l = { 0 };

	(void)state;
	api_param_path(p, STR("name"), STR("from-path"));
	assert_int_equal(
	    api_param_query(p, "name=q&x=query&flag=TRUE&n=12&list=one&empty=", &e), 0);
	assert_int_equal(
	    api_param_body(p, "application/json;version=1.7",
	        STR("{\"name\":\"b\",\"x\":\"body\",\"y\":null,\"bad\":[1],\"m\":7,\"r\":1.5,"
	            "\"items\":[\"a\",\"b\"]}"),
	        &e),
	    0);
	assert_int_equal(api_param_str(p, "name", 99, &s, &e), 0);
	assert_string_equal(s, "from-path");
	assert_int_equal(api_param_str(p, "x", 99, &s, &e), 0);
	assert_string_equal(s, "body");
	assert_false(api_param_has(p, "y"));
	assert_int_equal(api_param_bool(p, "flag", &b, &e), 0);
	assert_true(b);
	assert_int_equal(api_param_bool(p, "empty", &b, &e), 0);
	assert_false(b);
	assert_int_equal(api_param_int(p, "n", 0, 20, &n, &e), 0);
	assert_int_equal(n, 12);
	assert_int_equal(api_param_int(p, "m", 0, 20, &n, &e), 0);
	assert_int_equal(n, 7);
	assert_int_equal(api_param_int(p, "n", 0, 10, &n, &e), -1);
	assert_string_equal(e.field, "n");
	assert_int_equal(api_param_int(p, "r", 0, 10, &n, &e), -1);
	assert_int_equal(api_param_str(p, "bad", 99, &s, &e), -1);
	assert_string_equal(e.field, "bad");
	assert_int_equal(api_param_str(p, "x", 3, &s, &e), -1);
	assert_int_equal(api_param_bool(p, "x", &b, &e), -1);
	assert_int_equal(api_param_strs(p, "list", 5, &l, &e), 0);
	assert_int_equal(api_param_strs(p, "items", 5, &l, &e), 0);
	assert_int_equal(l.n, 3);
	assert_int_equal(api_param_strs(p, "items", 1, &l, &e), -1);
	assert_int_equal(api_param_strs(p, "bad", 5, &l, &e), -1);
	api_param_free(p);
}

static void
bodies(void **state)
{
	static const struct {
		const char *type, *body;
		int rc;
	} rows[] = {
		{ NULL, "", 0 },
		{ NULL, " \r\n ", 0 },
		{ NULL, "{\"a\":1}", 0 },
		{ NULL, "a=1", 0 },
		{ "application/x-www-form-urlencoded", "{\"a\":1}", 0 }, /* curl -d */
		{ "APPLICATION/JSON; charset=utf-8", "{}", 0 },
		{ "application/json", "[]", -1 },
		{ "application/json", "\"a\"", -1 },
		{ "application/json", "{", -1 },
		{ "application/json", "{\"a\":1,\"a\":2}", -1 },
		{ "application/json", "{\"a\":\"\\u0000\"}", -1 },
		{ "application/json", "\xff", -1 },
		{ "application/pdf", "x", -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_param *p = api_param_new();
		struct err e = { 0 };

		if (api_param_body(p, rows[i].type, str_of(rows[i].body), &e) != rows[i].rc)
			fail_msg("%s: %s", rows[i].body, e.text);
		api_param_free(p);
	}
}

static void
versions(void **state)
{
	static const struct {
		const char *accept, *type, *agent;
		int minor; /* -1: refused */
	} rows[] = {
		{ NULL, NULL, NULL, 7 },
		{ "application/json", NULL, "curl/7", 7 },
		{ "application/json;version=1.2", NULL, NULL, 2 },
		{ "text/html, application/json; Version=1.0", NULL, NULL, 0 },
		{ "*/*", "application/json;version=1.6", NULL, 6 },
		{ "application/json;version=1.1", "application/json;version=1.6", NULL, 1 },
		{ NULL, NULL, "rhc/1.38.7 (ruby)", 3 },
		{ "application/json;version=1.7", NULL, "rhc/1.38.7", 7 },
		{ "application/json;version=1.8", NULL, NULL, -1 },
		{ "application/json;version=2.0", NULL, NULL, -1 },
		{ "application/json;version=", NULL, NULL, -1 },
		{ "application/json;version", NULL, NULL, -1 },
		{ "application/json;version=1.77", NULL, NULL, -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_version v;
		struct err e = { 0 };
		int rc = api_version_pick(rows[i].accept, rows[i].type, rows[i].agent, &v, &e);

		assert_int_equal(rc, rows[i].minor < 0 ? -1 : 0);
		assert_int_equal(v.minor, rows[i].minor < 0 ? 7 : rows[i].minor);
	}
}

static void
accept_tokens(void **state)
{
	struct api_version v;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(
	    api_version_pick("application/json;nolinks;version=1.5", NULL, NULL, &v, &e), 0);
	assert_true(v.no_links);
	assert_int_equal(v.minor, 5);
	assert_int_equal(api_version_pick("application/xml", NULL, NULL, &v, &e), 0);
	assert_true(v.is_xml);
	assert_int_equal(api_version_pick("application/x-ndjson, application/json;version=1.7",
	                     NULL, NULL, &v, &e),
	    0);
	assert_true(v.is_lines);
}

static void
routes(void **state)
{
	static const struct {
		const char *method, *path, *name, *value; /* value NULL: no route */
	} rows[] = {
		{ "GET", "/domain/d/application/a", "app", "a" },
		{ "GET", "/domains/d/applications/a.json", "app", "a" },
		{ "GET", "/application/0123", "app_id", "0123" },
		{ "DELETE", "/applications/0123/environment-variable/A_B", "name", "A_B" },
		{ "GET", "/application/x/alias/www.example.com", "alias", "www.example.com" },
		{ "GET", "/application/x/alias/www.example.com.json", "alias", "www.example.com" },
		{ "GET", "//domain//d", "domain", "d" },
		{ "GET", "/domain", "", NULL },
		{ "GET", "/application/x/unknown", "", NULL },
		{ "GET", "/a/b/c/d/e/f/g/h/i/j/k/l/m/n", "", NULL },
		{ "TRACE", "/domains", "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct api_param *p = api_param_new();
		bool has_path;
		bool is_xml;
		const struct api_route *r =
		    api_route_find(str_of(rows[i].method), rows[i].path, p, &has_path, &is_xml);

		if ((r != NULL) != (rows[i].value != NULL))
			fail_msg("%s", rows[i].path);
		if (r != NULL)
			assert_string_equal(api_param_of_path(p, rows[i].name), rows[i].value);
		api_param_free(p);
	}
}

static void
remembered_passwords(void **state)
{
	struct auth_memory *m = auth_memory_new();

	(void)state;
	assert_false(auth_memory_knows(m, "ann", "secret", 1, 1000));
	auth_memory_verified(m, "ann", "secret", 1, 1000);
	assert_true(auth_memory_knows(m, "ann", "secret", 1, 1000));
	assert_false(auth_memory_knows(m, "ann", "Secret", 1, 1000));
	assert_false(auth_memory_knows(m, "annsecret", "", 1, 1000));
	assert_false(auth_memory_knows(m, "ann", "secret", 2, 1000)); /* changed meanwhile */
	assert_true(auth_memory_knows(m, "ann", "secret", 1, 999 + AUTH_MEMORY_KEEP_MS));
	assert_false(auth_memory_knows(m, "ann", "secret", 1, 1000 + AUTH_MEMORY_KEEP_MS));
	for (int i = 0; i < AUTH_MEMORY_TRIES - 1; i++)
		auth_memory_failed(m, "ann", "10.0.0.1", 5000);
	assert_int_equal(auth_memory_wait_s(m, "ann", "10.0.0.1", 5000), 0);
	auth_memory_failed(m, "ann", "10.0.0.1", 5000);
	assert_int_equal(auth_memory_wait_s(m, "ann", "10.0.0.1", 5000), 60);
	assert_int_equal(auth_memory_wait_s(m, "ann", "10.0.0.2", 5000), 0);
	assert_int_equal(auth_memory_wait_s(m, "bob", "10.0.0.1", 5000), 0);
	assert_int_equal(auth_memory_wait_s(m, "ann", "10.0.0.1", 5000 + AUTH_MEMORY_WINDOW_MS), 0);
	for (int i = 0; i < AUTH_MEMORY_PEER_TRIES; i++) {
		AUTO(free) char *login = xasprintf("u%d", i);

		auth_memory_failed(m, login, "10.0.0.9", 5000);
	}
	assert_int_equal(auth_memory_wait_s(m, "other", "10.0.0.9", 5000), 60);
	auth_memory_free(m);
}

static void
refs_and_logins(void **state)
{
	static const char *const good_refs[] = { "main", "refs/heads/a-b", "v1.0", "feature/x_1",
		"0123abc", "a@b", "\xc3\xa9" };
	static const char *const bad_refs[] = { "", "-x", "a b", "a..b", "a~1", "a^", "a:b", "a?",
		"a*", "a[", "a\\b", "/a", "a/", "a//b", ".a", "a/.b", "a.", "a.lock", "a.lock/b",
		"@", "a@{1}", "a\x7f", "a\n" };
	static const char *const good_logins[] = { "a", "bob", "b.o-b_1+x@example.org" };
	static const char *const bad_logins[] = { "", "a/b", "a b", ".a", "-a", "a\n", "\xc3\xa9",
		"a:b" };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good_refs); i++)
		assert_true(app_is_ref(good_refs[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad_refs); i++)
		if (app_is_ref(bad_refs[i]))
			fail_msg("%s", bad_refs[i]);
	for (size_t i = 0; i < ARRAY_LEN(good_logins); i++)
		assert_int_equal(auth_check_login(good_logins[i], &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad_logins); i++)
		assert_int_equal(auth_check_login(bad_logins[i], &e), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(many_pairs),
		cmocka_unit_test(precedence_and_types),
		cmocka_unit_test(bodies),
		cmocka_unit_test(versions),
		cmocka_unit_test(accept_tokens),
		cmocka_unit_test(routes),
		cmocka_unit_test(remembered_passwords),
		cmocka_unit_test(refs_and_logins),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
