#include "router/route_file.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/wire/wire_routing.h"
#include "router/host_table.h"
#include "router/route_options.h"

enum { FILE_MAX = 256 * 1024 * 1024 };

/* A line that differs from the table, parsed. */
struct new_line {
	const char *at; /* where it stands in the text */
	struct wire_route route;
};

struct new_lines {
	struct new_line *v; /* owned */
	size_t n, cap;
};

static void
new_lines_fini(struct new_lines *l)
{
	for (size_t i = 0; i < l->n; i++)
		wire_route_fini(&l->v[i].route);
	free(l->v);
}

static struct str
next_word(struct str *line)
{
	struct str w;
	size_t n = 0;

	*line = str_trim(*line);
	while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
		n++;
	w = (struct str){ line->p, n };
	line->p += n;
	line->n -= n;
	return w;
}

static int
parse_endpoint(struct str w, struct wire_endpoint *out, struct err *e)
{
	const char *colon = memrchr(w.p, ':', w.n);
	struct str host, port;

	if (colon == NULL)
		return err_set(e, ERR_INVALID, "endpoint", "must be ADDRESS:PORT, is \"%.*s\"",
		    (int)(w.n < 80 ? w.n : 80), w.p);
	host = (struct str){ w.p, (size_t)(colon - w.p) };
	port = (struct str){ colon + 1, w.n - host.n - 1 };
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
		host.p++;
		host.n -= 2;
	}
	out->id = xstrdup("");
	out->address = xstrndup(host.p, host.n);
	return str_to_i64(port, 1, 65535, "port", &out->port, e);
}

static bool
is_option(struct str w)
{
	return memchr(w.p, '=', w.n) != NULL;
}

/* NAME=VALUE as a member of b; what is no number, boolean, list or object is a string. */
static void
add_option(struct buf *b, struct str w)
{
	struct str name, value = str_cut(w, '=', &name);
	bool is_json = value.n != 0 && (strchr("[{\"0123456789", *value.p) != NULL ||
	                                   str_eq(value, "true") || str_eq(value, "false"));

	buf_addc(b, b->n == 0 ? '{' : ',');
	buf_add_json_strn(b, name.p, name.n);
	buf_addc(b, ':');
	if (is_json)
		buf_addstr(b, value);
	else
		buf_add_json_strn(b, value.p, value.n);
}

/* The options of a line, as the table has them; NULL: none, or *e. */
static char *
options_of(struct str line, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO_FINI(wire_routing_fini) struct wire_routing set = { 0 };
	struct str w;

	while ((w = next_word(&line)).n != 0) {
		if (is_option(w))
			add_option(&b, w);
	}
	if (b.n == 0)
		return NULL;
	buf_addc(&b, '}');
	if (codec_decode(&wire_routing_codec, b.p, b.n, &set, 0, e) < 0)
		return NULL;
	return codec_to_json(&wire_routing_codec, &set);
}

static int
parse_line(struct str line, struct wire_route *out, struct err *e)
{
	struct str host = next_word(&line), w;

	out->host = xstrndup(host.p, host.n);
	str_lower(out->host);
	out->app_id = xstrdup("");
	out->app = xstrdup("");
	out->domain = xstrdup("");
	out->options = options_of(line, e);
	if (out->options == NULL && e->code != ERR_NONE)
		return -1;
	while ((w = next_word(&line)).n != 0) {
		struct wire_endpoint *ep;

		if (is_option(w))
			continue;
		ep = codec_list_add(&wire_endpoint_codec, &out->endpoints);
		if (parse_endpoint(w, ep, e) < 0)
			return -1;
	}
	out->state = out->endpoints.n == 0 ? WIRE_ROUTE_EMPTY : WIRE_ROUTE_LIVE;
	return host_table_check(out, e);
}

/* The next line that is no comment; false: there is none. number counts all of them. */
static bool
next_line(struct str *text, struct str *out, size_t *number)
{
	while (text->n != 0) {
		struct str line;

		*text = str_cut(*text, '\n', &line);
		(*number)++;
		if (line.n != 0 && line.p[line.n - 1] == '\r')
			line.n--;
		*out = str_trim(line);
		if (out->n != 0 && *out->p != '#')
			return true;
	}
	return false;
}

/* What stands in the line behind its addresses is what r has. */
static bool
same_options(const struct host_route *r, struct str line)
{
	struct err e = { 0 };
	AUTO(free) char *text = options_of(line, &e);

	if (r->opts == NULL || text == NULL)
		return r->opts == NULL && text == NULL && e.code == ERR_NONE;
	return strcmp(route_options_text(r->opts), text) == 0;
}

/* The route that is just what the line says, or NULL: most lines of a large table do not change. */
static const struct host_route *
find_same(const struct host_table *t, struct str line)
{
	struct str host = next_word(&line), w;
	const struct host_route *r = host_table_get(t, host.p, host.n);
	struct str rest = line;
	bool has_options = false;
	size_t n = 0;

	if (r == NULL)
		return NULL;
	while ((w = next_word(&line)).n != 0) {
		has_options |= is_option(w);
		if (is_option(w))
			continue;
		if (n == r->n || !str_eq(w, r->ep[n++]->name))
			return NULL;
	}
	if (n != r->n || (!has_options && r->opts == NULL))
		return n == r->n ? r : NULL;
	return same_options(r, rest) ? r : NULL;
}

static int
parse_new(const struct host_table *t, struct str text, struct new_lines *l, struct err *e)
{
	struct str line;
	size_t number = 0;

	while (next_line(&text, &line, &number)) {
		struct new_line *new;

		if (find_same(t, line) != NULL)
			continue;
		if (l->n == l->cap) {
			l->cap = l->cap == 0 ? 64 : l->cap * 2;
			l->v = xreallocarray(l->v, l->cap, sizeof *l->v);
		}
		new = &l->v[l->n++];
		*new = (struct new_line){ .at = line.p };
		if (parse_line(line, &new->route, e) < 0)
			return err_wrap(e, "line %zu", number);
	}
	return 0;
}

/* A line that was as in the table, until one before it changed that: its host stands there twice.
 */
static void
put_again(struct host_table *t, struct str line)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = { 0 };
	struct err e = { 0 };

	if (parse_line(line, &r, &e) < 0 || host_table_put(t, &r, &e) < 0)
		abort(); /* it is in the table already */
}

int
route_file_apply(struct host_table *t, const char *p, size_t n, struct err *e)
{
	AUTO_FINI(new_lines_fini) struct new_lines l = { 0 };
	struct str text = { p, n }, line;
	size_t number = 0, k = 0;

	if (memchr(p, '\0', n) != NULL)
		return err_set(e, ERR_INVALID, NULL, "the file has NUL bytes: it is no table");
	if (parse_new(t, text, &l, e) < 0)
		return -1;
	host_table_begin_sweep(t);
	while (next_line(&text, &line, &number)) {
		const struct host_route *same = NULL;
		struct err bad = { 0 };

		if (k < l.n && l.v[k].at == line.p) {
			if (host_table_put(t, &l.v[k++].route, &bad) < 0)
				abort(); /* was checked */
		} else if ((same = find_same(t, line)) != NULL) {
			host_table_keep(t, same);
		} else {
			put_again(t, line);
		}
	}
	host_table_sweep(t);
	return 0;
}

int
route_file_load(struct host_table *t, const char *path, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (file_read(path, FILE_MAX, &b, e) < 0)
		return -1;
	if (route_file_apply(t, b.n == 0 ? "" : b.p, b.n, e) < 0)
		return err_wrap(e, "%s", path);
	return 0;
}
