/* Members of domains: who may what in which role. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/mem.h"
#include "test/lib/api_world.h"

#define NONE INT64_MIN
#define MEMBERS "/domain/shop/members"
#define APP "/domain/shop/application/web"

static void
bad_members(void **state)
{
	static const struct api_world_row rows[] = {
		{ "no role", "ann", "PATCH", MEMBERS, "{\"login\":\"bob\"}", 422, 1, "role",
		    "view, edit" },
		{ "bad role", "ann", "POST", MEMBERS, "{\"login\":\"bob\",\"role\":\"king\"}", 422,
		    1, "role", "view, edit" },
		{ "nobody", "ann", "POST", MEMBERS, "{\"role\":\"edit\"}", 422, 1, "login",
		    "'login'" },
		{ "a team", "ann", "POST", MEMBERS,
		    "{\"type\":\"team\",\"id\":\"x\",\"role\":\"edit\"}", 422, 1, "type", "user" },
		{ "unknown", "ann", "POST", MEMBERS, "{\"login\":\"zoe\",\"role\":\"edit\"}", 404,
		    132, "login", "There is no account with login zoe." },
		{ "unknown id", "ann", "POST", MEMBERS,
		    "{\"id\":\"0123456789abcdef01234567\",\"role\":\"edit\"}", 404, 132, "id",
		    "There is no account" },
		{ "no array", "ann", "PATCH", MEMBERS, "{\"members\":\"bob\"}", 422, 1, "members",
		    "array" },
		{ "the owner", "ann", "PATCH", MEMBERS, "{\"login\":\"ann\",\"role\":\"view\"}",
		    422, 1, "role", "owns" },
		{ "remove the owner", "ann", "DELETE", "/domain/shop/member/ann", NULL, 422, 1, "",
		    "owns" },
		{ "owner leaves", "ann", "DELETE", MEMBERS "/self", NULL, 422, 1, "",
		    "You are the owner of this domain and cannot leave" },
		{ "not there", "ann", "PUT", "/domain/shop/member/bob", "{\"role\":\"edit\"}", 404,
		    1, "", "Member 'bob' not found." },
		{ "no member", "ann", "PATCH", MEMBERS, "{\"login\":\"bob\",\"role\":\"none\"}",
		    422, 1, "", "not a direct member" },
		{ "one of two is unknown: nothing is done", "ann", "PATCH", MEMBERS,
		    "{\"members\":[{\"login\":\"bob\",\"role\":\"edit\"},{\"login\":\"zoe\","
		    "\"role\":\"edit\"}]}",
		    404, 132, "login", "zoe" },
		{ "a stranger", "bob", "GET", MEMBERS, NULL, 404, 127, "", "shop" },
	};
	struct api_world *w = *state;

	api_world_rows(w, rows, ARRAY_LEN(rows));
	assert_int_equal(api_world_as(w, "ann", "GET", MEMBERS, NULL), 200);
	assert_null(strstr(w->body.p, "\"bob\""));
}

static void
roles(void **state)
{
	static const struct api_world_row viewer[] = {
		{ "let in", "ann", "PATCH", MEMBERS, "{\"login\":\"bob\",\"role\":\"view\"}", 200,
		    0, "", "" },
		{ "sees", "bob", "GET", APP, NULL, 200, NONE, "", "" },
		{ "no change", "bob", "POST", APP "/events", "{\"event\":\"stop\"}", 403, 1, "",
		    "(edit on application)" },
		{ "no secrets", "bob", "GET", APP "/environment-variables", NULL, 403, 1, "",
		    "(edit on application)" },
		{ "no delete", "bob", "DELETE", APP, NULL, 403, 1, "", "(edit on application)" },
		{ "no new application", "bob", "POST", "/domain/shop/applications",
		    "{\"name\":\"x\",\"cartridge\":\"php\"}", 403, 1, "", "(edit on domain)" },
		{ "no members", "bob", "PATCH", MEMBERS, "{\"login\":\"bob\",\"role\":\"admin\"}",
		    403, 1, "", "(admin on domain)" },
	};
	static const struct api_world_row editor[] = {
		{ "more rights", "ann", "PUT", "/domain/shop/member/bob", "{\"role\":\"edit\"}",
		    200, 0, "", "" },
		{ "changes", "bob", "POST", APP "/events", "{\"event\":\"restart\"}", 200, 0, "",
		    "" },
		{ "secrets", "bob", "GET", APP "/environment-variables", NULL, 200, NONE, "", "" },
		{ "no members", "bob", "DELETE", MEMBERS, NULL, 403, 1, "", "(admin on domain)" },
		{ "no rename", "bob", "PUT", "/domain/shop", "{\"id\":\"mine\"}", 403, 1, "",
		    "(owner on domain)" },
	};
	static const struct api_world_row admin[] = {
		{ "all rights", "ann", "POST", MEMBERS,
		    "{\"members\":[{\"login\":\"bob\",\"role\":\"admin\"}]}", 200, 0, "", "" },
		{ "lets in", "bob", "PATCH", MEMBERS, "{\"login\":\"admin\",\"role\":\"view\"}",
		    200, 0, "", "" },
		{ "shuts out", "bob", "DELETE", "/domain/shop/member/admin", NULL, 200, 0, "", "" },
		{ "not the domain", "bob", "DELETE", "/domain/shop", NULL, 403, 1, "",
		    "(owner on domain)" },
		{ "leaves", "bob", "DELETE", MEMBERS "/self", NULL, 200, 0, "", "" },
		{ "sees nothing", "bob", "GET", APP, NULL, 404, 127, "", "shop" },
	};
	struct api_world *w = *state;

	api_world_rows(w, viewer, ARRAY_LEN(viewer));
	assert_int_equal(api_world_as(w, "bob", "GET", "/domains", NULL), 200);
	assert_non_null(strstr(w->body.p, "\"shop\""));
	assert_int_equal(api_world_as(w, "bob", "GET", "/domains?owner=@self", NULL), 200);
	assert_null(strstr(w->body.p, "\"shop\""));
	assert_int_equal(api_world_as(w, "bob", "GET", "/applications", NULL), 200);
	assert_non_null(strstr(w->body.p, "\"web\""));
	assert_int_equal(api_world_as(w, "bob", "GET", "/applications?owner=@self", NULL), 200);
	assert_null(strstr(w->body.p, "\"web\""));
	api_world_rows(w, editor, ARRAY_LEN(editor));
	api_world_rows(w, admin, ARRAY_LEN(admin));
}

static void
shapes(void **state)
{
	struct api_world *w = *state;

	assert_int_equal(
	    api_world_as(w, "ann", "PATCH", MEMBERS,
	        "{\"members\":[{\"login\":\"bob\",\"role\":\"edit\",\"type\":\"user\"}]}"),
	    200);
	assert_non_null(strstr(w->body.p, "\"type\":\"member\""));
	assert_string_equal(api_world_data(w, "login"), "bob");
	assert_string_equal(api_world_data(w, "role"), "edit");
	assert_string_equal(api_world_data(w, "explicit_role"), "edit");
	assert_int_equal(strlen(api_world_data(w, "id")), 24);
	assert_int_equal(api_world_as(w, "ann", "GET", APP "/members", NULL), 200);
	assert_non_null(strstr(w->body.p, "\"from\":[{\"type\":\"domain\",\"role\":\"edit\"}]"));
	assert_int_equal(api_world_as(w, "ann", "DELETE", MEMBERS, NULL), 200);
	assert_non_null(strstr(w->body.p, "\"type\":\"members\""));
	assert_null(strstr(w->body.p, "\"bob\""));
}

#define T(f) cmocka_unit_test_setup_teardown(f, api_world_setup_app, api_world_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { T(bad_members), T(roles), T(shapes) };

	return cmocka_run_group_tests_name("api_member", tests, NULL, NULL);
}
