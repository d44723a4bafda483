/* The API's cartridges: every answer that a call can get without a node, and the catalogue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/mem.h"
#include "test/lib/api_world.h"

#define CARTS "/domain/shop/application/web/cartridges"
#define CART "/domain/shop/application/web/cartridge/"

static const struct api_world_row rows[] = {
	{ "nothing given", "ann", "POST", CARTS, "{}", 422, 109, "cartridge", "required" },
	{ "unknown", "ann", "POST", CARTS, "{\"name\":\"cobol\"}", 422, 109, "cartridge", "cobol" },
	{ "gone since v2", "ann", "POST", CARTS, "{\"name\":\"mongodb-2.4\"}", 422, 109,
	    "cartridge", "does not exist any more" },
	{ "both name and url", "ann", "POST", CARTS,
	    "{\"cartridges\":[{\"name\":\"a\",\"url\":\"http://x/\"}]}", 422, 109, "cartridge",
	    "either" },
	{ "a checksum without url", "ann", "POST", CARTS,
	    "{\"name\":\"redis\",\"checksum\":\"md5:1\"}", 422, 109, "checksum", "url" },
	{ "downloads forbidden", "ann", "POST", CARTS, "{\"url\":\"http://x/m.yml\"}", 422, 109,
	    "url", "not allowed" },
	{ "there already", "ann", "POST", CARTS, "{\"name\":\"nodejs\"}", 422, 136, "cartridge",
	    "already" },
	{ "a second web cartridge", "ann", "POST", CARTS, "{\"cartridge\":\"php\"}", 422, 109,
	    "cartridge", "one web" },
	{ "an unknown size", "ann", "POST", CARTS, "{\"name\":\"redis\",\"gear_size\":\"huge\"}",
	    422, 134, "gear_size", "huge" },
	{ "another size on the same gears", "ann", "POST", CARTS,
	    "{\"name\":\"cron\",\"gear_size\":\"large\"}", 422, 142, "gear_size", "large" },
	{ "scales that are no number", "ann", "POST", CARTS,
	    "{\"name\":\"redis\",\"scales_from\":\"x\"}", 422, 168, "scales_from", "" },
	{ "a bad variable", "ann", "POST", CARTS,
	    "{\"name\":\"redis\",\"environment_variables\":[{\"name\":\"1\",\"value\":\"\"}]}", 422,
	    188, "name", "1" },
	{ "someone else's", "bob", "POST", CARTS, "{\"name\":\"redis\"}", 404, 127, "",
	    "not found" },
	{ "remove what is not there", "ann", "DELETE", CART "redis-7.0", NULL, 404, 129, "",
	    "not found" },
	{ "remove the web cartridge", "ann", "DELETE", CART "nodejs", NULL, 422, 137, "cartridge",
	    "cannot be removed" },
	{ "update without a word", "ann", "PUT", CART "nodejs", "{}", 422, 168, "scales_from",
	    "Give" },
	{ "a scale below 1", "ann", "PUT", CART "nodejs", "{\"scales_from\":0}", 422, 168,
	    "scales_from", "" },
	{ "a scale that contradicts", "ann", "PUT", CART "nodejs",
	    "{\"scales_from\":5,\"scales_to\":2}", 422, 168, "scales_from", "greater" },
	{ "no number of GB", "ann", "PUT", CART "nodejs", "{\"additional_gear_storage\":\"x\"}",
	    422, 165, "additional_gear_storage", "" },
	{ "storage", "ann", "PUT", CART "nodejs", "{\"additional_gear_storage\":1}", 422, 164,
	    "additional_gear_storage", "not allowed" },
	{ "the catalogue is the administrator's", "ann", "GET", "/admin/cartridges", NULL, 403, 1,
	    "", "administrators" },
	{ "so is an upload", "ann", "PUT", "/admin/cartridges", "{}", 403, 1, "",
	    "administrators" },
	{ "an import without a URL", "admin", "POST", "/admin/cartridges", "{}", 422, 109, "url",
	    "required" },
	{ "no such entry", "admin", "PUT", "/admin/cartridge/cobol", "{\"active\":true}", 404, 1,
	    "", "not found" },
	{ "a change of nothing", "admin", "PUT", "/admin/cartridge/static-1.0", "{}", 422, 1,
	    "active", "Give" },
	{ "a stock cartridge stays", "admin", "DELETE", "/admin/cartridge/static-1.0", NULL, 422,
	    137, "", "Deactivate" },
	{ "no such application", "admin", "POST", "/admin/cartridge-upgrades",
	    "{\"application\":\"shop/none\"}", 404, 101, "application", "not found" },
};

static void
refused(void **state)
{
	api_world_rows(*state, rows, ARRAY_LEN(rows));
}

static int64_t
number(const struct api_world *w, const char *key)
{
	return codec_int(codec_get(codec_get(w->json, "data"), key), -99);
}

/* Added, shown, removed; refused without a trace. */
static void
life(void **state)
{
	struct api_world *w = *state;

	assert_int_equal(api_world_as(w, "ann", "POST", CARTS, "{\"name\":\"redis\"}"), 201);
	assert_string_equal(codec_string(codec_get(w->json, "type")), "cartridge");
	assert_true(str_has_prefix(api_world_data(w, "name"), "redis-"));
	assert_int_equal(api_world_as(w, "ann", "POST", CARTS, "{\"name\":\"redis\"}"), 422);
	assert_int_equal(api_world_exit(w), 136);
	assert_int_equal(api_world_as(w, "ann", "GET", CARTS, NULL), 200);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 2);
	assert_int_equal(
	    api_world_as(w, "ann", "PUT", CART "nodejs", "{\"scales_from\":2,\"scales_to\":4}"),
	    200);
	assert_int_equal(number(w, "scales_from"), 2);
	assert_int_equal(number(w, "scales_to"), 4);
	assert_int_equal(number(w, "current_scale"), 2);
	assert_int_equal(api_world_as(w, "ann", "DELETE", CART "redis", NULL), 200);
	assert_int_equal(api_world_as(w, "ann", "GET", CART "redis", NULL), 404);
	api_world_fakes.rollout_failure = "The cartridge redis could not be set up: no";
	assert_int_equal(api_world_as(w, "ann", "POST", CARTS, "{\"name\":\"redis\"}"), 422);
	assert_int_equal(api_world_exit(w), 157);
	api_world_fakes.rollout_failure = NULL;
	assert_int_equal(api_world_as(w, "ann", "GET", CARTS, NULL), 200);
	assert_int_equal(codec_count(codec_get(w->json, "data")), 1);
}

static void
set_static(struct api_world *w, const char *json)
{
	assert_int_equal(api_world_as(w, "admin", "PUT", "/admin/cartridge/static-1.0", json), 200);
}

static int
create_static(struct api_world *w)
{
	return api_world_as(w, "ann", "POST", "/domain/shop/applications",
	    "{\"name\":\"files\",\"cartridge\":\"static\"}");
}

/* Decisions of the administrator are seen at once. */
static void
catalogue(void **state)
{
	struct api_world *w = *state;

	assert_int_equal(api_world_as(w, "admin", "GET", "/admin/cartridges", NULL), 200);
	assert_true(codec_count(codec_get(w->json, "data")) > 5);
	set_static(w, "{\"active\":false}");
	assert_int_equal(create_static(w), 422);
	set_static(w, "{\"active\":true,\"obsolete\":true}");
	assert_int_equal(create_static(w), 422);
	assert_non_null(strstr(api_world_text(w), "obsolete"));
	set_static(w, "{\"obsolete\":false}");
	assert_int_equal(create_static(w), 201);
}

/* rhc looks a name up by itself, in names, tags and descriptions: v2's lead to one of today. */
static void
old_names(void **state)
{
	struct api_world *w = *state;
	const struct codec_value *all;
	size_t found = 0;

	assert_int_equal(api_world_as(w, "ann", "GET", "/cartridges", NULL), 200);
	all = codec_get(w->json, "data");
	for (size_t i = 0; i < codec_count(all); i++) {
		const struct codec_value *one = codec_at(all, i);

		if (strstr(codec_string(codec_get(one, "description")), "nodejs-0.10") == NULL)
			continue;
		found++;
		assert_int_equal(strncmp(codec_string(codec_get(one, "name")), "nodejs-", 7), 0);
	}
	assert_int_equal(found, 1);
	assert_int_equal(api_world_as(w, "ann", "GET", CARTS, NULL), 200);
	assert_null(strstr(api_world_text(w), "nodejs-0.10"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(old_names, api_world_setup_app, api_world_teardown),
		cmocka_unit_test_setup_teardown(refused, api_world_setup_app, api_world_teardown),
		cmocka_unit_test_setup_teardown(life, api_world_setup_app, api_world_teardown),
		cmocka_unit_test_setup_teardown(catalogue, api_world_setup_app, api_world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
