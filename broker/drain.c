#include "broker/drain.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "broker/app.h"
#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/router_lines.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/http_watch.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"

enum { LOOK_MS = 2000, LINE_BYTES_MAX = 256 * 1024, MESSAGE_MAX = 16 * 1024 };

/* The log of one gear. */
struct source {
	struct source *next;
	struct feed *feed; /* borrowed */
	char *node, *uuid;
	struct http_call *call; /* NULL: ended; asked again at the next look */
	struct http_lines lines;
	bool is_seen;
};

struct sink {
	struct sink *next;
	char *id;
	struct drain_sink *sink;
	bool is_seen;
};

/* One application. */
struct feed {
	struct drains *d; /* borrowed */
	char *app_id, *app, *host;
	struct source *sources;
	struct sink *sinks;
	struct router_lines_watch *routers;
};

struct drains {
	struct broker *b;  /* borrowed */
	struct map *feeds; /* application → struct feed, owned */
	struct store_watch *watch;
	struct loop_timer *timer;
};

static void
source_free(struct source *s)
{
	http_call_cancel(s->call);
	http_lines_fini(&s->lines);
	free(s->node);
	free(s->uuid);
	free(s);
}

static void
sink_free(struct sink *s)
{
	drain_sink_free(s->sink);
	free(s->id);
	free(s);
}

static void
feed_free(void *p)
{
	struct feed *f = p;

	router_lines_unfollow(f->routers);
	while (f->sources != NULL) {
		struct source *s = f->sources;

		f->sources = s->next;
		source_free(s);
	}
	while (f->sinks != NULL) {
		struct sink *s = f->sinks;

		f->sinks = s->next;
		sink_free(s);
	}
	free(f->app_id);
	free(f->app);
	free(f->host);
	free(f);
}

/* --- lines --- */

/* A name of RFC 5424: printable, no space. */
static void
add_name(struct buf *b, const char *s)
{
	size_t n = 0;

	for (; s != NULL && *s != '\0' && n < 48; s++, n++)
		buf_addc(b, *s > 0x20 && *s < 0x7f ? *s : '_');
	if (n == 0)
		buf_addc(b, '-');
}

static void
pass(struct feed *f, const struct wire_log_line *l)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	bool is_router = l->source != NULL && strcmp(l->source, "router") == 0;

	buf_addf(&b, "<%d>1 %s ", is_router ? 158 : 190, l->time == NULL ? "-" : l->time);
	add_name(&b, f->host);
	buf_addc(&b, ' ');
	add_name(&b, f->app);
	buf_addc(&b, ' ');
	add_name(&b, l->source);
	buf_addc(&b, ' ');
	add_name(&b, l->instance);
	buf_adds(&b, " - ");
	buf_adds(&b, l->line == NULL ? "" : l->line);
	if (b.n > MESSAGE_MAX)
		buf_truncate(&b, MESSAGE_MAX);
	for (struct sink *s = f->sinks; s != NULL; s = s->next)
		drain_sink_put(s->sink, b.p, b.n);
}

static void
on_router_line(const struct wire_log_line *line, void *arg)
{
	pass(arg, line);
}

static void
on_line(struct str line, void *arg)
{
	AUTO_FINI(wire_log_line_fini) struct wire_log_line l = { 0 };
	struct source *s = arg;
	struct err e = { 0 };

	if (line.n > 0 &&
	    codec_decode(&wire_log_line_codec, line.p, line.n, &l, CODEC_IGNORE, &e) == 0)
		pass(s->feed, &l);
}

static bool
on_data(struct http_call *call, const char *p, size_t n, void *arg)
{
	struct source *s = arg;
	struct err e = { 0 };

	(void)call;
	(void)!http_lines_feed(&s->lines, p, n, LINE_BYTES_MAX, on_line, s, &e);
	return true;
}

static void
on_end(struct http_call *call, int status, struct str body, const struct err *e, void *arg)
{
	struct source *s = arg;

	(void)call;
	(void)status;
	(void)body;
	(void)e;
	s->call = NULL;
}

/* --- what is to be followed --- */

static void
start_source(struct source *s)
{
	struct broker *b = s->feed->d->b;
	AUTO(free) char *path = xasprintf("/v1/gears/%s/logs?lines=0&follow=1", s->uuid);
	AUTO(free) char *url = NULL;
	struct http_call_opts o = { .on_data = on_data };
	struct err e = { 0 };

	http_lines_fini(&s->lines);
	s->lines = (struct http_lines){ 0 };
	if (node_link_call(b->nodes, s->node, path, &o, &url, &e) == 0)
		s->call = http_call_start(b->client, &o, on_end, s, &e);
}

static bool
see_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct feed *f = arg;
	const char *at = key + strlen(STORE_PREFIX_GEAR);
	struct source *s;

	(void)rev;
	if (strcmp(g->app_id, f->app_id) != 0 || g->want == WIRE_WANT_GONE)
		return true;
	for (s = f->sources; s != NULL && strcmp(s->uuid, g->uuid) != 0; s = s->next)
		;
	if (s == NULL) {
		s = xcalloc(1, sizeof *s);
		s->feed = f;
		s->node = xstrndup(at, strcspn(at, "/"));
		s->uuid = xstrdup(g->uuid);
		s->next = f->sources;
		f->sources = s;
	}
	s->is_seen = true;
	if (s->call == NULL)
		start_source(s);
	return true;
}

static void
look_at_gears(struct feed *f)
{
	for (struct source *s = f->sources; s != NULL; s = s->next)
		s->is_seen = false;
	record_each_with(
	    f->d->b->store, STORE_PREFIX_GEAR, f->app_id, &wire_gear_codec, see_gear, f);
	for (struct source **p = &f->sources; *p != NULL;) {
		struct source *s = *p;

		if (s->is_seen) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		source_free(s);
	}
}

static void
look_at_sinks(struct feed *f, const struct wire_app *a)
{
	struct sink *s;

	for (s = f->sinks; s != NULL; s = s->next)
		s->is_seen = false;
	for (size_t i = 0; i < a->drains.n; i++) {
		for (s = f->sinks; s != NULL && strcmp(s->id, a->drains.v[i].id) != 0; s = s->next)
			;
		if (s == NULL) {
			s = xcalloc(1, sizeof *s);
			s->id = xstrdup(a->drains.v[i].id);
			s->sink = drain_sink_new(f->d->b, a->drains.v[i].url, f->host, f->app);
			s->next = f->sinks;
			f->sinks = s;
		}
		s->is_seen = true;
	}
	for (struct sink **p = &f->sinks; *p != NULL;) {
		s = *p;
		if (s->is_seen) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		sink_free(s);
	}
}

static void
look_at_app(struct drains *d, const struct wire_app *a)
{
	struct feed *f = map_get(d->feeds, a->id);

	if (a->drains.n == 0 || a->spec.deleted) {
		if (f != NULL)
			(void)map_remove(d->feeds, a->id);
		return;
	}
	if (f == NULL) {
		f = xcalloc(1, sizeof *f);
		f->d = d;
		f->app_id = xstrdup(a->id);
		f->app = xstrdup(a->name);
		f->host = app_host(d->b, a->name, a->domain);
		f->routers = router_lines_follow(d->b->router_lines, a->id, on_router_line, f);
		map_set(d->feeds, a->id, f);
	}
	look_at_sinks(f, a);
	look_at_gears(f);
}

static void
look_at_record(struct drains *d, const struct store_kv *kv)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err e = { 0 };

	if (codec_decode(&wire_app_codec, kv->val, kv->n, &a, CODEC_KEEP, &e) == 0)
		look_at_app(d, &a);
}

static bool
visit(const struct store_kv *kv, void *arg)
{
	if (memmem(kv->val, kv->n, "\"drains\":[{", 11) != NULL)
		look_at_record(arg, kv);
	return true;
}

static void
on_event(const struct store_event *ev, void *arg)
{
	struct drains *d = arg;

	if (ev->type != STORE_PUT)
		return;
	if (map_count(d->feeds) > 0 || memmem(ev->kv.val, ev->kv.n, "\"drains\":[{", 11) != NULL)
		look_at_record(d, &ev->kv);
}

/* Logs that ended, gears that came or went. */
static void
on_look(void *arg)
{
	struct drains *d = arg;
	struct str_list gone = { 0 };

	if (map_count(d->feeds) > 0)
		store_range(d->b->store, STORE_PREFIX_APP, visit, d);
	str_list_fini(&gone);
}

struct drains *
drains_new(struct broker *b)
{
	struct drains *d = xcalloc(1, sizeof *d);

	d->b = b;
	d->feeds = map_new(feed_free);
	store_range(b->store, STORE_PREFIX_APP, visit, d);
	d->watch = store_watch_start(b->store, STORE_PREFIX_APP, 0, on_event, d);
	d->timer = loop_timer_start(b->loop, LOOK_MS, true, on_look, d);
	return d;
}

void
drains_free(struct drains *take_d)
{
	if (take_d == NULL)
		return;
	loop_timer_cancel(take_d->timer);
	store_watch_cancel(take_d->watch);
	map_free(take_d->feeds);
	free(take_d);
}

bool
drains_status(
    const struct drains *d, const char *app_id, const char *id, struct drain_sink_status *out)
{
	const struct feed *f = d == NULL ? NULL : map_get(d->feeds, app_id);

	for (const struct sink *s = f == NULL ? NULL : f->sinks; s != NULL; s = s->next) {
		if (strcmp(s->id, id) == 0) {
			drain_sink_status(s->sink, out);
			return true;
		}
	}
	return false;
}
