/* What clients send to routes with options, and what owners write: Accept-Encoding, Authorization,
 * networks, cookies, heads whose fields are edited. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/cidr.h"
#include "router/affinity.h"
#include "router/basic_auth.h"
#include "router/compress.h"
#include "router/cookie.h"
#include "router/head_edit.h"
#include "test/fuzz/fuzz.h"

static void
auth(struct str s)
{
	char pair[BASIC_AUTH_PAIR_MAX + 2];
	struct str name, password;

	if (basic_auth_parse(s, pair, &name, &password) &&
	    (strlen(name.p) != name.n || strlen(password.p) != password.n))
		abort();
}

static void
network(struct str s)
{
	struct cidr_list l = { 0 };
	struct err e = { 0 };

	if (cidr_list_add(&l, s, &e) == 0 && !cidr_list_has(&l, l.v[0].addr))
		abort();
	cidr_list_fini(&l);
}

static void
head(struct str s)
{
	struct buf b = { 0 };

	buf_adds(&b, "GET / HTTP/1.1\r\n");
	buf_addstr(&b, s);
	buf_adds(&b, "\r\n\r\n");
	head_edit_remove(&b, 0, "x-one");
	if (head_edit_get(&b, 0, "x-one").p != NULL)
		abort();
	head_edit_add(&b, "X-One", "two");
	if (b.n < 4 || memcmp(b.p + b.n - 4, "\r\n\r\n", 4) != 0)
		abort();
	buf_fini(&b);
}

static void
cookie(struct str s)
{
	struct buf b = { 0 };
	struct affinity a, again;
	char value[AFFINITY_TEXT], text[AFFINITY_TEXT];

	buf_adds(&b, "GET / HTTP/1.1\r\n");
	buf_addstr(&b, s);
	buf_adds(&b, "\r\n\r\n");
	if (cookie_take(&b, "GEAR", value, sizeof value) && affinity_parse(value, &a)) {
		affinity_write(&a, text);
		check(strcmp(text, value) == 0 && affinity_parse(text, &again));
	}
	check(b.n >= 18 && b.n <= s.n + 20);
	check(!cookie_take(&b, "GEAR", value, sizeof value));
	buf_fini(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };

	(void)compress_choose(s);
	auth(s);
	network(s);
	head(s);
	cookie(s);
	return 0;
}
