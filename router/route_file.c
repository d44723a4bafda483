#include "router/route_file.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/wire/wire_routing.h"
#include "router/host_table.h"

enum { FILE_MAX = 256 * 1024 * 1024 };

/* A line as a route: its words are in words, and only options are owned beside. */
struct line {
	struct wire_route route;
	struct buf words;
	struct buf set; /* options as JSON, as they come */
	size_t cap;     /* of endpoints */
	bool in_canary; /* what follows is its */
};

static void
line_fini(struct line *l)
{
	free(l->route.endpoints.v);
	free(l->route.options);
	buf_fini(&l->words);
	buf_fini(&l->set);
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

static struct wire_endpoint *
add_endpoint(struct line *l)
{
	struct wire_endpoint_list *to = &l->route.endpoints;

	if (to->n == l->cap) {
		l->cap = l->cap == 0 ? 4 : l->cap * 2;
		to->v = xreallocarray(to->v, l->cap, sizeof *to->v);
	}
	return &to->v[to->n++];
}

/* Makes "address:port" two strings. Before it may stand https://, of all or none of a line. */
static int
parse_endpoint(char *w, struct line *l, struct err *e)
{
	bool is_first = l->route.endpoints.n == 0, is_tls = str_has_prefix(w, "https://");
	struct wire_endpoint *out = add_endpoint(l);
	char *colon;

	if (!is_first && l->route.tls != is_tls)
		return err_set(
		    e, ERR_INVALID, "endpoint", "https:// must stand before all of a line or none");
	l->route.tls = is_tls;
	w += is_tls ? strlen("https://") : 0;
	colon = strrchr(w, ':');

	if (colon == NULL)
		return err_set(e, ERR_INVALID, "endpoint", "must be ADDRESS:PORT, is \"%.80s\"", w);
	*colon = '\0';
	if (*w == '[' && colon[-1] == ']') {
		w++;
		colon[-1] = '\0';
	}
	*out = (struct wire_endpoint){ .address = w, .canary = l->in_canary };
	return str_to_i64(str_of(colon + 1), 1, 65535, "port", &out->port, e);
}

/* NAME=VALUE as a member of b; what is no number, boolean, list or object is a string. */
static void
add_option(struct buf *b, struct str w)
{
	struct str name, value = str_cut(w, '=', &name);
	bool is_json =
	    value.n != 0 && (strchr("[{\"0123456789", *value.p) != NULL || str_eq(value, "-1") ||
	                        str_eq(value, "true") || str_eq(value, "false"));

	buf_addc(b, b->n == 0 ? '{' : ',');
	buf_add_json_strn(b, name.p, name.n);
	buf_addc(b, ':');
	if (is_json)
		buf_addstr(b, value);
	else
		buf_add_json_strn(b, value.p, value.n);
}

/* The options of a line, as the table has them. */
static int
take_options(struct line *l, struct err *e)
{
	AUTO_FINI(wire_routing_fini) struct wire_routing set = { 0 };

	buf_addc(&l->set, '}');
	if (codec_decode(&wire_routing_codec, l->set.p, l->set.n, &set, 0, e) < 0)
		return -1;
	l->route.options = codec_to_json(&wire_routing_codec, &set);
	return 0;
}

static int
take_word(struct line *l, char *w, struct err *e)
{
	if (str_has_prefix(w, "canary=")) {
		l->in_canary = true;
		return str_to_i64(
		    str_of(w + strlen("canary=")), 0, 100, "canary", &l->route.canary_percent, e);
	}
	if (strchr(w, '=') != NULL) {
		add_option(&l->set, str_of(w));
		return 0;
	}
	return parse_endpoint(w, l, e);
}

static int
parse_line(struct str text, struct line *l, struct err *e)
{
	struct str w = next_word(&text);
	size_t host_n = w.n;
	char *p;

	buf_clear(&l->words);
	buf_addstr(&l->words, w);
	buf_addc(&l->words, '\0');
	buf_addstr(&l->words, text);
	p = l->words.p;
	str_lower(p);
	l->route.host = p;
	free(STEAL(l->route.options));
	buf_clear(&l->set);
	l->route.endpoints.n = 0;
	l->route.tls = false;
	l->route.canary_percent = 0;
	l->in_canary = false;
	for (p += host_n + 1;;) {
		p += strspn(p, " \t");
		if (*p == '\0')
			break;
		w.p = p;
		p += strcspn(p, " \t");
		if (*p != '\0')
			*p++ = '\0';
		if (take_word(l, (char *)(uintptr_t)w.p, e) < 0)
			return -1;
	}
	if (l->set.n != 0 && take_options(l, e) < 0)
		return -1;
	l->route.state = l->route.endpoints.n == 0 ? WIRE_ROUTE_EMPTY : WIRE_ROUTE_LIVE;
	return 0;
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

/* All lines are right. */
static int
check_lines(struct str text, struct line *l, struct err *e)
{
	struct str line;
	size_t number = 0;

	while (next_line(&text, &line, &number)) {
		if (parse_line(line, l, e) < 0 || host_route_check(&l->route, e) < 0)
			return err_wrap(e, "line %zu", number);
	}
	return 0;
}

/* Lines that were checked. */
static void
put_lines(struct host_table *t, struct str text, struct line *l)
{
	struct str line;
	size_t number = 0;
	struct err e = { 0 };

	while (next_line(&text, &line, &number)) {
		if (parse_line(line, l, &e) < 0 || host_table_put(t, &l->route, &e) < 0)
			abort();
	}
}

static int
check_text(struct str text, struct line *l, struct err *e)
{
	if (text.n != 0 && memchr(text.p, '\0', text.n) != NULL)
		return err_set(e, ERR_INVALID, NULL, "the file has NUL bytes: it is no table");
	return check_lines(text, l, e);
}

int
route_file_apply(struct host_table *t, const char *p, size_t n, struct err *e)
{
	AUTO_FINI(line_fini) struct line l = { 0 };
	struct str text = { p, n };

	if (check_text(text, &l, e) < 0)
		return -1;
	host_table_begin_sweep(t);
	put_lines(t, text, &l);
	host_table_sweep(t);
	return 0;
}

int
route_file_add(struct host_table *t, const char *p, size_t n, struct err *e)
{
	AUTO_FINI(line_fini) struct line l = { 0 };
	struct str text = { p, n };

	if (check_text(text, &l, e) < 0)
		return -1;
	put_lines(t, text, &l);
	return 0;
}

int
route_file_read(const char *path, struct buf *out, struct err *e)
{
	return file_read(path, FILE_MAX, out, e);
}
