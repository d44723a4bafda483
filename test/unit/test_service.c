/* gear_group, gear_ports, net_nat: who shares a gear, and how services are found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/catalog.h"
#include "broker/gear_group.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/cart/gear_ports.h"
#include "node/net_nat.h"
#include "test/lib/tree.h"

#define ENDPOINT                                                                                   \
	"Endpoints:\n- {Private-IP-Name: HOST, Private-Port-Name: PORT, Private-Port: 7000}\n"

static const char web_yaml[] =
    "Name: web\nCartridge-Short-Name: WEB\nVersion: '1'\nCategories: [web_framework]\n"
    "Scaling: {Min: 1, Max: 4}\nEndpoints:\n"
    "- {Private-IP-Name: IP, Private-Port-Name: PORT, Private-Port: 8080, Public-Port-Name: PUB}\n"
    "- {Private-IP-Name: IP, Private-Port-Name: PORT2, Private-Port: 8081}\n";
static const char db_yaml[] =
    "Name: db\nCartridge-Short-Name: DB\nVersion: '2'\nCategories: [service, database]\n"
    "Scaling: {Min: 2, Max: 3}\nEndpoints:\n"
    "- {Private-IP-Name: HOST, Private-Port-Name: PORT, Private-Port: 5432}\n"
    "- {Private-IP-Name: HOST2, Private-Port-Name: PORT2, Private-Port: 5432}\n";
static const char cache_yaml[] =
    "Name: cache\nCartridge-Short-Name: CACHE\nVersion: '3'\nCategories: [service]\n" ENDPOINT;
static const char addon_yaml[] =
    "Name: addon\nCartridge-Short-Name: ADDON\nVersion: '4'\nCategories: [plugin]\n";
static const char near_yaml[] =
    "Name: near\nCartridge-Short-Name: NEAR\nVersion: '5'\nCategories: [service]\n"
    "Group-Overrides:\n- components: [near, web_framework]\n" ENDPOINT;
static const char pair_yaml[] =
    "Name: pair\nCartridge-Short-Name: PAIR\nVersion: '6'\nCategories: [service]\n"
    "Group-Overrides:\n- components: [pair-6, database]\n" ENDPOINT;

static const struct {
	const char *name, *yaml;
} known[] = {
	{ "web", web_yaml },
	{ "db", db_yaml },
	{ "cache", cache_yaml },
	{ "addon", addon_yaml },
	{ "near", near_yaml },
	{ "pair", pair_yaml },
};

static struct broker broker;

static int
setup(void **state)
{
	char *dir = tree_new();
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		AUTO(free) char *manifest = xasprintf("%s/metadata/manifest.yml", known[i].name);
		AUTO(free) char *control = xasprintf("%s/bin/control", known[i].name);

		tree_put(dir, manifest, known[i].yaml, 0644);
		tree_put(dir, control, "#!/bin/sh\n", 0755);
	}
	broker.catalog = catalog_new(dir, &e);
	assert_non_null(broker.catalog);
	*state = dir;
	return 0;
}

static int
teardown(void **state)
{
	catalog_free(broker.catalog);
	tree_remove(*state);
	return 0;
}

/* An application with these cartridges: "web db". */
static void
make_app(struct wire_app *a, bool scalable, const char *words)
{
	struct err e = { 0 };
	struct str rest = str_of(words), word;

	*a = (struct wire_app){ .scalable = scalable, .spec = { .gears = 1 } };
	while (rest.n > 0) {
		rest = str_cut(rest, ' ', &word);
		AUTO(free) char *name = xstrndup(word.p, word.n);
		const struct catalog_cart *cc = catalog_find(broker.catalog, name, &e);

		assert_non_null(cc);
		catalog_gear_cart(cc, codec_list_add(&wire_gear_cart_codec, &a->cartridges));
	}
}

/* "web addon | db(2)" */
static void
expect_groups(bool scalable, const char *carts, const char *want)
{
	struct wire_app a;
	struct gear_group_list l = { 0 };
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	make_app(&a, scalable, carts);
	gear_group_plan(&broker, &a, &l);
	for (size_t i = 0; i < l.n; i++) {
		buf_adds(&text, i == 0 ? "" : " | ");
		for (size_t k = 0; k < l.v[i].carts.n; k++)
			buf_addf(&text, "%s%s", k == 0 ? "" : " ", l.v[i].carts.v[k]);
		if (!l.v[i].is_web)
			buf_addf(&text, "(%d)", (int)l.v[i].gears);
		assert_int_equal(l.v[i].is_web, i == 0);
	}
	assert_string_equal(text.p, want);
	gear_group_fini(&l);
	wire_app_fini(&a);
}

static void
cartridges_share_gears(void **state)
{
	(void)state;
	expect_groups(false, "web db cache addon", "web db cache addon");
	expect_groups(true, "web", "web");
	expect_groups(true, "web addon", "web addon");
	expect_groups(true, "db web cache addon", "web addon | db(2) | cache(1)");
	expect_groups(true, "web near cache", "web near | cache(1)");
	expect_groups(true, "web db pair cache", "web | db pair(2) | cache(1)");
	expect_groups(true, "web pair", "web | pair(1)");
}

static void
gears_know_their_group(void **state)
{
	struct wire_app a;
	struct gear_group_list l = { 0 };
	struct wire_gear g = { 0 };

	(void)state;
	make_app(&a, true, "web db cache");
	gear_group_plan(&broker, &a, &l);
	assert_int_equal(gear_group_others(&l), 3);
	assert_int_equal(l.v[0].max, 4);
	assert_int_equal(gear_group_of(&l, &g), -1);
	gear_group_carts(&l.v[1], &a, &g.cartridges);
	assert_int_equal(g.cartridges.n, 1);
	assert_int_equal(gear_group_of(&l, &g), 1);
	/* one that was plain before has both */
	gear_group_carts(&l.v[0], &a, &g.cartridges);
	assert_int_equal(gear_group_of(&l, &g), 0);
	wire_gear_fini(&g);
	gear_group_fini(&l);
	wire_app_fini(&a);
}

/* A service in gears of its own may have a size of its own; who shares gears shares their size. */
static void
services_have_sizes(void **state)
{
	static const struct {
		bool scalable;
		const char *carts, *cart, *size,
		    *second; /* size of that one; of the second group */
		bool is_good;
	} rows[] = {
		{ true, "web db", "db", "large", "large", true },
		{ true, "web db", "db", "small", "small", true },
		{ true, "web db", "web", "small", "small", true },
		{ true, "web db", "web", "large", "small", false },
		{ true, "web near db", "near", "large", "small", false },
		{ true, "web db pair", "pair", "large", "large", true },
		{ false, "web db", "db", "small", NULL, true },
		{ false, "web db", "db", "large", NULL, false },
	};

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
		struct wire_app a;
		struct gear_group_list l = { 0 };
		struct err e = { 0 };

		make_app(&a, rows[k].scalable, rows[k].carts);
		a.profile = xstrdup("small");
		for (size_t i = 0; i < a.cartridges.n; i++) {
			if (strcmp(a.cartridges.v[i].name, rows[k].cart) == 0)
				a.cartridges.v[i].profile = xstrdup(rows[k].size);
		}
		gear_group_plan(&broker, &a, &l);
		assert_string_equal(gear_group_profile(&l.v[0], &a), "small");
		if (rows[k].second != NULL)
			assert_string_equal(gear_group_profile(&l.v[1], &a), rows[k].second);
		assert_int_equal(gear_group_check(&l, &a, &e), rows[k].is_good ? 0 : -1);
		if (!rows[k].is_good)
			assert_string_equal(e.field, "gear_size");
		gear_group_fini(&l);
		wire_app_fini(&a);
	}
}

static void
parse(const char *yaml, struct cart_dir_entry *out)
{
	struct err e = { 0 };

	*out = (struct cart_dir_entry){ 0 };
	if (wire_cart_parse(yaml, strlen(yaml), NULL, &out->cart, &e) < 0)
		fail_msg("%s: %s", e.field, e.text);
}

static void
addresses_do_not_move(void **state)
{
	struct cart_dir_entry web, db, addon;
	const struct cart_dir_entry *all[] = { &web, &addon, &db };
	const struct cart_dir_entry *less[] = { &web, NULL, &db };
	const struct cart_dir_entry *alone[] = { &db };
	struct gear_port_list a = { 0 }, b = { 0 }, c = { 0 };
	char ip[16], other[16];

	(void)state;
	parse(web_yaml, &web);
	parse(db_yaml, &db);
	parse(addon_yaml, &addon);
	gear_ports_list(all, ARRAY_LEN(all), &a);
	gear_ports_list(less, ARRAY_LEN(less), &b);
	gear_ports_list(alone, ARRAY_LEN(alone), &c);
	assert_int_equal(a.n, 4);
	assert_string_equal(a.v[0].ip, "127.1.244.1");
	assert_string_equal(a.v[1].ip, "127.1.244.1"); /* the same name */
	assert_string_not_equal(a.v[2].ip, a.v[3].ip);
	assert_int_equal(a.v[2].port, a.v[3].port);
	assert_int_not_equal(a.v[2].public_port, a.v[3].public_port);
	assert_int_equal(a.v[0].public_port, GEAR_PORTS_FIRST);
	assert_string_equal(b.v[2].ip, a.v[2].ip);
	assert_string_equal(c.v[0].ip, a.v[2].ip);
	assert_string_equal(c.v[1].ip, a.v[3].ip);
	gear_ports_gear_ip(16 * 65536, ip);
	assert_string_equal(ip, "127.32.0.16");
	gear_ports_gear_ip((int64_t)65534 * 65536, other);
	assert_string_equal(other, "127.32.255.254");
	gear_ports_fini(&a);
	gear_ports_fini(&b);
	gear_ports_fini(&c);
	wire_cart_fini(&web.cart);
	wire_cart_fini(&db.cart);
	wire_cart_fini(&addon.cart);
}

static void
translations_compare(void **state)
{
	struct net_nat a = { 0 }, b = { 0 };

	(void)state;
	assert_true(net_nat_equal(&a, &b));
	net_nat_out(&a, "127.1.244.2", 5432, "100.64.0.9", 35531);
	net_nat_out(&a, "127.1.244.2", 5432, "100.64.0.10", 35531); /* the first counts */
	assert_int_equal(a.out_n, 1);
	assert_string_equal(a.out[0].to, "100.64.0.9");
	assert_false(net_nat_equal(&a, &b));
	net_nat_copy(&b, &a);
	assert_true(net_nat_equal(&a, &b));
	net_nat_in(&b, "100.64.0.9", 35531, "127.1.244.2", 5432, true);
	assert_false(net_nat_equal(&a, &b));
	net_nat_fini(&a);
	net_nat_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cartridges_share_gears),
		cmocka_unit_test(gears_know_their_group),
		cmocka_unit_test(services_have_sizes),
		cmocka_unit_test(addresses_do_not_move),
		cmocka_unit_test(translations_compare),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
