/* Heads on their way: the first byte chooses request (even) or response. What goes out parses, is
 * framed as what came in, and has no field that belongs to one hop or that only the router sets. */
#include "test/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/http/http_head.h"
#include "router/proxy_head.h"

static size_t
count(const struct http_head *h, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < h->n; i++)
		n += str_eq_nocase(h->headers[i].name, name);
	return n;
}

static void
check_request(const char *p, size_t n)
{
	static const char *const once[] = { "x-forwarded-for", "x-forwarded-proto",
		"x-forwarded-host", "x-forwarded-port", "x-client-ip", "x-request-id",
		"x-request-start", "forwarded" };
	static const char *const never[] = { "keep-alive", "trailer", "proxy-connection",
		"proxy-authorization", "http2-settings", "x_forwarded_for", "x-client_ip",
		"content_length", "transfer_encoding" };
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	struct proxy_head_facts f = { .peer = "192.0.2.1",
		.port = "80",
		.proto = "http",
		.id = STR("id"),
		.trace =
		    STR("Traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01\r\n"),
		.start_us = 1 };
	struct http_head h, again;
	enum http_head_result r;

	if (http_head_request(p, n, 0, &h) != HTTP_HEAD_OK || str_eq(h.method, "CONNECT"))
		return;
	f.upgrade = proxy_head_may_upgrade(&h);
	(void)proxy_head_request(&out, p, &h, &f);
	r = http_head_request(out.p, out.n, 0, &again);
	if (r == HTTP_HEAD_LARGE || (r == HTTP_HEAD_BAD && h.minor == 0 && h.host.n == 0))
		return; /* ours came on top; HTTP/1.0 without a host has no route */
	check(r == HTTP_HEAD_OK && again.size == out.n);
	check(again.framing == h.framing && again.length == h.length && again.minor == 1);
	check(again.method.n == h.method.n && memcmp(again.method.p, h.method.p, h.method.n) == 0);
	check(again.host.n == h.host.n &&
	      (h.host.n == 0 || memcmp(again.host.p, h.host.p, h.host.n) == 0));
	check(*again.target.p == '/' || str_eq(again.target, "*"));
	check(again.upgrade == f.upgrade && again.keep_alive);
	for (size_t i = 0; i < ARRAY_LEN(once); i++)
		check(count(&again, once[i]) == 1);
	check(proxy_head_is_traced(&again));
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		check(count(&again, never[i]) == 0);
	check(str_eq(http_head_get(&again, "x-client-ip"), "192.0.2.1"));
}

static void
check_response(const char *p, size_t n)
{
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	struct proxy_head_answer a = { .id = STR("id"), .minor = 1, .keep = true };
	struct http_head h, again;
	enum http_head_result r;

	if (http_head_response(p, n, 0, STR("GET"), &h) != HTTP_HEAD_OK)
		return;
	a.upgrade = h.status == 101;
	a.is_interim = h.status < 200 && !a.upgrade;
	a.chunked = h.framing == HTTP_BODY_CHUNKED || h.framing == HTTP_BODY_UNTIL_CLOSE;
	proxy_head_response(&out, p, &h, &a);
	r = http_head_response(out.p, out.n, 0, STR("GET"), &again);
	if (r == HTTP_HEAD_LARGE)
		return;
	check(r == HTTP_HEAD_OK && again.size == out.n && again.status == h.status);
	check(again.framing == (a.chunked ? HTTP_BODY_CHUNKED : h.framing));
	check(h.framing != HTTP_BODY_LENGTH || again.length == h.length);
	check(count(&again, "keep-alive") == 0 && count(&again, "proxy-authenticate") == 0);
	check(a.is_interim || count(&again, "x-request-id") == 1);
	(void)proxy_head_keep_alive_s(&h);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0)
		return 0;
	if (data[0] % 2 == 0)
		check_request((const char *)data + 1, n - 1);
	else
		check_response((const char *)data + 1, n - 1);
	return 0;
}
