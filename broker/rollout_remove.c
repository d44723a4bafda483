#include <string.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/quota.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "broker/route_plan.h"
#include "broker/router_link.h"
#include "broker/wish.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum {
	REQUEST_TIMEOUT_S = 300,
	HAND_OVER_DRAIN_S = 12, /* then requests that wait have waited long enough */
};

/* Do requests wait for its end? */
static bool
is_handed_over(const struct rollout_step *st)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = { 0 };

	return route_plan_get(st->b, &st->app, &r) && r.state == WIRE_ROUTE_PARKED;
}

/* Somebody is in it: it stays for a while, unless the application is to stop or its data are to be
 * handed over. */
static bool
is_entered(struct rollout_step *st, const struct app_view_instance *i)
{
	int64_t left = i->rec.retired_ms + st->b->conf.session_grace_s * 1000 - st->now_ms;

	if ((!i->status.has_sessions && !st->is_held) || !st->app.spec.running ||
	    st->app.spec.deleted || st->app.spec.replace || left <= 0 || is_handed_over(st))
		return false;
	rollout_step_again(st, left);
	return true;
}

/* Off the route: may it be stopped? */
static bool
is_drained(struct rollout_step *st, const struct app_view_instance *i)
{
	int64_t timeout_s =
	    st->app.request_timeout_s > 0 ? st->app.request_timeout_s : REQUEST_TIMEOUT_S;
	int64_t again = 0, left;

	if (timeout_s > HAND_OVER_DRAIN_S && is_handed_over(st))
		timeout_s = HAND_OVER_DRAIN_S;
	left = i->rec.retired_ms + timeout_s * 1000 - st->now_ms;

	if (left <= 0 || router_link_released(st->b->routers, i->rec.spec.id, i->rev, &again))
		return true;
	st->waits_for_router = true;
	rollout_step_again(st, again > 0 && again < left ? again : left);
	return false;
}

void
rollout_remove_instances(struct rollout_step *st)
{
	for (size_t k = 0; k < st->v->instances_n && rollout_step_has_room(st); k++) {
		const struct app_view_instance *i = st->v->instances[k];
		const char *id = i->rec.spec.id;

		if (i->rec.spec.want == WIRE_WANT_GONE) {
			AUTO(free) char *status = NULL;

			if (!app_view_is(i, WIRE_INSTANCE_GONE))
				continue;
			fault_point("instance_forget");
			status = store_key_instance_status(i->node, id);
			record_delete_cas(
			    rollout_step_txn(st), store_key_instance(i->node, id), i->rev);
			store_txn_delete(st->t, status);
		} else if (i->rec.retired && is_drained(st, i) && !is_entered(st, i)) {
			fault_point("instance_stop");
			rollout_step_want(st, i, WIRE_WANT_GONE);
		}
	}
}

static bool
has_instances(const struct rollout_step *st, const struct app_view_gear *g)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		if (strcmp(st->v->instances[k]->rec.spec.gear, g->gear.uuid) == 0)
			return true;
	}
	return false;
}

/* Deletes the gear's records with its place in the owner's quota. */
static void
forget_gear(struct rollout_step *st, const struct app_view_gear *g, int64_t *removed)
{
	AUTO(free) char *status = store_key_gear_status(g->node, g->gear.uuid);

	fault_point("gear_forget");
	record_delete_cas(rollout_step_txn(st), store_key_gear(g->node, g->gear.uuid), g->rev);
	store_txn_delete(st->t, status);
	(*removed)++;
}

static void
want_gear_gone(struct rollout_step *st, const struct app_view_gear *g)
{
	AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };

	fault_point("gear_tombstone");
	codec_copy(&wire_gear_codec, &gear, &g->gear);
	gear.want = WIRE_WANT_GONE;
	record_put_cas(rollout_step_txn(st), store_key_gear(g->node, gear.uuid), g->rev,
	    &wire_gear_codec, &gear);
}

/* Is any of its cartridges still the application's? */
static bool
has_use(const struct wire_app *a, const struct wire_gear *g)
{
	for (size_t i = 0; i < g->cartridges.n; i++) {
		if (wire_gear_find(&a->cartridges, g->cartridges.v[i].name) != NULL)
			return true;
	}
	return false;
}

/* from: gears with the web cartridge after so many are not wanted. */
static void
remove_gears_from(struct rollout_step *st, int64_t from)
{
	int64_t webs = 0, removed = 0;
	struct err e = { 0 };

	for (size_t k = 0; k < st->v->gears_n && rollout_step_has_room(st); k++) {
		const struct app_view_gear *g = st->v->gears[k];
		bool is_gone = g->status.uuid != NULL && strcmp(g->status.state, "gone") == 0;
		bool is_web = rollout_step_has_web(&g->gear);

		if (g->gear.want == WIRE_WANT_GONE) {
			if (is_gone && !has_instances(st, g))
				forget_gear(st, g, &removed);
		} else if ((st->app.spec.deleted || (is_web && webs++ >= from) ||
		               (!is_web && !has_use(&st->app, &g->gear))) &&
		           !has_instances(st, g)) {
			want_gear_gone(st, g);
		}
	}
	if (removed > 0 && quota_user(st->b, st->t, st->app.owner, -removed, 0, &e) < 0)
		log_error("quota_not_given_back", LOG_STR("app", st->app.id), LOG_ERR(&e));
}

void
rollout_remove_gears(struct rollout_step *st)
{
	remove_gears_from(st, st->app.spec.gears);
}

struct keys {
	struct str_list l;
	size_t max;
};

static bool
collect(const struct store_kv *kv, void *arg)
{
	struct keys *k = arg;

	if (k->l.n >= k->max)
		return false;
	str_list_add(&k->l, kv->key);
	return true;
}

/* What is left but the application's own record; true: nothing. */
static bool
remove_records(struct rollout_step *st)
{
	const char *id = st->app.id;
	struct keys k = { .max = 60 };
	const char *const prefixes[] = { STORE_PREFIX_DEPLOYMENT, STORE_PREFIX_BUILD,
		STORE_PREFIX_EVENT };
	bool is_clean;

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		AUTO(free) char *prefix = xasprintf("%s%s/", prefixes[i], id);

		store_range(st->b->store, prefix, collect, &k);
	}
	is_clean = k.l.n == 0;
	for (size_t i = 0; i < k.l.n; i++)
		store_txn_delete(rollout_step_txn(st), k.l.v[i]);
	str_list_fini(&k.l);
	return is_clean;
}

struct nodes {
	struct rollout_step *st;
	const char *app_id;
};

static bool
drop_of_app(const struct store_kv *kv, void *arg)
{
	struct nodes *n = arg;

	if (str_has_suffix(kv->key, n->app_id))
		store_txn_delete(rollout_step_txn(n->st), kv->key);
	return rollout_step_has_room(n->st);
}

static void
remove_last(struct rollout_step *st)
{
	AUTO(free) char *by_id = store_key_app_id(st->app.id);
	AUTO(free) char *env = store_key_env(st->app.id);
	AUTO(free) char *backup = store_key_backup(st->app.id);
	AUTO(free) char *restore = store_key_restore(st->app.id);
	AUTO(free) char *refs = store_key_refs(st->app.id);
	struct store_txn *t = rollout_step_txn(st);
	struct err e = { 0 };

	fault_point("app_forget");
	record_delete_cas(t, xstrdup(st->app_key), st->app_rev);
	store_txn_delete(t, by_id);
	store_txn_delete(t, env);
	store_txn_delete(t, backup);
	store_txn_delete(t, restore);
	store_txn_delete(t, refs);
	wish_forget(t, &st->app);
	if (quota_apps(st->b, t, st->app.domain, -1, &e) < 0)
		log_error("quota_not_given_back", LOG_STR("app", st->app.id), LOG_ERR(&e));
	st->is_app_gone = true;
}

void
rollout_remove_app(struct rollout_step *st)
{
	struct nodes nodes = { st, st->app.id };

	if (strcmp(st->app.status.phase == NULL ? "" : st->app.status.phase, "deleting") != 0) {
		mem_set_str(&st->app.status.phase, "deleting");
		st->is_app_changed = true;
	}
	for (size_t k = 0; k < st->v->instances_n; k++)
		rollout_step_want(st, st->v->instances[k], WIRE_WANT_GONE);
	if (route_plan_rev(st->b, &st->app) != 0)
		route_plan_delete(st->b, rollout_step_txn(st), &st->app);
	if (st->t != NULL)
		return;
	remove_gears_from(st, 0);
	rollout_move_remove(st);
	if (st->t != NULL || st->v->gears_n > 0 || st->v->leaving_n > 0 || st->v->instances_n > 0)
		return;
	if (!remove_records(st))
		return;
	store_range(st->b->store, STORE_PREFIX_KEEP, drop_of_app, &nodes);
	store_range(st->b->store, STORE_PREFIX_PEERS, drop_of_app, &nodes);
	if (st->t != NULL)
		return;
	if (!st->is_repo_removed) {
		fault_point("repo_remove");
		st->wants_repo_removed = true;
		return;
	}
	remove_last(st);
}
