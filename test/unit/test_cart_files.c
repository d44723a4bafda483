#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "node/cart_files.h"
#include "test/lib/ok.h"
#include "test/lib/tree.h"

struct world {
	char root[64];
	char *up, *code, *gear; /* owned */
	struct str_list lowers;
	struct cart_dir_entry cart;
	struct cart_files f;
};

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	struct err e = { 0 };

	(void)snprintf(w->root, sizeof w->root, "/tmp/pinion-test-files.XXXXXX");
	assert_non_null(mkdtemp(w->root));
	w->up = file_join(w->root, "up");
	w->code = file_join(w->root, "code");
	w->gear = file_join(w->root, "gear");
	assert_ok(file_mkdirs(w->up, 0755, &e), &e);
	tree_put(w->code, "mock/metadata/manifest.yml", "x", 0644);
	tree_put(w->code, "mock/conf/a.conf", "a", 0644);
	tree_put(w->code, "mock/conf/deep/.b.conf", "b", 0644);
	tree_put(w->code, "mock/env/CODE_VAR", "1", 0644);
	tree_put(w->gear, "env/OPENSHIFT_APP_NAME", "app", 0644);
	tree_put(w->gear, "data/x", "", 0644);
	tree_put(w->gear, "logs/x", "", 0644);
	str_list_add(&w->lowers, w->code);
	w->cart.cart = (struct wire_cart){ .name = "mock",
		.short_name = "MOCK",
		.version = "1",
		.cart_version = "0.1",
		.cart_vendor = "test" };
	w->f = (struct cart_files){ .cart = &w->cart,
		.uuid = "abc",
		.gear_dir = w->gear,
		.up = w->up,
		.lowers = &w->lowers };
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	assert_ok(file_remove_tree(w->root, &e), &e);
	str_list_fini(&w->lowers);
	wire_managed_fini(&w->cart.managed);
	free(w->up);
	free(w->code);
	free(w->gear);
	free(w);
	return 0;
}

/* Owner and kind of a path: "1000 d", "0 f"; "" when it is not there. */
static void
expect(const char *dir, const char *rel, const char *want)
{
	AUTO(free) char *path = file_join(dir, rel);
	char got[32] = "";
	struct stat st;

	if (lstat(path, &st) == 0)
		(void)snprintf(got, sizeof got, "%u %c", (unsigned)st.st_uid,
		    S_ISDIR(st.st_mode)   ? 'd'
		    : S_ISLNK(st.st_mode) ? 'l'
		                          : 'f');
	if (strcmp(got, want) != 0)
		fail_msg("%s is '%s', not '%s'", path, got, want);
}

static void
expect_mode(const char *dir, const char *rel, mode_t want)
{
	AUTO(free) char *path = file_join(dir, rel);
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, want);
}

static void
test_match(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool is_so;
	} cases[] = {
		{ "mock/conf/*", "mock/conf/a", true },
		{ "mock/conf/*", "mock/conf/.a", true },
		{ "mock/conf/*", "mock/conf/a/b", false },
		{ "mock/**/*.erb", "mock/a.erb", true },
		{ "mock/**/*.erb", "mock/x/y/a.erb", true },
		{ "mock/**/*.erb", "mock/x/y/a.er", false },
		{ "mock/a*b*c", "mock/a1b2b3c", true },
		{ "mock/**", "mock/a/b", true },
		{ "*", "", true },
		{ "a", "ab", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (cart_files_match(cases[i].pattern, cases[i].path) != cases[i].is_so)
			fail_msg("%s on %s", cases[i].pattern, cases[i].path);
	}
}

static void
test_locked(void **state)
{
	struct world *w = *state;
	struct str_list *l = &w->cart.managed.locked_files;
	struct err e = { 0 };

	str_list_add(l, "mock/run/");
	str_list_add(l, "mock/made/file");
	str_list_add(l, "mock/conf/**/*.conf");
	str_list_add(l, ".hidden");
	str_list_add(l, "app-root/data/kept/");
	str_list_add(l, "app-root/mock/");
	assert_ok(cart_files_unlock(&w->f, &e), &e);
	expect(w->up, "mock/run", "1000 d");
	expect(w->up, "mock/made/file", "1000 f");
	expect(w->up, "mock/conf/a.conf", "1000 f");
	expect(w->up, "mock/conf/deep/.b.conf", "1000 f");
	expect(w->up, ".hidden", "1000 f");
	expect(w->up, "app-root", "0 d");
	expect(w->up, "app-root/mock", "1000 d");
	expect(w->gear, "data/kept", "1000 d"); /* where it is bound from */
	expect(w->up, "mock/env/OPENSHIFT_MOCK_IDENT", "1000 f");
	tree_put(w->up, "mock/made/file", "secret", 0600); /* by a script, with umask 077 */
	assert_ok(cart_files_lock(&w->f, &e), &e);
	expect_mode(w->up, "mock/made/file", 0640); /* root's now: the user reads on */
	expect(w->up, "mock/run", "0 d");
	expect(w->up, "mock/conf/a.conf", "0 f");
	expect(w->gear, "data/kept", "0 d");
	expect(w->up, "mock/env/OPENSHIFT_MOCK_IDENT", "0 f");
}

/* Scripts may leave links where the platform writes next: nothing outside is touched. */
static void
test_links(void **state)
{
	struct world *w = *state;
	AUTO(free) char *out = file_join(w->root, "outside");
	AUTO(free) char *env = file_join(w->up, "mock/env");
	AUTO(free) char *data = file_join(w->gear, "data/esc");
	AUTO(free) char *conf = file_join(w->up, "mock/run");
	struct err e = { 0 };

	assert_ok(file_mkdirs(out, 0755, &e), &e);
	tree_put(out, "victim", "v", 0644);
	str_list_add(&w->cart.managed.locked_files, "app-root/data/esc/victim");
	str_list_add(&w->cart.managed.locked_files, "mock/run/victim");
	tree_put(w->up, "mock/x", "", 0644);
	assert_int_equal(symlink(out, env), 0);
	assert_int_equal(symlink(out, data), 0);
	assert_int_equal(symlink(out, conf), 0);
	if (cart_files_lock(&w->f, &e) < 0)
		e = (struct err){ 0 };
	expect(out, "victim", "0 f");
	expect(out, "OPENSHIFT_MOCK_IDENT", "");
	if (cart_files_unlock(&w->f, &e) < 0)
		e = (struct err){ 0 };
	expect(out, "victim", "0 f");
	expect(out, "OPENSHIFT_MOCK_IDENT", "");
}

static void
test_service(void **state)
{
	struct world *w = *state;
	AUTO(free) char *own = file_join(w->root, "svc");
	struct wire_managed_link *l =
	    codec_list_add(&wire_managed_link_codec, &w->cart.managed.dependency_dirs);
	struct err e = { 0 };

	tree_put(own, "mock/code", "", 0644);
	w->f.own = own;
	l->link = xstrdup("mock/deps");
	l->target = xstrdup("deps");
	str_list_add(&w->cart.managed.locked_files, "mock/data/");
	assert_ok(cart_files_unlock(&w->f, &e), &e);
	expect(own, "mock/data", "1000 d");
	expect(own, "mock/deps", "1000 l");
	expect(own, "mock/env/OPENSHIFT_MOCK_DIR", "1000 f");
	expect(w->up, "mock", "");
	expect(w->up, "app-root/runtime/dependencies/deps", "1000 d");
}

static void
test_check(void **state)
{
	struct world *w = *state;
	AUTO_FINI(str_list_fini) struct str_list others = { 0 };
	struct err e = { 0 };

	str_list_add(&others, "cron");
	tree_put(w->up, ".dot", "", 0644);
	tree_put(w->up, "cron/x", "", 0644);
	tree_put(w->up, "mock/env/PATH", "", 0644);
	assert_ok(cart_files_check(&w->f, &others, &e), &e);
	tree_put(w->up, "mock/env/OPENSHIFT_APP_NAME", "other", 0644);
	assert_int_equal(cart_files_check(&w->f, &others, &e), -1);
	assert_non_null(strstr(e.text, "OPENSHIFT_APP_NAME"));
	tree_put(w->up, "visible", "", 0644);
	assert_int_equal(cart_files_check(&w->f, &others, &e), -1);
	assert_non_null(strstr(e.text, "visible"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_match),
		cmocka_unit_test_setup_teardown(test_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_service, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
	};

	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
