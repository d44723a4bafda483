/* Who gets which share, and cookies: read, written, taken out of heads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/mem.h"
#include "router/affinity.h"
#include "router/cookie.h"

enum { CLIENTS = 20000 };

static uint32_t
client_of(int i)
{
	uint8_t address[16] = {
		[10] = 0xff, [11] = 0xff, [12] = 10, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i
	};

	return affinity_client(address);
}

static bool
is_near(int n, int wanted)
{
	return abs(n - wanted) < CLIENTS / 80;
}

static void
shares_hold(void **state)
{
	(void)state;
	for (unsigned percent = 0; percent <= 100; percent += 10) {
		int n = 0;

		for (int i = 0; i < CLIENTS; i++)
			n += affinity_place(client_of(i), "canary", "app") < percent;
		assert_true(is_near(n, CLIENTS * (int)percent / 100));
	}
}

/* Who is in one share is in another as any client is. */
static void
shares_are_independent(void **state)
{
	int both = 0, of_apps = 0;

	(void)state;
	for (int i = 0; i < CLIENTS; i++) {
		uint32_t c = client_of(i);
		bool is_in = affinity_place(c, "canary", "app") < 20;

		both += is_in && affinity_place(c, "weights", "app") < 20;
		of_apps += is_in && affinity_place(c, "canary", "bpp") < 20;
	}
	assert_true(is_near(both, CLIENTS / 25));
	assert_true(is_near(of_apps, CLIENTS / 25));
}

static void
an_ipv6_client_is_its_network(void **state)
{
	uint8_t a[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 }, b[16] = { 0x20, 1, 0xd, 0xb8, [15] = 2 };
	uint8_t c[16] = { 0x20, 1, 0xd, 0xb8, [7] = 1, [15] = 1 };

	(void)state;
	assert_int_equal(affinity_client(a), affinity_client(b));
	assert_int_not_equal(affinity_client(a), affinity_client(c));
}

static void
cookies_are_read_as_written(void **state)
{
	static const char *const bad[] = { "", "x", "0123456789abcdef", "0123456789abcdef-0123456",
		"0123456789abcdef-012345678", "0123456789ABCDEF-01234567",
		"0123456789abcdef_01234567", "0123456789abcdeg-01234567" };
	struct affinity a = { .instance = 0x0123456789abcdef,
		.client = 0xfedc0001,
		.has_cookie = true },
	                b = { 0 };
	char text[AFFINITY_TEXT];

	(void)state;
	affinity_write(&a, text);
	assert_string_equal(text, "0123456789abcdef-fedc0001");
	assert_true(affinity_parse(text, &b));
	assert_true(a.instance == b.instance && a.client == b.client && b.has_cookie);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(affinity_parse(bad[i], &b));
}

static void
a_cookie_is_taken_out(void **state)
{
	static const struct {
		const char *fields, *left, *value; /* value NULL: none */
	} rows[] = {
		{ "Host: a\r\n", "Host: a\r\n", NULL },
		{ "Cookie: GEAR=x\r\nHost: a\r\n", "Host: a\r\n", "x" },
		{ "Cookie: a=1; GEAR=x; b=2\r\n", "Cookie: a=1; b=2\r\n", "x" },
		{ "cookie: GEAR=x; b=2\r\n", "cookie: b=2\r\n", "x" },
		{ "Cookie: a=1;GEAR=x\r\n", "Cookie: a=1\r\n", "x" },
		{ "Cookie:GEAR = x ;a=1;  b\r\n", "Cookie:a=1;  b\r\n", "x" },
		{ "Cookie: GEAR=x; GEAR=y\r\nCookie: GEAR=z; c=3\r\n", "Cookie: c=3\r\n", "x" },
		{ "Cookie: GEARS=x; gear=y; GEAR\r\n", "Cookie: GEARS=x; gear=y; GEAR\r\n", NULL },
		{ "Cookie: a=GEAR=x\r\n", "Cookie: a=GEAR=x\r\n", NULL },
		{ "Cookie: GEAR=0123456789\r\n", "", "0123456" },
		{ "Cookie: \r\nX-Cookie: GEAR=x\r\n", "X-Cookie: GEAR=x\r\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_FINI(buf_fini) struct buf head = { 0 };
		AUTO(free)
		char *left = xasprintf("GET /?GEAR=q HTTP/1.1\r\n%s\r\n", rows[i].left);
		char value[8] = "";

		buf_addf(&head, "GET /?GEAR=q HTTP/1.1\r\n%s\r\n", rows[i].fields);
		assert_int_equal(
		    cookie_take(&head, "GEAR", value, sizeof value), rows[i].value != NULL);
		assert_string_equal(value, rows[i].value == NULL ? "" : rows[i].value);
		assert_string_equal(head.p, left);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_hold),
		cmocka_unit_test(shares_are_independent),
		cmocka_unit_test(an_ipv6_client_is_its_network),
		cmocka_unit_test(cookies_are_read_as_written),
		cmocka_unit_test(a_cookie_is_taken_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
