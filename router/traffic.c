#include "router/traffic.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_route.h"
#include "router/feed_post.h"
#include "router/fleet.h"
#include "router/lane.h"
#include "router/router_conf.h"

enum {
	FORGET_MS = 3600 * 1000,
	SWEEP_MS = 60 * 1000,
	REPORT_APPS_MAX = 2000, /* more go in parts, which the broker takes in turn */
};

/* What one lane found; written there, read by the control thread once all have answered. */
struct share {
	struct stats_app *apps; /* owned copies */
};

/* What one application had. */
struct had {
	struct traffic_app total;
	struct had *next; /* in traffic->untold */
	bool is_untold, is_host;
	uint32_t look;            /* the last that found it */
	int64_t seen_ms, used_ms; /* used: see stats_app; 0: never */
	/* since the last report */
	uint64_t requests, errors, us, bytes;
	uint32_t took[WIRE_TOOK_PLACES];
	char id[];
};

struct traffic {
	struct loop *loop;              /* borrowed */
	struct fleet *fleet;            /* borrowed */
	const struct router_conf *conf; /* borrowed */
	struct feed_post post;
	struct loop_timer *timer;
	struct map *apps;   /* id → struct had, owned */
	struct had *untold; /* those with something since the last report */
	int64_t sweep_ms;   /* the next one */
	uint32_t look;      /* counts them */
	int64_t revision;   /* of the look under way, then of what is in apps */
	int64_t look_ms;    /* when the last was */
	int64_t told_ms;    /* when the last was that the broker knows all of */
	size_t sent;        /* applications in the call under way */
	atomic_int left;    /* lanes that have not answered */
	bool is_looking;
	int lanes;
	struct share share[];
};

/* --- in a lane --- */

static void
copy_app(const struct stats_app *a, void *arg)
{
	struct share *s = arg;
	size_t n = sizeof *a + strlen(a->id) + a->name_n + 2;
	struct stats_app *copy = xmalloc(n);

	memcpy(copy, a, n);
	copy->next = s->apps;
	s->apps = copy;
}

static void on_looked(void *arg);

static void
look(struct lane *l, void *arg)
{
	struct traffic *t = arg;

	stats_look(l->stats, copy_app, &t->share[l->index]);
	if (atomic_fetch_sub(&t->left, 1) == 1)
		loop_post(t->loop, on_looked, t);
}

/* --- control thread --- */

static void
had_free(void *p)
{
	struct had *h = p;

	free(h->total.name);
	free(h);
}

static struct had *
had_of(struct traffic *t, const struct stats_app *a)
{
	struct had *h = map_get(t->apps, a->id);
	size_t n = strlen(a->id) + 1;

	if (h == NULL) {
		h = xcalloc(1, sizeof *h + n);
		memcpy(h->id, a->id, n);
		h->total.id = h->id;
		h->is_host = a->is_host;
		map_set(t->apps, h->id, h);
	}
	if (h->total.name == NULL || (a->name_n != 0 && strcmp(h->total.name, a->id + n) != 0))
		mem_set_str(&h->total.name, a->id + n);
	return h;
}

static void
merge(struct traffic *t, const struct stats_app *a, int64_t now_ms)
{
	struct had *h = had_of(t, a);

	for (int i = 0; i < STATS_CLASSES; i++) {
		h->total.requests[i] += a->requests[i];
		h->total.all += a->requests[i];
		h->requests += a->requests[i];
	}
	h->errors += a->requests[5];
	h->us += a->us;
	h->bytes += a->bytes;
	h->total.us += a->us;
	h->total.bytes += a->bytes;
	h->total.retries += a->retries;
	h->total.active = a->active + (h->look == t->look ? h->total.active : 0);
	h->look = t->look;
	for (int i = 0; i < WIRE_TOOK_PLACES; i++)
		h->took[i] += a->took[i];
	if (a->used_ms > h->used_ms)
		h->used_ms = a->used_ms;
	h->seen_ms = now_ms;
	if (h->is_untold)
		return;
	h->is_untold = true;
	h->next = t->untold;
	t->untold = h;
}

static void
take_share(struct traffic *t, struct share *s, int64_t now_ms)
{
	while (s->apps != NULL) {
		struct stats_app *a = s->apps;

		s->apps = a->next;
		if (now_ms != 0)
			merge(t, a, now_ms);
		free(a);
	}
}

/* The first n of those that are to be told are. */
static void
forget_told(struct traffic *t, size_t n)
{
	for (; t->untold != NULL && n > 0; n--) {
		struct had *h = t->untold;

		t->untold = h->next;
		h->is_untold = false;
		h->requests = h->errors = h->us = h->bytes = 0;
		memset(h->took, 0, sizeof h->took);
	}
}

static void
add_app(struct wire_traffic *out, const struct had *h, int64_t now_ms, uint32_t look)
{
	struct wire_traffic_app *a = codec_list_add(&wire_traffic_app_codec, &out->apps);
	int64_t active = h->look == look ? (int64_t)h->total.active : 0;
	struct buf took = { 0 };

	wire_took_add_text(&took, h->took);
	*a = (struct wire_traffic_app){
		.id = xstrdup(h->id),
		.ago_ms = h->used_ms == 0       ? -1
		          : now_ms > h->used_ms ? now_ms - h->used_ms
		                                : 0,
		.active = active,
		.requests = (int64_t)h->requests,
		.errors = (int64_t)h->errors,
		.us = (int64_t)h->us,
		.bytes = (int64_t)h->bytes,
		.took = took.n == 0 ? (buf_fini(&took), NULL) : buf_steal(&took),
	};
	if (active > 0)
		a->ago_ms = 0;
}

static void on_told(
    struct http_call *c, int status, struct str body, const struct err *e, void *arg);

static void
tell(struct traffic *t)
{
	AUTO_FINI(wire_traffic_fini)
	struct wire_traffic out = { .router = xstrdup(t->conf->id),
		.revision = t->revision,
		.look = t->look,
		.ms = t->look_ms - t->told_ms };
	AUTO(free) char *json = NULL;
	const struct had *h = t->untold;

	for (t->sent = 0; h != NULL && t->sent < REPORT_APPS_MAX; h = h->next, t->sent++) {
		if (!h->is_host)
			add_app(&out, h, loop_now_ms(), t->look);
	}
	out.more = h != NULL;
	json = codec_to_json(&wire_traffic_codec, &out);
	feed_post_send(&t->post, json, on_told, t);
}

static void
on_told(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct traffic *t = arg;

	(void)c;
	(void)body;
	if (!feed_post_ended(&t->post, status, e))
		return; /* with the next one */
	forget_told(t, t->sent);
	if (t->untold != NULL)
		tell(t);
	else
		t->told_ms = t->look_ms;
}

static void
collect_old(const char *key, void *value, void *arg)
{
	struct traffic *t = arg;
	const struct had *h = value;

	if (!h->is_untold && t->sweep_ms - h->seen_ms > FORGET_MS)
		(void)map_remove(t->apps, key);
}

static void
sweep(struct traffic *t, int64_t now_ms)
{
	if (now_ms < t->sweep_ms)
		return;
	t->sweep_ms = now_ms;
	map_each(t->apps, collect_old, t);
	t->sweep_ms = now_ms + SWEEP_MS;
}

static void
on_looked(void *arg)
{
	struct traffic *t = arg;
	int64_t now = loop_now_ms();

	t->is_looking = false;
	t->look_ms = now;
	for (int i = 0; i < t->lanes; i++)
		take_share(t, &t->share[i], now);
	if (t->conf->feed == NULL)
		forget_told(t, SIZE_MAX);
	else if (t->post.call == NULL)
		tell(t);
	sweep(t, now);
}

static void
on_time(void *arg)
{
	struct traffic *t = arg;

	if (t->is_looking || t->post.call != NULL)
		return;
	t->is_looking = true;
	t->look++;
	t->revision = fleet_applied(t->fleet);
	atomic_store(&t->left, t->lanes);
	fleet_each_lane(t->fleet, look, t);
}

struct visit {
	const struct traffic *t;
	traffic_visit_fn *fn;
	void *arg;
};

static void
visit_one(const char *key, void *value, void *arg)
{
	const struct visit *v = arg;
	const struct had *h = value;
	struct traffic_app a = h->total;

	(void)key;
	if (h->look != v->t->look)
		a.active = 0;
	v->fn(&a, v->arg);
}

void
traffic_each(const struct traffic *t, traffic_visit_fn *fn, void *arg)
{
	map_each(t->apps, visit_one, &(struct visit){ t, fn, arg });
}

DEFINE_AUTO(struct traffic *, traffic_free)

struct traffic *
traffic_new(struct loop *l, struct fleet *f, const struct router_conf *conf, struct err *e)
{
	int lanes = fleet_lanes(f);
	AUTO(traffic_free)
	struct traffic *t = xcalloc(1, sizeof *t + (size_t)lanes * sizeof t->share[0]);

	t->loop = l;
	t->fleet = f;
	t->conf = conf;
	t->lanes = lanes;
	t->apps = map_new(had_free);
	t->told_ms = loop_now_ms();
	if (conf->feed != NULL &&
	    feed_post_init(&t->post, l, conf, "/internal/router/traffic", e) < 0)
		return NULL;
	t->timer = loop_timer_start(l, conf->traffic_ms, true, on_time, t);
	return STEAL(t);
}

void
traffic_stop(struct traffic *t)
{
	if (t == NULL)
		return;
	loop_timer_cancel(STEAL(t->timer));
	feed_post_stop(&t->post);
}

void
traffic_free(struct traffic *take_t)
{
	struct traffic *t = take_t;

	if (t == NULL)
		return;
	traffic_stop(t);
	feed_post_fini(&t->post);
	for (int i = 0; i < t->lanes; i++)
		take_share(t, &t->share[i], 0);
	map_free(t->apps);
	free(t);
}
