/* codec, codec_value, codec_yaml, conf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/codec/codec.h"
#include "lib/codec/codec_yaml.h"
#include "lib/codec/conf.h"

enum colour { RED, GREEN };
static const struct codec_name colour_names[] = { { "red", RED }, { "green", GREEN }, { 0 } };

struct item {
	char *name;
	int64_t n;
};
static const struct codec_field item_fields[] = {
	CODEC_STR(struct item, name, 8, CODEC_REQUIRED),
	CODEC_INT(struct item, n, -1, 10, 0),
	CODEC_END,
};
DECLARE_CODEC(item, struct item)
DEFINE_CODEC(item, struct item, item_fields)

struct thing {
	char *id;
	int colour;
	bool is_big;
	struct item one;
	struct {
		struct item *v;
		size_t n;
	} items;
	struct str_list words;
	char *raw;
	char *extra;
};
static const struct codec_field thing_fields[] = {
	CODEC_STR(struct thing, id, 16, 0),
	CODEC_ENUM(struct thing, colour, colour_names, 0),
	CODEC_BOOL_AS(struct thing, is_big, "big", 0),
	CODEC_OBJ(struct thing, one, &item_codec, CODEC_OMIT_NULL),
	CODEC_LIST(struct thing, items, &item_codec, 2, 0),
	CODEC_STRS(struct thing, words, 3, 0),
	CODEC_RAW(struct thing, raw, 64, CODEC_OMIT_NULL),
	CODEC_EXTRA(struct thing, extra),
	CODEC_END,
};
DECLARE_CODEC(thing, struct thing)
DEFINE_CODEC(thing, struct thing, thing_fields)

static int
decode(const char *json, unsigned flags, struct thing *out, struct err *e)
{
	return codec_decode(&thing_codec, json, strlen(json), out, flags, e);
}

static void
round_trip_keeps_everything(void **state)
{
	static const char json[] =
	    "{\"id\":\"x\",\"colour\":\"green\",\"big\":true,\"one\":{\"name\":\"a\",\"n\":3},"
	    "\"items\":[{\"name\":\"b\",\"n\":0},{\"name\":\"c\",\"n\":10}],\"words\":[\"u\",\"v\"]"
	    ","
	    "\"raw\":{\"k\":[1,2]},\"later\":{\"z\":1}}";
	AUTO_FINI(thing_fini) struct thing t = { 0 };
	AUTO_FINI(thing_fini) struct thing copy = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(decode(json, CODEC_KEEP, &t, &e), 0);
	AUTO(free) char *out = codec_to_json(&thing_codec, &t);
	assert_string_equal(out, json);
	codec_copy(&thing_codec, &copy, &t);
	assert_true(codec_equal(&thing_codec, &t, &copy));
	copy.items.v[1].n = 9;
	assert_false(codec_equal(&thing_codec, &t, &copy));
}

static void
refuses_and_names_the_field(void **state)
{
	static const struct {
		const char *json, *field, *words;
	} cases[] = {
		{ "{\"id\":1}", "id", "string" },
		{ "{\"id\":\"12345678901234567\"}", "id", "at most 16" },
		{ "{\"id\":\"a\\u0000b\"}", "", "" },
		{ "{\"colour\":\"blue\"}", "colour", "red, green" },
		{ "{\"big\":\"true\"}", "big", "true or false" },
		{ "{\"one\":{}}", "one.name", "required" },
		{ "{\"one\":{\"name\":null}}", "one.name", "required" },
		{ "{\"items\":[{\"name\":\"a\"},{\"name\":\"b\",\"n\":11}]}", "items[1].n",
		    "between" },
		{ "{\"items\":[{\"name\":\"a\"},{\"name\":\"a\"},{\"name\":\"a\"}]}", "items",
		    "at most 2" },
		{ "{\"words\":[\"a\",1]}", "words[1]", "string" },
		{ "{\"nope\":1}", "nope", "not known" },
		{ "[]", "", "object" },
		{ "{\"id\":", "", "JSON" },
		{ "{\"id\":\"a\",\"id\":\"b\"}", "", "JSON" },
		{ "\xff", "", "JSON" },
		{ "", "", "JSON" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct thing t = { 0 };
		struct err e = { 0 };

		assert_int_equal(decode(cases[i].json, 0, &t, &e), -1);
		assert_int_equal(e.code, ERR_INVALID);
		if (cases[i].words[0] != '\0') {
			assert_string_equal(e.field, cases[i].field);
			assert_non_null(strstr(e.text, cases[i].words));
		}
		assert_null(t.id);
	}
}

static void
deep_nesting_is_refused(void **state)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_addc(&b, '[');
	assert_null(codec_parse(b.p, b.n, &e));
	assert_non_null(strstr(e.text, "deeper"));
}

static void
lax_takes_strings_for_numbers(void **state)
{
	static const char json[] =
	    "{\"id\":7,\"big\":\"TRUE\",\"one\":{\"name\":\"a\",\"n\":\"5\"},\"x\":1}";
	AUTO_FINI(thing_fini) struct thing t = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(decode(json, CODEC_LAX | CODEC_IGNORE, &t, &e), 0);
	assert_string_equal(t.id, "7");
	assert_true(t.is_big);
	assert_int_equal(t.one.n, 5);
}

static void
yaml_keeps_quoted_versions(void **state)
{
	static const char yaml[] =
	    "Name: app\nVersion: \"1.0\"\nBare: 1.10\nCount: 3\nOct: 010\nOn: true\n"
	    ":sym: [a, ~]\nMap: {k: v}\n";
	struct err e = { 0 };
	struct codec_value *v = codec_yaml_parse(yaml, strlen(yaml), &e);

	(void)state;
	assert_non_null(v);
	assert_string_equal(codec_string(codec_get(v, "Version")), "1.0");
	assert_string_equal(codec_string(codec_get(v, "Bare")), "1.10");
	assert_int_equal(codec_int(codec_get(v, "Count"), 0), 3);
	assert_string_equal(codec_string(codec_get(v, "Oct")), "010");
	assert_true(codec_bool(codec_get(v, "On"), false));
	assert_int_equal(codec_count(codec_get(v, "sym")), 2);
	assert_int_equal(codec_type(codec_at(codec_get(v, "sym"), 1)), CODEC_NULL);
	assert_string_equal(codec_string(codec_get(codec_get(v, "Map"), "k")), "v");
	codec_value_free(v);
}

static void
yaml_refuses_what_is_odd(void **state)
{
	static const char *const cases[] = { "a: &x 1\nb: *x\n", "a: [1, 2", "? [1]\n: 2\n",
		"a: \"\\0\"\n", "\x80", "a:\n\t- b" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = { 0 };
		struct codec_value *v = codec_yaml_parse(cases[i], strlen(cases[i]), &e);

		assert_null(v);
		assert_non_null(strstr(e.text, "YAML line"));
	}
}

struct settings {
	char *path;
	int64_t port;
	bool is_on;
	struct str_list names;
};
static const struct conf_item items[] = {
	CONF_STR(struct settings, path, "path", "/x", "where"),
	CONF_INT(struct settings, port, "port", 1, 65535, "80", "which"),
	CONF_BOOL(struct settings, is_on, "on", "false", "whether"),
	CONF_STRS(struct settings, names, "name", "who"),
	CONF_LAST,
};

static void
conf_prefers_options_to_environment(void **state)
{
	char *argv[] = { "prog", "--port", "81", "--on", "--name=a", "--name", "b", NULL };
	struct settings s = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(setenv("PROG_PORT", "90", 1), 0);
	assert_int_equal(setenv("PROG_PATH", "/y", 1), 0);
	assert_int_equal(conf_load("prog", items, 7, argv, &s, &e), 0);
	assert_string_equal(s.path, "/y");
	assert_int_equal(s.port, 81);
	assert_true(s.is_on);
	assert_int_equal(s.names.n, 2);
	conf_fini(items, &s);
	(void)unsetenv("PROG_PORT");
	(void)unsetenv("PROG_PATH");
}

static void
conf_refuses_unknown_and_out_of_range(void **state)
{
	char *unknown[] = { "prog", "--nope", "1", NULL };
	char *range[] = { "prog", "--port", "0", NULL };
	struct settings s = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(conf_load("prog", items, 3, unknown, &s, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
	assert_int_equal(conf_load("prog", items, 3, range, &s, &e), -1);
	assert_string_equal(e.field, "port");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip_keeps_everything),
		cmocka_unit_test(refuses_and_names_the_field),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(lax_takes_strings_for_numbers),
		cmocka_unit_test(yaml_keeps_quoted_versions),
		cmocka_unit_test(yaml_refuses_what_is_odd),
		cmocka_unit_test(conf_prefers_options_to_environment),
		cmocka_unit_test(conf_refuses_unknown_and_out_of_range),
	};

	return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
