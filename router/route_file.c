#include "router/route_file.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "router/host_table.h"

enum { FILE_MAX = 256 * 1024 * 1024 };

struct route_list {
	struct wire_route *v; /* owned */
	size_t n, cap;
};

static void
list_fini(struct route_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		wire_route_fini(&l->v[i]);
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

static int
parse_line(struct str line, struct wire_route *out, struct err *e)
{
	struct str host = next_word(&line), w;

	out->host = xstrndup(host.p, host.n);
	str_lower(out->host);
	out->app_id = xstrdup("");
	out->app = xstrdup("");
	out->domain = xstrdup("");
	while ((w = next_word(&line)).n != 0) {
		struct wire_endpoint *ep = codec_list_add(&wire_endpoint_codec, &out->endpoints);

		if (parse_endpoint(w, ep, e) < 0)
			return -1;
	}
	out->state = out->endpoints.n == 0 ? WIRE_ROUTE_EMPTY : WIRE_ROUTE_LIVE;
	return host_table_check(out, e);
}

static int
parse_all(struct route_list *l, struct str text, struct err *e)
{
	for (size_t number = 1; text.n != 0; number++) {
		struct str line;

		text = str_cut(text, '\n', &line);
		if (line.n != 0 && line.p[line.n - 1] == '\r')
			line.n--;
		line = str_trim(line);
		if (line.n == 0 || *line.p == '#')
			continue;
		if (l->n == l->cap) {
			l->cap = l->cap == 0 ? 64 : l->cap * 2;
			l->v = xreallocarray(l->v, l->cap, sizeof *l->v);
		}
		l->v[l->n] = (struct wire_route){ 0 };
		if (parse_line(line, &l->v[l->n++], e) < 0)
			return err_wrap(e, "line %zu", number);
	}
	return 0;
}

struct sweep {
	const struct map *named; /* borrowed */
	struct str_list unnamed;
};

static void
note_unnamed(const struct host_route *r, void *arg)
{
	struct sweep *s = arg;

	if (map_get(s->named, r->host) == NULL)
		str_list_add(&s->unnamed, r->host);
}

void
route_file_keep_only(struct host_table *t, const struct map *named)
{
	struct sweep s = { .named = named };

	host_table_each(t, note_unnamed, &s);
	for (size_t i = 0; i < s.unnamed.n; i++)
		(void)host_table_delete(t, s.unnamed.v[i]);
	str_list_fini(&s.unnamed);
}

int
route_file_apply(struct host_table *t, const char *p, size_t n, struct err *e)
{
	AUTO_FINI(list_fini) struct route_list l = { 0 };
	struct map *named;

	if (memchr(p, '\0', n) != NULL)
		return err_set(e, ERR_INVALID, NULL, "the file has NUL bytes: it is no table");
	if (parse_all(&l, (struct str){ p, n }, e) < 0)
		return -1;
	named = map_new(NULL);
	for (size_t i = 0; i < l.n; i++) {
		struct err bad = { 0 };

		map_set(named, l.v[i].host, t);
		if (host_table_put(t, &l.v[i], &bad) < 0)
			abort(); /* was checked */
	}
	route_file_keep_only(t, named);
	map_free(named);
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
