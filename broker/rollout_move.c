/* A gear that moves: its instances end where it is, then its volume is taken over by the node that
 * it goes to, then that node's record is the gear's. Until then the old volume is whole: a move
 * that fails is given up by going back. */
#include <string.h>

#include "broker/broker.h"
#include "broker/event_log.h"
#include "broker/keep_plan.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "broker/route_plan.h"
#include "lib/base/fault.h"
#include "lib/base/mem.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum {
	ON_ROUTE_MAX = 512,
	TRIES_MS = 15 * 1000, /* so long it may fail and be tried again */
	AWAY_MS = 60 * 1000,  /* so long may the other node be away */
	LOOK_MS = 5 * 1000,
};

static bool
is_on(const struct app_view_instance *i, const struct app_view_gear *g)
{
	return i->rev != 0 && strcmp(i->rec.spec.gear, g->gear.uuid) == 0 &&
	       strcmp(i->node, g->node) == 0;
}

static void
put_gear(struct rollout_step *st, const struct app_view_gear *g, struct wire_gear *gear)
{
	record_put_cas(rollout_step_txn(st), store_key_gear(g->node, gear->uuid), g->rev,
	    &wire_gear_codec, gear);
}

/* --- nothing of it runs any more --- */

/* Its web instances leave the route: the others serve, or requests wait. */
static void
leave_route(struct rollout_step *st, const struct app_view_gear *g)
{
	AUTO_FINI(wire_route_fini) struct wire_route route = { 0 };
	const struct app_view_instance *others[ON_ROUTE_MAX];
	size_t n = 0;
	bool is_on_route = false;

	if (!route_plan_get(st->b, &st->app, &route))
		return;
	for (size_t k = 0; k < st->v->instances_n && n < ON_ROUTE_MAX; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (!route_plan_has(&route, i->rec.spec.id))
			continue;
		if (is_on(i, g))
			is_on_route = true;
		else
			others[n++] = i;
	}
	if (is_on_route && route_plan_put(st->b, rollout_step_txn(st), &st->app,
	                       n > 0 ? WIRE_ROUTE_LIVE : WIRE_ROUTE_PARKED, others, n))
		st->waits_for_router = true;
}

/* true: something still runs. The web ends first, then what it uses. */
static bool
end_instances(struct rollout_step *st, const struct app_view_gear *g)
{
	bool has_web = false, has_any = false;

	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		has_any = has_any || is_on(i, g);
		has_web = has_web || (is_on(i, g) && i->rec.spec.kind != WIRE_INSTANCE_SERVICE);
	}
	if (has_web)
		leave_route(st, g);
	for (size_t k = 0; k < st->v->instances_n && rollout_step_has_room(st); k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (!is_on(i, g))
			continue;
		if (rollout_step_is_web(i))
			rollout_step_retire(st, i);
		else if (i->rec.spec.kind != WIRE_INSTANCE_SERVICE || !has_web)
			rollout_step_want(st, i, WIRE_WANT_GONE);
	}
	if (st->t != NULL && store_txn_count(st->t) == 0 && !st->is_app_changed)
		store_txn_free(STEAL(st->t));
	return has_any;
}

/* The volume lies still: the other node may take it over. */
static void
hand_over(struct rollout_step *st, const struct app_view_gear *g)
{
	AUTO_FINI(wire_gear_fini) struct wire_gear twin = { 0 };
	AUTO_FINI(wire_gear_fini) struct wire_gear old = { 0 };

	fault_point("move_hand_over");
	codec_copy(&wire_gear_codec, &twin, &g->gear);
	mem_set_str(&twin.moving_to, NULL);
	mem_set_str(&twin.moved_from, g->node);
	record_put_cas(rollout_step_txn(st), store_key_gear(g->gear.moving_to, twin.uuid), 0,
	    &wire_gear_codec, &twin);
	codec_copy(&wire_gear_codec, &old, &g->gear);
	old.want = WIRE_WANT_STOPPED;
	old.moving_ms = st->now_ms;
	put_gear(st, g, &old);
	keep_plan_put_node(st->b, st->t, st->app.id, g->gear.moving_to);
}

/* --- the volume is under way --- */

static const struct app_view_gear *
twin_of(const struct rollout_step *st, const struct app_view_gear *left)
{
	for (size_t k = 0; k < st->v->gears_n; k++) {
		const struct app_view_gear *g = st->v->gears[k];

		if (strcmp(g->gear.uuid, left->gear.uuid) == 0 &&
		    strcmp(g->node, left->gear.moving_to) == 0)
			return g;
	}
	return NULL;
}

static void
complete(
    struct rollout_step *st, const struct app_view_gear *left, const struct app_view_gear *twin)
{
	AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };
	AUTO_FINI(wire_gear_fini) struct wire_gear old = { 0 };

	fault_point("move_complete");
	codec_copy(&wire_gear_codec, &gear, &twin->gear);
	mem_set_str(&gear.moved_from, NULL);
	put_gear(st, twin, &gear);
	codec_copy(&wire_gear_codec, &old, &left->gear);
	old.want = WIRE_WANT_GONE;
	put_gear(st, left, &old);
	event_log_put(st->t, st->b->store, st->app.id, gear.uuid, NULL, "moved",
	    "The gear moved from node %s to node %s.", left->node, twin->node);
}

/* Back to where it was. twin NULL: it is gone already. */
static void
give_up(struct rollout_step *st, const struct app_view_gear *left, const struct app_view_gear *twin,
    const char *why)
{
	AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };
	AUTO_FINI(wire_gear_fini) struct wire_gear old = { 0 };

	fault_point("move_give_up");
	if (twin != NULL) {
		codec_copy(&wire_gear_codec, &gear, &twin->gear);
		gear.want = WIRE_WANT_GONE;
		put_gear(st, twin, &gear);
	}
	codec_copy(&wire_gear_codec, &old, &left->gear);
	old.want = WIRE_WANT_PRESENT;
	old.moving_ms = 0;
	mem_set_str(&old.moving_to, NULL);
	put_gear(st, left, &old);
	event_log_put(st->t, st->b->store, st->app.id, old.uuid, NULL, "failed",
	    "The gear could not move to node %s: %s. It stays on node %s.", left->gear.moving_to,
	    why, left->node);
}

static void
look_after(struct rollout_step *st, const struct app_view_gear *left)
{
	const struct app_view_gear *twin = twin_of(st, left);
	const char *state = twin == NULL || twin->status.uuid == NULL ? "" : twin->status.state;
	int64_t age = st->now_ms - left->gear.moving_ms;

	if (twin == NULL)
		give_up(st, left, NULL, "it was called off");
	else if (strcmp(state, "ready") == 0)
		complete(st, left, twin);
	else if (strcmp(state, "failed") == 0 && age >= TRIES_MS)
		give_up(st, left, twin, twin->status.reason);
	else if (!node_link_is_alive(st->b->nodes, twin->node) && age >= AWAY_MS)
		give_up(st, left, twin, "that node is away");
	else
		rollout_step_again(st, LOOK_MS);
}

/* A record that is of no use any more: not the owner's gear, so no quota comes back. */
static void
forget(struct rollout_step *st, const struct app_view_gear *left)
{
	AUTO(free) char *status = NULL;

	if (left->status.uuid == NULL || strcmp(left->status.state, "gone") != 0)
		return;
	fault_point("move_forget");
	status = store_key_gear_status(left->node, left->gear.uuid);
	record_delete_cas(
	    rollout_step_txn(st), store_key_gear(left->node, left->gear.uuid), left->rev);
	store_txn_delete(st->t, status);
}

bool
rollout_move_plan(struct rollout_step *st)
{
	bool is_moving = false;

	for (size_t k = 0; k < st->v->leaving_n && st->t == NULL; k++) {
		const struct app_view_gear *left = st->v->leaving[k];

		if (left->gear.want == WIRE_WANT_GONE) {
			forget(st, left);
			continue;
		}
		is_moving = true;
		look_after(st, left);
	}
	for (size_t k = 0; k < st->v->gears_n && st->t == NULL; k++) {
		const struct app_view_gear *g = st->v->gears[k];

		if (g->gear.moving_to == NULL || g->gear.want != WIRE_WANT_PRESENT)
			continue;
		is_moving = true;
		if (!end_instances(st, g))
			hand_over(st, g);
	}
	return is_moving || st->t != NULL;
}

void
rollout_move_remove(struct rollout_step *st)
{
	for (size_t k = 0; k < st->v->leaving_n && rollout_step_has_room(st); k++) {
		const struct app_view_gear *left = st->v->leaving[k];
		AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };

		if (left->gear.want == WIRE_WANT_GONE) {
			forget(st, left);
			continue;
		}
		codec_copy(&wire_gear_codec, &gear, &left->gear);
		gear.want = WIRE_WANT_GONE;
		put_gear(st, left, &gear);
	}
}
