#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "node/cart_merge.h"
#include "node/gear.h"
#include "node/whiteout.h"
#include "test/lib/ok.h"
#include "test/lib/tree.h"

/* The content of a file; NULL: there is none. */
static void
expect(const char *dir, const char *rel, const char *want)
{
	AUTO(free) char *path = file_join(dir, rel);
	AUTO_FINI(buf_fini) struct buf got = { 0 };
	struct err e = { 0 };

	if (want == NULL) {
		assert_false(file_exists(path));
		return;
	}
	assert_ok(file_read(path, 1024, &got, &e), &e);
	assert_string_equal(got.p, want);
}

static void
put_whiteout(const char *dir, const char *rel)
{
	AUTO(free) char *path = file_join(dir, rel);

	assert_int_equal(mknod(path, S_IFCHR, makedev(0, 0)), 0);
}

static void
put_opaque(const char *dir, const char *rel)
{
	AUTO(free) char *path = file_join(dir, rel);

	assert_int_equal(setxattr(path, "trusted.overlay.opaque", "y", 1, 0), 0);
}

/* What the kernel leaves in an upper layer, each kind over each other one. */
static void
fill_upper(const char *gear)
{
	tree_put(gear, "svc/db/data/big", "kept", 0600);
	tree_put(gear, "svc/db/data/gone/x", "old", 0);
	tree_put(gear, "svc/db/data/file", "old", 0);
	tree_put(gear, "svc/db/was_dir/x", "old", 0);
	tree_put(gear, "svc/db/was_file", "old", 0);
	tree_put(gear, "svc/db/made/old", "old", 0);
	tree_put(gear, "base/db.1/db/data/file", "new", 0);
	put_whiteout(gear, "base/db.1/db/data/gone");
	tree_put(gear, "base/db.1/db/was_dir", "new", 0);
	tree_put(gear, "base/db.1/db/was_file/x", "new", 0);
	tree_put(gear, "base/db.1/db/made/new", "new", 0);
	put_opaque(gear, "base/db.1/db/made");
	tree_put(gear, "base/db.1/db/fresh/x", "new", 0);
}

static void
expect_merged(const char *svc)
{
	AUTO(free) char *made = file_join(svc, "made");
	char v;

	expect(svc, "data/big", "kept");
	expect(svc, "data/gone", NULL);
	expect(svc, "data/file", "new");
	expect(svc, "was_dir", "new");
	expect(svc, "was_file/x", "new");
	expect(svc, "made/old", NULL);
	expect(svc, "made/new", "new");
	expect(svc, "fresh/x", "new");
	assert_int_equal(getxattr(made, "trusted.overlay.opaque", &v, 1), -1);
}

static void
finish(char *dir)
{
	AUTO(free) char *svc = file_join(dir, "svc/db");
	struct gear_cart c = { .name = "db", .base = "db.1", .is_service = true };
	struct gear g = { .dir = dir, .record.carts = { &c, 1 } };
	struct err e = { 0 };

	assert_ok(cart_merge_finish(&g, &e), &e);
	expect_merged(svc);
}

static void
test_finish(void **state)
{
	char *dir = tree_new();

	(void)state;
	fill_upper(dir);
	finish(dir);
	expect(dir, "base/db.1/db", NULL);
	finish(dir); /* nothing is left to be done */
	tree_remove(dir);
}

/* Cut short at any entry: what was done is done, the rest follows. */
static void
test_again(void **state)
{
	char *dir = tree_new();
	AUTO(free) char *from = file_join(dir, "base/db.1/db/was_dir");
	AUTO(free) char *to = file_join(dir, "svc/db/was_dir");
	struct err e = { 0 };

	(void)state;
	fill_upper(dir);
	assert_ok(file_remove_tree(to, &e), &e);
	assert_int_equal(rename(from, to), 0);
	finish(dir);
	tree_remove(dir);
}

static void
test_begin(void **state)
{
	char *dir = tree_new();
	AUTO(free) char *code = file_join(dir, "code");
	AUTO(free) char *up = file_join(dir, "up");
	AUTO(free) char *svc = file_join(dir, "svc");
	AUTO(free) char *hidden = file_join(up, "db/made");
	char *rewritten[] = { "db/made/", "db/conf", "db/none/deep", "db/env" };
	struct cart_dir_entry entry = { .cart.name = "db",
		.managed.setup_rewritten = { .v = rewritten, .n = 4 } };
	struct err e = { 0 };
	struct stat st;
	char v = 0;

	(void)state;
	tree_put(code, "db/bin/control", "new", 0755);
	tree_put(code, "db/conf/new", "new", 0);
	tree_put(svc, "db/made/old", "old", 0);
	tree_put(svc, "db/conf/old", "old", 0);
	assert_ok(cart_merge_begin(&entry, code, up, svc, true, &e), &e);
	expect(up, "db/bin/control", "new");
	assert_false(file_exists(hidden));
	assert_ok(file_remove_tree(up, &e), &e);
	assert_ok(cart_merge_begin(&entry, code, up, svc, false, &e), &e);
	assert_int_equal(lstat(hidden, &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	expect(up, "db/none", NULL);
	expect(up, "db/conf/new", "new");
	AUTO(free) char *conf = file_join(up, "db/conf");
	assert_int_equal(getxattr(conf, "trusted.overlay.opaque", &v, 1), 1);
	assert_int_equal(v, 'y');
	tree_remove(dir);
}

/* A layer of its own takes away what several below it have; what is not there is not touched. */
static void
test_hide(void **state)
{
	char *dir = tree_new();
	AUTO(free) char *over = file_join(dir, "over");
	AUTO(free) char *first = file_join(dir, "base/a.1");
	AUTO(free) char *second = file_join(dir, "base/a.2");
	char *rewritten[] = { "a/made/", "a/conf/*.cfg", "a/none" };
	struct cart_dir_entry entry = { .cart.name = "a",
		.managed.setup_rewritten = { .v = rewritten, .n = 3 } };
	struct err e = { 0 };
	struct stat st;

	(void)state;
	tree_put(first, "a/made/x", "old", 0);
	tree_put(second, "a/made/y", "old", 0);
	tree_put(second, "a/conf/z.cfg", "old", 0);
	tree_put(second, "a/conf/kept", "old", 0);
	tree_put(over, "b", "", 0);
	assert_ok(cart_merge_hide(&entry, over, first, &e), &e);
	assert_ok(cart_merge_hide(&entry, over, second, &e), &e);
	AUTO(file_close) int layer = open(over, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(layer >= 0);
	assert_true(whiteout_hides(layer, "a/made"));
	assert_true(whiteout_hides(layer, "a/made/y"));
	assert_true(whiteout_hides(layer, "a/conf/z.cfg"));
	assert_false(whiteout_hides(layer, "a/conf/kept"));
	assert_false(whiteout_hides(layer, "a/conf"));
	assert_false(whiteout_hides(layer, "b"));
	assert_int_equal(fstatat(layer, "a/none", &st, AT_SYMLINK_NOFOLLOW), -1);
	tree_remove(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finish),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_begin),
		cmocka_unit_test(test_hide),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
