#include "broker/idler.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/rollout.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_route.h"

enum { TICK_MS = 1000, LOOK_MIN_MS = 500, LOOK_MAX_MS = 30000 };

struct use {
	char *id;
	int64_t used_ms; /* Unix time */
	int64_t look_ms; /* loop time: not before */
	int holds;
	bool is_asleep; /* at the last look */
};

struct idler {
	struct broker *b; /* borrowed */
	struct map *uses; /* application → struct use, owned */
	struct loop_timer *timer;
};

static int64_t
unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
use_free(void *p)
{
	struct use *u = p;

	free(u->id);
	free(u);
}

static struct use *
use_of(struct idler *i, const char *app_id)
{
	struct use *u = map_get(i->uses, app_id);

	if (u != NULL)
		return u;
	u = xcalloc(1, sizeof *u);
	u->id = xstrdup(app_id);
	u->used_ms = unix_ms();
	map_set(i->uses, app_id, u);
	return u;
}

static void
used_at(struct idler *i, struct use *u, int64_t at_ms)
{
	if (at_ms <= u->used_ms)
		return;
	u->used_ms = at_ms;
	if (!u->is_asleep)
		return;
	u->is_asleep = false;
	u->look_ms = 0;
	rollout_poke(i->b->rollout, u->id);
}

void
idler_traffic(struct idler *i, const struct wire_traffic *t)
{
	int64_t now = unix_ms();

	for (size_t k = 0; k < t->apps.n; k++) {
		struct use *u = map_get(i->uses, t->apps.v[k].id);

		if (u != NULL && t->apps.v[k].ago_ms >= 0)
			used_at(i, u, now - t->apps.v[k].ago_ms);
	}
}

void
idler_touch(struct broker *b, const char *app_id)
{
	struct use *u;

	if (b->idler == NULL)
		return;
	u = use_of(b->idler, app_id);
	used_at(b->idler, u, unix_ms());
	rollout_poke(b->rollout, app_id);
}

void
idler_hold(struct broker *b, const char *app_id, int by)
{
	if (b->idler == NULL)
		return;
	use_of(b->idler, app_id)->holds += by;
	idler_touch(b, app_id);
}

bool
idler_is_used_since(const struct broker *b, const char *app_id, int64_t ms)
{
	const struct use *u = b->idler == NULL ? NULL : map_get(b->idler->uses, app_id);

	return u != NULL && (u->holds > 0 || u->used_ms > ms);
}

int64_t
idler_order(const struct wire_app *a)
{
	int64_t now = unix_ms();

	return now > a->spec.sleep_order ? now : a->spec.sleep_order + 1;
}

/* --- what is due --- */

static bool
stop_at_first(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_build *b = rec;
	bool *found = arg;

	(void)key;
	(void)rev;
	*found =
	    b->state != NULL && strcmp(b->state, "done") != 0 && strcmp(b->state, "failed") != 0;
	return !*found;
}

static bool
is_building(const struct idler *i, const char *app_id)
{
	AUTO(free) char *prefix = store_key_build(app_id, "");
	bool found = false;

	record_each(i->b->store, prefix, &wire_build_codec, stop_at_first, &found);
	return found;
}

/* Is somebody in one of its instances, by SSH? */
static bool
has_sessions(const struct idler *i, const char *app_id)
{
	const struct app_view_app *v = app_view_get(rollout_view(i->b->rollout), app_id);

	for (size_t k = 0; k < v->instances_n; k++) {
		if (v->instances[k]->status.has_sessions)
			return true;
	}
	return false;
}

/* A process in the background works without requests. */
static bool
has_workers(const struct wire_app *a)
{
	for (size_t k = 0; k < a->processes.n; k++) {
		if (a->processes.v[k].count > 0)
			return true;
	}
	return false;
}

/* Without swap there is nowhere to put memory: programs alone would be dropped, and read again. */
static bool
can_reclaim(const struct idler *i, const char *app_id)
{
	const struct app_view_app *v = app_view_get(rollout_view(i->b->rollout), app_id);

	for (size_t k = 0; k < v->instances_n; k++) {
		const struct wire_node_facts *f =
		    node_link_facts(i->b->nodes, v->instances[k]->node);

		if (f != NULL && f->reclaim != NULL && strcmp(f->reclaim, "swap") != 0)
			return false;
	}
	return true;
}

/* Something else than requests keeps it awake, or it does not run at all. */
static bool
is_busy(const struct idler *i, const struct wire_app *a)
{
	return !a->spec.running || a->spec.deleted || a->status.deployment == NULL ||
	       *a->status.deployment == '\0' || a->status.phase == NULL ||
	       strcmp(a->status.phase, "idle") != 0 || is_building(i, a->id) || has_workers(a) ||
	       has_sessions(i, a->id);
}

/* Seconds until then; 0: never. */
static int64_t
after(int64_t own, int64_t of_platform)
{
	return own == 0 ? of_platform : own < 0 ? 0 : own;
}

/* How deep it is to sleep after so long, and when the next look is worth it. */
static int
level_of(const struct idler *i, const struct wire_app *a, int64_t idle_ms, int64_t *next_ms)
{
	const struct broker_conf *c = &i->b->conf;
	const struct {
		int64_t s;
		int level;
	} steps[] = {
		{ after(a->idle_freeze_s, c->idle_freeze_s), WIRE_SLEEP_FROZEN },
		{ after(a->idle_reclaim_s, c->idle_reclaim_s), WIRE_SLEEP_RECLAIMED },
		{ after(a->idle_stop_s, c->idle_stop_s), WIRE_SLEEP_STOPPED },
	};
	int level = WIRE_SLEEP_AWAKE;

	*next_ms = LOOK_MAX_MS;
	for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
		int64_t left = steps[k].s * 1000 - idle_ms;

		if (steps[k].s == 0)
			continue;
		if (left <= 0)
			level = steps[k].level;
		else if (left < *next_ms)
			*next_ms = left;
	}
	if (level == WIRE_SLEEP_STOPPED && a->spec.canary != NULL)
		level = WIRE_SLEEP_RECLAIMED; /* the route keeps who gets which deployment */
	/* Memory is taken and programs are stopped only of what is frozen first. */
	return steps[0].s == 0 ? WIRE_SLEEP_AWAKE : level;
}

static void
on_stored(int64_t rev, const struct err *e, void *arg)
{
	(void)rev;
	(void)arg;
	if (e != NULL && e->code != ERR_CONFLICT)
		log_error("sleep_not_stored", LOG_ERR(e));
}

static void
put_to_sleep(struct idler *i, struct wire_app *a, int64_t rev, int level)
{
	struct store_txn *t = store_txn_new();

	if (a->spec.sleep == WIRE_SLEEP_AWAKE)
		a->spec.sleep_order = idler_order(a);
	a->spec.sleep = level;
	log_info("app_to_sleep", LOG_STR("app", a->id),
	    LOG_STR("level", wire_sleep_names[level].name), LOG_INT("order", a->spec.sleep_order));
	record_put_cas(t, store_key_app(a->domain, a->name), rev, &wire_app_codec, a);
	store_txn_submit(i->b->store, t, on_stored, NULL);
}

/* false: the application is gone. */
static bool
look(struct idler *i, struct use *u)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	int64_t rev, next_ms, now = unix_ms();
	struct err e = { 0 };
	int level;

	if (record_app_by_id(i->b->store, u->id, &a, &rev, &e) < 0)
		return false;
	if (u->holds > 0 || is_busy(i, &a))
		u->used_ms = now;
	level = level_of(i, &a, now - u->used_ms, &next_ms);
	if (level == WIRE_SLEEP_RECLAIMED && !can_reclaim(i, a.id))
		level = WIRE_SLEEP_FROZEN;
	if (next_ms < LOOK_MIN_MS)
		next_ms = LOOK_MIN_MS;
	u->look_ms = loop_now_ms() + next_ms;
	u->is_asleep = a.spec.sleep != WIRE_SLEEP_AWAKE;
	if (level > a.spec.sleep && u->holds == 0) {
		put_to_sleep(i, &a, rev, level);
		u->is_asleep = true;
	}
	return true;
}

static void
see(const char *app_id, void *arg)
{
	(void)use_of(arg, app_id);
}

struct due {
	int64_t now_ms;
	struct str_list ids;
};

static void
collect_due(const char *key, void *value, void *arg)
{
	const struct use *u = value;
	struct due *d = arg;

	if (u->look_ms <= d->now_ms)
		str_list_add(&d->ids, key);
}

static void
on_tick(void *arg)
{
	struct idler *i = arg;
	struct due d = { .now_ms = loop_now_ms() };

	app_view_each(rollout_view(i->b->rollout), see, i);
	map_each(i->uses, collect_due, &d);
	for (size_t k = 0; k < d.ids.n; k++) {
		struct use *u = map_get(i->uses, d.ids.v[k]);

		if (!look(i, u) && u->holds == 0)
			(void)map_remove(i->uses, d.ids.v[k]);
	}
	str_list_fini(&d.ids);
}

struct idler *
idler_new(struct broker *b)
{
	struct idler *i = xcalloc(1, sizeof *i);

	*i = (struct idler){ .b = b, .uses = map_new(use_free) };
	i->timer = loop_timer_start(b->loop, TICK_MS, true, on_tick, i);
	return i;
}

void
idler_free(struct idler *take_i)
{
	if (take_i == NULL)
		return;
	loop_timer_cancel(take_i->timer);
	map_free(take_i->uses);
	free(take_i);
}
