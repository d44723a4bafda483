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

struct world {
	char root[64];
	struct gear g;
};

static void
ok(int rc, const struct err *e)
{
	if (rc < 0)
		fail_msg("%s (%s)", e->text, err_name(e->code));
}

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
	ok(gear_home_skeleton(w->g.dir, &e), &e);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	codec_fini(&gear_record_codec, &w->g.record);
	free(w->g.dir);
	ok(file_remove_tree(w->root, &e), &e);
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

	ok(gear_write_env(&w->g, "", &all, true, &e), &e);
	ok(gear_write_env(&w->g, "user_vars", &all, true, &e), &e);
	ok(gear_write_env(&w->g, "", &one, true, &e), &e); /* A goes, the directory stays */
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

static void
test_bases(void **state)
{
	struct world *w = *state;
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };
	AUTO_FINI(str_list_fini) struct str_list code = { 0 };
	AUTO(free) char *up = file_join(w->root, "up");
	AUTO(free) char *left = file_join(w->g.dir, "base/1");
	AUTO(free) char *record = xasprintf("%s.json", w->g.dir);
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	struct gear_record r = { 0 };
	struct err e = { 0 };
	struct stat st;

	/* What a run that died left in the place is replaced. */
	assert_int_equal(mkdir(left, 0700), 0);
	assert_int_equal(mkdir(up, 0777), 0);
	ok(gear_add_base(&w->g, up, "pinion:static:1.0:0.1.0", &e), &e);
	assert_int_equal(stat(left, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(st.st_gid, 1000);
	ok(file_read(record, 4096, &text, &e), &e);
	ok(codec_decode(&gear_record_codec, text.p, text.n, &r, 0, &e), &e);
	assert_int_equal(r.bases.n, 1);
	assert_true(codec_equal(&gear_record_codec, &r, &w->g.record));
	codec_fini(&gear_record_codec, &r);

	str_list_add(&code, "/code/static");
	gear_add_lowers(&w->g, &code, 1, &s);
	assert_int_equal(s.lowers.n, 3);
	assert_true(str_has_suffix(s.lowers.v[0], "/abc/base/1"));
	assert_string_equal(s.lowers.v[1], "/code/static");
	assert_true(str_has_suffix(s.lowers.v[2], "/abc/base/0"));
	gear_add_binds(&w->g, &s);
	assert_int_equal(s.binds.n, 3);
	assert_true(s.binds.v[2].ro); /* .env */
}

static void
test_missing_upper(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	assert_int_equal(gear_add_base(&w->g, "/no/such/upper", "x", &e), -1);
	assert_int_equal(w->g.record.bases.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_env, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_env, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_upper, setup, teardown),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
