/* Heads: the first byte chooses request (even) or response and its method. What is accepted lies
 * in the input, keeps its promises, and written anew parses to the same. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/http/http_head.h"

enum { STEPPED_MAX = 1024 };

static const char *const methods[] = { "GET", "HEAD", "CONNECT" };

static enum http_head_result
parse(uint8_t kind, const char *p, size_t n, size_t from, struct http_head *h)
{
	if (kind % 2 == 0)
		return http_head_request(p, n, from, h);
	return http_head_response(p, n, from, str_of(methods[kind / 2 % ARRAY_LEN(methods)]), h);
}

static void
check_inside(struct str s, const char *p, size_t n)
{
	check(s.p == NULL || (s.p >= p && s.p <= p + n && s.n <= (size_t)(p + n - s.p)));
}

static void
check_slices(const struct http_head *h, const char *p)
{
	check_inside(h->method, p, h->size);
	check_inside(h->target, p, h->size);
	check_inside(h->reason, p, h->size);
	check_inside(h->host, p, h->size);
	check(h->n <= HTTP_HEADERS_MAX && h->length >= 0);
	for (size_t i = 0; i < h->n; i++) {
		struct str name = h->headers[i].name, value = h->headers[i].value;

		check_inside(name, p, h->size);
		check_inside(value, p, h->size);
		check(name.n > 0);
		for (size_t k = 0; k < value.n; k++)
			check(value.p[k] != '\r' && value.p[k] != '\n' && value.p[k] != '\0');
	}
}

static bool
same(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static void
check_same(const struct http_head *a, const struct http_head *b)
{
	check(same(a->method, b->method) && same(a->target, b->target));
	check(same(a->reason, b->reason) && same(a->host, b->host));
	check(a->status == b->status && a->minor == b->minor && a->n == b->n);
	check(a->framing == b->framing && a->length == b->length);
	check(a->keep_alive == b->keep_alive && a->upgrade == b->upgrade);
	check(a->expect_continue == b->expect_continue);
	for (size_t i = 0; i < a->n; i++)
		check(same(a->headers[i].name, b->headers[i].name) &&
		      same(a->headers[i].value, b->headers[i].value));
}

static void
check_written_anew(uint8_t kind, const struct http_head *h)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct http_head again;

	if (kind % 2 == 0) {
		buf_addstr(&b, h->method);
		buf_addc(&b, ' ');
		buf_addstr(&b, h->target);
		buf_addf(&b, " HTTP/1.%d\r\n", h->minor);
	} else {
		buf_addf(&b, "HTTP/1.%d %03d ", h->minor, h->status);
		buf_addstr(&b, h->reason);
		buf_adds(&b, "\r\n");
	}
	for (size_t i = 0; i < h->n; i++) {
		buf_addstr(&b, h->headers[i].name);
		buf_adds(&b, ": ");
		buf_addstr(&b, h->headers[i].value);
		buf_adds(&b, "\r\n");
	}
	buf_adds(&b, "\r\n");
	check(parse(kind, b.p, b.n, 0, &again) == HTTP_HEAD_OK);
	check(again.size == b.n);
	check_same(h, &again);
}

/* Byte by byte it ends as the whole does, and no prefix of a good head is refused. */
static void
check_stepped(uint8_t kind, const char *p, size_t n, enum http_head_result whole, size_t size)
{
	struct http_head h;

	for (size_t k = 1; k <= n; k++) {
		enum http_head_result r = parse(kind, p, k, k - 1, &h);

		if (r == HTTP_HEAD_MORE)
			continue;
		/* Which refusal it is may depend on how much was there. */
		check((r == HTTP_HEAD_OK) == (whole == HTTP_HEAD_OK) && whole != HTTP_HEAD_MORE);
		check(r != HTTP_HEAD_OK || (h.size == size && k == size));
		return;
	}
	check(whole != HTTP_HEAD_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	enum http_head_result r;
	struct http_head h;
	const char *p;

	if (n == 0)
		return 0;
	p = (const char *)data + 1;
	r = parse(data[0], p, n - 1, 0, &h);
	if (r == HTTP_HEAD_OK) {
		check(h.size <= n - 1);
		check_slices(&h, p);
		check_written_anew(data[0], &h);
	}
	if (n <= STEPPED_MAX)
		check_stepped(data[0], p, n - 1, r, r == HTTP_HEAD_OK ? h.size : 0);
	return 0;
}
