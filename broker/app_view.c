#include "broker/app_view.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

struct app_view {
	struct broker *b;      /* borrowed */
	struct map *apps;      /* id → struct app_view_app, owned */
	struct map *gears;     /* NODE/UUID → struct app_view_gear, owned */
	struct map *instances; /* NODE/ID → struct app_view_instance, owned */
	struct map *keys;      /* DOMAIN/NAME → id (owned string) */
	struct map *wishers;   /* DOMAIN/NAME of those whose cartridges ask for something; a set */
	struct store_watch *watch;
	int64_t rev;
	app_view_change_fn *fn;
	void *arg;
};

static void
app_free(void *p)
{
	struct app_view_app *a = p;

	free(a->gears);
	free(a->leaving);
	free(a->instances);
	free(a->id);
	free(a);
}

static void
gear_free(void *p)
{
	struct app_view_gear *g = p;

	wire_gear_fini(&g->gear);
	wire_gear_status_fini(&g->status);
	free(g->node);
	free(g);
}

static void
instance_free(void *p)
{
	struct app_view_instance *i = p;

	wire_instance_record_fini(&i->rec);
	wire_instance_status_fini(&i->status);
	free(i->node);
	free(i);
}

static struct app_view_app *
app_of(struct app_view *v, const char *id)
{
	struct app_view_app *a = map_get(v->apps, id);

	if (a == NULL) {
		a = xcalloc(1, sizeof *a);
		a->id = xstrdup(id);
		map_set(v->apps, id, a);
	}
	return a;
}

bool
app_view_is_leaving(const struct wire_gear *g)
{
	return (g->moving_to != NULL && g->want != WIRE_WANT_PRESENT) ||
	       (g->moved_from != NULL && g->want == WIRE_WANT_GONE);
}

/* Inserts p so that the list stays ordered by create_rev, the head gear first. */
static void
gear_link(struct app_view_app *a, struct app_view_gear *g)
{
	bool is_head = strcmp(g->gear.uuid, a->id) == 0;
	size_t i;

	if (app_view_is_leaving(&g->gear)) {
		a->leaving = xreallocarray(a->leaving, a->leaving_n + 1, sizeof *a->leaving);
		a->leaving[a->leaving_n++] = g;
		return;
	}
	i = a->gears_n++;
	a->gears = xreallocarray(a->gears, a->gears_n, sizeof *a->gears);
	for (; i > 0; i--) {
		const struct app_view_gear *left = a->gears[i - 1];

		if (!is_head &&
		    (strcmp(left->gear.uuid, a->id) == 0 || left->create_rev <= g->create_rev))
			break;
		a->gears[i] = a->gears[i - 1];
	}
	a->gears[i] = g;
}

static void
take_out(struct app_view_gear **v, size_t *n, const struct app_view_gear *g)
{
	for (size_t i = 0; i < *n; i++) {
		if (v[i] != g)
			continue;
		memmove(&v[i], &v[i + 1], (*n - i - 1) * sizeof(struct app_view_gear *));
		(*n)--;
		return;
	}
}

static void
gear_unlink(struct app_view_app *a, const struct app_view_gear *g)
{
	take_out(a->gears, &a->gears_n, g);
	take_out(a->leaving, &a->leaving_n, g);
}

static void
instance_link(struct app_view_app *a, struct app_view_instance *in)
{
	size_t i = a->instances_n++;

	a->instances = xreallocarray(a->instances, a->instances_n, sizeof *a->instances);
	for (; i > 0 && a->instances[i - 1]->create_rev > in->create_rev; i--)
		a->instances[i] = a->instances[i - 1];
	a->instances[i] = in;
}

static void
instance_unlink(struct app_view_app *a, const struct app_view_instance *in)
{
	for (size_t i = 0; i < a->instances_n; i++) {
		if (a->instances[i] != in)
			continue;
		memmove(&a->instances[i], &a->instances[i + 1],
		    (a->instances_n - i - 1) * sizeof(struct app_view_instance *));
		a->instances_n--;
		return;
	}
}

/* The entry of NODE/ID, made if absent; NULL for a key without a slash. */
static void *
entry(struct map *m, const char *rest, size_t size, char **out_node)
{
	const char *slash = strchr(rest, '/');
	void *p = map_get(m, rest);

	*out_node = NULL;
	if (slash == NULL || p != NULL)
		return p;
	p = xcalloc(1, size);
	*out_node = xstrndup(rest, (size_t)(slash - rest));
	map_set(m, rest, p);
	return p;
}

static bool
decode(const struct store_kv *kv, const struct codec *c, void *out)
{
	struct err e = { 0 };

	if (codec_decode(c, kv->val, kv->n, out, CODEC_KEEP, &e) == 0)
		return true;
	log_error("record_broken", LOG_STR("key", kv->key), LOG_ERR(&e));
	return false;
}

static void
gear_put(struct app_view *v, const char *rest, const struct store_kv *kv)
{
	struct wire_gear gear = { 0 };
	char *node;
	struct app_view_gear *g;

	if (!decode(kv, &wire_gear_codec, &gear))
		return;
	g = entry(v->gears, rest, sizeof *g, &node);
	if (g == NULL) {
		wire_gear_fini(&gear);
		return;
	}
	if (node != NULL)
		g->node = node;
	if (g->rev != 0)
		gear_unlink(app_of(v, g->gear.app_id), g);
	wire_gear_fini(&g->gear);
	g->gear = gear;
	g->rev = kv->mod_rev;
	g->create_rev = kv->create_rev;
	gear_link(app_of(v, g->gear.app_id), g);
	v->fn(g->gear.app_id, v->arg);
}

static void
gear_gone(struct app_view *v, const char *rest)
{
	struct app_view_gear *g = map_get(v->gears, rest);
	AUTO(free) char *app_id = NULL;

	if (g == NULL)
		return;
	if (g->rev != 0) {
		app_id = xstrdup(g->gear.app_id);
		gear_unlink(app_of(v, app_id), g);
		wire_gear_fini(&g->gear);
		g->rev = 0;
	}
	if (g->status.uuid == NULL)
		(void)map_remove(v->gears, rest);
	if (app_id != NULL)
		v->fn(app_id, v->arg);
}

static void
gear_status(struct app_view *v, const char *rest, const struct store_kv *kv)
{
	struct app_view_gear *g;
	char *node;

	g = kv == NULL ? map_get(v->gears, rest) : entry(v->gears, rest, sizeof *g, &node);
	if (g == NULL)
		return;
	wire_gear_status_fini(&g->status);
	if (kv != NULL && node != NULL)
		g->node = node;
	if (kv != NULL && !decode(kv, &wire_gear_status_codec, &g->status))
		return;
	if (g->rev != 0)
		v->fn(g->gear.app_id, v->arg);
	else if (kv == NULL)
		(void)map_remove(v->gears, rest);
}

static void
instance_put(struct app_view *v, const char *rest, const struct store_kv *kv)
{
	struct wire_instance_record rec = { 0 };
	struct app_view_instance *i;
	char *node;

	if (!decode(kv, &wire_instance_record_codec, &rec))
		return;
	i = entry(v->instances, rest, sizeof *i, &node);
	if (i == NULL) {
		wire_instance_record_fini(&rec);
		return;
	}
	if (node != NULL)
		i->node = node;
	if (i->rev != 0)
		instance_unlink(app_of(v, i->rec.spec.app_id), i);
	wire_instance_record_fini(&i->rec);
	i->rec = rec;
	i->rev = kv->mod_rev;
	i->create_rev = kv->create_rev;
	instance_link(app_of(v, i->rec.spec.app_id), i);
	v->fn(i->rec.spec.app_id, v->arg);
}

static void
instance_gone(struct app_view *v, const char *rest)
{
	struct app_view_instance *i = map_get(v->instances, rest);
	AUTO(free) char *app_id = NULL;

	if (i == NULL)
		return;
	if (i->rev != 0) {
		app_id = xstrdup(i->rec.spec.app_id);
		instance_unlink(app_of(v, app_id), i);
		wire_instance_record_fini(&i->rec);
		i->rev = 0;
	}
	if (i->status.id == NULL)
		(void)map_remove(v->instances, rest);
	if (app_id != NULL)
		v->fn(app_id, v->arg);
}

static void
instance_status(struct app_view *v, const char *rest, const struct store_kv *kv)
{
	struct app_view_instance *i;
	char *node;

	i = kv == NULL ? map_get(v->instances, rest) : entry(v->instances, rest, sizeof *i, &node);
	if (i == NULL)
		return;
	wire_instance_status_fini(&i->status);
	if (kv != NULL && node != NULL)
		i->node = node;
	if (kv != NULL && !decode(kv, &wire_instance_status_codec, &i->status))
		return;
	if (i->rev != 0)
		v->fn(i->rec.spec.app_id, v->arg);
	else if (kv == NULL)
		(void)map_remove(v->instances, rest);
}

struct siblings {
	const struct app_view *v;
	const char *key; /* "DOMAIN/NAME" */
};

static void
tell_sibling(const char *key, void *value, void *arg)
{
	const struct siblings *s = arg;
	size_t n = strcspn(s->key, "/") + 1;

	if (strncmp(key, s->key, n) == 0 && strcmp(key, s->key) != 0)
		s->v->fn(value, s->v->arg);
}

/* What cartridges ask for (broker/wish.h) is for the other applications of the domain, too. */
static void
tell_domain(struct app_view *v, const char *key, bool has_wishes)
{
	struct siblings s = { v, key };

	if (!has_wishes && map_get(v->wishers, key) == NULL)
		return;
	if (has_wishes)
		map_set(v->wishers, key, v);
	else
		(void)map_remove(v->wishers, key);
	map_each(v->keys, tell_sibling, &s);
}

static void
app_put(struct app_view *v, const char *rest, const struct store_kv *kv)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!decode(kv, &wire_app_codec, &a))
		return;
	map_set(v->keys, rest, xstrdup(a.id));
	(void)app_of(v, a.id);
	v->fn(a.id, v->arg);
	tell_domain(v, rest, a.wishes.n > 0);
}

static void
app_gone(struct app_view *v, const char *rest)
{
	AUTO(free) char *id = map_take(v->keys, rest);

	if (id != NULL)
		v->fn(id, v->arg);
	tell_domain(v, rest, false);
}

/* /deployment/APP/ID and the like: only tells. */
static void
child_changed(struct app_view *v, const char *rest)
{
	const char *slash = strchr(rest, '/');
	AUTO(free)
	char *id = slash == NULL ? xstrdup(rest) : xstrndup(rest, (size_t)(slash - rest));

	v->fn(id, v->arg);
}

static const char *
after(const char *key, const char *prefix)
{
	return str_has_prefix(key, prefix) ? key + strlen(prefix) : NULL;
}

/* kv: the record, or with is_gone only its key. */
static void
apply(struct app_view *v, const struct store_kv *kv, bool is_gone)
{
	const struct store_kv *put = is_gone ? NULL : kv;
	const char *rest;

	if ((rest = after(kv->key, STORE_PREFIX_INSTANCE_STATUS)) != NULL)
		instance_status(v, rest, put);
	else if ((rest = after(kv->key, STORE_PREFIX_GEAR_STATUS)) != NULL)
		gear_status(v, rest, put);
	else if ((rest = after(kv->key, STORE_PREFIX_INSTANCE)) != NULL)
		is_gone ? instance_gone(v, rest) : instance_put(v, rest, kv);
	else if ((rest = after(kv->key, STORE_PREFIX_GEAR)) != NULL)
		is_gone ? gear_gone(v, rest) : gear_put(v, rest, kv);
	else if ((rest = after(kv->key, STORE_PREFIX_APP)) != NULL)
		is_gone ? app_gone(v, rest) : app_put(v, rest, kv);
	else if ((rest = after(kv->key, STORE_PREFIX_DEPLOYMENT)) != NULL ||
	         (rest = after(kv->key, "/env/")) != NULL)
		child_changed(v, rest);
}

static bool
load_one(const struct store_kv *kv, void *arg)
{
	apply(arg, kv, false);
	return true;
}

static void
on_event(const struct store_event *ev, void *arg)
{
	struct app_view *v = arg;

	if (ev->type == STORE_COMPACTED)
		return; /* cannot be: the watch starts at the present and keeps up */
	apply(v, &ev->kv, ev->type == STORE_DELETE);
	if (ev->last_of_rev)
		v->rev = ev->kv.mod_rev;
}

struct app_view *
app_view_new(struct broker *b, app_view_change_fn *fn, void *arg)
{
	static const char *const prefixes[] = { STORE_PREFIX_APP, STORE_PREFIX_GEAR,
		STORE_PREFIX_GEAR_STATUS, STORE_PREFIX_INSTANCE, STORE_PREFIX_INSTANCE_STATUS };
	struct app_view *v = xcalloc(1, sizeof *v);

	*v = (struct app_view){ .b = b,
		.fn = fn,
		.arg = arg,
		.apps = map_new(app_free),
		.gears = map_new(gear_free),
		.instances = map_new(instance_free),
		.keys = map_new(free),
		.wishers = map_new(NULL),
		.rev = store_rev(b->store) };
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		store_range(b->store, prefixes[i], load_one, v);
	v->watch = store_watch_start(b->store, "/", v->rev + 1, on_event, v);
	return v;
}

void
app_view_free(struct app_view *take_v)
{
	if (take_v == NULL)
		return;
	store_watch_cancel(take_v->watch);
	map_free(take_v->wishers);
	map_free(take_v->apps);
	map_free(take_v->gears);
	map_free(take_v->instances);
	map_free(take_v->keys);
	free(take_v);
}

const struct app_view_app *
app_view_get(struct app_view *v, const char *app_id)
{
	return app_of(v, app_id);
}

int64_t
app_view_rev(const struct app_view *v)
{
	return v->rev;
}

struct each {
	app_view_change_fn *fn;
	void *arg;
};

static void
each_one(const char *key, void *value, void *arg)
{
	const struct each *x = arg;

	(void)value;
	x->fn(key, x->arg);
}

void
app_view_each(struct app_view *v, app_view_change_fn *fn, void *arg)
{
	struct each x = { fn, arg };

	map_each(v->apps, each_one, &x);
}

bool
app_view_is(const struct app_view_instance *i, enum wire_instance_state state)
{
	return i->status.id != NULL && i->status.generation >= i->rec.spec.generation &&
	       i->status.state == (int)state;
}
