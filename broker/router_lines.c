#include "broker/router_lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "broker/broker.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/wire/wire_node.h"
#include "lib/wire/wire_route.h"

enum { BODY_MAX = 16 << 20, APPS_MAX = 500 };

struct ring {
	char *app_id;
	struct wire_app_line v[ROUTER_LINES_KEPT];
	size_t n, first;
	uint64_t used; /* when it was last written to */
};

struct router_lines_watch {
	struct router_lines *table; /* borrowed */
	LIST_ENTRY(router_lines_watch) link;
	char *app_id;
	router_lines_fn *fn;
	void *arg;
};

struct router_lines {
	struct broker *b;  /* borrowed */
	struct map *rings; /* application → struct ring, owned */
	LIST_HEAD(, router_lines_watch) watches;
	struct router_lines_watch *next; /* the one after that which is being told */
	uint64_t clock;
};

static void
ring_free(void *p)
{
	struct ring *r = p;

	for (size_t i = 0; i < ROUTER_LINES_KEPT; i++)
		wire_app_line_fini(&r->v[i]);
	free(r->app_id);
	free(r);
}

struct oldest {
	const char *app_id;
	uint64_t used;
};

static void
find_oldest(const char *key, void *value, void *arg)
{
	const struct ring *r = value;
	struct oldest *o = arg;

	if (o->app_id == NULL || r->used < o->used)
		*o = (struct oldest){ key, r->used };
}

static struct ring *
ring_of(struct router_lines *rl, const char *app_id)
{
	struct ring *r = map_get(rl->rings, app_id);
	struct oldest o = { 0 };

	if (r != NULL)
		return r;
	if (map_count(rl->rings) >= APPS_MAX) {
		map_each(rl->rings, find_oldest, &o);
		AUTO(free) char *gone = xstrdup(o.app_id);
		(void)map_remove(rl->rings, gone);
	}
	r = xcalloc(1, sizeof *r);
	r->app_id = xstrdup(app_id);
	map_set(rl->rings, app_id, r);
	return r;
}

static void
tell(const char *app_id, const struct wire_app_line *l, router_lines_fn *fn, void *arg)
{
	static char source[] = "router", instance[] = "router";
	char text[64];
	time_t s = (time_t)(l->at_ms / 1000);
	struct tm tm;
	struct wire_log_line out = { .time = text,
		.gear = (char *)(uintptr_t)app_id,
		.instance = instance,
		.source = source,
		.line = l->line };

	if (gmtime_r(&s, &tm) == NULL)
		return;
	(void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
	    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(l->at_ms % 1000));
	fn(&out, arg);
}

/* Takes l's members. */
static void
take(struct router_lines *rl, struct wire_app_line *l)
{
	struct ring *r = ring_of(rl, l->app_id);
	size_t at = (r->first + r->n) % ROUTER_LINES_KEPT;

	for (struct router_lines_watch *w = LIST_FIRST(&rl->watches); w != NULL; w = rl->next) {
		rl->next = LIST_NEXT(w, link);
		if (strcmp(w->app_id, l->app_id) == 0)
			tell(l->app_id, l, w->fn, w->arg);
	}
	rl->next = NULL;
	r->used = ++rl->clock;
	if (r->n == ROUTER_LINES_KEPT)
		r->first = (r->first + 1) % ROUTER_LINES_KEPT;
	else
		r->n++;
	wire_app_line_fini(&r->v[at]);
	r->v[at] = *l;
	*l = (struct wire_app_line){ 0 };
}

static void
on_body(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	AUTO_FINI(wire_app_lines_fini) struct wire_app_lines in = { 0 };
	struct router_lines *rl = arg;
	struct err bad = { 0 };

	if (e != NULL)
		return;
	if (codec_decode(&wire_app_lines_codec, body.p, body.n, &in, CODEC_IGNORE, &bad) < 0) {
		http_req_reply_text(r, 400, "%s: %s\n", bad.field, bad.text);
		return;
	}
	for (size_t i = 0; i < in.lines.n; i++)
		take(rl, &in.lines.v[i]);
	http_req_reply(r, 200, NULL, "{}", 2);
}

void
router_lines_handle(struct router_lines *r, struct http_req *req)
{
	http_req_read_all(req, BODY_MAX, on_body, r);
}

void
router_lines_each(
    const struct router_lines *rl, const char *app_id, size_t n, router_lines_fn *fn, void *arg)
{
	const struct ring *r = rl == NULL ? NULL : map_get(rl->rings, app_id);

	if (r == NULL)
		return;
	for (size_t i = n < r->n ? r->n - n : 0; i < r->n; i++)
		tell(app_id, &r->v[(r->first + i) % ROUTER_LINES_KEPT], fn, arg);
}

struct router_lines_watch *
router_lines_follow(struct router_lines *r, const char *app_id, router_lines_fn *fn, void *arg)
{
	struct router_lines_watch *w;

	if (r == NULL)
		return NULL;
	w = xcalloc(1, sizeof *w);
	*w = (struct router_lines_watch){
		.table = r,
		.app_id = xstrdup(app_id),
		.fn = fn,
		.arg = arg,
	};
	LIST_INSERT_HEAD(&r->watches, w, link);
	return w;
}

void
router_lines_unfollow(struct router_lines_watch *take_w)
{
	struct router_lines_watch *w = take_w;

	if (w == NULL)
		return;
	if (w->table->next == w)
		w->table->next = LIST_NEXT(w, link);
	LIST_REMOVE(w, link);
	free(w->app_id);
	free(w);
}

struct router_lines *
router_lines_new(struct broker *b)
{
	struct router_lines *r = xcalloc(1, sizeof *r);

	r->b = b;
	r->rings = map_new(ring_free);
	return r;
}

void
router_lines_free(struct router_lines *take_r)
{
	if (take_r == NULL)
		return;
	while (!LIST_EMPTY(&take_r->watches))
		router_lines_unfollow(LIST_FIRST(&take_r->watches));
	map_free(take_r->rings);
	free(take_r);
}
