#include "lib/http/http_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/mem.h"

#define H "Host: h\r\n"
#define END "\r\n"

struct refusal {
	const char *name, *text;
	enum http_head_result want;
	size_t n; /* 0: strlen */
};

static const struct refusal bad_requests[] = {
	{ "no CR after the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "no CR after a field", "GET / HTTP/1.1\r\nHost: h\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "only LF", "GET / HTTP/1.1\nHost: h\n\n", HTTP_HEAD_BAD, 0 },
	{ "blank line without CR", "GET / HTTP/1.1\r\nHost: h\r\n\n", HTTP_HEAD_BAD, 0 },
	{ "bare CR in a value", "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "bare CR in a name", "GET / HTTP/1.1\r\nHost: h\r\nA\r: b\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "CR CR LF", "GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "NUL in a value", "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", HTTP_HEAD_BAD, 35 },
	{ "NUL in a name", "GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n", HTTP_HEAD_BAD, 34 },
	{ "NUL in the target", "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", HTTP_HEAD_BAD, 29 },
	{ "DEL in a value", "GET / HTTP/1.1\r\n" H "A: b\177c\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "control in a value", "GET / HTTP/1.1\r\n" H "A: b\001c\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "folded by a space", "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "folded by a tab", "GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "fold before the first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "space before the colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "tab before the colon", "GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "no colon", "GET / HTTP/1.1\r\n" H "A\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "no name", "GET / HTTP/1.1\r\n" H ": b\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "name with a slash", "GET / HTTP/1.1\r\n" H "A/B: c\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "name beyond ASCII", "GET / HTTP/1.1\r\n" H "\303\244: c\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "length and chunks",
	    "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "chunks and length",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "two lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "twice the same length",
	    "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", HTTP_HEAD_BAD,
	    0 },
	{ "list of lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\n", HTTP_HEAD_BAD,
	    0 },
	{ "empty length", "POST / HTTP/1.1\r\n" H "Content-Length: \r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "signed length", "POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "negative length", "POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n\r\n", HTTP_HEAD_BAD,
	    0 },
	{ "hexadecimal length", "POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "length with a space", "POST / HTTP/1.1\r\n" H "Content-Length: 1 2\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "length of 2^63", "POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775808\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "length of 2^64 + 3",
	    "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551619\r\n\r\n", HTTP_HEAD_BAD,
	    0 },
	{ "chunked twice", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "chunked in two fields",
	    "POST / HTTP/1.1\r\n" H
	    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "chunked not last", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "no chunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", HTTP_HEAD_BAD,
	    0 },
	{ "identity", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", HTTP_HEAD_BAD,
	    0 },
	{ "empty element before chunked",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "empty element behind chunked",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked,\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "codings in two fields",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "no coding", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "parameter of chunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;q=1\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "vertical tab before chunked",
	    "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \013chunked\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "chunks in HTTP/1.0", "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "another coding", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n",
	    HTTP_HEAD_UNSUPPORTED, 0 },
	{ "no Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "twice the same Host", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", HTTP_HEAD_BAD,
	    0 },
	{ "list of Hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "Host with a user", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "Host with a path", "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "Host with a bad port", "GET / HTTP/1.1\r\nHost: h:8x\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "Host with two ports", "GET / HTTP/1.1\r\nHost: h:80:80\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "Host with half a bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "Host with a bracket inside", "GET / HTTP/1.1\r\nHost: a[::1]\r\n\r\n", HTTP_HEAD_BAD,
	    0 },
	{ "no method", " / HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "method with a colon", "GE:T / HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "no target", "GET  HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "two spaces", "GET  / HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "tab for a space", "GET\t/ HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "space behind the version", "GET / HTTP/1.1 \r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "space in the target", "GET /a b HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "fragment", "GET /a#b HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "target beyond ASCII", "GET /\303\244 HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "relative target", "GET a HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "star for GET", "GET * HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "scheme of a file", "GET file:///etc/passwd HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "absolute without a host", "GET http:///a HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "absolute with a user", "GET http://u@h/a HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "CONNECT without a port", "CONNECT h HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "CONNECT with a path", "CONNECT /a HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "HTTP/0.9", "GET /\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "HTTP/2.0", "GET / HTTP/2.0\r\n" H END, HTTP_HEAD_UNSUPPORTED, 0 },
	{ "preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_HEAD_UNSUPPORTED, 0 },
	{ "lower-case version", "GET / http/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "long version", "GET / HTTP/1.10\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "another protocol", "GET / ICY/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
	{ "TLS hello", "\026\003\001\002\001\001\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "two blank lines first", "\r\n\r\nGET / HTTP/1.1\r\n" H END, HTTP_HEAD_BAD, 0 },
};

static const struct refusal bad_responses[] = {
	{ "another protocol", "ICY 200 OK\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", HTTP_HEAD_UNSUPPORTED, 0 },
	{ "two digits", "HTTP/1.1 20 OK\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "four digits", "HTTP/1.1 2000 OK\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "status below 100", "HTTP/1.1 099 OK\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "status with a letter", "HTTP/1.1 2x0 OK\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "two spaces", "HTTP/1.1  200 OK\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n", HTTP_HEAD_BAD, 20 },
	{ "bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "only LF", "HTTP/1.1 200 OK\n\n", HTTP_HEAD_BAD, 0 },
	{ "short and only LF", "HTTP/1.1\n", HTTP_HEAD_BAD, 0 },
	{ "no HTTP at all", "<html>", HTTP_HEAD_BAD, 0 },
	{ "folded", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", HTTP_HEAD_BAD, 0 },
	{ "length and chunks",
	    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
	{ "other coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: br, chunked\r\n\r\n",
	    HTTP_HEAD_UNSUPPORTED, 0 },
	{ "chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	    HTTP_HEAD_BAD, 0 },
};

/* Parses an exact heap copy, so that the sanitizer sees a read behind it. */
static enum http_head_result
parse(const char *text, size_t n, size_t from, bool is_response, struct http_head *h)
{
	AUTO(free) char *copy = xmalloc(n == 0 ? 1 : n);

	memcpy(copy, text, n);
	if (is_response)
		return http_head_response(copy, n, from, STR("GET"), h);
	return http_head_request(copy, n, from, h);
}

static void
check_refusals(const struct refusal *v, size_t n, bool is_response)
{
	for (size_t i = 0; i < n; i++) {
		size_t size = v[i].n == 0 ? strlen(v[i].text) : v[i].n;
		enum http_head_result whole, r = HTTP_HEAD_MORE;
		struct http_head h;

		whole = parse(v[i].text, size, 0, is_response, &h);
		if (whole != v[i].want)
			fail_msg("%s: %d, not %d", v[i].name, whole, v[i].want);
		/* Byte by byte it ends the same. */
		for (size_t k = 0; k <= size && r == HTTP_HEAD_MORE; k++)
			r = parse(v[i].text, k, k == 0 ? 0 : k - 1, is_response, &h);
		if (r != v[i].want)
			fail_msg("%s, byte by byte: %d, not %d", v[i].name, r, v[i].want);
	}
}

static void
test_refused_requests(void **state)
{
	(void)state;
	check_refusals(bad_requests, ARRAY_LEN(bad_requests), false);
}

static void
test_refused_responses(void **state)
{
	(void)state;
	check_refusals(bad_responses, ARRAY_LEN(bad_responses), true);
}

static void
assert_str(struct str s, const char *want)
{
	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

static void
test_request(void **state)
{
	const char *text = "POST /a/b?c={d}|e HTTP/1.1\r\nhOST: Ex.ample:80\r\nX-Empty:\r\n"
	                   "X-Tab:\t a\tb \xe4 \r\nContent-Length: 012\r\n"
	                   "Connection: foo, Close\r\nExpect: 100-Continue\r\n\r\nbody";
	struct http_head h;

	(void)state;
	assert_int_equal(http_head_request(text, strlen(text), 0, &h), HTTP_HEAD_OK);
	assert_str(h.method, "POST");
	assert_str(h.target, "/a/b?c={d}|e");
	assert_str(h.host, "Ex.ample:80");
	assert_int_equal(h.minor, 1);
	assert_int_equal(h.n, 6);
	assert_str(h.headers[0].name, "hOST");
	assert_str(http_head_get(&h, "x-empty"), "");
	assert_str(http_head_get(&h, "X-TAB"), "a\tb \xe4");
	assert_null(http_head_get(&h, "X").p);
	assert_int_equal(h.framing, HTTP_BODY_LENGTH);
	assert_int_equal(h.length, 12);
	assert_false(h.keep_alive);
	assert_true(h.expect_continue);
	assert_int_equal(h.size, strlen(text) - 4);
}

struct good {
	const char *text;
	const char *host;
	enum http_framing framing;
	int64_t length;
	bool keep_alive, upgrade;
};

static void
test_request_forms(void **state)
{
	static const struct good v[] = {
		{ "GET / HTTP/1.1\r\nHost: \r\n\r\n", "", HTTP_BODY_NONE, 0, true, false },
		{ "\r\nGET / HTTP/1.1\r\n" H END, "h", HTTP_BODY_NONE, 0, true, false },
		{ "GET / HTTP/1.9\r\n" H END, "h", HTTP_BODY_NONE, 0, true, false },
		{ "GET / HTTP/1.0\r\n\r\n", "", HTTP_BODY_NONE, 0, false, false },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "", HTTP_BODY_NONE, 0, true,
		    false },
		{ "GET / HTTP/1.1\r\n" H "Connection: keep-alive, close\r\n\r\n", "h",
		    HTTP_BODY_NONE, 0, false, false },
		{ "OPTIONS * HTTP/1.1\r\n" H END, "h", HTTP_BODY_NONE, 0, true, false },
		{ "GET http://a.b:81/c?d HTTP/1.1\r\n" H END, "a.b:81", HTTP_BODY_NONE, 0, true,
		    false },
		{ "GET HTTPS://a HTTP/1.1\r\n" H END, "a", HTTP_BODY_NONE, 0, true, false },
		{ "GET http://a?x HTTP/1.1\r\n" H END, "a", HTTP_BODY_NONE, 0, true, false },
		{ "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "a:443", HTTP_BODY_NONE, 0, true,
		    false },
		{ "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "[::1]:80", HTTP_BODY_NONE, 0, true,
		    false },
		{ "GET / HTTP/1.1\r\nHost: a_b.c:\r\n\r\n", "a_b.c:", HTTP_BODY_NONE, 0, true,
		    false },
		{ "PUT / HTTP/1.1\r\n" H "Content-Length: 9223372036854775807\r\n\r\n", "h",
		    HTTP_BODY_LENGTH, INT64_MAX, true, false },
		{ "PUT / HTTP/1.1\r\n" H "Transfer-Encoding: CHUNKED \r\n\r\n", "h",
		    HTTP_BODY_CHUNKED, 0, true, false },
		{ "GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\nConnection: x,Upgrade\r\n\r\n", "h",
		    HTTP_BODY_NONE, 0, true, true },
		{ "GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\n\r\n", "h", HTTP_BODY_NONE, 0, true,
		    false },
		{ "GET / HTTP/1.1\r\n" H "Connection: upgrade\r\n\r\n", "h", HTTP_BODY_NONE, 0,
		    true, false },
		{ "M-SEARCH / HTTP/1.1\r\n" H "Hosts: x\r\n\r\n", "h", HTTP_BODY_NONE, 0, true,
		    false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		size_t n = strlen(v[i].text);
		struct http_head h;
		enum http_head_result r;

		r = http_head_request(v[i].text, n, 0, &h);
		if (r != HTTP_HEAD_OK)
			fail_msg("%s: %d", v[i].text, r);
		assert_str(h.host, v[i].host);
		assert_int_equal(h.framing, v[i].framing);
		assert_int_equal(h.length, v[i].length);
		assert_int_equal(h.keep_alive, v[i].keep_alive);
		assert_int_equal(h.upgrade, v[i].upgrade);
		assert_int_equal(h.size, n);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(parse(v[i].text, k, k / 2, false, &h), HTTP_HEAD_MORE);
		assert_int_equal(http_head_request(v[i].text, n, n - 1, &h), HTTP_HEAD_OK);
	}
}

struct answer {
	const char *method, *text;
	int status;
	enum http_framing framing;
	bool keep_alive;
};

static void
test_responses(void **state)
{
	static const struct answer v[] = {
		{ "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, HTTP_BODY_LENGTH,
		    true },
		{ "GET", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", 200, HTTP_BODY_LENGTH, true },
		{ "GET", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, HTTP_BODY_LENGTH,
		    true },
		{ "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, HTTP_BODY_NONE,
		    true },
		{ "GET", "HTTP/1.1 200 OK\r\n\r\n", 200, HTTP_BODY_UNTIL_CLOSE, false },
		{ "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 200, HTTP_BODY_LENGTH,
		    false },
		{ "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, HTTP_BODY_NONE, true },
		{ "GET", "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", 304, HTTP_BODY_NONE, true },
		{ "GET", "HTTP/1.1 100 Continue\r\n\r\n", 100, HTTP_BODY_NONE, true },
		{ "GET", "HTTP/1.1 101 x\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n", 101,
		    HTTP_BODY_NONE, true },
		{ "CONNECT", "HTTP/1.1 200 OK\r\n\r\n", 200, HTTP_BODY_NONE, true },
		{ "CONNECT", "HTTP/1.1 403 No\r\n\r\n", 403, HTTP_BODY_UNTIL_CLOSE, false },
		{ "GET", "HTTP/1.1 500 \xfc\r\nTransfer-Encoding: chunked\r\n\r\n", 500,
		    HTTP_BODY_CHUNKED, true },
		{ "GET", "HTTP/1.1 999 x\r\nHost: a\r\nConnection: close\r\n\r\n", 999,
		    HTTP_BODY_UNTIL_CLOSE, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		size_t n = strlen(v[i].text);
		struct http_head h;
		enum http_head_result r;

		r = http_head_response(v[i].text, n, 0, str_of(v[i].method), &h);
		if (r != HTTP_HEAD_OK)
			fail_msg("%s: %d", v[i].text, r);
		assert_int_equal(h.status, v[i].status);
		assert_int_equal(h.framing, v[i].framing);
		assert_int_equal(h.keep_alive, v[i].keep_alive);
		assert_null(h.host.p);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(parse(v[i].text, k, k / 3, true, &h), HTTP_HEAD_MORE);
	}
}

static void
test_many_fields(void **state)
{
	char text[8192];
	struct http_head h;

	(void)state;
	for (int fields = HTTP_HEADERS_MAX - 1; fields <= HTTP_HEADERS_MAX; fields++) {
		int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" H);

		for (int i = 0; i < fields; i++)
			n += snprintf(text + n, sizeof text - (size_t)n, "F%d: x\r\n", i);
		n += snprintf(text + n, sizeof text - (size_t)n, "\r\n");
		assert_int_equal(http_head_request(text, (size_t)n, 0, &h),
		    fields < HTTP_HEADERS_MAX ? HTTP_HEAD_OK : HTTP_HEAD_LARGE);
	}
}

/* Each value length and position of a control byte: the eight-byte steps miss none. */
static void
test_text_scan(void **state)
{
	static const char controls[] = { 0, 1, 8, 10, 11, 13, 31, 127 };

	(void)state;
	for (size_t n = 0; n < 40; n++) {
		for (size_t at = 0; at < n; at++) {
			for (size_t k = 0; k < sizeof controls; k++) {
				char text[128] = "GET / HTTP/1.1\r\nHost: h\r\nA: ";
				size_t start = strlen(text);
				struct http_head h;

				memset(text + start, k % 2 == 0 ? '\xff' : 'x', n);
				memcpy(text + start + n, "\r\n\r\n", 4);
				assert_int_equal(
				    parse(text, start + n + 4, 0, false, &h), HTTP_HEAD_OK);
				assert_int_equal(h.headers[1].value.n, n);
				text[start + at] = controls[k];
				assert_int_equal(
				    parse(text, start + n + 4, 0, false, &h), HTTP_HEAD_BAD);
			}
		}
	}
}

static void
test_reasons(void **state)
{
	(void)state;
	assert_string_equal(http_reason(200), "OK");
	assert_string_equal(http_reason(431), "Request Header Fields Too Large");
	assert_string_equal(http_reason(299), "Unknown");
	assert_string_equal(http_reason(-1), "Unknown");
	assert_string_equal(http_reason(1000), "Unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_requests),
		cmocka_unit_test(test_refused_responses),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_request_forms),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_many_fields),
		cmocka_unit_test(test_text_scan),
		cmocka_unit_test(test_reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
