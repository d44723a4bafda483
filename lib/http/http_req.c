#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "lib/base/mem.h"
#include "lib/http/http_conn.h"
#include "lib/loop/loop.h"

static void
rebase(struct str *s, const char *from, const char *to)
{
	if (s->p != NULL)
		s->p = to + (s->p - from);
}

/* Copies the head's bytes and ends each value with a NUL, over its line end or blank. */
static void
own_head(struct http_req *r, const struct http_head *h, const char *p)
{
	r->raw = xmalloc(h->size + 1);
	memcpy(r->raw, p, h->size);
	r->raw[h->size] = '\0';
	r->head = *h;
	rebase(&r->head.method, p, r->raw);
	rebase(&r->head.target, p, r->raw);
	rebase(&r->head.host, p, r->raw);
	for (size_t i = 0; i < h->n; i++) {
		struct http_header *f = &r->head.headers[i];

		rebase(&f->name, p, r->raw);
		rebase(&f->value, p, r->raw);
		r->raw[f->value.p - r->raw + (ptrdiff_t)f->value.n] = '\0';
	}
	r->raw[r->head.target.p - r->raw + (ptrdiff_t)r->head.target.n] = '\0';
}

/* Where the path starts: behind scheme and authority of an absolute target. */
static const char *
find_path(struct str target)
{
	const char *p;

	if (target.p[0] == '/' || target.p[0] == '*')
		return target.p;
	p = strstr(target.p, "://") + 3;
	return p + strcspn(p, "/?");
}

struct http_req *
http_req_new(struct http_conn *c, const struct http_head *h, const char *p)
{
	struct http_req *r = xcalloc(1, sizeof *r);
	struct err e = { 0 };
	const char *path;
	size_t n;

	r->conn = c;
	own_head(r, h, p);
	path = find_path(r->head.target);
	n = strcspn(path, "?");
	r->query = path[n] == '?' ? path + n + 1 : "";
	r->path = n == 0 ? xstrdup("/") : str_url_decode((struct str){ path, n }, false, &e);
	if (r->path == NULL) {
		http_req_free(r);
		return NULL;
	}
	return r;
}

void
http_req_free(struct http_req *take_r)
{
	struct http_req *r = take_r;

	if (r == NULL)
		return;
	for (size_t i = 0; i < r->param_n; i++) {
		free(r->params[i].name);
		free(r->params[i].value);
	}
	free(r->params);
	buf_fini(&r->body);
	free(r->path);
	free(r->raw);
	free(r);
}

struct str
http_req_method(const struct http_req *r)
{
	return r->head.method;
}

const char *
http_req_path(const struct http_req *r)
{
	return r->path;
}

const char *
http_req_query(const struct http_req *r)
{
	return r->query;
}

/* Undecodable parameters are left out. */
static void
parse_params(struct http_req *r)
{
	struct str rest = str_of(r->query);

	r->has_params = true;
	while (rest.n > 0) {
		struct str pair, name, value;
		struct http_param param;
		struct err e = { 0 };

		rest = str_cut(rest, '&', &pair);
		value = str_cut(pair, '=', &name);
		if (name.n == 0)
			continue;
		if (value.p == NULL)
			value = STR("");
		param.name = str_url_decode(name, true, &e);
		param.value = str_url_decode(value, true, &e);
		if (param.name == NULL || param.value == NULL) {
			free(param.name);
			free(param.value);
			continue;
		}
		r->params = xreallocarray(r->params, r->param_n + 1, sizeof *r->params);
		r->params[r->param_n++] = param;
	}
}

const char *
http_req_param(struct http_req *r, const char *name)
{
	if (!r->has_params)
		parse_params(r);
	for (size_t i = 0; i < r->param_n; i++)
		if (strcmp(r->params[i].name, name) == 0)
			return r->params[i].value;
	return NULL;
}

const char *
http_req_header(const struct http_req *r, const char *name)
{
	return http_head_get(&r->head, name).p;
}

const char *
http_req_peer(const struct http_req *r)
{
	return r->conn->peer;
}

int64_t
http_req_length(const struct http_req *r)
{
	return r->head.framing == HTTP_BODY_CHUNKED ? -1 : r->head.length;
}

struct loop *
http_req_loop(const struct http_req *r)
{
	return r->conn->server->loop;
}

/* --- reading --- */

static void
start_reading(struct http_req *r, void *arg)
{
	r->read_arg = arg;
	r->conn->rx_ms = loop_now_ms();
	http_conn_kick(r->conn);
}

void
http_req_read_all(struct http_req *r, size_t max, http_body_fn *fn, void *arg)
{
	r->body_fn = fn;
	r->body_max = max;
	start_reading(r, arg);
}

void
http_req_read(struct http_req *r, http_data_fn *fn, void *arg)
{
	r->data_fn = fn;
	start_reading(r, arg);
}

void
http_req_pause(struct http_req *r, bool paused)
{
	if (r->is_paused == paused)
		return;
	r->is_paused = paused;
	if (!paused) {
		r->conn->rx_ms = loop_now_ms();
		http_conn_kick(r->conn);
	}
}

void
http_req_on_close(struct http_req *r, http_close_fn *fn, void *arg)
{
	r->close_fn = fn;
	r->close_arg = arg;
}

/* --- answering --- */

/* Fields that are the server's; a handler's "Connection: close" is obeyed. */
static bool
is_reserved(struct http_conn *c, const char *field)
{
	static const char *const names[] = { "content-length:", "date:", "transfer-encoding:" };

	if (strncasecmp(field, "connection:", 11) == 0) {
		if (strcasestr(field + 11, "close") != NULL)
			c->close_after = true;
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strncasecmp(field, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* Control characters would end the field: they become '?'. */
static void
add_field(struct buf *out, const char *field)
{
	size_t at = out->n;

	buf_adds(out, field);
	for (size_t i = at; i < out->n; i++) {
		unsigned char ch = (unsigned char)out->p[i];

		if ((ch < 0x20 && ch != '\t') || ch == 0x7f)
			out->p[i] = '?';
	}
	buf_adds(out, "\r\n");
}

static void
begin_head(struct http_conn *c, int status, const char *const *headers)
{
	struct buf *out = http_conn_out(c);

	buf_addf(out, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http_reason(status),
	    http_server_date(c->server));
	if (c->server->server_name != NULL)
		buf_addf(out, "Server: %s\r\n", c->server->server_name);
	for (; headers != NULL && *headers != NULL; headers++)
		if (!is_reserved(c, *headers))
			add_field(out, *headers);
}

static void
end_head(struct http_conn *c)
{
	struct buf *out = http_conn_out(c);

	if (c->server->is_draining)
		c->close_after = true;
	if (c->close_after)
		buf_adds(out, "Connection: close\r\n");
	else if (c->req != NULL && c->req->head.minor == 0)
		buf_adds(out, "Connection: keep-alive\r\n");
	buf_adds(out, "\r\n");
}

static bool
status_has_no_body(int status)
{
	return status < 200 || status == 204 || status == 304;
}

/* What is known about the rest of the request decides whether another can follow. */
static void
begin_answer(struct http_req *r, int status)
{
	struct http_conn *c = r->conn;

	assert(!r->has_begun && !r->is_aborted); /* one answer for each request */
	r->has_begun = true;
	r->has_no_body = status_has_no_body(status) || str_eq(r->head.method, "HEAD");
	if (r->wants_continue && !c->body_done)
		c->close_after = true;
}

void
http_req_reply(
    struct http_req *r, int status, const char *const *headers, const void *body, size_t n)
{
	struct http_conn *c = r->conn;

	begin_answer(r, status);
	begin_head(c, status, headers);
	if (!status_has_no_body(status))
		buf_addf(http_conn_out(c), "Content-Length: %zu\r\n", n);
	end_head(c);
	if (!r->has_no_body && n > 0)
		buf_add(http_conn_out(c), body, n);
	r->has_ended = true;
	http_conn_kick(c);
}

void
http_req_reply_text(struct http_req *r, int status, const char *fmt, ...)
{
	static const char *const headers[] = { "Content-Type: text/plain; charset=utf-8", NULL };
	AUTO(free) char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	http_req_reply(r, status, headers, text, (size_t)n);
}

void
http_req_write_error(struct http_conn *c, int status, const char *text)
{
	static const char *const headers[] = { "Content-Type: text/plain; charset=utf-8", NULL };

	begin_head(c, status, headers);
	buf_addf(http_conn_out(c), "Content-Length: %zu\r\n", strlen(text) + 1);
	end_head(c);
	buf_addf(http_conn_out(c), "%s\n", text);
}

void
http_req_begin(struct http_req *r, int status, const char *const *headers)
{
	struct http_conn *c = r->conn;

	begin_answer(r, status);
	begin_head(c, status, headers);
	if (!status_has_no_body(status)) {
		if (r->head.minor == 1) {
			r->is_chunked = true;
			buf_adds(http_conn_out(c), "Transfer-Encoding: chunked\r\n");
		} else {
			c->close_after = true; /* its end is the connection's */
		}
	}
	end_head(c);
	http_conn_kick(c);
}

bool
http_req_write(struct http_req *r, const void *p, size_t n)
{
	struct http_conn *c = r->conn;
	struct buf *out = http_conn_out(c);

	assert(r->has_begun && !r->has_ended && !r->is_aborted);
	if (n > 0 && !r->has_no_body) {
		if (r->is_chunked)
			buf_addf(out, "%zx\r\n", n);
		buf_add(out, p, n);
		if (r->is_chunked)
			buf_add(out, "\r\n", 2);
		http_conn_kick(c);
	}
	if (http_conn_queued(c) <= c->server->opts.write_max)
		return true;
	r->is_full = true;
	return false;
}

void
http_req_on_drain(struct http_req *r, http_drain_fn *fn, void *arg)
{
	r->drain_fn = fn;
	r->drain_arg = arg;
	http_conn_kick(r->conn);
}

void
http_req_end(struct http_req *r)
{
	assert(r->has_begun && !r->has_ended && !r->is_aborted);
	if (r->is_chunked && !r->has_no_body)
		buf_adds(http_conn_out(r->conn), "0\r\n\r\n");
	r->has_ended = true;
	http_conn_kick(r->conn);
}

void
http_req_abort(struct http_req *r)
{
	const struct linger reset = { .l_onoff = 1 };

	/* Without chunks only a reset tells the client that something is missing. */
	if (r->has_begun && !r->is_chunked && !r->conn->is_unix)
		(void)setsockopt(r->conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	r->is_aborted = true;
	http_conn_kick(r->conn);
}
