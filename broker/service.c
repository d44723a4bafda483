#include "broker/service.h"

#include <string.h>

#include "broker/app_cart.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_env.h"

enum {
	START_TIMEOUT_S = 120, /* least: a database may have to recover first */
	STOP_TIMEOUT_S = 60,   /* least: it writes what it holds */
	RETRY_MS = 30 * 1000,  /* after a start that failed */
	SILENCE_MS = 60 * 1000,
};

static int64_t
max(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static bool
is_service(const struct app_view_instance *i)
{
	return i->rec.spec.kind == WIRE_INSTANCE_SERVICE;
}

static bool
has_service(const struct wire_gear *g, const char *cart)
{
	const struct wire_gear_cart *c = wire_gear_find(&g->cartridges, cart);

	return c != NULL && c->is_service;
}

static bool
has_others(const struct rollout_step *st, const char *gear)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (!is_service(i) && i->rev != 0 &&
		    (gear == NULL || strcmp(i->rec.spec.gear, gear) == 0))
			return true;
	}
	return false;
}

/* A gear that is to stay. One too many keeps its services until its web instances are gone. */
static bool
is_staying(const struct rollout_step *st, const struct app_view_gear *g)
{
	int64_t webs = 0;

	if (g->gear.want == WIRE_WANT_GONE)
		return false;
	if (!rollout_step_has_web(&g->gear))
		return true;
	for (size_t k = 0; k < st->v->gears_n && st->v->gears[k] != g; k++) {
		const struct wire_gear *left = &st->v->gears[k]->gear;

		webs += left->want != WIRE_WANT_GONE && rollout_step_has_web(left);
	}
	return webs < st->app.spec.gears || has_others(st, g->gear.uuid);
}

static const struct app_view_gear *
gear_of(const struct rollout_step *st, const char *uuid)
{
	for (size_t k = 0; k < st->v->gears_n; k++) {
		if (strcmp(st->v->gears[k]->gear.uuid, uuid) == 0)
			return st->v->gears[k];
	}
	return NULL;
}

/* Also one that is going: two never use one directory. */
static const struct app_view_instance *
instance_of(const struct rollout_step *st, const struct wire_gear *g, const char *cart)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (is_service(i) && i->rev != 0 && strcmp(i->rec.spec.gear, g->uuid) == 0 &&
		    strcmp(i->rec.spec.cart, cart) == 0)
			return i;
	}
	return NULL;
}

/* Services start before the web instances and stop after them. */
static bool
is_to_run(const struct rollout_step *st, const struct wire_gear_cart *c)
{
	const struct wire_gear_cart *own = wire_gear_find(&st->app.cartridges, c->name);

	if (own == NULL || own->is_stopped)
		return false;
	return st->app.spec.running || has_others(st, NULL);
}

static void
create(struct rollout_step *st, const struct app_view_gear *g, const struct wire_gear_cart *c)
{
	const struct wire_app *a = &st->app;
	AUTO(free) char *salt = secret_random_hex(3);
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
	struct wire_instance *s = &rec.spec;

	s->id = xasprintf("%.8s-%s", g->gear.uuid, salt);
	s->gear = xstrdup(g->gear.uuid);
	s->app_id = xstrdup(a->id);
	s->kind = WIRE_INSTANCE_SERVICE;
	s->cart = xstrdup(c->name);
	s->deployment_id = xstrdup("");
	s->start_timeout_s =
	    max(wire_env_seconds(&g->gear.env, WIRE_ENV_START_TIMEOUT, a->start_timeout_s),
	        START_TIMEOUT_S);
	s->stop_timeout_s =
	    max(wire_env_seconds(&g->gear.env, WIRE_ENV_STOP_TIMEOUT, a->stop_timeout_s),
	        STOP_TIMEOUT_S);
	wire_env_health(&g->gear.env, false, s);
	s->generation = 1;
	s->want = WIRE_WANT_PRESENT;
	rec.restart_gen = a->spec.restart_gen;
	rec.cart_restart_gen = wire_gear_find(&a->cartridges, c->name)->restart_gen;
	rec.created_ms = rec.changed_ms = st->now_ms;
	fault_point("service_create");
	record_put_cas(rollout_step_txn(st), store_key_instance(g->node, s->id), 0,
	    &wire_instance_record_codec, &rec);
	log_info("service_wanted", LOG_STR("app", a->name), LOG_STR("gear", g->gear.uuid),
	    LOG_STR("cartridge", c->name), LOG_STR("instance", s->id));
}

/* want as it is: the node tries once more. */
static void
tell(struct rollout_step *st, const struct app_view_instance *i, enum wire_want want,
    const struct wire_gear_cart *own)
{
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };

	codec_copy(&wire_instance_record_codec, &rec, &i->rec);
	rec.spec.want = (int)want;
	rec.spec.kills = false;
	rec.spec.generation++;
	rec.changed_ms = st->now_ms;
	if (own != NULL) {
		rec.restart_gen = st->app.spec.restart_gen;
		rec.cart_restart_gen = own->restart_gen;
	}
	fault_point("service_tell");
	record_put_cas(rollout_step_txn(st), store_key_instance(i->node, rec.spec.id), i->rev,
	    &wire_instance_record_codec, &rec);
}

/* A restart that was taken back, with a rollout that failed, restarts nothing. */
static void
note_restarts(
    struct rollout_step *st, const struct app_view_instance *i, const struct wire_gear_cart *own)
{
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };

	codec_copy(&wire_instance_record_codec, &rec, &i->rec);
	rec.restart_gen = st->app.spec.restart_gen;
	rec.cart_restart_gen = own->restart_gen;
	record_put_cas(rollout_step_txn(st), store_key_instance(i->node, rec.spec.id), i->rev,
	    &wire_instance_record_codec, &rec);
}

static void
keep_running(struct rollout_step *st, const struct app_view_instance *i)
{
	const struct wire_gear_cart *own = wire_gear_find(&st->app.cartridges, i->rec.spec.cart);
	int64_t app_gen = st->app.spec.restart_gen;
	int64_t left = i->rec.changed_ms + RETRY_MS - st->now_ms;

	if (i->rec.spec.want == WIRE_WANT_STOPPED) {
		if (app_view_is(i, WIRE_INSTANCE_STOPPED))
			tell(st, i, WIRE_WANT_PRESENT, own);
	} else if (app_gen > i->rec.restart_gen || own->restart_gen > i->rec.cart_restart_gen) {
		tell(st, i, WIRE_WANT_STOPPED, NULL);
	} else if (app_gen < i->rec.restart_gen) {
		note_restarts(st, i, own);
	} else if (app_view_is(i, WIRE_INSTANCE_FAILED) && app_cart_is_pending(&st->app)) {
		return; /* that change is judged by it first */
	} else if (app_view_is(i, WIRE_INSTANCE_FAILED) && left <= 0) {
		tell(st, i, WIRE_WANT_PRESENT, own);
	} else if (app_view_is(i, WIRE_INSTANCE_FAILED)) {
		rollout_step_again(st, left);
	}
}

static void
plan_cart(struct rollout_step *st, const struct app_view_gear *g, const struct wire_gear_cart *c)
{
	const struct app_view_instance *i = instance_of(st, &g->gear, c->name);
	bool runs = is_to_run(st, c);

	if (wire_gear_find(&st->app.cartridges, c->name) == NULL)
		return; /* it is on its way out */
	if (i == NULL) {
		if (runs && st->app.spec.running)
			create(st, g, c);
	} else if (i->rec.spec.want == WIRE_WANT_GONE) {
		return; /* its end comes first */
	} else if (runs) {
		keep_running(st, i);
	} else if (i->rec.spec.want == WIRE_WANT_PRESENT) {
		tell(st, i, WIRE_WANT_STOPPED, NULL);
	}
}

void
service_plan(struct rollout_step *st)
{
	for (size_t k = 0; k < st->v->instances_n && rollout_step_has_room(st); k++) {
		const struct app_view_instance *i = st->v->instances[k];
		const struct app_view_gear *g = gear_of(st, i->rec.spec.gear);

		if (is_service(i) &&
		    (g == NULL || !is_staying(st, g) || !has_service(&g->gear, i->rec.spec.cart) ||
		        wire_gear_find(&st->app.cartridges, i->rec.spec.cart) == NULL))
			rollout_step_want(st, i, WIRE_WANT_GONE);
	}
	for (size_t k = 0; k < st->v->gears_n; k++) {
		const struct app_view_gear *g = st->v->gears[k];

		if (!is_staying(st, g))
			continue;
		for (size_t n = 0; n < g->gear.cartridges.n && rollout_step_has_room(st); n++) {
			if (g->gear.cartridges.v[n].is_service)
				plan_cart(st, g, &g->gear.cartridges.v[n]);
		}
	}
}

/* Its start, or its restart, is under way and has not failed. */
static bool
is_awaited(struct rollout_step *st, const struct app_view_instance *i)
{
	int64_t left;

	if (i == NULL)
		return true;
	if (i->rec.spec.want == WIRE_WANT_PRESENT &&
	    (app_view_is(i, WIRE_INSTANCE_READY) || app_view_is(i, WIRE_INSTANCE_FAILED) ||
	        app_view_is(i, WIRE_INSTANCE_CRASHED)))
		return false;
	/* its node restarts it for an upgrade */
	left = max(i->rec.changed_ms, st->app.spec.cart_at * 1000) +
	       (i->rec.spec.start_timeout_s + i->rec.spec.stop_timeout_s) * 1000 + SILENCE_MS -
	       st->now_ms;
	if (left <= 0) /* the node is silent */
		return false;
	rollout_step_again(st, left);
	return true;
}

bool
service_holds_start(struct rollout_step *st)
{
	if (!st->app.spec.running)
		return false;
	for (size_t k = 0; k < st->v->gears_n; k++) {
		const struct app_view_gear *g = st->v->gears[k];

		if (!is_staying(st, g))
			continue;
		for (size_t n = 0; n < g->gear.cartridges.n; n++) {
			const struct wire_gear_cart *c = &g->gear.cartridges.v[n];

			if (c->is_service && is_to_run(st, c) &&
			    is_awaited(st, instance_of(st, &g->gear, c->name)))
				return true;
		}
	}
	return false;
}

bool
service_is_stopping(const struct rollout_step *st)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (is_service(i) && i->rev != 0 && i->rec.spec.want != WIRE_WANT_PRESENT &&
		    !app_view_is(i, WIRE_INSTANCE_STOPPED))
			return true;
	}
	return false;
}

bool
service_is_idle(const struct rollout_step *st, const struct app_view_instance *i)
{
	if (i->rev == 0)
		return true;
	if (!is_service(i))
		return false;
	return st->app.spec.running ||
	       (i->rec.spec.want == WIRE_WANT_STOPPED && app_view_is(i, WIRE_INSTANCE_STOPPED));
}
