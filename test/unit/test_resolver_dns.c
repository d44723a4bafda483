#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/mem.h"
#include "node/resolver_dns.h"

#define HEAD "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1
#define LABEL63 "?xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
	const char *what;
	const uint8_t *p;
	size_t n;
	int rc;
	const char *name;
} cases[] = {
	{ "a name", BYTES(HEAD "\3www\7Example\3com\0\0\1\0\1"), 0, "www.example.com" },
	{ "the root", BYTES(HEAD "\0\0\2\0\1"), 0, "" },
	{ "no text", BYTES(HEAD "\3a.b\3com\0\0\1\0\1"), 0, "" },
	{ "bytes over 127", BYTES(HEAD "\2\xff\xfe\3com\0\0\1\0\1"), 0, "" },
	{ "with what follows", BYTES(HEAD "\1a\0\0\1\0\1\0\0\x29\x10\0\0\0\0\0\0\0"), 0, "a" },
	{ "too short", BYTES("\x12\x34\1\0\0\1\0\0\0\0\0"), -1, "" },
	{ "an answer", BYTES("\x12\x34\x81\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"), -1, "" },
	{ "another kind", BYTES("\x12\x34\x28\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"), RESOLVER_DNS_NOTIMP,
	    "" },
	{ "two questions", BYTES("\x12\x34\1\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1"), RESOLVER_DNS_FORMERR,
	    "" },
	{ "no question", BYTES("\x12\x34\1\0\0\0\0\0\0\0\0\0"), RESOLVER_DNS_FORMERR, "" },
	{ "a label that ends outside", BYTES(HEAD "\5a"), RESOLVER_DNS_FORMERR, "" },
	{ "a name without end", BYTES(HEAD "\1a\1b"), RESOLVER_DNS_FORMERR, "" },
	{ "no type", BYTES(HEAD "\1a\0\0\1\0"), RESOLVER_DNS_FORMERR, "" },
	{ "a pointer", BYTES(HEAD "\xc0\x0c\0\1\0\1"), RESOLVER_DNS_FORMERR, "" },
	{ "a name of over 255 bytes",
	    BYTES(HEAD LABEL63 LABEL63 LABEL63 LABEL63 LABEL63 "\0\0\1\0\1"), RESOLVER_DNS_FORMERR,
	    "" },
	{ "the longest name",
	    BYTES(HEAD LABEL63 LABEL63 LABEL63
	        "=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\0\0\1\0\1"),
	    0, NULL },
};

static void
parses(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct resolver_dns_query q;
		int rc = resolver_dns_parse(cases[i].p, cases[i].n, &q);

		if (rc != cases[i].rc)
			fail_msg("%s: %d instead of %d", cases[i].what, rc, cases[i].rc);
		if (cases[i].name != NULL)
			assert_string_equal(q.name, cases[i].name);
		if (rc == 0)
			assert_true(q.question_end <= cases[i].n);
	}
}

static void
answers(void **state)
{
	static const char query[] = HEAD "\1A\0\0\1\0\1\0\0\x29\x10\0\0\0\0\0\0\0";
	const uint8_t *p = (const uint8_t *)query;
	uint32_t addresses[100] = { htonl(0x64400007) };
	uint8_t out[RESOLVER_DNS_UDP_MAX];
	struct resolver_dns_query q;
	size_t n;

	(void)state;
	assert_int_equal(resolver_dns_parse(p, sizeof query - 1, &q), 0);
	n = resolver_dns_answer(p, &q, addresses, 1, out);
	assert_int_equal(n, 12 + 7 + 16);
	assert_memory_equal(out, "\x12\x34\x81\x80\0\1\0\1\0\0\0\0\1A\0\0\1\0\1\xc0\x0c", 21);
	assert_memory_equal(out + n - 6, "\0\4\x64\x40\0\7", 6);
	assert_true(resolver_dns_matches(p, &q, out, n, 0x1234));
	assert_false(resolver_dns_matches(p, &q, out, n, 0x1235));
	assert_false(resolver_dns_matches(p, &q, out, 18, 0x1234));
	assert_false(resolver_dns_matches(p, &q, p, sizeof query - 1, 0x1234));
	out[13] = 'b';
	assert_false(resolver_dns_matches(p, &q, out, n, 0x1234));
	assert_true(resolver_dns_answer(p, &q, addresses, 100, out) < sizeof out);
	q.type = 28;
	assert_int_equal(resolver_dns_answer(p, &q, addresses, 1, out), 12 + 7);
	n = resolver_dns_error(p, &q, RESOLVER_DNS_SERVFAIL, out);
	assert_int_equal(n, 12 + 7);
	assert_int_equal(out[3] & 15, 2);
	assert_int_equal(resolver_dns_parse(p, 14, &q), RESOLVER_DNS_FORMERR);
	assert_int_equal(resolver_dns_error(p, &q, RESOLVER_DNS_FORMERR, out), 12);
	resolver_dns_set_id(out, 0xbeef);
	assert_memory_equal(out, "\xbe\xef", 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses),
		cmocka_unit_test(answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
