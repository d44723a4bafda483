/* Which cartridges may be together, and in which order; names of v2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/cart_names.h"
#include "broker/cart_rules.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"

/* Manifests by the names that the tables use; of several versions the newest first. */
static const struct row {
	const char *key, *yaml;
} manifests[] = {
	{ "web", "Name: web\nVersion: '2'\nCategories: [web_framework]\nProvides: [web-2]\n" },
	{ "other", "Name: other\nVersion: '1'\nCategories: [web_framework]\n" },
	{ "one", "Name: one\nVersion: '1'\nCategories: [web_framework]\n"
	         "Scaling: { Min: 1, Max: 1 }\n" },
	{ "db", "Name: db\nVersion: '9'\nCategories: [service, embedded]\nProvides: [sql]\n" },
	{ "db8", "Name: db\nVersion: '8'\nCategories: [service, embedded]\nProvides: [sql]\n" },
	{ "cache", "Name: cache\nVersion: '1'\nCategories: [service]\nProvides: [memory]\n" },
	{ "cache2", "Name: cache2\nVersion: '1'\nCategories: [service]\nProvides: [memory]\n" },
	{ "admin", "Name: admin\nVersion: '1'\nCategories: [plugin, embedded]\nRequires: [sql]\n" },
	{ "needy", "Name: needy\nVersion: '1'\nCategories: [plugin]\nRequires: [admin]\n" },
	{ "torn", "Name: torn\nVersion: '1'\nCategories: [plugin]\nRequires: [memory]\n" },
	{ "orphan", "Name: orphan\nVersion: '1'\nCategories: [plugin]\nRequires: [nothing]\n" },
	{ "foe", "Name: foe\nVersion: '1'\nCategories: [plugin]\nConflicts: [sql]\n" },
	{ "plain", "Name: plain\nVersion: '1'\nCategories: [embedded]\n" },
	{ "proxy", "Name: proxy\nVersion: '1'\nCategories: [web_proxy]\n" },
	{ "proxy2", "Name: proxy2\nVersion: '1'\nCategories: [web_proxy]\n" },
	{ "big", "Name: big\nVersion: '1'\nCategories: [service]\nScaling: { Min: 2 }\n" },
	{ "wide", "Name: wide\nVersion: '1'\nCategories: [service]\n"
	          "Scaling: { Required: true }\n" },
	{ "old", "Name: old\nVersion: '1'\nCategories: [plugin]\nObsolete: true\n" },
	{ "scope", "Name: scope\nVersion: '1'\nCategories: [plugin, domain_scope]\n" },
	{ "first", "Name: first\nVersion: '1'\nCategories: [plugin]\n"
	           "Configure-Order: [first, plain]\n" },
	{ "after", "Name: after\nVersion: '1'\nCategories: [plugin]\n"
	           "Configure-Order: [service, [plain, plug], after]\n" },
	{ "wrong", "Name: wrong\nVersion: '1'\nCategories: [plugin]\n"
	           "Configure-Order: [wrong, web_framework]\n" },
	{ "unmet", "Name: unmet\nVersion: '1'\nCategories: [plugin]\n"
	           "Configure-Order: [absent, unmet]\n" },
	{ "outer", "Name: outer\nVersion: '1'\nCategories: [external]\n"
	           "Scaling: { Min: 0, Max: 0 }\n" },
};

static struct wire_cart carts[ARRAY_LEN(manifests)];

static int
setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(manifests); i++) {
		AUTO(free)
		char *text = xasprintf("%sCartridge-Short-Name: X\nCartridge-Vendor: pinion\n"
		                       "Cartridge-Version: 0.1.0\n",
		    manifests[i].yaml);
		struct err e = { 0 };

		if (wire_cart_parse(text, strlen(text), NULL, &carts[i], &e) < 0)
			fail_msg("%s: %s: %s", manifests[i].key, e.field, e.text);
	}
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(manifests); i++)
		wire_cart_fini(&carts[i]);
	return 0;
}

static const struct wire_cart *
by_key(struct str key)
{
	for (size_t i = 0; i < ARRAY_LEN(manifests); i++) {
		if (str_eq(key, manifests[i].key))
			return &carts[i];
	}
	fail_msg("no manifest %.*s", (int)key.n, key.p);
	return NULL;
}

static size_t
find(const char *feature, struct cart_rules_item *v, size_t max, void *arg)
{
	size_t n = 0;

	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(manifests) && n < max; i++) {
		if (cart_rules_has(&carts[i], feature))
			v[n++] = (struct cart_rules_item){ .cart = &carts[i] };
	}
	return n;
}

static bool
in_domain(const struct wire_cart *c, void *arg)
{
	(void)arg;
	return strcmp(c->name, "scope") == 0;
}

/* Words of "a b c" into the rules. */
static void
add_all(struct cart_rules *r, const char *words, bool is_new)
{
	struct str rest = str_of(words);

	while (rest.n > 0) {
		struct str word;

		rest = str_cut(rest, ' ', &word);
		assert_true(cart_rules_add(r, by_key(word), NULL, is_new));
	}
}

static void
resolves(void **state)
{
	static const struct {
		const char *name, *there, *added;
		bool scalable;
		int exit;         /* 0: fine */
		const char *want; /* in order, or part of the text */
	} rows[] = {
		{ "web alone", "", "web", false, 0, "web" },
		{ "web first, then services", "", "plain db web", false, 0, "web db plain" },
		{ "required ones come too", "web", "admin", false, 0, "web db admin" },
		{ "and theirs", "web", "needy", false, 0, "web db needy admin" },
		{ "what is there meets it", "web db8", "admin", false, 0, "web db admin" },
		{ "several would do", "web", "torn", false, 109, "several" },
		{ "one of them given", "web", "torn cache", false, 0, "web cache torn" },
		{ "none would do", "web", "orphan", false, 109, "no cartridge provides" },
		{ "there already", "web db", "db", false, 136, "already" },
		{ "another version of it", "web db8", "db", false, 136, "already" },
		{ "given twice", "web", "db db8", false, 136, "twice" },
		{ "a second web one", "web", "other", false, 109, "one web" },
		{ "a conflict", "web db", "foe", false, 109, "conflicts" },
		{ "the same, the other way round", "web foe", "db", false, 109, "conflicts" },
		{ "a conflict with what is pulled in", "web foe", "admin", false, 109,
		    "conflicts" },
		{ "embedded only, scalable", "web", "plain", true, 109, "neither" },
		{ "one gear only, scalable", "", "one", true, 109, "cannot be scaled" },
		{ "one gear only", "", "one", false, 0, "one" },
		{ "service and plugin, scalable", "web", "db admin", true, 0, "web db admin" },
		{ "a proxy, not scalable", "web", "proxy", false, 137, "scalable" },
		{ "a proxy", "web", "proxy", true, 0, "web proxy" },
		{ "two proxies", "web proxy", "proxy2", true, 109, "one proxy" },
		{ "two gears at least", "web", "big", false, 109, "needs a scalable" },
		{ "two gears at least, scalable", "web", "big", true, 0, "web big" },
		{ "scaling required", "web", "wide", false, 109, "needs a scalable" },
		{ "obsolete", "web", "old", false, 109, "obsolete" },
		{ "one in a domain", "web", "scope", false, 109, "domain" },
		{ "external", "web", "outer", true, 0, "web outer" },
		{ "an order of its own", "web", "plain first", false, 0, "web first plain" },
		{ "an order with alternatives", "web", "after plain db", false, 0,
		    "web db plain after" },
		{ "an order against the classes", "web", "wrong", false, 109, "contradict" },
		{ "an order with what is not there", "web", "unmet", false, 185, "absent" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cart_rules r = {
			.is_scalable = rows[i].scalable, .find = find, .domain = in_domain
		};
		AUTO_FINI(buf_fini) struct buf got = { 0 };
		struct err e = { 0 };
		int rc;

		add_all(&r, rows[i].there, false);
		add_all(&r, rows[i].added, true);
		rc = cart_rules_resolve(&r, &e);
		for (size_t k = 0; rc == 0 && k < r.n; k++)
			buf_addf(&got, "%s%s", k == 0 ? "" : " ", r.v[k].cart->name);
		if (rc == 0 && (rows[i].exit != 0 || strcmp(got.p, rows[i].want) != 0))
			fail_msg("%s: got %s, wanted %d %s", rows[i].name, got.p, rows[i].exit,
			    rows[i].want);
		if (rc < 0 && (rows[i].exit != r.exit_code || strstr(e.text, rows[i].want) == NULL))
			fail_msg("%s: got %d %s", rows[i].name, r.exit_code, e.text);
	}
}

static void
removes(void **state)
{
	static const struct {
		const char *there;
		size_t at;
		int exit;
		const char *gone;
	} rows[] = {
		{ "web db admin needy", 1, 0, "db admin needy" },
		{ "web db admin needy", 3, 0, "needy" },
		{ "web db admin", 2, 0, "admin" },
		{ "web cache cache2 torn", 1, 0, "cache" },
		{ "web db", 0, 137, "cannot be removed" },
		{ "web proxy", 1, 137, "cannot be removed" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct cart_rules r = { 0 };
		AUTO_FINI(buf_fini) struct buf got = { 0 };
		struct err e = { 0 };
		int rc;

		add_all(&r, rows[i].there, false);
		rc = cart_rules_remove(&r, rows[i].at, &e);
		for (size_t k = 0; rc == 0 && k < r.n; k++) {
			if (r.v[k].is_new)
				buf_addf(&got, "%s%s", got.n == 0 ? "" : " ", r.v[k].cart->name);
		}
		assert_int_equal(rc < 0 ? r.exit_code : 0, rows[i].exit);
		if (rc == 0)
			assert_string_equal(got.p, rows[i].gone);
		else
			assert_non_null(strstr(e.text, rows[i].gone));
	}
}

static void
names(void **state)
{
	static const struct {
		const char *v2, *today, *gone;
	} rows[] = {
		{ "php-5.4", "php", NULL },
		{ "redhat-php-5.3", "php", NULL },
		{ "PHP-5.4", "php", NULL },
		{ "python-3.3", "python", NULL },
		{ "nodejs-0.10", "nodejs", NULL },
		{ "jbossews-2.0", "java", NULL },
		{ "jbossews", "java", NULL },
		{ "mariadb-5.5", "mysql", NULL },
		{ "postgresql-9.2", "postgresql", NULL },
		{ "cron-1.4", "cron", NULL },
		{ "mongodb-2.4", NULL, "postgresql" },
		{ "mongodb", NULL, "postgresql" },
		{ "haproxy-1.4", NULL, "router" },
		{ "php-7.4", NULL, NULL },
		{ "php", NULL, NULL },
		{ "phpx-5.4", NULL, NULL },
		{ "", NULL, NULL },
		{ "-", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *gone;
		const char *today = cart_names_today(rows[i].v2, &gone);

		if (rows[i].today == NULL)
			assert_null(today);
		else
			assert_string_equal(today, rows[i].today);
		if (rows[i].gone == NULL)
			assert_null(gone);
		else
			assert_non_null(strstr(gone, rows[i].gone));
	}
}

/* The other way round, for clients that look names up themselves. */
static void
names_before(void **state)
{
	AUTO(free) char *php = cart_names_before("php");
	AUTO(free) char *java = cart_names_before("java");

	(void)state;
	assert_string_equal(php, "php-5.3, php-5.4, zend-5.6, zend-6.1");
	assert_non_null(strstr(java, "jbossews-2.0"));
	assert_null(cart_names_before("go"));
	assert_null(cart_names_before(""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(resolves, setup, teardown),
		cmocka_unit_test_setup_teardown(removes, setup, teardown),
		cmocka_unit_test(names),
		cmocka_unit_test(names_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
