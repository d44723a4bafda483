/* wire_cart, wire_managed, cart_dir: manifests as they are written, and as they should not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/wire/wire_cart.h"
#include "lib/wire/wire_managed.h"

static const char base[] = "Name: mock\nCartridge-Short-Name: mock\nVersion: '0.1'\n"
                           "Cartridge-Vendor: Red Hat\nCategories: [web_framework]\n";

static int
parse(const char *yaml, const char *version, struct wire_cart *c, struct err *e)
{
	return wire_cart_parse(yaml, strlen(yaml), version, c, e);
}

static void
test_defaults(void **state)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };
	AUTO(free) char *full = NULL;
	AUTO(free) char *ident = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(parse(base, NULL, &c, &e), 0);
	assert_string_equal(c.name, "mock");
	assert_string_equal(c.short_name, "MOCK");
	assert_string_equal(c.version, "0.1");
	assert_string_equal(c.cart_vendor, "redhat");
	assert_string_equal(c.cart_version, "0.0.0");
	assert_string_equal(c.display_name, "mock-0.1-noarch");
	assert_string_equal(c.license, "unknown");
	assert_string_equal(c.platform, "linux");
	assert_int_equal(c.versions.n, 1);
	assert_int_equal(c.components.n, 1);
	assert_string_equal(c.components.v[0].name, "mock");
	assert_int_equal(c.components.v[0].scaling.min, 1);
	assert_int_equal(c.components.v[0].scaling.max, -1);
	assert_int_equal(c.components.v[0].scaling.min_managed, 1);
	assert_int_equal(c.components.v[0].scaling.multiplier, 1);
	assert_false(c.pinion.is_given);
	assert_true(wire_cart_is_web(&c));
	full = wire_cart_full_name(&c);
	ident = wire_cart_ident(&c);
	assert_string_equal(full, "mock-0.1");
	assert_string_equal(ident, "redhat:mock:0.1:0.0.0");
}

/* All of v2's section 3 in one, as the stock mock cartridge had it. */
static const char whole[] =
    "Name: mock\nCartridge-Short-Name: MOCK\nDisplay-Name: Mock Cartridge\nDescription: >\n  For "
    "tests\n"
    "Version: '0.1'\nVersions: ['0.1', '0.2']\nVersion-Overrides:\n  '0.2':\n    Display-Name: "
    "Mock 2\n"
    "    Install-Build-Required: true\nLicense: ASL 2.0\nLicense-Url: http://l\nVendor: somebody\n"
    "Cartridge-Version: 0.0.9\nCompatible-Versions: ['0.0.8']\nCartridge-Vendor: acme\nWebsite: "
    "http://w\n"
    "Architecture: x86_64\nCategories:\n - service\n - mock\nProvides: mock-0.1\nRequires: [a, b]\n"
    "Conflicts: c\nSuggests: [d]\nNative-Requires: [e]\nConfigure-Order: [one, [two, three]]\n"
    "Group-Overrides:\n - components: [mock, web_proxy]\nScaling: {Min: 1, Max: 3, Multiplier: -1, "
    "Required: true}\n"
    "Publishes:\n  publish-it: {Type: 'ENV:NET_TCP:db:connection-info'}\n"
    "Subscribes:\n  set-it: {Type: 'ENV:*', Required: true}\n"
    "Additional-Control-Actions: [threaddump]\nSource-Url: http://s/x.git\nSource-Md5: abc\n"
    "Cart-Data:\n - Key: username\n   Type: environment\n   Description: Root user\n"
    "Help-Topics:\n  \"Guide\": http://g\nObsolete: true\nMetrics: [metric1]\nId: '12'\n"
    "Endpoints:\n - Private-IP-Name: EXAMPLE_IP1\n   Private-Port-Name: EXAMPLE_PORT1\n   "
    "Private-Port: 8080\n"
    "   Public-Port-Name: EXAMPLE_PUBLIC_PORT1\n   WebSocket-Port-Name: WSP\n   WebSocket-Port: "
    "'8443'\n"
    "   Protocols: [http, ws]\n   Options: {primary: 'yes', ssl_to_gear: on}\n   Description: "
    "front\n"
    "   Mappings:\n    - Frontend: ''\n      Backend: 'x'\n      Options: {websocket: true, "
    "connections: -1}\n"
    "    - {Frontend: front, Backend: '', Options: {gone: 1}}\n"
    " - Public-Port-Name: P2\n   Protocols: [tls]\n   Mappings: [{Frontend: 'TLS_PORT_1', Backend: "
    "''}]\n"
    " - Protocols: [https, wss]\n   Mappings: [{Frontend: /sealed}]\n"
    "Unknown-Key: [kept, out]\nProfile: small\n";

static void
test_whole(void **state)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };
	AUTO(free) char *full = NULL;
	struct err e = { 0 };
	const struct wire_cart_endpoint *p;

	(void)state;
	if (parse(whole, "0.2", &c, &e) < 0)
		fail_msg("%s: %s", e.field, e.text);
	assert_string_equal(c.display_name, "Mock 2");
	assert_true(c.install_build_required);
	assert_int_equal(c.versions.n, 2);
	assert_string_equal(c.compatible_versions.v[0], "0.0.8");
	assert_string_equal(c.provides.v[0], "mock-0.1");
	assert_string_equal(c.conflicts.v[0], "c");
	assert_int_equal(c.configure_order.n, 2);
	assert_int_equal(c.configure_order.v[1].names.n, 2);
	assert_string_equal(c.group_overrides.v[0].names.v[1], "web_proxy");
	assert_int_equal(c.components.v[0].scaling.max, 3);
	assert_int_equal(c.components.v[0].scaling.min_managed, 0);
	assert_true(c.components.v[0].scaling.is_required);
	assert_string_equal(
	    c.components.v[0].publishes.v[0].type, "ENV:NET_TCP:db:connection-info");
	assert_true(c.components.v[0].subscribes.v[0].is_required);
	assert_string_equal(c.cart_data.v[0].key, "username");
	assert_string_equal(c.help_topics.v[0].text, "http://g");
	assert_true(c.is_obsolete);
	assert_string_equal(c.source_md5, "abc");
	p = &c.endpoints.v[0];
	assert_int_equal(p->private_port, 8080);
	assert_int_equal(p->websocket_port, 8443);
	assert_true(p->is_primary && p->is_ssl_to_gear);
	assert_string_equal(p->mappings.v[0].frontend, "");
	assert_string_equal(p->mappings.v[0].backend, "/x");
	assert_int_equal(p->mappings.v[0].connections, -1);
	assert_int_equal(p->mappings.v[0].bandwidth, 100);
	assert_string_equal(p->mappings.v[1].frontend, "/front");
	assert_true(p->mappings.v[1].gone);
	assert_false(p->mappings.v[0].ssl_to_gear);
	assert_true(c.endpoints.v[2].mappings.v[0].ssl_to_gear); /* implied */
	assert_null(c.endpoints.v[1].private_ip_name);
	assert_string_equal(c.endpoints.v[1].mappings.v[0].frontend, "TLS_PORT_1");
	full = wire_cart_full_name(&c);
	assert_string_equal(full, "acme-mock-0.2");
	assert_int_equal(wire_cart_check_download(&c, &e), 0);
}

static void
test_round_trip(void **state)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart a = { 0 };
	AUTO_FINI(wire_cart_fini) struct wire_cart b = { 0 };
	AUTO(free) char *json = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(parse(whole, NULL, &a, &e), 0);
	json = codec_to_json(&wire_cart_codec, &a);
	if (codec_decode(&wire_cart_codec, json, strlen(json), &b, 0, &e) < 0)
		fail_msg("%s: %s", e.field, e.text);
	assert_true(codec_equal(&wire_cart_codec, &a, &b));
}

static void
test_components(void **state)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };
	AUTO(free)
	char *yaml = xasprintf("%sComponents:\n  web_proxy:\n    Scaling: {Min: 2}\n"
	                       "    Publishes: {p: {Type: T}}\n  other: {}\n"
	                       "Publishes: {not-used: {Type: T}}\n",
	    base);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(parse(yaml, NULL, &c, &e), 0);
	assert_int_equal(c.components.n, 2);
	assert_string_equal(c.components.v[0].name, "web_proxy");
	assert_int_equal(c.components.v[0].scaling.min, 2);
	assert_int_equal(c.components.v[0].publishes.n, 1);
	assert_int_equal(c.components.v[1].publishes.n, 0);
}

static const struct bad {
	const char *more; /* after base, or the whole when it begins with '!' */
	const char *field;
} bad[] = {
	{ "!- a\n- b\n", "" },
	{ "!Version: '1'\n", "Name" },
	{ "!Name: x\nCartridge-Short-Name: X\nCategories: [service]\n", "Version" },
	{ "!Name: x\nVersion: '1'\nCategories: [service]\n", "Cartridge-Short-Name" },
	{ "!Name: x\nVersion: '1'\nCartridge-Short-Name: a-b\nCategories: [service]\n",
	    "Cartridge-Short-Name" },
	{ "!Name: ../x\nVersion: '1'\nCartridge-Short-Name: X\nCategories: [service]\n", "Name" },
	{ "!Name: Big\nVersion: '1'\nCartridge-Short-Name: X\nCategories: [service]\n", "Name" },
	{ "!Name: git\nVersion: '1'\nCartridge-Short-Name: X\nCategories: [service]\n", "Name" },
	{ "!Name: x\nVersion: '1/2'\nCartridge-Short-Name: X\nCategories: [service]\n",
	    "Versions" },
	{ "!Name: x\nVersion: '1'\nCartridge-Short-Name: X\nCategories: [tag]\n", "Categories" },
	{ "!Name: x\nVersion: '1'\nCartridge-Short-Name: X\n", "Categories" },
	{ "!Name: x\nVersion: '1'\nCartridge-Short-Name: X\nCategories: [web_framework, "
	  "external]\n",
	    "Categories" },
	{ "Versions: '0.1'\n", "Versions" },
	{ "Compatible-Versions: 3\n", "Compatible-Versions" },
	{ "Display-Name: [a]\n", "Display-Name" },
	{ "Endpoints: {}\n", "Endpoints" },
	{ "Endpoints: [x]\n", "Endpoints[0]" },
	{ "Endpoints: [{Private-Port: abc}]\n", "Endpoints[0].Private-Port" },
	{ "Endpoints: [{Private-Port: 8080}]\n", "Endpoints[0].Private-Port" },
	{ "Endpoints: [{Private-IP-Name: A, Private-Port-Name: B, Private-Port: 70000}]\n",
	    "Endpoints[0].Private-Port" },
	{ "Endpoints: [{Private-IP-Name: 'A B', Private-Port-Name: B, Private-Port: 1}]\n",
	    "Endpoints[0].Private-IP-Name" },
	{ "Endpoints: [{}, {Mappings: [{Frontend: [x]}]}]\n", "Endpoints[1].Mappings[0].Frontend" },
	{ "Endpoints: [{Mappings: [{Options: {gone: maybe}}]}]\n",
	    "Endpoints[0].Mappings[0].Options.gone" },
	{ "Publishes: {a/b: {Type: T}}\n", "Publishes" },
	{ "Publishes: {ab: T}\n", "Publishes" },
	{ "Scaling: {Min: 0}\n", "Scaling.Min" },
	{ "Scaling: {Min: 3, Max: 2}\n", "Scaling.Max" },
	{ "Scaling: {Min: x}\n", "Scaling.Min" },
	{ "Configure-Order: [[]]\n", "Configure-Order" },
	{ "Group-Overrides: [a]\n", "Group-Overrides" },
	{ "Install-Build-Required: perhaps\n", "Install-Build-Required" },
	{ "Pinion: {Dependency-Paths: ['../x']}\n", "Pinion.Dependency-Paths" },
	{ "Pinion: [x]\n", "Pinion" },
	{ "Pinion: { Needs: [/usr/bin/x] }\n", "Pinion.Needs" },
	{ "Pinion: { Needs: { bin/x: x } }\n", "Pinion.Needs" },
	{ "Pinion: { Needs: { /usr/../etc/x: x } }\n", "Pinion.Needs" },
	{ "Pinion: { Needs: { /usr/bin/x: [a] } }\n", "Pinion.Needs" },
};

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };
		AUTO(free)
		char *yaml = bad[i].more[0] == '!' ? xstrdup(bad[i].more + 1)
		                                   : xasprintf("%s%s", base, bad[i].more);
		struct err e = { 0 };

		if (parse(yaml, NULL, &c, &e) == 0)
			fail_msg("accepted: %s", bad[i].more);
		if (strcmp(e.field, bad[i].field) != 0 || e.code != ERR_INVALID ||
		    e.text[0] == '\0')
			fail_msg("%s: field '%s' (wanted '%s'), %s", bad[i].more, e.field,
			    bad[i].field, e.text);
		assert_null(c.name);
	}
}

static void
test_unlisted_version(void **state)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(parse(base, "7", &c, &e), -1);
	assert_string_equal(e.field, "Versions");
	e = (struct err){ 0 };
	assert_int_equal(
	    parse("Name: 1.0\nVersion: 1.0\nCartridge-Short-Name: X\nCategories: [service]\n", NULL,
	        &c, &e),
	    0);
	assert_string_equal(c.version, "1.0");
}

static void
test_download(void **state)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(parse(base, NULL, &c, &e), 0);
	assert_int_equal(wire_cart_check_download(&c, &e), -1);
	assert_string_equal(e.field, "Cartridge-Vendor");
}

static void
test_version_cmp(void **state)
{
	static const struct {
		const char *a, *b;
		int want;
	} t[] = { { "1.10", "1.9", 1 }, { "1.0", "1.0", 0 }, { "1", "1.0", -1 }, { "01", "1", 0 },
		{ "2", "10", -1 }, { "1.a", "1.b", -1 }, { "", "1", -1 },
		{ "0.0.10", "0.0.9", 1 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		assert_int_equal(wire_cart_version_cmp(t[i].a, t[i].b), t[i].want);
		assert_int_equal(wire_cart_version_cmp(t[i].b, t[i].a), -t[i].want);
	}
}

static void
test_managed(void **state)
{
	static const char yaml[] =
	    ":locked_files:\n- ~/.gitconfig\n- ~/.ssh/authorized_keys\n- conf/\n- "
	    "env/OPENSHIFT_MOCK_DIR\n"
	    "- ../other/x\n- ~/app-root/x\n- metadata/manifest.yml\n- a/../../..\n"
	    "processed_templates:\n- '**/*.erb'\n- ~/.x.erb\n"
	    "snapshot_exclusions: [run/]\nrestore_transforms: ['s|a|b|']\n"
	    "dependency_dirs:\n- virtenv\n- {~/.node_modules: node_modules}\n- {x: ../../..}\n"
	    "build_dependency_dirs:\n- ~/.m2\n";
	AUTO_FINI(wire_managed_fini) struct wire_managed m = { 0 };
	struct err e = { 0 };

	(void)state;
	if (wire_managed_parse(yaml, strlen(yaml), "mock", "MOCK", &m, &e) < 0)
		fail_msg("%s: %s", e.field, e.text);
	assert_int_equal(m.locked_files.n, 3);
	assert_string_equal(m.locked_files.v[0], ".gitconfig");
	assert_string_equal(m.locked_files.v[1], "mock/conf/");
	assert_string_equal(m.locked_files.v[2], "app-root/x");
	assert_string_equal(m.processed_templates.v[0], "mock/**/*.erb");
	assert_string_equal(m.processed_templates.v[1], ".x.erb");
	assert_string_equal(m.snapshot_exclusions.v[0], "mock/run/");
	assert_string_equal(m.restore_transforms.v[0], "s|a|b|");
	assert_int_equal(m.dependency_dirs.n, 2);
	assert_string_equal(m.dependency_dirs.v[0].link, "mock/virtenv");
	assert_string_equal(m.dependency_dirs.v[0].target, "virtenv");
	assert_string_equal(m.dependency_dirs.v[1].link, ".node_modules");
	assert_string_equal(m.build_dependency_dirs.v[0].target, ".m2");
}

static void
test_managed_bad(void **state)
{
	static const char *const yaml[] = { "locked_files: x\n", "locked_files: [{a: b}]\n",
		"dependency_dirs: [[x]]\n", "- a\n", "restore_transforms: [1, [2]]\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(yaml); i++) {
		AUTO_FINI(wire_managed_fini) struct wire_managed m = { 0 };
		struct err e = { 0 };

		assert_int_equal(
		    wire_managed_parse(yaml[i], strlen(yaml[i]), "x", "X", &m, &e), -1);
		assert_int_equal(e.code, ERR_INVALID);
	}
}

/* The stock cartridges themselves: all can be read, and nothing else is there. */
static void
test_stock(void **state)
{
	static const struct {
		const char *name, *category;
	} all[] = {
		{ "adminer", "plugin" },
		{ "cron", "plugin" },
		{ "diy", "web_framework" },
		{ "go", "web_framework" },
		{ "java", "web_framework" },
		{ "make", "web_framework" },
		{ "memcached", "service" },
		{ "metrics", "plugin" },
		{ "mysql", "service" },
		{ "nodejs", "web_framework" },
		{ "perl", "web_framework" },
		{ "php", "web_framework" },
		{ "postgresql", "service" },
		{ "python", "web_framework" },
		{ "rabbitmq", "service" },
		{ "redis", "service" },
		{ "ruby", "web_framework" },
		{ "static", "web_framework" },
	};
	const char *src = getenv("PINION_SRCDIR");
	AUTO(free) char *dir = xasprintf("%s/cartridges", src == NULL ? "." : src);
	struct err e = { 0 };
	struct cart_dir *d = cart_dir_open(dir, &e);
	size_t names = 0;

	(void)state;
	if (d == NULL)
		fail_msg("%s", e.text);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		const struct cart_dir_entry *x = cart_dir_find(d, all[i].name, NULL, NULL);

		if (x == NULL)
			fail_msg("%s is not there", all[i].name);
		assert_true(wire_cart_has_category(&x->cart, all[i].category));
		assert_true(x->cart.pinion.is_given);
		assert_int_equal(strlen(x->digest), 64);
		assert_ptr_equal(
		    cart_dir_find(d, x->cart.name, x->cart.version, x->cart.cart_version), x);
		/* Web frameworks configure at once: there is no script to run. */
		if (wire_cart_is_web(&x->cart))
			assert_false(x->has_setup || x->has_install || x->has_erb);
	}
	for (size_t i = 0; i < cart_dir_count(d); i++)
		names += i == 0 || strcmp(cart_dir_at(d, i)->cart.name,
		                       cart_dir_at(d, i - 1)->cart.name) != 0;
	assert_int_equal(names, ARRAY_LEN(all));
	assert_null(cart_dir_find(d, "nothing", NULL, NULL));
	cart_dir_close(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_components),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_unlisted_version),
		cmocka_unit_test(test_download),
		cmocka_unit_test(test_version_cmp),
		cmocka_unit_test(test_managed),
		cmocka_unit_test(test_managed_bad),
		cmocka_unit_test(test_stock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
