#include "router/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

static void
it_tells_an_ipv4_address(void **state)
{
	static const char *const texts[] = { "0.0.0.0", "9.10.99.100", "127.0.0.1",
		"255.255.255.255" };
	char out[PEER_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(8080) };
		struct peer p;

		assert_int_equal(inet_pton(AF_INET, texts[i], &in.sin_addr), 1);
		p = peer_of((const struct sockaddr *)&in);
		assert_int_equal(p.port, 8080);
		assert_int_equal(peer_text(&p, out), strlen(texts[i]));
		assert_string_equal(out, texts[i]);
	}
}

static void
it_tells_an_ipv6_address(void **state)
{
	static const char *const texts[][2] = {
		{ "2001:db8::1", "2001:db8::1" },
		{ "::1", "::1" },
		{ "::ffff:192.0.2.1", "192.0.2.1" },
		{ "2001:db8:1111:2222:3333:4444:5555:6666",
		    "2001:db8:1111:2222:3333:4444:5555:6666" },
	};
	char out[PEER_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(443) };
		struct peer p;

		assert_int_equal(inet_pton(AF_INET6, texts[i][0], &in6.sin6_addr), 1);
		p = peer_of((const struct sockaddr *)&in6);
		assert_int_equal(p.port, 443);
		assert_int_equal(peer_text(&p, out), strlen(texts[i][1]));
		assert_string_equal(out, texts[i][1]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_tells_an_ipv4_address),
		cmocka_unit_test(it_tells_an_ipv6_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
