/* gear_env, cart_action: OpenShift v2's order of variables; command lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/wire/wire_env.h"
#include "node/cart_action.h"
#include "node/gear_env.h"
#include "test/lib/tree.h"

static const char web_yaml[] =
    "Name: web\nCartridge-Short-Name: WEB\nVersion: '1'\nCartridge-Version: 0.0.1\n"
    "Cartridge-Vendor: redhat\nCategories: [web_framework]\nEndpoints:\n"
    "- {Private-IP-Name: IP, Private-Port-Name: PORT, Private-Port: 8080}\n"
    "- {Private-IP-Name: IP, Private-Port-Name: PORT2, Private-Port: 8081}\n";
static const char db_yaml[] =
    "Name: db\nCartridge-Short-Name: DB\nVersion: '2'\nCartridge-Vendor: redhat\n"
    "Categories: [service]\nEndpoints:\n"
    "- {Private-IP-Name: HOST, Private-Port-Name: PORT, Private-Port: 5432}\n"
    "Pinion: {Actions: [start]}\n";

struct world {
	char *dir, *env_dir;
	struct cart_dir_entry web, db;
	const struct cart_dir_entry *carts[2];
	struct wire_gear gear;
	struct str_list homes;
	struct gear_env in;
};

static void
add_env(struct world *w, const char *name, const char *value)
{
	struct wire_var *v = codec_list_add(&wire_var_codec, &w->gear.env);

	v->name = xstrdup(name);
	v->value = xstrdup(value);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	struct wire_gear_cart *c;
	struct err e = { 0 };

	w->dir = tree_new();
	w->env_dir = xasprintf("%s/env", w->dir);
	if (wire_cart_parse(web_yaml, strlen(web_yaml), NULL, &w->web.cart, &e) < 0 ||
	    wire_cart_parse(db_yaml, strlen(db_yaml), NULL, &w->db.cart, &e) < 0)
		fail_msg("%s: %s", e.field, e.text);
	w->carts[0] = &w->web;
	w->carts[1] = &w->db;
	w->gear.uuid = xstrdup("5f00");
	w->gear.app_id = xstrdup("5f00");
	w->gear.app_name = xstrdup("app");
	w->gear.gear_name = xstrdup("app");
	w->gear.domain = xstrdup("dom");
	w->gear.app_dns = xstrdup("app-dom.apps.localhost");
	w->gear.gear_dns = xstrdup("app-dom.apps.localhost");
	w->gear.secret_token = xstrdup("secret");
	w->gear.deployment_branch = xstrdup("main");
	w->gear.limits.memory_mb = 512;
	c = codec_list_add(&wire_gear_cart_codec, &w->gear.cartridges);
	c->name = xstrdup("web");
	c->is_web = true;
	c = codec_list_add(&wire_gear_cart_codec, &w->gear.cartridges);
	c->name = xstrdup("db");
	str_list_take(&w->homes, xasprintf("%s/upper", w->dir));
	str_list_take(&w->homes, xasprintf("%s/base1", w->dir));
	tree_put(w->dir, "env/.keep", "", 0);
	tree_put(w->dir, "upper/.keep", "", 0);
	tree_put(w->dir, "base1/.keep", "", 0);
	w->in = (struct gear_env){ .gear = &w->gear,
		.carts = w->carts,
		.carts_n = 2,
		.env_dir = w->env_dir,
		.homes = &w->homes };
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	tree_remove(w->dir);
	free(w->env_dir);
	wire_cart_fini(&w->web.cart);
	wire_cart_fini(&w->db.cart);
	wire_gear_fini(&w->gear);
	str_list_fini(&w->homes);
	free(w);
	return 0;
}

/* The value in the composed environment, or NULL; caller owns. */
static char *
value_of(const struct world *w, const char *name)
{
	AUTO_FINI(str_list_fini) struct str_list env = { 0 };
	struct err e = { 0 };
	size_t n = strlen(name);

	if (gear_env_compose(&w->in, &env, &e) < 0)
		fail_msg("%s: %s", e.field, e.text);
	for (size_t i = 0; i < env.n; i++) {
		if (strncmp(env.v[i], name, n) == 0 && env.v[i][n] == '=')
			return xstrdup(env.v[i] + n + 1);
	}
	return NULL;
}

static void
expect(const struct world *w, const char *name, const char *want)
{
	AUTO(free) char *have = value_of(w, name);

	if ((want == NULL) != (have == NULL) || (want != NULL && strcmp(want, have) != 0))
		fail_msg("%s is '%s', wanted '%s'", name, have == NULL ? "(unset)" : have,
		    want == NULL ? "(unset)" : want);
}

static void
test_platform(void **state)
{
	const struct world *w = *state;

	expect(w, "HOME", "/var/lib/openshift/5f00/");
	expect(w, "OPENSHIFT_REPO_DIR", "/var/lib/openshift/5f00/app-root/runtime/repo/");
	expect(w, "OPENSHIFT_APP_DNS", "app-dom.apps.localhost");
	expect(w, "OPENSHIFT_CLOUD_DOMAIN", "apps.localhost");
	expect(w, "OPENSHIFT_GEAR_MEMORY_MB", "512");
	expect(w, "OPENSHIFT_DEPLOYMENT_BRANCH", "main");
	expect(w, "OPENSHIFT_PRIMARY_CARTRIDGE_DIR", "/var/lib/openshift/5f00/web/");
	expect(w, "OPENSHIFT_WEB_DIR", "/var/lib/openshift/5f00/web/");
	expect(w, "OPENSHIFT_WEB_IDENT", "redhat:web:1:0.0.1");
	expect(w, "OPENSHIFT_WEB_IP", "127.1.244.1");
	expect(w, "OPENSHIFT_WEB_PORT", "8080");
	expect(w, "OPENSHIFT_WEB_PORT2", "8081");
	expect(w, "OPENSHIFT_DB_HOST", "127.24.239.129");
	expect(w, "PORT", "8080");
	expect(w, "HOST", "0.0.0.0");
	expect(w, "PATH", "/bin:/usr/bin:/usr/sbin");
	expect(w, "LD_LIBRARY_PATH", NULL);
}

/* Eight layers, later wins. */
static void
test_order(void **state)
{
	struct world *w = *state;

	tree_put(w->dir, "env/A", "gear\n", 0);
	tree_put(w->dir, "base1/db/env/A", "db", 0);
	expect(w, "A", "db"); /* 3 over 2 */
	tree_put(w->dir, "env/other/A", "published", 0);
	expect(w, "A", "published"); /* 4 */
	tree_put(w->dir, "base1/web/env/A", "web", 0);
	expect(w, "A", "web"); /* 5 */
	add_env(w, "A", "user");
	expect(w, "A", "web"); /* 7: the gear has that name */
	tree_put(w->dir, "base1/web/env/B", "web", 0);
	add_env(w, "B", "user");
	expect(w, "B", "user"); /* 7 over 5 */
	tree_put(w->dir, "base1/db/env/B", "db", 0);
	w->in.acting = "db";
	expect(w, "B", "user"); /* 8: the user again, after the acting cartridge */
	expect(w, "A", "db");   /* 8: the acting cartridge */
	tree_put(w->dir, "env/user_vars/C", "not from files", 0);
	expect(w, "C", NULL);
	add_env(w, "OPENSHIFT_UMASK", "000");
	add_env(w, "OPENSHIFT_SECRET_TOKEN", "mine");
	w->in.acting = NULL;
	expect(w, "OPENSHIFT_UMASK", "077");
	expect(w, "OPENSHIFT_SECRET_TOKEN", "mine");
	add_env(w, "PORT", "3000");
	expect(w, "PORT", "3000");
}

static void
test_files(void **state)
{
	struct world *w = *state;
	AUTO(free) char *whiteout = xasprintf("%s/upper/web/env/GONE", w->dir);
	AUTO(free) char *big = xcalloc(1, 70000);

	tree_put(w->dir, "base1/web/env/TWO_NEWLINES", "x\n\n", 0);
	expect(w, "TWO_NEWLINES", "x\n");
	tree_put(w->dir, "base1/web/env/X.erb", "x", 0);
	tree_put(w->dir, "base1/web/env/Y.rpmnew", "x", 0);
	tree_put(w->dir, "base1/web/env/.Z", "x", 0);
	tree_put(w->dir, "base1/web/env/SUB/K", "x", 0);
	expect(w, "X.erb", NULL);
	expect(w, "SUB", NULL);
	tree_put(w->dir, "base1/web/env/V", "below", 0);
	tree_put(w->dir, "upper/web/env/V", "above", 0);
	expect(w, "V", "above");
	tree_link(w->dir, "base1/web/env/LINK", "/etc/hostname");
	expect(w, "LINK", NULL);
	memset(big, 'x', 69999);
	tree_put(w->dir, "base1/web/env/BIG", big, 0);
	expect(w, "BIG", NULL);
	tree_put(w->dir, "base1/web/env/GONE", "x", 0);
	expect(w, "GONE", "x");
	if (mknod(whiteout, S_IFCHR | 0600, makedev(0, 0)) == 0)
		expect(w, "GONE", NULL);
	/* A link in the gear's own layer leads nowhere outside it. */
	tree_link(w->dir, "upper/db", "/etc");
	expect(w, "OPENSHIFT_DB_DIR", "/var/lib/openshift/5f00/db/");
}

static void
test_paths(void **state)
{
	struct world *w = *state;

	tree_put(w->dir, "base1/web/env/OPENSHIFT_WEB_PATH_ELEMENT", "/w/bin", 0);
	tree_put(w->dir, "base1/db/env/OPENSHIFT_DB_PATH_ELEMENT", "/d/bin", 0);
	tree_put(w->dir, "base1/db/env/OPENSHIFT_DB_LD_LIBRARY_PATH_ELEMENT", "/d/lib", 0);
	tree_put(w->dir, "base1/web/env/OPENSHIFT_WEB_LD_LIBRARY_PATH_ELEMENT", "/w/lib", 0);
	expect(w, "PATH", "/w/bin:/d/bin:/bin:/usr/bin:/usr/sbin");
	expect(w, "LD_LIBRARY_PATH", "/d/lib:/w/lib");
	tree_put(w->dir, "base1/db/env/PATH", "/only/db", 0);
	w->in.acting = "db";
	expect(w, "PATH", "/w/bin:/d/bin:/bin:/usr/bin:/usr/sbin");
}

static void
test_start_vars(void **state)
{
	struct world *w = *state;
	const struct wire_start s = { .kind = "procfile", .command = "run it" };

	w->in.start = &s;
	w->in.deployment_id = "1a2b3c4d";
	add_env(w, "PINION_START_COMMAND", "other");
	expect(w, "PINION_START_KIND", "procfile");
	expect(w, "PINION_START_COMMAND", "run it");
	expect(w, "PINION_DEPLOYMENT_ID", "1a2b3c4d");
}

/* What the platform sets is not the user's to set; the rest is. */
static void
test_reserved(void **state)
{
	static const char *const free_names[] = { "GREETING", "NODE_ENV", "PINION_DOCROOT",
		"PINION_SUBDIR", "PINION_HEALTH_PATH", "OPENSHIFT_NODEJS_WATCH",
		"OPENSHIFT_PYTHON_WSGI_APPLICATION", "OPENSHIFT_PYPI_MIRROR_URL",
		"OPENSHIFT_MYSQL_MAX_CONNECTIONS", "DATABASE_PORT", "MY_DIR" };
	struct world *w = *state;
	struct wire_var_list vars = { 0 };
	size_t i;

	gear_env_gear_vars(&w->in, &vars);
	gear_env_cart_vars("5f00", &w->web, &vars);
	for (i = 0; i < vars.n; i++) {
		/* Odd names of endpoints win over the user's by the order of layers. */
		if (!wire_env_is_reserved(vars.v[i].name) &&
		    strcmp(vars.v[i].name, "OPENSHIFT_WEB_PORT2") != 0)
			fail_msg("%s can be set", vars.v[i].name);
		wire_var_fini(&vars.v[i]);
	}
	free(vars.v);
	for (i = 0; i < ARRAY_LEN(free_names); i++) {
		if (wire_env_is_reserved(free_names[i]))
			fail_msg("%s cannot be set", free_names[i]);
	}
}

static void
test_limits(void **state)
{
	struct world *w = *state;
	AUTO_FINI(str_list_fini) struct str_list env = { 0 };
	AUTO(free) char *value = xcalloc(1, 60001);
	struct err e = { 0 };

	memset(value, 'x', 60000);
	for (int i = 0; i < 20; i++) {
		AUTO(free) char *path = xasprintf("base1/web/env/V%d", i);

		tree_put(w->dir, path, value, 0);
	}
	assert_int_equal(gear_env_compose(&w->in, &env, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
}

static void
expect_argv(const struct str_list *l, const char *want)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	for (size_t i = 1; i < l->n; i++)
		buf_addf(&b, "%s%s", i == 1 ? "" : " ", l->v[i]);
	assert_string_equal(b.p == NULL ? "" : b.p, want);
}

static void
test_actions(void **state)
{
	const struct world *w = *state;
	AUTO_FINI(str_list_fini) struct str_list start = { 0 };
	AUTO_FINI(str_list_fini) struct str_list stop = { 0 };
	AUTO_FINI(str_list_fini) struct str_list one = { 0 };

	cart_action_start_argv(w->carts, 2, &(struct wire_instance){ 0 }, &start);
	expect_argv(&start, "--exec --acting web update-configuration:web:1 start:db:2 "
	                    "deploy:web:1 start:web:1");
	cart_action_stop_argv(w->carts, 2, &stop);
	expect_argv(&stop, "--acting web stop:web:1 -stop:db:2");
	cart_action_argv(&w->db, "post-deploy", &one);
	expect_argv(&one, "--acting db -post-deploy:db:2");
	assert_true(cart_action_handles(&w->web, "anything"));
	assert_false(cart_action_handles(&w->web, "prepare"));
	assert_false(cart_action_is_needed(&w->db, w->dir, "post-deploy"));
	tree_put(w->dir, "app-root/runtime/repo/.openshift/action_hooks/post_deploy", "", 0755);
	assert_true(cart_action_is_needed(&w->db, w->dir, "post-deploy"));
	assert_true(cart_action_is_needed(&w->db, NULL, "stop"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_platform, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_start_vars, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reserved, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_actions, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
