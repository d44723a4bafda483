#include "test/lib/strict_app.h"

#include <stdlib.h>
#include <string.h>

#include "lib/http/http_body.h"
#include "lib/http/http_head.h"
#include "router/client_conn.h"
#include "router/host_key.h"

/* States in a->n. */
enum { HEAD, TUNNEL, GONE };

static void
must(bool is_so)
{
	if (!is_so)
		abort();
}

static void
send_text(struct router_lane_app *a, const char *text)
{
	router_lane_app_send(a, text, strlen(text));
}

static void
check_head(const struct http_head *h)
{
	char key[HOST_NAME_MAX + 1];
	size_t n = host_key(h->host.p, h->host.n, key);

	must(n == 6 && memcmp(key, "a.test", 6) == 0);
	must(h->minor == 1 && h->keep_alive && !str_eq(h->method, "CONNECT") &&
	     !str_eq(h->method, "TRACE"));
	must(http_head_get(h, "x-request-id").n != 0 && http_head_get(h, "x-client-ip").n != 0);
}

static void
answer(struct router_lane_app *a, const struct http_head *h)
{
	char what = h->target.n > 1 ? h->target.p[1] : '\0';

	if (h->upgrade && what == 'u') {
		send_text(a, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: "
		             "websocket\r\n\r\nhello");
		a->n = TUNNEL;
	} else if (what == 'n') {
		a->n = GONE;
	} else if (str_eq(h->method, "HEAD")) {
		send_text(a, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	} else if (what == 'c') {
		send_text(a, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		             "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n");
	} else {
		send_text(a, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	}
}

/* Bytes of the body of h in p[0..n) when it is whole; -1: it is not. */
static ssize_t
body_length(const struct http_head *h, const char *p, size_t n)
{
	struct http_body b;
	size_t at = 0, used;
	struct str data;

	http_body_init(&b, h);
	if (h->framing == HTTP_BODY_NONE || (h->framing == HTTP_BODY_LENGTH && h->length == 0))
		return 0;
	while (at < n) {
		enum http_body_result r = http_body_next(&b, p + at, n - at, &used, &data);

		must(r != HTTP_BODY_BAD);
		at += used;
		if (r == HTTP_BODY_DONE)
			return (ssize_t)at;
	}
	return -1;
}

void
strict_app(struct router_lane_app *a, void *arg)
{
	(void)arg;
	while (a->fd >= 0 && a->in.n != 0) {
		struct http_head h;
		enum http_head_result r;
		ssize_t body;

		if (a->n == TUNNEL) {
			router_lane_app_send(a, a->in.p, a->in.n);
			buf_clear(&a->in);
			return;
		}
		r = http_head_request(a->in.p, a->in.n, 0, &h);
		must(r == HTTP_HEAD_OK || r == HTTP_HEAD_MORE);
		if (r == HTTP_HEAD_MORE)
			return;
		check_head(&h);
		if (h.target.n > 1 && h.target.p[1] == 'e' && a->n == HEAD) {
			send_text(a, "HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n");
			a->n = GONE;
		}
		body = body_length(&h, a->in.p + h.size, a->in.n - h.size);
		if (body < 0)
			return;
		if (a->n == HEAD)
			answer(a, &h);
		if (a->n == GONE)
			router_lane_app_close(a);
		else
			buf_drop(&a->in, h.size + (size_t)body);
	}
}
