#include "router/h2_head.h"

#include <stdio.h>
#include <string.h>

#include "lib/http/http_head.h"
#include "router/client_conn.h"

enum {
	TEXT_AT_ONCE = 512, /* as a rule all fields of a request */
	TEXT_AROUND = 192,  /* what is added to those of a request */
};

#define ADD(out, literal) buf_add(out, literal, sizeof(literal) - 1)

/* --- requests --- */

void
h2_head_fini(struct h2_head *h)
{
	buf_fini(&h->text);
	buf_fini(&h->method);
	buf_fini(&h->path);
	buf_fini(&h->authority);
	buf_fini(&h->protocol);
	buf_fini(&h->cookies);
}

static void
add_pseudo(struct h2_head *h, struct str name, struct str value)
{
	if (str_eq(name, ":method"))
		buf_addstr(&h->method, value);
	else if (str_eq(name, ":path"))
		buf_addstr(&h->path, value);
	else if (str_eq(name, ":authority"))
		buf_addstr(&h->authority, value);
	else if (str_eq(name, ":protocol"))
		buf_addstr(&h->protocol, value);
}

void
h2_head_add_line(struct buf *out, struct str name, struct str value)
{
	buf_addstr(out, name);
	ADD(out, ": ");
	buf_addstr(out, value);
	ADD(out, "\r\n");
}

void
h2_head_add(struct h2_head *h, struct str name, struct str value)
{
	size_t all = h->text.n + h->path.n + h->cookies.n + name.n + value.n + 4;

	h->is_large |= all > CLIENT_HEAD_MAX;
	if (h->is_large)
		return;
	if (*name.p == ':') {
		add_pseudo(h, name, value);
		return;
	}
	if (str_eq(name, "cookie")) {
		if (h->cookies.n != 0)
			ADD(&h->cookies, "; ");
		buf_addstr(&h->cookies, value);
		return;
	}
	if (str_eq(name, "host") && h->authority.n != 0) { /* RFC 9113 8.3.1 */
		h->is_bad |= !str_eq_nocase(value, h->authority.p);
		return;
	}
	h->has_length |= str_eq(name, "content-length");
	if (str_eq(name, "te")) /* HTTP/1.1 has it so */
		ADD(&h->text, "connection: te\r\n");
	if (h->text.n == 0)
		buf_reserve(&h->text, TEXT_AT_ONCE);
	h2_head_add_line(&h->text, name, value);
}

bool
h2_head_is_websocket(const struct h2_head *h)
{
	return str_eq(buf_str(&h->method), "CONNECT") &&
	       str_eq_nocase(buf_str(&h->protocol), "websocket");
}

bool
h2_head_is_chunked(const struct h2_head *h, bool has_body)
{
	return has_body && !h->has_length && !h2_head_is_websocket(h);
}

void
h2_head_request(const struct h2_head *h, bool has_body, const char *key, struct buf *out)
{
	bool is_websocket = h2_head_is_websocket(h);
	bool is_connect = !is_websocket && str_eq(buf_str(&h->method), "CONNECT");

	buf_reserve(out,
	    h->method.n + 2 * h->authority.n + h->path.n + h->cookies.n + h->text.n + TEXT_AROUND);
	if (is_websocket)
		ADD(out, "GET");
	else
		buf_addstr(out, buf_str(&h->method));
	ADD(out, " ");
	buf_addstr(out, buf_str(is_connect ? &h->authority : &h->path));
	ADD(out, " HTTP/1.1\r\n");
	if (h->authority.n != 0) {
		ADD(out, "host: ");
		buf_addstr(out, buf_str(&h->authority));
		ADD(out, "\r\n");
	}
	if (h->cookies.n != 0) {
		ADD(out, "cookie: ");
		buf_addstr(out, buf_str(&h->cookies));
		ADD(out, "\r\n");
	}
	buf_addstr(out, buf_str(&h->text));
	if (is_websocket)
		buf_addf(out,
		    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: %s\r\n", key);
	else if (h2_head_is_chunked(h, has_body))
		ADD(out, "transfer-encoding: chunked\r\n");
	ADD(out, "\r\n");
}

/* --- answers --- */

/* Those of the connection (RFC 9113 8.2.2), and what a client of RFC 8441 does not know. */
static bool
is_left_out(struct str name, bool is_tunnel)
{
	switch (name.n) {
	case 7:
		return str_eq_nocase(name, "upgrade");
	case 10:
		return str_eq_nocase(name, "connection") || str_eq_nocase(name, "keep-alive");
	case 14:
		return is_tunnel && str_eq_nocase(name, "content-length");
	case 16:
		return str_eq_nocase(name, "proxy-connection");
	case 17:
		return str_eq_nocase(name, "transfer-encoding") ||
		       (is_tunnel && str_eq_nocase(name, "sec-websocket-key"));
	case 20:
		return is_tunnel && str_eq_nocase(name, "sec-websocket-accept");
	default:
		return false;
	}
}

/* RFC 9113 8.2.1 */
static void
add_lower(struct buf *out, struct str s)
{
	size_t at = out->n;

	buf_addstr(out, s);
	for (; at < out->n; at++) {
		if (out->p[at] >= 'A' && out->p[at] <= 'Z')
			out->p[at] = (char)(out->p[at] + 32);
	}
}

static void
add_status(struct buf *out, int status)
{
	char digits[3] = { (char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
		(char)('0' + status % 10) };

	buf_add(out, digits, sizeof digits);
}

/* Its value never comes again: it would push others out of the table of RFC 7541. */
static bool
is_unique(struct str name)
{
	return name.n == 12 && str_eq_nocase(name, "x-request-id");
}

size_t
h2_head_answer(const struct http_head *h, bool is_tunnel, struct buf *text, nghttp2_nv *out)
{
	static char status[] = ":status";
	size_t n = 1, at;

	buf_clear(text);
	buf_reserve(text, h->size);
	add_status(text, is_tunnel ? 200 : h->status);
	for (size_t i = 0; i < h->n; i++) {
		if (!is_left_out(h->headers[i].name, is_tunnel))
			add_lower(text, h->headers[i].name);
	}
	/* The text stays where it is now. */
	out[0] = (nghttp2_nv){ .name = (uint8_t *)status,
		.namelen = sizeof status - 1,
		.value = (uint8_t *)text->p,
		.valuelen = 3 };
	at = 3;
	for (size_t i = 0; i < h->n; i++) {
		struct str name = h->headers[i].name, value = h->headers[i].value;

		if (is_left_out(name, is_tunnel))
			continue;
		out[n++] = (nghttp2_nv){ .name = (uint8_t *)text->p + at,
			.namelen = name.n,
			.value = (uint8_t *)value.p,
			.valuelen = value.n,
			.flags =
			    is_unique(name) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE };
		at += name.n;
	}
	return n;
}

static nghttp2_nv
pair(const char *name, size_t name_n, struct str value)
{
	return (nghttp2_nv){ .name = (uint8_t *)name,
		.namelen = name_n,
		.value = (uint8_t *)value.p,
		.valuelen = value.n };
}

size_t
h2_head_call(const struct http_head *h, bool is_tunnel, struct buf *text, nghttp2_nv *out)
{
	size_t n = 4, at = 0;

	buf_clear(text);
	for (size_t i = 0; i < h->n; i++)
		add_lower(text, h->headers[i].name);
	out[0] = pair(":method", 7, is_tunnel ? STR("CONNECT") : h->method);
	out[1] = pair(":scheme", 7, STR("http"));
	out[2] = pair(":path", 5, h->target);
	out[3] = pair(":authority", 10, h->host);
	if (is_tunnel)
		out[n++] = pair(":protocol", 9, STR("websocket"));
	for (size_t i = 0; i < h->n; i++) {
		struct str name = h->headers[i].name;

		if (!is_left_out(name, is_tunnel) && !str_eq_nocase(name, "host"))
			out[n++] = pair(text->p + at, name.n, h->headers[i].value);
		at += name.n;
	}
	return n;
}

size_t
h2_head_trailers(const struct buf *section, struct buf *text, nghttp2_nv *out)
{
	struct str rest, line;
	size_t n = 0;

	buf_clear(text);
	add_lower(text, buf_str(section)); /* for the names */
	for (rest = buf_str(section); rest.n != 0 && n < H2_HEAD_FIELDS_MAX;) {
		const char *lower = text->p + (rest.p - section->p);
		struct str name, value;

		rest = str_cut(rest, '\n', &line);
		value = str_trim(str_cut(line, ':', &name));
		if (value.n != 0 && value.p[value.n - 1] == '\r')
			value = str_trim((struct str){ value.p, value.n - 1 });
		if (name.n != line.n)
			out[n++] = pair(lower, name.n, value);
	}
	return n;
}
