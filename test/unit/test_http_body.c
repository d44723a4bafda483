#include "lib/http/http_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"

struct body_case {
	const char *name, *text;
	const char *data; /* NULL: refused */
	size_t rest;      /* bytes behind the body */
};

static const struct body_case chunked[] = {
	{ "one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello", 0 },
	{ "two chunks, rest", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET", "abcde", 3 },
	{ "empty", "0\r\n\r\n", "", 0 },
	{ "hexadecimal, both cases", "a\r\n0123456789\r\nB\r\n0123456789a\r\n0\r\n\r\n",
	    "01234567890123456789a", 0 },
	{ "leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello", 0 },
	{ "extension", "5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n", "hello", 0 },
	{ "blanks before an extension", "5 \t;a\r\nhello\r\n0\r\n\r\n", "hello", 0 },
	{ "blanks before the line end", "5  \r\nhello\r\n0 \r\n\r\n", "hello", 0 },
	{ "trailers", "1\r\nx\r\n0\r\nA: b\r\nC:\r\n\r\n", "x", 0 },
	{ "data like a chunk line", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", 0 },
	{ "no size", "\r\nhello\r\n0\r\n\r\n", NULL, 0 },
	{ "extension without a size", ";a\r\n", NULL, 0 },
	{ "sign", "+5\r\nhello\r\n", NULL, 0 },
	{ "0x", "0x5\r\nhello\r\n", NULL, 0 },
	{ "space first", " 5\r\nhello\r\n", NULL, 0 },
	{ "digits behind a blank", "5 5\r\nhello", NULL, 0 },
	{ "bare LF behind the size", "5\nhello\r\n", NULL, 0 },
	{ "bare CR in an extension", "5;a\rb\r\nhello\r\n", NULL, 0 },
	{ "bare LF in an extension", "5;a\nhello\r\n", NULL, 0 },
	{ "control in an extension", "5;a\001\r\nhello\r\n", NULL, 0 },
	{ "too long data", "5\r\nhello!\r\n0\r\n\r\n", NULL, 0 },
	{ "bare LF behind the data", "5\r\nhello\n0\r\n\r\n", NULL, 0 },
	{ "CR and no LF behind the data", "5\r\nhello\rx0\r\n\r\n", NULL, 0 },
	{ "2^63", "8000000000000000\r\nx", NULL, 0 },
	{ "2^64 + 5", "10000000000000005\r\nhello\r\n", NULL, 0 },
	{ "bare LF at the end", "0\r\n\n", NULL, 0 },
	{ "folded trailer", "0\r\nA: b\r\n c\r\n\r\n", NULL, 0 },
	{ "trailer without a colon", "0\r\nA\r\n\r\n", NULL, 0 },
	{ "trailer with a space in its name", "0\r\nA : b\r\n\r\n", NULL, 0 },
	{ "trailer with a bare CR", "0\r\nA: b\rc\r\n\r\n", NULL, 0 },
	{ "trailer with a control", "0\r\nA: \177\r\n\r\n", NULL, 0 },
};

/* Decodes text in pieces of at most step bytes. Returns the last result; *used: bytes taken. */
static enum http_body_result
decode(struct http_body *b, const char *text, size_t n, size_t step, struct buf *data, size_t *used)
{
	enum http_body_result r = HTTP_BODY_MORE;

	*used = 0;
	while (*used < n && r == HTTP_BODY_MORE) {
		size_t piece = n - *used < step ? n - *used : step;
		AUTO(free) char *copy = xmalloc(piece);
		struct str out;
		size_t k;

		memcpy(copy, text + *used, piece);
		r = http_body_next(b, copy, piece, &k, &out);
		assert_true(k > 0 || r != HTTP_BODY_MORE);
		assert_true(k <= piece && out.n <= k);
		buf_addstr(data, out);
		*used += k;
	}
	return r;
}

static void
test_chunked(void **state)
{
	const struct http_head h = { .framing = HTTP_BODY_CHUNKED };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(chunked); i++) {
		const struct body_case *t = &chunked[i];
		size_t n = strlen(t->text);

		for (size_t step = 1; step <= n; step++) {
			AUTO_FINI(buf_fini) struct buf data = { 0 };
			struct http_body b;
			enum http_body_result r;
			size_t used;

			http_body_init(&b, &h);
			r = decode(&b, t->text, n, step, &data, &used);
			if (r != (t->data == NULL ? HTTP_BODY_BAD : HTTP_BODY_DONE))
				fail_msg("%s in steps of %zu: %d", t->name, step, r);
			if (t->data == NULL)
				continue;
			assert_string_equal(data.p == NULL ? "" : data.p, t->data);
			assert_int_equal(n - used, t->rest);
		}
	}
}

static void
test_chunked_is_never_done_early(void **state)
{
	const struct http_head h = { .framing = HTTP_BODY_CHUNKED };
	const char *text = "5;a\r\nhello\r\n0\r\nA: b\r\n\r\n";

	(void)state;
	for (size_t n = 0; n < strlen(text); n++) {
		AUTO_FINI(buf_fini) struct buf data = { 0 };
		struct http_body b;
		size_t used;

		http_body_init(&b, &h);
		assert_int_equal(decode(&b, text, n, n + 1, &data, &used), HTTP_BODY_MORE);
		assert_int_equal(used, n);
	}
}

/* Feeds head once and then c until the result is no longer MORE; returns the bytes it took. */
static size_t
feed_until_refused(const char *head, char c)
{
	const struct http_head h = { .framing = HTTP_BODY_CHUNKED };
	AUTO_FINI(buf_fini) struct buf data = { 0 };
	struct http_body b;
	size_t used, n = 0;

	http_body_init(&b, &h);
	assert_int_equal(decode(&b, head, strlen(head), 99, &data, &used), HTTP_BODY_MORE);
	while (n < 100000 && decode(&b, &c, 1, 1, &data, &used) == HTTP_BODY_MORE)
		n++;
	return n;
}

static void
test_bounds(void **state)
{
	(void)state;
	assert_in_range(feed_until_refused("0", '0'), 16, 2000);
	assert_in_range(feed_until_refused("5;", 'x'), 16, 2000);
	assert_in_range(feed_until_refused("5", ' '), 16, 2000);
	assert_in_range(feed_until_refused("0\r\n", 'x'), 100, 9000);
	assert_in_range(feed_until_refused("0\r\nA: ", 'x'), 100, 9000);
}

static void
test_trailers_are_bounded_together(void **state)
{
	const struct http_head h = { .framing = HTTP_BODY_CHUNKED };
	AUTO_FINI(buf_fini) struct buf data = { 0 };
	enum http_body_result r = HTTP_BODY_MORE;
	struct http_body b;
	size_t used;
	int n = 0;

	(void)state;
	http_body_init(&b, &h);
	assert_int_equal(decode(&b, "0\r\n", 3, 3, &data, &used), HTTP_BODY_MORE);
	for (; n < 10000 && r == HTTP_BODY_MORE; n++)
		r = decode(&b, "A: b\r\n", 6, 6, &data, &used);
	assert_int_equal(r, HTTP_BODY_BAD);
	assert_in_range(n, 100, 1400);
}

static void
test_length(void **state)
{
	const struct http_head h = { .framing = HTTP_BODY_LENGTH, .length = 5 };
	AUTO_FINI(buf_fini) struct buf data = { 0 };
	struct http_body b;
	size_t used;

	(void)state;
	http_body_init(&b, &h);
	assert_int_equal(decode(&b, "helloGET", 8, 2, &data, &used), HTTP_BODY_DONE);
	assert_int_equal(used, 5);
	assert_string_equal(data.p, "hello");
}

static void
test_none_and_until_close(void **state)
{
	struct http_head h = { .framing = HTTP_BODY_NONE };
	struct http_body b;
	struct str out;
	size_t used;

	(void)state;
	http_body_init(&b, &h);
	assert_int_equal(http_body_next(&b, "GET", 3, &used, &out), HTTP_BODY_DONE);
	assert_int_equal(used, 0);
	h.framing = HTTP_BODY_LENGTH;
	http_body_init(&b, &h);
	assert_int_equal(http_body_next(&b, "GET", 3, &used, &out), HTTP_BODY_DONE);
	assert_int_equal(used, 0);
	h.framing = HTTP_BODY_UNTIL_CLOSE;
	http_body_init(&b, &h);
	assert_int_equal(http_body_next(&b, "abc", 3, &used, &out), HTTP_BODY_MORE);
	assert_int_equal(used, 3);
	assert_int_equal(out.n, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunked),
		cmocka_unit_test(test_chunked_is_never_done_early),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_trailers_are_bounded_together),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_none_and_until_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
