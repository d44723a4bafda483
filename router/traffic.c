#include "router/traffic.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_route.h"
#include "router/feed_post.h"
#include "router/fleet.h"
#include "router/host_table.h"
#include "router/lane.h"
#include "router/router_conf.h"
#include "router/upstream.h"

enum { APPS_MAX = 100000 };

/* What one lane found; written there, read by the control thread once all have answered. */
struct share {
	struct wire_traffic_app_list apps;
	int64_t since_ms; /* the lane's clock at the look before */
};

struct traffic {
	struct loop *loop;              /* borrowed */
	struct fleet *fleet;            /* borrowed */
	const struct router_conf *conf; /* borrowed */
	struct feed_post post;
	struct loop_timer *timer;
	struct map *apps; /* id → int64_t: when it last had a request; not told yet */
	int64_t revision; /* of the look under way, then of what is in apps */
	atomic_int left;  /* lanes that have not answered */
	bool is_looking;
	int lanes;
	struct share share[];
};

/* --- in a lane --- */

static void
add_app(struct share *s, const struct upstream_pool *p, int64_t now_ms)
{
	struct wire_traffic_app *a;

	if (p->app[0] == '\0' || s->apps.n >= APPS_MAX)
		return;
	a = codec_list_add(&wire_traffic_app_codec, &s->apps);
	a->id = xstrdup(p->app);
	a->ago_ms = p->active > 0 ? 0 : now_ms - p->used_ms;
}

static void on_looked(void *arg);

static void
look(struct lane *l, void *arg)
{
	struct traffic *t = arg;
	struct share *s = &t->share[l->index];

	for (const struct upstream_pool *p = l->pools; p != NULL; p = p->next) {
		if (p->active > 0 || p->used_ms >= s->since_ms)
			add_app(s, p, l->now_ms);
	}
	s->since_ms = l->now_ms;
	if (atomic_fetch_sub(&t->left, 1) == 1)
		loop_post(t->loop, on_looked, t);
}

/* --- control thread --- */

static void
free_time(void *p)
{
	free(p);
}

/* Keeps the newest. */
static void
note(struct traffic *t, const char *app, int64_t at_ms)
{
	int64_t *have = map_get(t->apps, app);

	if (have == NULL) {
		have = xcalloc(1, sizeof *have);
		map_set(t->apps, app, have);
	}
	if (at_ms > *have)
		*have = at_ms;
}

struct filling {
	struct wire_traffic *out;
	int64_t now_ms;
};

static void
fill(const char *key, void *value, void *arg)
{
	struct filling *f = arg;
	struct wire_traffic_app *a = codec_list_add(&wire_traffic_app_codec, &f->out->apps);
	const int64_t *at_ms = value;

	a->id = xstrdup(key);
	a->ago_ms = f->now_ms > *at_ms ? f->now_ms - *at_ms : 0;
}

static void
on_told(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct traffic *t = arg;

	(void)c;
	(void)body;
	if (!feed_post_ended(&t->post, status, e))
		return; /* with the next one */
	map_free(t->apps);
	t->apps = map_new(free_time);
}

static void
tell(struct traffic *t)
{
	AUTO_FINI(wire_traffic_fini)
	struct wire_traffic out = { .router = xstrdup(t->conf->id), .revision = t->revision };
	struct filling f = { &out, loop_now_ms() };
	AUTO(free) char *json = NULL;

	map_each(t->apps, fill, &f);
	json = codec_to_json(&wire_traffic_codec, &out);
	feed_post_send(&t->post, json, on_told, t);
}

static void
on_looked(void *arg)
{
	struct traffic *t = arg;
	int64_t now = loop_now_ms();

	t->is_looking = false;
	for (int i = 0; i < t->lanes; i++) {
		struct wire_traffic_app_list *l = &t->share[i].apps;

		for (size_t k = 0; k < l->n; k++) {
			note(t, l->v[k].id, now - l->v[k].ago_ms);
			wire_traffic_app_fini(&l->v[k]);
		}
		l->n = 0;
	}
	if (t->post.call == NULL)
		tell(t);
}

static void
on_time(void *arg)
{
	struct traffic *t = arg;

	if (t->is_looking || t->post.call != NULL)
		return;
	t->is_looking = true;
	t->revision = fleet_applied(t->fleet);
	atomic_store(&t->left, t->lanes);
	fleet_each_lane(t->fleet, look, t);
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
	t->apps = map_new(free_time);
	if (feed_post_init(&t->post, l, conf, "/internal/router/traffic", e) < 0)
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
	for (int i = 0; i < t->lanes; i++) {
		for (size_t k = 0; k < t->share[i].apps.n; k++)
			wire_traffic_app_fini(&t->share[i].apps.v[k]);
		free(t->share[i].apps.v);
	}
	map_free(t->apps);
	free(t);
}
