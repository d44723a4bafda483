/* build_plan, layer_store, build_seal: when dependencies are the same, what becomes of a tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/oci/oci_tar.h"
#include "node/build_plan.h"
#include "node/build_seal.h"
#include "node/layer_store.h"
#include "node/node_dirs.h"
#include "test/lib/tree.h"

static const char package[] =
    "{\"name\":\"x\",\"scripts\":{\"start\":\"node s.js\"},\"dependencies\":{\"a\":\"1\"}}";
static const char lock[] = "{\"lockfileVersion\":3}";

struct world {
	char *dir;  /* all */
	char *repo; /* below it */
	struct node_dirs dirs;
	struct layer_store *layers;
	struct cart_dir *carts;
	struct wire_build_order order;
	struct oci_layer_result src;
	struct build_plan_in in;
};

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	const char *srcdir = getenv("PINION_SRCDIR");
	AUTO(free) char *cartridges = xasprintf("%s/cartridges", srcdir == NULL ? "." : srcdir);
	struct err e = { 0 };

	w->dir = tree_new();
	w->repo = xasprintf("%s/repo", w->dir);
	w->dirs.data = xasprintf("%s/data", w->dir);
	w->dirs.layers = xasprintf("%s/data/layers", w->dir);
	tree_put(w->dir, "data/layers/.keep", "", 0);
	tree_put_all(w->repo, (const char *const[]){ "s.js\n", NULL });
	tree_put(w->repo, "package.json", package, 0);
	tree_put(w->repo, "package-lock.json", lock, 0);
	w->layers = layer_store_open(&w->dirs, &e);
	w->carts = cart_dir_open(cartridges, &e);
	if (w->layers == NULL || w->carts == NULL)
		fail_msg("%s", e.text);
	w->order.gear.app_id = xstrdup("app1");
	w->order.gear.uuid = xstrdup("5f00");
	w->order.gear.app_name = xstrdup("app");
	w->in = (struct build_plan_in){ .order = &w->order,
		.src = &w->src,
		.layers = w->layers,
		.stack_digest = "stack1",
		.node_version = "20.1.0",
		.python_version = "3.11.2",
		.web = cart_dir_find(w->carts, "nodejs", NULL, NULL) };
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	layer_store_close(w->layers);
	cart_dir_close(w->carts);
	wire_build_order_fini(&w->order);
	oci_layer_result_fini(&w->src);
	free(w->dirs.data);
	free(w->dirs.layers);
	tree_remove(w->dir);
	free(w->repo);
	free(w);
	return 0;
}

static void
make(struct world *w, struct build_plan *p)
{
	struct err e = { 0 };

	w->in.repo = tree_open(w->repo);
	if (build_plan_make(&w->in, p, &e) < 0)
		fail_msg("%s: %s", e.field, e.text);
	file_close(w->in.repo);
}

static char *
key(struct world *w)
{
	AUTO_FINI(build_plan_fini) struct build_plan p = { 0 };

	make(w, &p);
	return xstrdup(p.deps_key);
}

static void
expect_key(struct world *w, const char *first, bool is_same, const char *what)
{
	AUTO(free) char *now = key(w);

	if ((strcmp(first, now) == 0) != is_same)
		fail_msg("%s: the key %s", what, is_same ? "changed" : "did not change");
}

static void
set_env(struct world *w, const char *name, const char *value)
{
	struct wire_var *v = codec_list_add(&wire_var_codec, &w->order.gear.env);

	v->name = xstrdup(name);
	v->value = xstrdup(value);
}

static void
test_key(void **state)
{
	struct world *w = *state;
	AUTO(free) char *first = key(w);

	assert_int_equal(strlen(first), 64);
	tree_put(w->repo, "s.js", "changed", 0);
	tree_put(w->repo, "README", "new", 0);
	expect_key(w, first, true, "a source file");
	set_env(w, "GREETING", "hello");
	expect_key(w, first, true, "a variable of the application");
	tree_put(w->repo, "package-lock.json", "{\"lockfileVersion\":2}", 0);
	expect_key(w, first, false, "the lock file");
	tree_put(w->repo, "package-lock.json", lock, 0);
	expect_key(w, first, true, "the lock file as it was");
	tree_put(w->repo, ".openshift/markers/use_npm", "", 0);
	expect_key(w, first, false, "a marker");
	w->in.stack_digest = "stack2";
	expect_key(w, first, false, "the stack");
}

static void
test_key_of_others(void **state)
{
	struct world *w = *state;
	AUTO(free) char *first = key(w);

	mem_set_str(&w->order.gear.app_id, "app2");
	expect_key(w, first, false, "the application");
	mem_set_str(&w->order.gear.app_id, "app1");
	set_env(w, "NPM_CONFIG_REGISTRY", "http://r");
	expect_key(w, first, false, "a build variable");
}

static bool
has_note(const struct build_plan *p, const char *word)
{
	for (size_t i = 0; i < p->notes.n; i++) {
		if (strstr(p->notes.v[i], word) != NULL)
			return true;
	}
	return false;
}

/* Seals an empty layer of that name. */
static void
put_layer(struct world *w, const char *digest)
{
	AUTO(free) char *tree = xasprintf("%s/tree", w->dir);
	const struct layer_store_item it = { .tree = tree, .digest = digest, .size = 10 };
	struct err e = { 0 };

	tree_put(tree, "app-root/x", "1", 0);
	if (layer_store_seal(w->layers, &it, 1, &e) < 0)
		fail_msg("%s", e.text);
}

#define DIGEST_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void
test_reuse(void **state)
{
	struct world *w = *state;
	AUTO_FINI(build_plan_fini) struct build_plan gone = { 0 };
	AUTO_FINI(build_plan_fini) struct build_plan there = { 0 };
	AUTO_FINI(build_plan_fini) struct build_plan clean = { 0 };
	AUTO_FINI(build_plan_fini) struct build_plan hooked = { 0 };

	w->order.previous_deps_key = key(w);
	w->order.previous.deps = xstrdup(DIGEST_A);
	make(w, &gone);
	assert_false(gone.deps_reused); /* the layer is not here */
	assert_true(gone.needs_container);
	put_layer(w, DIGEST_A);
	make(w, &there);
	assert_true(there.deps_reused);
	assert_false(there.needs_container);
	assert_true(has_note(&there, "unchanged"));
	w->order.force_clean = true;
	make(w, &clean);
	assert_false(clean.deps_reused);
	assert_true(clean.is_clean && has_note(&clean, "Force clean build"));
	w->order.force_clean = false;
	tree_put(w->repo, ".openshift/action_hooks/pre_build", "#!/bin/sh\n", 0755);
	make(w, &hooked);
	assert_false(hooked.deps_reused);
	assert_true(hooked.needs_container);
	assert_string_equal(hooked.actions.v[hooked.actions.n - 1], "prepare");
}

static const struct plan_case {
	const char *cart;
	const char *files[4];
	bool needs_container;
	const char *note;
} plan_cases[] = {
	{ "static", { "index.html\n" }, false, "Start: serving the files" },
	{ "static", { "index.html\n", ".openshift/action_hooks/build*\n#!/bin/sh\n" }, true, NULL },
	{ "static", { "index.html\n", ".openshift/action_hooks/post_build_static\n" }, true, NULL },
	{ "static", { "index.html\n", ".openshift/action_hooks/deploy*\n#!/bin/sh\n" }, false,
	    NULL },
	{ "nodejs", { "server.js\n" }, false, NULL },
	{ "nodejs", { "server.js\n", "package.json\n{\"scripts\":{\"start\":\"node s\"}}" }, false,
	    NULL },
	{ "nodejs", { "server.js\n", "package.json\n{\"dependencies\":{\"a\":\"1\"}}" }, true,
	    NULL },
	{ "nodejs", { "server.js\n", "package.json\n{\"scripts\":{\"postinstall\":\"x\"}}" }, true,
	    NULL },
	{ "nodejs",
	    { "server.js\n", "package.json\n{\"dependencies\":{\"a\":\"1\"}}",
	        "node_modules/a/x\n" },
	    false, "node_modules comes with the repository" },
	{ "nodejs", { "server.js\n", "package.json\n{\"engines\":{\"node\":\"0.10\"}}" }, false,
	    "asks for Node.js 0.10" },
	{ "nodejs", { "server.js\n", "Dockerfile\n" }, false, "Dockerfile is not used" },
	{ "python", { "app.py\n" }, false, NULL },
	{ "python", { "app.py\n", "requirements.txt\n# nothing\r\n\r\n" }, false, NULL },
	{ "python", { "app.py\n", "requirements.txt\nflask\n" }, true, NULL },
	{ "python", { "app.py\n", "runtime.txt\npython-2.7.18\n" }, false,
	    "asks for Python 2.7.18" },
	{ "php", { "index.php\n" }, false, NULL },
	{ "php", { "index.php\n", "composer.json\n{}" }, true, NULL },
	{ "php", { "index.php\n", "composer.json\n{}", "vendor/autoload.php\n" }, false, NULL },
};

static void
test_plans(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(plan_cases); i++) {
		const struct plan_case *t = &plan_cases[i];
		AUTO_FINI(build_plan_fini) struct build_plan p = { 0 };
		struct err e = { 0 };

		assert_int_equal(file_remove_tree(w->repo, &e), 0);
		tree_put_all(w->repo, t->files);
		w->in.web = cart_dir_find(w->carts, t->cart, NULL, NULL);
		make(w, &p);
		if (p.needs_container != t->needs_container ||
		    (t->note != NULL && !has_note(&p, t->note)))
			fail_msg("case %zu (%s): container %d, first note: %s", i, t->files[0],
			    p.needs_container, p.notes.n == 0 ? "" : p.notes.v[0]);
	}
}

/* --- the store --- */

static void
test_collect(void **state)
{
	struct world *w = *state;
	AUTO_FINI(str_list_fini) struct str_list keep = { 0 };
	AUTO_FINI(str_list_fini) struct str_list in_use = { 0 };
	AUTO(free) char *cache1 = xasprintf("%s/cache/app1", w->dirs.data);
	AUTO(free) char *cache2 = xasprintf("%s/cache/app2", w->dirs.data);
	struct err e = { 0 };

	put_layer(w, DIGEST_A);
	put_layer(w, DIGEST_B);
	assert_int_equal(layer_store_size(w->layers, DIGEST_A), 10);
	assert_int_equal(layer_store_collect(w->layers, NULL, 3600, &e), 0); /* new: grace */
	str_list_add(&keep, DIGEST_A);
	layer_store_keep(w->layers, "app1", &keep);
	str_list_add(&in_use, DIGEST_B);
	assert_int_equal(layer_store_collect(w->layers, &in_use, 0, &e), 0);
	assert_int_equal(layer_store_collect(w->layers, NULL, 0, &e), 1);
	assert_true(layer_store_has(w->layers, DIGEST_A));
	assert_false(layer_store_has(w->layers, DIGEST_B));
	assert_int_equal(layer_store_size(w->layers, DIGEST_B), 0);
	tree_put(w->dirs.data, "cache/app1/npm/x", "", 0);
	tree_put(w->dirs.data, "cache/app2/npm/x", "", 0);
	assert_int_equal(layer_store_collect(w->layers, NULL, 3600, &e), 0);
	assert_true(file_exists(cache1) && file_exists(cache2));
	assert_int_equal(layer_store_collect(w->layers, NULL, 0, &e), 0);
	assert_true(file_exists(cache1));
	assert_false(file_exists(cache2));
	layer_store_forget(w->layers, "app1");
	assert_int_equal(layer_store_collect(w->layers, NULL, 3600, &e), 0);
	assert_int_equal(layer_store_collect(w->layers, NULL, 0, &e), 1);
	assert_false(layer_store_has(w->layers, DIGEST_A));
	assert_false(layer_store_has(w->layers, "sha256:../../etc"));
	assert_false(layer_store_has(w->layers, ""));
}

/* Sealing what is there already removes the tree; a collection that was interrupted is ended. */
static void
test_seal_twice(void **state)
{
	struct world *w = *state;
	AUTO(free) char *tree = xasprintf("%s/tree", w->dir);
	AUTO(free) char *gone = xasprintf("%s/.gone-x", w->dirs.layers);
	struct err e = { 0 };

	put_layer(w, DIGEST_A);
	put_layer(w, DIGEST_A);
	assert_false(file_exists(tree));
	tree_put(gone, "x", "", 0);
	layer_store_close(w->layers);
	w->layers = layer_store_open(&w->dirs, &e);
	assert_non_null(w->layers);
	assert_false(file_exists(gone));
	assert_true(layer_store_has(w->layers, DIGEST_A));
}

/* What lies in DIR/build. */
static int
seal(struct world *w, const struct build_plan *plan, struct wire_build_result *r, struct err *e)
{
	AUTO(free) char *dir = xasprintf("%s/build", w->dir);
	const struct build_seal in = {
		.dir = dir,
		.order = &w->order,
		.web = w->in.web,
		.plan = plan,
		.src = &w->src,
		.layers = w->layers,
	};

	return build_seal(&in, r, e);
}

/* Three parts of what a build left, none of a cartridge's secrets. */
static void
test_seal_parts(void **state)
{
	struct world *w = *state;
	AUTO(free) char *up = xasprintf("%s/build/up", w->dir);
	AUTO_FINI(wire_build_result_fini) struct wire_build_result r = { 0 };
	AUTO_FINI(build_plan_fini) struct build_plan plan = { .needs_container = true };
	struct err e = { 0 };

	if (geteuid() != 0)
		skip();
	plan.deps_key = xstrdup("key");
	plan.start.kind = xstrdup("usual");
	plan.start.command = xstrdup("node x");
	tree_put(up, "app-root/runtime/repo/server.js", "1", 0);
	tree_put(up, "app-root/runtime/repo/node_modules/a/index.js", "2", 0);
	tree_put(up, "app-root/runtime/dependencies/lib", "3", 0);
	tree_put(up, "nodejs/env/OPENSHIFT_SECRET", "never", 0);
	tree_put(up, "nodejs/conf/made", "4", 0);
	tree_put(up, ".npm/cache", "5", 0);
	tree_put(up, "app-root/data/x", "6", 0);
	if (seal(w, &plan, &r, &e) < 0)
		fail_msg("%s", e.text);
	{
		AUTO(free) char *app = layer_store_path(w->layers, r.layers.app);
		AUTO(free) char *deps = layer_store_path(w->layers, r.layers.deps);
		AUTO(free) char *rest = layer_store_path(w->layers, r.layers.rest);
		static const char repo[] = "app-root/runtime/repo/";
		AUTO(free) char *server = xasprintf("%s/%sserver.js", app, repo);
		AUTO(free) char *modules = xasprintf("%s/%snode_modules", app, repo);
		AUTO(free) char *module = xasprintf("%s/%snode_modules/a/index.js", deps, repo);
		AUTO(free) char *lib = xasprintf("%s/app-root/runtime/dependencies/lib", deps);
		AUTO(free) char *made = xasprintf("%s/nodejs/conf/made", rest);
		AUTO(free) char *env = xasprintf("%s/nodejs/env", rest);
		AUTO(free) char *npm = xasprintf("%s/.npm", rest);
		AUTO(free) char *root = xasprintf("%s/app-root", rest);

		assert_true(file_exists(server) && file_exists(module) && file_exists(lib) &&
		            file_exists(made));
		assert_false(file_exists(modules) || file_exists(env) || file_exists(npm) ||
		             file_exists(root));
	}
	assert_non_null(r.image);
}

/* A build that puts a link where a directory belongs gains nothing. */
static void
test_seal_links(void **state)
{
	struct world *w = *state;
	AUTO(free) char *up = xasprintf("%s/build/up", w->dir);
	AUTO_FINI(wire_build_result_fini) struct wire_build_result r = { 0 };
	AUTO_FINI(build_plan_fini) struct build_plan plan = { .needs_container = true };
	struct err e = { 0 };

	if (geteuid() != 0)
		skip();
	plan.deps_key = xstrdup("");
	tree_put(up, "x", "", 0);
	tree_link(up, "app-root", "/tmp");
	assert_int_equal(seal(w, &plan, &r, &e), -1);
	assert_null(r.layers.app);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key_of_others, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reuse, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plans, setup, teardown),
		cmocka_unit_test_setup_teardown(test_collect, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seal_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seal_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seal_links, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
