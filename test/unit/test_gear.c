/* Records, environment and base layers of a gear, in a plain directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/gear_home.h"
#include "test/lib/ok.h"

struct world {
	char root[64];
	struct gear g;
};

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	struct err e = { 0 };

	(void)snprintf(w->root, sizeof w->root, "/tmp/pinion-test-gear.XXXXXX");
	assert_non_null(mkdtemp(w->root));
	w->g.dir = file_join(w->root, "abc");
	w->g.record.format = 1;
	w->g.record.uuid = xstrdup("abc");
	w->g.record.uid_base = 1 << 20;
	assert_int_equal(mkdir(w->g.dir, 0711), 0);
	assert_ok(gear_home_skeleton(w->g.dir, &e), &e);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	codec_fini(&gear_record_codec, &w->g.record);
	codec_fini(&wire_gear_codec, &w->g.spec);
	free(w->g.dir);
	assert_ok(file_remove_tree(w->root, &e), &e);
	free(w);
	return 0;
}

static char *
read_var(const struct world *w, const char *name)
{
	AUTO(free) char *path = xasprintf("%s/env/%s", w->g.dir, name);
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	if (file_read(path, 1024, &b, &e) < 0)
		return NULL;
	buf_adds(&b, "");
	return buf_steal(&b);
}

static void
test_env(void **state)
{
	struct world *w = *state;
	struct wire_var v[] = { { "A", "1" }, { "B", "two\nlines" } };
	struct wire_var_list all = { v, 2 }, one = { v + 1, 1 };
	AUTO(free) char *path = file_join(w->g.dir, "env/B");
	AUTO(free) char *b = NULL;
	AUTO(free) char *user = NULL;
	struct err e = { 0 };
	struct stat st;

	assert_ok(gear_write_env(&w->g, "", &all, true, &e), &e);
	assert_ok(gear_write_env(&w->g, "user_vars", &all, true, &e), &e);
	assert_ok(gear_write_env(&w->g, "", &one, true, &e), &e); /* A goes, the directory stays */
	assert_null(read_var(w, "A"));
	b = read_var(w, "B");
	assert_string_equal(b, "two\nlines");
	user = read_var(w, "user_vars/A");
	assert_string_equal(user, "1");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, 1000);
	assert_int_equal(st.st_mode & 0777, 0640);
}

static void
test_bad_env(void **state)
{
	static const char *const names[] = { "", "../x", ".next", "a/b" };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct wire_var v = { (char *)names[i], "1" };
		const struct wire_var_list l = { &v, 1 };
		struct err e = { 0 };

		assert_int_equal(gear_write_env(&w->g, "", &l, false, &e), -1);
		assert_int_equal(e.code, ERR_INVALID);
	}
}

/* Of spec.cartridges, with what is configured of it. */
static void
add_cart(struct world *w, const char *name, bool is_service)
{
	struct wire_gear_cart *c = codec_list_add(&wire_gear_cart_codec, &w->g.spec.cartridges);
	AUTO_FINI(gear_cart_fini) struct gear_cart now = { 0 };
	AUTO(free) char *up = file_join(w->root, "up");
	struct err e = { 0 };

	c->name = xstrdup(name);
	c->version = xstrdup("1.0");
	c->cart_version = xstrdup("0.1.0");
	c->is_service = is_service;
	now.name = xstrdup(name);
	now.ident = gear_cart_ident(c, "pinion");
	now.is_service = is_service;
	assert_int_equal(mkdir(up, 0777), 0);
	assert_ok(gear_add_base(&w->g, up, &now, &e), &e);
}

static void
expect_lowers(const struct world *w, const char *except, const char *want)
{
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };
	AUTO_FINI(str_list_fini) struct str_list codes = { 0 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	for (size_t i = 0; i < w->g.spec.cartridges.n; i++)
		str_list_take(&codes, xasprintf("/code/%s", w->g.spec.cartridges.v[i].name));
	gear_add_lowers(&w->g, &codes, except, &s);
	for (size_t i = 0; i < s.lowers.n; i++) {
		const char *base = strrchr(s.lowers.v[i], '/') + 1;
		bool is_code = str_has_prefix(s.lowers.v[i], "/code/");

		buf_addf(&b, "%s%s%.*s", b.n == 0 ? "" : " ", is_code ? "+" : "",
		    (int)strcspn(base, "."), base);
	}
	assert_string_equal(b.p, want);
}

static void
test_bases(void **state)
{
	struct world *w = *state;
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };
	AUTO(free) char *left = file_join(w->g.dir, "base/left.0");
	AUTO(free) char *record = xasprintf("%s.json", w->g.dir);
	AUTO(free) char *base = NULL;
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	struct gear_record r = { 0 };
	struct err e = { 0 };
	struct stat st;

	add_cart(w, "static", false);
	add_cart(w, "redis", true);
	add_cart(w, "cron", false);
	base = xasprintf("%s/base/%s", w->g.dir, w->g.record.carts.v[0].base);
	assert_int_equal(stat(base, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(st.st_gid, 1000);
	assert_ok(file_read(record, 4096, &text, &e), &e);
	assert_ok(codec_decode(&gear_record_codec, text.p, text.n, &r, 0, &e), &e);
	assert_int_equal(r.carts.n, 3);
	assert_true(codec_equal(&gear_record_codec, &r, &w->g.record));
	codec_fini(&gear_record_codec, &r);

	/* A service's code is its own. */
	expect_lowers(w, NULL, "cron +cron redis static +static 0");
	expect_lowers(w, "static", "cron +cron redis 0");
	gear_add_binds(&w->g, &s);
	assert_int_equal(s.binds.n, 4);
	assert_true(s.binds.v[2].ro); /* .env */
	assert_true(s.binds.v[3].ro); /* .auth */
	gear_bind_services(&w->g, NULL, NULL, &s);
	assert_int_equal(s.binds.n, 5);
	assert_true(s.binds.v[4].ro);

	/* One in the middle goes; what no record names is swept. */
	assert_int_equal(mkdir(left, 0700), 0);
	assert_ok(gear_drop_cart(&w->g, "static", &e), &e);
	expect_lowers(w, NULL, "cron +cron redis 0");
	assert_ok(gear_sweep_bases(&w->g, &e), &e);
	assert_int_equal(stat(base, &st), -1);
	assert_int_equal(stat(left, &st), -1);
	gear_keep_configured(&w->g);
	assert_int_equal(w->g.spec.cartridges.n, 2);
	assert_string_equal(w->g.spec.cartridges.v[0].name, "redis");
}

/* A record of an earlier release: bases by number. */
static void
test_migrate(void **state)
{
	struct world *w = *state;
	struct wire_gear_cart *c = codec_list_add(&wire_gear_cart_codec, &w->g.spec.cartridges);

	c->name = xstrdup("nodejs");
	str_list_add(&w->g.record.bases, "pinion:nodejs:20:0.1.0");
	gear_migrate(&w->g);
	assert_int_equal(w->g.record.format, 2);
	assert_int_equal(w->g.record.bases.n, 0);
	assert_int_equal(w->g.record.carts.n, 1);
	assert_string_equal(w->g.record.carts.v[0].name, "nodejs");
	assert_string_equal(w->g.record.carts.v[0].base, "1");
	expect_lowers(w, NULL, "1 +nodejs 0");
	gear_keep_configured(&w->g);
	assert_string_equal(w->g.spec.cartridges.v[0].version, "20");
	assert_string_equal(w->g.spec.cartridges.v[0].cart_version, "0.1.0");
}

static void
test_missing_upper(void **state)
{
	struct world *w = *state;
	const struct gear_cart c = { .name = "x", .ident = "v:x:1:2" };
	struct err e = { 0 };

	assert_int_equal(gear_add_base(&w->g, "/no/such/upper", &c, &e), -1);
	assert_int_equal(w->g.record.carts.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_env, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_env, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_migrate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_upper, setup, teardown),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
