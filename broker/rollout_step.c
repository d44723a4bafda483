#include "broker/rollout_step.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/app_cart.h"
#include "broker/broker.h"
#include "broker/connect.h"
#include "broker/event_log.h"
#include "broker/peer_plan.h"
#include "broker/record.h"
#include "broker/route_plan.h"
#include "broker/service.h"
#include "broker/storage.h"
#include "broker/sleep_plan.h"
#include "broker/wish_plan.h"
#include "broker/worker_plan.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_cart.h"
#include "lib/wire/wire_env.h"

enum {
	OPS_MAX = 80,         /* of a transaction, with room for the record of the application */
	START_TIMEOUT_S = 60, /* default until ready */
	STOP_TIMEOUT_S = 30,
	HAND_OVER_STOP_S = 8,
	SILENCE_MS = 120 * 1000, /* on top of the start timeout: then the node does not answer */
	REPLACE_MS = 10 * 1000,  /* a serving instance that gave up is replaced not sooner than so
	                            long  after it was made */
};

bool
rollout_step_load(struct rollout_step *st, struct broker *b, struct app_view *v, const char *app_id)
{
	struct timespec ts;
	struct err e = { 0 };

	clock_gettime(CLOCK_REALTIME, &ts);
	*st = (struct rollout_step){ .b = b,
		.v = app_view_get(v, app_id),
		.now_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 };
	if (record_app_by_id(b->store, app_id, &st->app, &st->app_rev, &e) < 0)
		return false;
	st->app_key = store_key_app(st->app.domain, st->app.name);
	return true;
}

void
rollout_step_fini(struct rollout_step *st)
{
	store_txn_free(STEAL(st->t));
	wire_app_fini(&st->app);
	free(STEAL(st->app_key));
	free(STEAL(st->failure));
	str_list_fini(&st->tail);
	str_list_fini(&st->notes);
	str_list_fini(&st->messages);
	wire_published_fini(&st->publish);
	for (size_t i = 0; i < st->manifests_n; i++)
		wire_cart_fini(&st->manifests[i]);
	free(st->manifests);
}

struct store_txn *
rollout_step_txn(struct rollout_step *st)
{
	if (st->t == NULL)
		st->t = store_txn_new();
	return st->t;
}

bool
rollout_step_has_room(const struct rollout_step *st)
{
	return st->t == NULL || store_txn_count(st->t) < OPS_MAX;
}

void
rollout_step_again(struct rollout_step *st, int64_t ms)
{
	if (ms < 1)
		ms = 1;
	if (st->again_ms == 0 || ms < st->again_ms)
		st->again_ms = ms;
}

void
rollout_step_seal(struct rollout_step *st)
{
	if (st->t == NULL || st->is_app_gone)
		return;
	if (st->is_app_changed)
		record_put_cas(st->t, xstrdup(st->app_key), st->app_rev, &wire_app_codec, &st->app);
	else
		store_txn_if_rev(st->t, st->app_key, st->app_rev);
}

static void
put_instance(struct rollout_step *st, const struct app_view_instance *i,
    const struct wire_instance_record *rec)
{
	record_put_cas(rollout_step_txn(st), store_key_instance(i->node, rec->spec.id), i->rev,
	    &wire_instance_record_codec, rec);
}

void
rollout_step_want(struct rollout_step *st, const struct app_view_instance *i, enum wire_want want)
{
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };

	if (i->rec.spec.want == (int)want || !rollout_step_has_room(st))
		return;
	codec_copy(&wire_instance_record_codec, &rec, &i->rec);
	rec.spec.want = (int)want;
	rec.spec.generation++;
	put_instance(st, i, &rec);
}

void
rollout_step_retire(struct rollout_step *st, const struct app_view_instance *i)
{
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };

	if (i->rec.retired || i->rec.spec.want == WIRE_WANT_GONE)
		return;
	codec_copy(&wire_instance_record_codec, &rec, &i->rec);
	rec.retired = true;
	rec.retired_ms = st->now_ms;
	rec.spec.retires = true;
	rec.spec.grace_s = st->b->conf.session_grace_s;
	put_instance(st, i, &rec);
}

bool
rollout_step_is_web(const struct app_view_instance *i)
{
	return i->rec.spec.kind == WIRE_INSTANCE_WEB;
}

bool
rollout_step_has_web(const struct wire_gear *g)
{
	return wire_gear_web(&g->cartridges) != NULL;
}

bool
rollout_step_is_live(const struct app_view_instance *i)
{
	return !i->rec.retired && i->rec.spec.want != WIRE_WANT_GONE;
}

static bool
is_target(const struct rollout_step *st, const struct app_view_instance *i, const char *deployment)
{
	const struct wire_app_spec *s = &st->app.spec;

	return rollout_step_is_live(i) && strcmp(i->rec.spec.deployment_id, deployment) == 0 &&
	       i->rec.restart_gen == s->restart_gen && i->rec.env_rev == s->env_rev &&
	       i->rec.cart_rev >= s->cart_roll;
}

const struct app_view_instance *
rollout_step_target(
    const struct rollout_step *st, const struct app_view_gear *g, const char *deployment)
{
	for (size_t k = st->v->instances_n; k > 0; k--) {
		const struct app_view_instance *i = st->v->instances[k - 1];

		if (rollout_step_is_web(i) && strcmp(i->rec.spec.gear, g->gear.uuid) == 0 &&
		    is_target(st, i, deployment))
			return i;
	}
	return NULL;
}

static const struct app_view_instance *
target_of(const struct rollout_step *st, const struct app_view_gear *g)
{
	return rollout_step_target(st, g, st->app.spec.deployment);
}

void
rollout_set_add(struct rollout_set *s, const struct app_view_instance *i)
{
	for (size_t k = 0; k < s->n; k++) {
		if (s->v[k] == i)
			return;
	}
	if (s->n < ARRAY_LEN(s->v))
		s->v[s->n++] = i;
}

/* Is something else wanted than what the route serves? */
static bool
is_rolling(const struct wire_app *a)
{
	return !str_same(a->spec.deployment, a->status.deployment) ||
	       a->spec.restart_gen != a->status.restart_gen ||
	       a->spec.env_rev != a->status.env_rev || app_cart_is_pending(a) ||
	       rollout_step_was_stopped(a);
}

bool
rollout_step_was_stopped(const struct wire_app *a)
{
	return str_same(a->status.phase, "stopped") || str_same(a->status.phase, "stopping") ||
	       str_same(a->status.phase, "starting");
}

static void
set_phase(struct rollout_step *st, const char *phase)
{
	if (str_same(st->app.status.phase, phase))
		return;
	mem_set_str(&st->app.status.phase, phase);
	st->is_app_changed = true;
	(void)rollout_step_txn(st);
}

/* Today's variable counts, also in a rollback. */
static const char *
health_path_of(const struct wire_app *a, const struct wire_gear *g, const struct wire_deployment *d)
{
	const char *own = wire_env_get(&g->env, WIRE_ENV_HEALTH_PATH);

	if (own != NULL)
		return own;
	return a->health_path != NULL && *a->health_path != '\0' ? a->health_path : d->health_path;
}

/* While an exclusive instance stops, requests wait. */
static int64_t
default_stop_timeout(const struct wire_app *a)
{
	int64_t s = a->stop_timeout_s > 0 ? a->stop_timeout_s : STOP_TIMEOUT_S;

	return a->spec.replace && s > HAND_OVER_STOP_S ? HAND_OVER_STOP_S : s;
}

void
rollout_step_deploy(const struct rollout_step *st, const struct app_view_gear *g,
    const struct wire_deployment *d, struct wire_instance *s)
{
	mem_set_str(&s->deployment_id, d->id);
	mem_set_str(&s->ref, d->ref);
	mem_set_str(&s->sha1, d->sha1);
	s->deployed_at = d->created_at;
	s->is_template = d->is_template;
	s->hot_deploy = d->hot_deploy;
	s->force_clean_build = d->force_clean_build;
	wire_layers_fini(&s->layers);
	codec_copy(&wire_layers_codec, &s->layers, &d->layers);
	wire_start_fini(&s->start);
	codec_copy(&wire_start_codec, &s->start, &d->start);
	mem_set_str(&s->release, "");
	s->runs_release = false;
	mem_set_str(&s->health_path, health_path_of(&st->app, &g->gear, d));
	wire_env_health(&g->gear.env, s->health_path != NULL && *s->health_path != '\0', s);
}

static void
create_instance(struct rollout_step *st, const struct app_view_gear *g,
    const struct wire_deployment *d, bool runs_release)
{
	const struct wire_app *a = &st->app;
	AUTO(free) char *salt = secret_random_hex(3);
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
	struct wire_instance *s = &rec.spec;

	if (!rollout_step_has_room(st))
		return;
	s->id = xasprintf("%.8s-%s", g->gear.uuid, salt);
	s->gear = xstrdup(g->gear.uuid);
	s->app_id = xstrdup(a->id);
	rollout_step_deploy(st, g, d, s);
	mem_set_str(&s->release, runs_release ? d->release : "");
	s->runs_release = runs_release;
	s->start_timeout_s = wire_env_seconds(&g->gear.env, WIRE_ENV_START_TIMEOUT,
	    a->start_timeout_s > 0 ? a->start_timeout_s : START_TIMEOUT_S);
	s->stop_timeout_s =
	    wire_env_seconds(&g->gear.env, WIRE_ENV_STOP_TIMEOUT, default_stop_timeout(a));
	s->generation = 1;
	s->want = WIRE_WANT_PRESENT;
	s->is_restart = a->spec.asked_gen > a->status.restart_gen &&
	                str_same(a->status.deployment, d->id) && !rollout_step_was_stopped(a);
	rec.restart_gen = a->spec.restart_gen;
	rec.env_rev = a->spec.env_rev;
	rec.cart_rev = a->spec.cart_rev;
	rec.created_ms = st->now_ms;
	fault_point("instance_create");
	record_put_cas(rollout_step_txn(st), store_key_instance(g->node, s->id), 0,
	    &wire_instance_record_codec, &rec);
	log_info("instance_wanted", LOG_STR("app", a->name), LOG_STR("instance", s->id),
	    LOG_STR("deployment", d->id));
}

/* The first spec.gears of those with the web cartridge that are not going. */
static void
pick_gears(const struct rollout_step *st, struct rollout_gears *out)
{
	out->n = 0;
	for (size_t i = 0; i < st->v->gears_n && out->n < ARRAY_LEN(out->v) &&
	                   (int64_t)out->n < st->app.spec.gears;
	     i++) {
		if (st->v->gears[i]->gear.want != WIRE_WANT_GONE &&
		    rollout_step_has_web(&st->v->gears[i]->gear))
			out->v[out->n++] = st->v->gears[i];
	}
}

/* Instances that are neither wanted nor on the way out: off the route they can go at once. */
static void
sweep(struct rollout_step *st, const struct rollout_set *kept)
{
	AUTO_FINI(wire_route_fini) struct wire_route route = { 0 };
	bool has_route = route_plan_get(st->b, &st->app, &route);

	for (size_t k = 0; k < st->v->instances_n && rollout_step_has_room(st); k++) {
		const struct app_view_instance *i = st->v->instances[k];
		bool is_kept = !rollout_step_is_live(i) || !rollout_step_is_web(i);

		for (size_t j = 0; j < kept->n && !is_kept; j++)
			is_kept = kept->v[j] == i;
		if (is_kept)
			continue;
		if (has_route && route_plan_has(&route, i->rec.spec.id))
			rollout_step_retire(st, i);
		else
			rollout_step_want(st, i, WIRE_WANT_GONE);
	}
}

bool
rollout_step_is_late(
    const struct rollout_step *st, const struct app_view_instance *i, int64_t *left)
{
	int64_t from =
	    i->rec.created_ms > i->rec.changed_ms ? i->rec.created_ms : i->rec.changed_ms;

	*left = from + i->rec.spec.start_timeout_s * 1000 + SILENCE_MS - st->now_ms;
	return *left <= 0;
}

/* Must old instances end before new ones begin? */
static bool
is_handed_over(const struct wire_app *a)
{
	return a->spec.replace || a->spec.replace_gen > a->status.restart_gen;
}

/* An application that cannot run twice: the old instances end before the new ones are made.
 * Returns true while they are there. */
static bool
clear_for_replace(struct rollout_step *st)
{
	bool is_waiting = false;

	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (!rollout_step_is_web(i) || is_target(st, i, st->app.spec.deployment))
			continue;
		is_waiting = true;
		if (rollout_step_is_live(i))
			rollout_step_retire(st, i);
	}
	if (is_waiting &&
	    route_plan_put(st->b, rollout_step_txn(st), &st->app, WIRE_ROUTE_PARKED, NULL, 0))
		set_phase(st, "rolling");
	if (is_waiting && st->t != NULL && store_txn_count(st->t) == 0)
		store_txn_free(STEAL(st->t));
	return is_waiting;
}

/* Services, and what they publish, come first. */
static bool
is_start_held(struct rollout_step *st)
{
	return service_holds_start(st) || connect_holds_start(st);
}

void
rollout_step_create(struct rollout_step *st, const struct app_view_gear *g,
    const struct wire_deployment *d, bool runs_release)
{
	if (!is_start_held(st))
		create_instance(st, g, d, runs_release);
}

static void
plan_roll(
    struct rollout_step *st, const struct rollout_gears *gears, const struct wire_deployment *d)
{
	const struct app_view_instance *ready[ARRAY_LEN(gears->v)];
	bool is_new = !str_same(st->app.spec.deployment, st->app.status.deployment);
	bool has_release = is_new && d->release != NULL && *d->release != '\0';
	bool is_held = is_start_held(st);
	bool is_hot = !has_release && rollout_hot_is_wanted(st, d);
	size_t n = 0;
	int64_t left;

	if (!is_hot && is_handed_over(&st->app) && clear_for_replace(st))
		return;
	for (size_t k = 0; k < gears->n; k++) {
		const struct app_view_instance *i = target_of(st, gears->v[k]);

		if (i == NULL) {
			if (!is_held && (!is_hot || !rollout_hot_tell(st, gears->v[k], d)))
				create_instance(st, gears->v[k], d, has_release && k == 0);
			set_phase(st, rollout_step_was_stopped(&st->app) ? "starting" : "rolling");
		} else if (app_view_is(i, WIRE_INSTANCE_READY) && i->status.hot_failure == NULL) {
			ready[n++] = i;
			continue;
		} else if (app_view_is(i, WIRE_INSTANCE_READY) ||
		           app_view_is(i, WIRE_INSTANCE_FAILED)) {
			rollout_give_up(st, i,
			    i->status.hot_failure != NULL ? i->status.hot_failure
			                                  : i->status.reason);
			return;
		} else if (rollout_step_is_late(st, i, &left)) {
			rollout_give_up(st, i, "the node does not answer");
			return;
		} else {
			rollout_step_again(st, left);
		}
		if (k == 0 && has_release)
			return; /* the others start once the release command has ended */
	}
	if (n == gears->n && n > 0)
		rollout_switch(st, ready, n);
}

static bool
must_clear(const struct rollout_step *st, const struct rollout_gears *gears)
{
	for (size_t k = 0; k < gears->n; k++) {
		if (target_of(st, gears->v[k]) == NULL)
			return true;
	}
	return false;
}

/* Requests that were parked for a hand-over
 * wait for the old deployment to come back when the new one failed. */
static enum wire_route_state
steady_route(const struct rollout_step *st, size_t ready)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = { 0 };
	bool is_parked = route_plan_get(st->b, &st->app, &r) && r.state == WIRE_ROUTE_PARKED;
	bool is_failed = false;

	if (ready > 0)
		return WIRE_ROUTE_LIVE;
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		is_failed = is_failed || (is_target(st, i, st->app.spec.deployment) &&
		                             app_view_is(i, WIRE_INSTANCE_FAILED));
	}
	return is_parked && !is_failed ? WIRE_ROUTE_PARKED : WIRE_ROUTE_EMPTY;
}

/* What serves is what is wanted: number of gears, instances that gave up, changed addresses. */
static void
plan_steady(
    struct rollout_step *st, const struct rollout_gears *gears, const struct wire_deployment *d)
{
	struct rollout_set kept = { 0 }, ready = { 0 };
	bool is_whole;
	int64_t age;

	if (st->app.spec.replace && must_clear(st, gears) && clear_for_replace(st))
		return; /* a hand-over failed: its instances end before the old ones begin again */

	for (size_t k = 0; k < gears->n; k++) {
		const struct app_view_instance *i = target_of(st, gears->v[k]);

		if (i == NULL) {
			rollout_step_create(st, gears->v[k], d, false);
			continue;
		}
		age = st->now_ms - i->rec.created_ms;
		if (app_view_is(i, WIRE_INSTANCE_FAILED) && kept.n > 0 && k == kept.n &&
		    age < SILENCE_MS) {
			rollout_give_up(st, i, i->status.reason); /* a gear more did not start */
			return;
		}
		if (app_view_is(i, WIRE_INSTANCE_FAILED) && age >= REPLACE_MS)
			continue; /* swept; the next step makes another */
		if (app_view_is(i, WIRE_INSTANCE_FAILED))
			rollout_step_again(st, REPLACE_MS - age);
		rollout_set_add(&kept, i);
		if (app_view_is(i, WIRE_INSTANCE_READY))
			rollout_set_add(&ready, i);
	}
	is_whole = gears->n > 0 && ready.n == gears->n;
	is_whole = rollout_canary_plan(st, gears, &kept, &ready) && is_whole;
	if (st->failure != NULL)
		return;
	sweep(st, &kept);
	worker_plan(st);
	if (route_plan_put(
	        st->b, rollout_step_txn(st), &st->app, steady_route(st, ready.n), ready.v, ready.n))
		st->waits_for_router = true;
	set_phase(st, "idle");
	if (store_txn_count(st->t) == 0 && !st->is_app_changed)
		store_txn_free(STEAL(st->t));
	st->is_settled = st->t == NULL && is_whole;
}

/* A restore works on the data: nothing else may, and requests wait. */
static void
plan_held(struct rollout_step *st)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (i->rec.spec.kind != WIRE_INSTANCE_SERVICE && rollout_step_is_live(i))
			rollout_step_retire(st, i);
	}
	if (route_plan_put(st->b, rollout_step_txn(st), &st->app, WIRE_ROUTE_PARKED, NULL, 0))
		st->waits_for_router = true;
	if (store_txn_count(st->t) == 0)
		store_txn_free(STEAL(st->t));
	rollout_step_again(st, st->app.spec.held_ms - st->now_ms);
}

static void
plan_running(struct rollout_step *st)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	struct rollout_gears gears;
	struct err e = { 0 };

	if (record_get(st->b->store, store_key_deployment(st->app.id, st->app.spec.deployment),
	        &wire_deployment_codec, &d, NULL, &e) < 0) {
		rollout_give_up(st, NULL, "the deployment does not exist any more");
		return;
	}
	pick_gears(st, &gears);
	if (is_rolling(&st->app))
		plan_roll(st, &gears, &d);
	else
		plan_steady(st, &gears, &d);
}

/* A stop by force: also of what is being stopped already. false: all were told. */
static bool
kill_all(struct rollout_step *st)
{
	bool any = false;

	if (st->t != NULL && store_txn_count(st->t) > 0)
		return false; /* first the wish to stop */
	for (size_t k = 0; k < st->v->instances_n && rollout_step_has_room(st); k++) {
		AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
		const struct app_view_instance *i = st->v->instances[k];

		if (i->rev == 0 || i->rec.spec.kills || i->rec.spec.want == WIRE_WANT_PRESENT)
			continue;
		codec_copy(&wire_instance_record_codec, &rec, &i->rec);
		rec.spec.kills = any = true;
		put_instance(st, i, &rec);
	}
	return any;
}

/* Nothing is to run: stopped by its owner, or nothing was deployed yet. */
static void
plan_idle(struct rollout_step *st, bool is_stopped)
{
	static const struct rollout_set none;
	bool is_busy = false;

	rollout_cart_done(st);
	if (!str_same(st->app.spec.deployment, st->app.status.deployment) ||
	    st->app.spec.restart_gen != st->app.status.restart_gen ||
	    st->app.spec.env_rev != st->app.status.env_rev)
		rollout_switch(st, NULL, 0); /* becomes the one to start; runs nothing */
	rollout_canary_idle(st);
	sweep(st, &none);
	worker_plan(st);
	if (is_stopped && st->app.spec.is_killed && kill_all(st))
		return;
	if (!st->is_switch && route_plan_put(st->b, rollout_step_txn(st), &st->app,
	                          is_stopped ? WIRE_ROUTE_STOPPED : WIRE_ROUTE_EMPTY, NULL, 0))
		st->waits_for_router = true;
	for (size_t k = 0; k < st->v->instances_n; k++)
		is_busy = is_busy || !service_is_idle(st, st->v->instances[k]);
	if (is_stopped && !is_busy && !str_same(st->app.status.phase, "stopped"))
		event_log_put(rollout_step_txn(st), st->b->store, st->app.id, NULL, NULL, "stopped",
		    "The application was stopped.");
	set_phase(st, !is_stopped ? "idle" : is_busy ? "stopping" : "stopped");
	if (st->t != NULL && store_txn_count(st->t) == 0 && !st->is_app_changed)
		store_txn_free(STEAL(st->t));
	st->is_settled = st->t == NULL && !is_busy;
}

void
rollout_step_plan(struct rollout_step *st)
{
	rollout_remove_instances(st);
	if (st->t != NULL && !st->app.spec.deleted)
		return; /* one concern a transaction: a conflict repeats little */
	if (st->app.spec.deleted) {
		rollout_remove_app(st);
		return;
	}
	peer_plan(st);
	if (st->t != NULL)
		return;
	if (rollout_move_plan(st))
		return;
	if (storage_is_pending(&st->app)) {
		storage_settle(st->b, rollout_step_txn(st), &st->app);
		st->is_app_changed = true;
		return;
	}
	if (wish_plan(st) || sleep_plan(st))
		return;
	service_plan(st);
	if (st->t != NULL)
		return;
	connect_plan(st);
	if (st->t != NULL)
		return;
	if (st->app.spec.running && st->app.spec.held_ms > st->now_ms) {
		plan_held(st);
		return;
	}
	if (rollout_cart_waits(st))
		return;
	if (!st->app.spec.running)
		plan_idle(st, true);
	else if (st->app.spec.deployment == NULL || *st->app.spec.deployment == '\0')
		plan_idle(st, false);
	else
		plan_running(st);
	st->is_settled = st->is_settled && !is_start_held(st) && !service_is_stopping(st);
	if (st->t == NULL) {
		rollout_remove_gears(st);
		if (st->t == NULL)
			rollout_tell_gears(st);
		if (st->t == NULL && st->is_settled)
			rollout_prune(st);
	}
}
