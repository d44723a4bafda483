/* The broker's feed at a live lane: lines come, a table with its options is in force, requests are
 * under way meanwhile. A line of the input begins with
 *   {  a line of the feed                    = JSON     a put of this route; % is its endpoint's
 * place
 *   +  HOST OPTIONS: a put with options      - HOST     a delete
 *   !  a reset                               .          a sync
 *   @  a connection anew                     ? HOST TARGET FIELDS   a request; | is a line's end
 * What was put, and nothing else, is found, by control and lane; what is gone is free. No request
 * gets past what its route's owner set. */
#include "test/fuzz/fuzz.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/cidr.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/http/http_head.h"
#include "lib/wire/wire_feed.h"
#include "lib/wire/wire_route.h"
#include "lib/wire/wire_routing.h"
#include "router/host_key.h"
#include "router/host_root.h"
#include "router/host_route.h"
#include "router/host_table.h"
#include "test/lib/router_lane.h"

enum { LINES_MAX = 200, REQUESTS_MAX = 30 };

/* What the table should have. */
struct want {
	struct wire_route r;
	int sweep; /* the last snapshot that had it */
};

struct world {
	struct router_lane *lane;
	struct map *want;
	struct str_list seen; /* hosts that were put at some time */
	int sweep, requests, revision;
	bool in_snapshot, is_synced;
	bool is_safe;  /* all endpoints are the instance's */
	size_t served; /* requests that the instance saw */
};

static void
want_free(void *p)
{
	struct want *w = p;

	wire_route_fini(&w->r);
	free(w);
}

/* --- the instance: h hangs, x leaves without an answer --- */

static void
app(struct router_lane_app *a, void *arg)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-App: 1\r\n\r\nok";
	struct world *w = arg;
	enum http_head_result got;
	struct http_head h;

	if (a->in.n == 0)
		return;
	got = http_head_request(a->in.p, a->in.n, 0, &h);
	if (got == HTTP_HEAD_MORE)
		return;
	if (got != HTTP_HEAD_OK) { /* TLS, HTTP/2 */
		router_lane_app_close(a);
		return;
	}
	w->served++;
	if (h.target.n > 1 && h.target.p[1] == 'h')
		return;
	buf_clear(&a->in);
	if (h.target.n > 1 && h.target.p[1] == 'x')
		router_lane_app_close(a);
	else
		router_lane_app_send(a, ok, sizeof ok - 1);
}

/* --- the feed --- */

struct sweep {
	struct world *w;
	struct str_list gone;
};

static void
see_swept(const char *host, void *value, void *arg)
{
	struct sweep *s = arg;
	const struct want *w = value;

	if (w->sweep != s->w->sweep)
		str_list_add(&s->gone, host);
}

static void
sweep(struct world *w)
{
	struct sweep s = { .w = w };

	map_each(w->want, see_swept, &s);
	for (size_t i = 0; i < s.gone.n; i++)
		(void)map_remove(w->want, s.gone.v[i]);
	str_list_fini(&s.gone);
}

static void
note_put(struct world *w, const struct wire_feed *f)
{
	struct want *n = xcalloc(1, sizeof *n);
	struct err e = { 0 };

	check(codec_decode(
	          &wire_route_codec, f->value, strlen(f->value), &n->r, CODEC_IGNORE, &e) == 0);
	n->sweep = w->sweep;
	str_list_add(&w->seen, f->key);
	map_set(w->want, f->key, n);
}

struct visit {
	struct world *w;
	char place[40];
	size_t n;
};

static void
see_route(const struct host_route *r, void *arg)
{
	struct visit *v = arg;
	const char *host = host_route_host(r);
	const struct want *w = map_get(v->w->want, host);
	char text[HOST_ENDPOINT_TEXT];

	v->n++;
	check(w != NULL && host_route_is(r, &w->r));
	check(host_table_get(router_lane_table(v->w->lane), host, r->host_n) == r);
	if (strchr(host, '/') == NULL)
		check(host_find(router_lane_root(v->w->lane), host, r->host_n) == r);
	for (size_t i = 0; i < r->n; i++)
		v->w->is_safe &= strcmp(host_endpoint_text(r->ep[i], text), v->place) == 0;
}

/* Table and lane have what is wanted, and nothing that is gone. */
static void
check_table(struct world *w)
{
	struct visit v = { .w = w };

	(void)snprintf(v.place, sizeof v.place, "127.0.0.1:%d", router_lane_port(w->lane));
	w->is_safe = true;
	host_table_each(router_lane_table(w->lane), see_route, &v);
	check(v.n == map_count(w->want) && v.n == host_table_count(router_lane_table(w->lane)));
	for (size_t i = 0; i < w->seen.n; i++) {
		const char *host = w->seen.v[i];
		const struct host_route *r;

		if (map_get(w->want, host) != NULL)
			continue;
		check(host_table_get(router_lane_table(w->lane), host, strlen(host)) == NULL);
		r = host_find(router_lane_root(w->lane), host, strlen(host));
		check(r == NULL || strcmp(host_route_host(r), host) != 0);
	}
}

static void
line(struct world *w, struct str s)
{
	AUTO_FINI(wire_feed_fini) struct wire_feed f = { 0 };
	enum route_feed_step step;
	struct err e = { 0 }, ignored = { 0 };

	step = router_lane_line(w->lane, s, &e);
	check(step != ROUTE_FEED_REFUSED || e.code != ERR_NONE);
	if (step == ROUTE_FEED_REFUSED || step == ROUTE_FEED_SKIPPED)
		return;
	check(codec_decode(&wire_feed_codec, s.p, s.n, &f, CODEC_IGNORE, &ignored) == 0);
	if (step == ROUTE_FEED_CHANGE && strcmp(f.kind, "route") != 0) /* a challenge */
		return;
	w->is_synced = step == ROUTE_FEED_SYNC;
	switch (step) {
	case ROUTE_FEED_RESET:
		w->sweep++;
		w->in_snapshot = true;
		break;
	case ROUTE_FEED_CHANGE:
		if (f.type == WIRE_FEED_PUT)
			note_put(w, &f);
		else
			check(map_remove(w->want, f.key));
		break;
	default:
		if (w->in_snapshot)
			sweep(w);
		w->in_snapshot = false;
		check_table(w);
		break;
	}
}

static void
tell(struct world *w, int type, char *key, char *value)
{
	struct wire_feed f = {
		.type = type, .kind = "route", .key = key, .value = value, .revision = ++w->revision
	};
	AUTO(free) char *text = codec_to_json(&wire_feed_codec, &f);

	line(w, str_of(text));
}

static void
put_json(struct world *w, struct str s)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO_FINI(wire_route_fini) struct wire_route r = { 0 };
	struct err e = { 0 };
	char place[60];

	(void)snprintf(place, sizeof place, "\"address\":\"127.0.0.1\",\"port\":%d",
	    router_lane_port(w->lane));
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%')
			buf_adds(&b, place);
		else
			buf_addc(&b, s.p[i]);
	}
	buf_addc(&b, '\0');
	if (codec_decode(&wire_route_codec, b.p, b.n - 1, &r, CODEC_IGNORE, &e) == 0)
		tell(w, WIRE_FEED_PUT, r.host, b.p);
}

static void
put_options(struct world *w, struct str host, struct str options)
{
	AUTO(free)
	char *name = xstrndup(host.p, host.n), *text = xstrndup(options.p, options.n), *json = NULL;
	struct wire_endpoint ep = {
		.id = "i1", .address = "127.0.0.1", .port = router_lane_port(w->lane)
	};
	struct wire_route r = { .host = name,
		.app_id = "1",
		.app = "app",
		.domain = "d",
		.options = text,
		.endpoints = { &ep, 1 } };

	json = codec_to_json(&wire_route_codec, &r);
	tell(w, WIRE_FEED_PUT, name, json);
}

/* --- requests --- */

/* The route that a request for host gets, before its path is looked at. */
static const struct wire_route *
find(const struct world *w, struct str host)
{
	char key[HOST_NAME_MAX + 1], wild[HOST_NAME_MAX + 3];
	size_t n = host_key(host.p, host.n, key);
	const struct want *found;

	if (n == 0)
		return NULL;
	found = map_getn(w->want, key, n);
	for (const char *dot = key; found == NULL && (dot = strchr(dot, '.')) != NULL; dot++) {
		(void)snprintf(wild, sizeof wild, "*%s", dot);
		found = map_get(w->want, wild);
	}
	return found == NULL ? NULL : &found->r;
}

static bool
has_client(const struct str_list *networks)
{
	static const uint8_t client[16] = { [10] = 0xff, [11] = 0xff, 192, 0, 2, 1 };
	struct cidr_list l = { 0 };
	struct err e = { 0 };
	bool has;

	for (size_t i = 0; i < networks->n; i++)
		check(cidr_list_add(&l, str_of(networks->v[i]), &e) == 0);
	has = cidr_list_has(&l, client);
	cidr_list_fini(&l);
	return has;
}

/* Whether the request, by http, without a password if !is_known, may come to the instance. */
static bool
may_pass(const struct wire_route *r, struct str target, bool is_known)
{
	AUTO_FINI(wire_routing_fini) struct wire_routing o = { 0 };
	struct err e = { 0 };

	if (r == NULL)
		return false;
	if (r->options == NULL)
		return true;
	check(codec_decode(
	          &wire_routing_codec, r->options, strlen(r->options), &o, CODEC_IGNORE, &e) == 0 &&
	      wire_routing_check(&o, &e) == 0);
	if (o.allow.n != 0 && !has_client(&o.allow))
		return false;
	if ((o.https == WIRE_ROUTING_HTTPS_REDIRECT || o.https == WIRE_ROUTING_HTTPS_REQUIRE) &&
	    (target.n < 2 || target.p[1] != '.'))
		return false;
	if (o.maintenance && !has_client(&o.maintenance_allow))
		return false;
	return o.auth_users.n == 0 || is_known;
}

/* Whether the bytes are one request, for this host and none else. */
static bool
is_plain(struct str target, const struct buf *head)
{
	struct http_head h;

	return target.n != 0 && target.p[0] == '/' &&
	       http_head_request(head->p, head->n, 0, &h) == HTTP_HEAD_OK && h.size == head->n;
}

static void
request(struct world *w, struct str host, struct str target, struct str fields)
{
	AUTO_FINI(buf_fini) struct buf head = { 0 };
	size_t served = w->served;
	bool is_end;

	if (!w->is_safe || w->requests++ >= REQUESTS_MAX)
		return;
	buf_adds(&head, "GET ");
	buf_addstr(&head, target);
	buf_adds(&head, " HTTP/1.1\r\nHost: ");
	buf_addstr(&head, host);
	buf_adds(&head, "\r\n");
	for (size_t i = 0; i < fields.n; i++) {
		if (fields.p[i] == '|')
			buf_adds(&head, "\r\n");
		else
			buf_addc(&head, fields.p[i]);
	}
	buf_adds(&head, fields.n == 0 ? "\r\n" : "\r\n\r\n");
	router_lane_connect(w->lane);
	served = w->served;
	router_lane_send(w->lane, head.p, head.n, 65536);
	if (is_plain(target, &head) && w->is_synced &&
	    !may_pass(find(w, host), target,
	        memmem(head.p, head.n, "uthorization", strlen("uthorization")) != NULL))
		check(w->served == served);
	(void)router_lane_got(w->lane, &is_end);
}

/* --- all of it --- */

static struct str
word(struct str *s)
{
	struct str out = { s->p, 0 };

	while (out.n < s->n && out.p[out.n] != ' ')
		out.n++;
	s->p += out.n + (out.n < s->n);
	s->n -= out.n + (out.n < s->n);
	return out;
}

static void
step(struct world *w, struct str s)
{
	struct str rest = { s.p + 1, s.n - 1 }, a, b;

	while (rest.n != 0 && rest.p[0] == ' ')
		rest = (struct str){ rest.p + 1, rest.n - 1 };
	switch (s.p[0]) {
	case '{':
		line(w, s);
		break;
	case '=':
		put_json(w, rest);
		break;
	case '+':
		a = word(&rest);
		put_options(w, a, rest);
		break;
	case '-': {
		AUTO(free) char *host = xstrndup(rest.p, rest.n);

		tell(w, WIRE_FEED_DELETE, host, NULL);
		break;
	}
	case '!':
		tell(w, WIRE_FEED_RESET, NULL, NULL);
		break;
	case '.':
		tell(w, WIRE_FEED_SYNC, NULL, NULL);
		break;
	case '@':
		router_lane_begin(w->lane);
		w->in_snapshot = false;
		break;
	case '?':
		a = word(&rest);
		b = word(&rest);
		request(w, a, b, rest);
		break;
	default:
		break;
	}
}

/* The broker takes all away. */
static void
end(struct world *w)
{
	router_lane_begin(w->lane);
	w->in_snapshot = false;
	tell(w, WIRE_FEED_RESET, NULL, NULL);
	tell(w, WIRE_FEED_SYNC, NULL, NULL);
	check(host_table_count(router_lane_table(w->lane)) == 0);
	router_lane_free(w->lane); /* no instance may be left */
	map_free(w->want);
	str_list_fini(&w->seen);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct world w = { .want = map_new(want_free) };
	const char *p = (const char *)data, *to = p + n;

	w.lane = router_lane_new("", false, false, app, &w);
	for (int i = 0; i < LINES_MAX && p < to; i++) {
		const char *nl = memchr(p, '\n', (size_t)(to - p));
		size_t length = (size_t)((nl == NULL ? to : nl) - p);

		if (length != 0)
			step(&w, (struct str){ p, length });
		p += length + 1;
	}
	end(&w);
	return 0;
}
