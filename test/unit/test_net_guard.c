/* Addresses that what users name may not reach. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/net_guard.h"

static bool
asks(struct net_guard *g, const char *text)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
		return net_guard_allows((const struct sockaddr *)(const void *)&v4, g);
	assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
	return net_guard_allows((const struct sockaddr *)(const void *)&v6, g);
}

static void
addresses(void **state)
{
	static const struct {
		const char *address;
		bool is_allowed;
	} rows[] = {
		{ "8.8.8.8", true },
		{ "2a00:1450:4001:80b::200e", true },
		{ "127.0.0.1", false },
		{ "127.255.255.254", false },
		{ "0.0.0.0", false },
		{ "10.1.2.3", false },
		{ "100.64.0.7", false },
		{ "169.254.169.254", false },
		{ "172.16.0.1", false },
		{ "172.31.255.255", false },
		{ "172.32.0.1", true },
		{ "192.168.1.1", false },
		{ "224.0.0.1", false },
		{ "255.255.255.255", false },
		{ "::1", false },
		{ "::", false },
		{ "::ffff:127.0.0.1", false },
		{ "::ffff:8.8.8.8", true },
		{ "::10.0.0.1", false },
		{ "64:ff9b::10.0.0.1", false },
		{ "64:ff9b::8.8.8.8", true },
		{ "2002:7f00:1::1", false },
		{ "fe80::1", false },
		{ "fd00::1", false },
		{ "ff02::1", false },
	};
	struct str_list none = { 0 };
	struct err e = { 0 };
	AUTO(net_guard_free) struct net_guard *g = net_guard_new(&none, &e);

	(void)state;
	assert_non_null(g);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (asks(g, rows[i].address) != rows[i].is_allowed)
			fail_msg("%s", rows[i].address);
	}
}

static void
allowed_ranges(void **state)
{
	AUTO_FINI(str_list_fini) struct str_list allow = { 0 };
	AUTO_FINI(str_list_fini) struct str_list bad = { 0 };
	struct err e = { 0 };

	(void)state;
	str_list_add(&allow, "127.0.0.1");
	str_list_add(&allow, "10.2.0.0/15");
	str_list_add(&allow, "fd00:1::/32");
	AUTO(net_guard_free) struct net_guard *g = net_guard_new(&allow, &e);
	assert_non_null(g);
	assert_true(asks(g, "127.0.0.1"));
	assert_true(asks(g, "::ffff:127.0.0.1"));
	assert_false(asks(g, "127.0.0.2"));
	assert_true(asks(g, "10.3.255.255"));
	assert_false(asks(g, "10.4.0.0"));
	assert_true(asks(g, "fd00:1:5::1"));
	assert_false(asks(g, "fd00:2::1"));
	str_list_add(&bad, "10.0.0.0/33");
	assert_null(net_guard_new(&bad, &e));
	assert_string_equal(e.field, "download-allow");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(allowed_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
