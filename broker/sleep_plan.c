#include "broker/sleep_plan.h"

#include <string.h>

#include "broker/app_cart.h"
#include "broker/broker.h"
#include "broker/event_log.h"
#include "broker/idler.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "broker/route_plan.h"
#include "broker/router_link.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum { SERVING_MAX = 512 };

/* Nothing else is wanted of it than what it does. */
static bool
is_steady(const struct wire_app *a)
{
	return a->spec.running && !a->spec.deleted && a->spec.deployment != NULL &&
	       *a->spec.deployment != '\0' && str_same(a->spec.deployment, a->status.deployment) &&
	       a->spec.restart_gen == a->status.restart_gen &&
	       a->spec.env_rev == a->status.env_rev && !app_cart_is_pending(a) &&
	       rollout_canary_is_settled(a) && str_same(a->status.phase, "idle");
}

static bool
is_member(const struct app_view_instance *i)
{
	return i->rev != 0 && !i->rec.retired && i->rec.spec.want == WIRE_WANT_PRESENT &&
	       i->rec.spec.kind != WIRE_INSTANCE_RUN;
}

static bool
was_woken(const struct rollout_step *st)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		if (st->v->instances[k]->status.woken_order >= st->app.spec.sleep_order)
			return true;
	}
	return false;
}

static void
put(struct rollout_step *st, const struct app_view_instance *i, int sleep, int64_t order)
{
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };

	if (!rollout_step_has_room(st))
		return;
	codec_copy(&wire_instance_record_codec, &rec, &i->rec);
	rec.spec.sleep = sleep;
	rec.spec.sleep_order = order;
	record_put_cas(rollout_step_txn(st), store_key_instance(i->node, rec.spec.id), i->rev,
	    &wire_instance_record_codec, &rec);
}

static void
tell(struct rollout_step *st, const char *kind, const char *text)
{
	event_log_put(rollout_step_txn(st), st->b->store, st->app.id, NULL, NULL, kind, "%s", text);
}

/* --- waking --- */

/* The nodes are told as well: who woke it may have been the broker, or only one node of several. */
static void
wake(struct rollout_step *st)
{
	bool any = false;

	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (i->rev == 0 || i->rec.spec.sleep == WIRE_SLEEP_AWAKE)
			continue;
		put(st, i, WIRE_SLEEP_AWAKE, i->rec.spec.sleep_order);
		any = true;
	}
	if (any)
		tell(st, "woken", "The application was woken.");
}

/* It was stopped to sleep and is being started: requests go on waiting. */
static bool
is_starting(struct rollout_step *st)
{
	AUTO_FINI(wire_route_fini) struct wire_route route = { 0 };
	bool is_waiting = false;

	if (!is_steady(&st->app) || !route_plan_get(st->b, &st->app, &route) ||
	    route.state != WIRE_ROUTE_PARKED || route.sleep == 0)
		return false;
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (!is_member(i) || i->rec.spec.kind == WIRE_INSTANCE_WORKER)
			continue;
		if (app_view_is(i, WIRE_INSTANCE_FAILED) || app_view_is(i, WIRE_INSTANCE_CRASHED))
			return false;
		is_waiting = is_waiting || !app_view_is(i, WIRE_INSTANCE_READY);
	}
	return is_waiting;
}

/* --- going to sleep --- */

static bool
is_stopping(const struct rollout_step *st, const struct app_view_instance *i)
{
	return i->rec.spec.sleep == WIRE_SLEEP_STOPPED &&
	       i->rec.spec.sleep_order == st->app.spec.sleep_order;
}

/* Those that the route names now; false: not all of them serve. */
static bool
find_serving(const struct rollout_step *st, const struct app_view_instance **v, size_t *n,
    struct str_list *nodes)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];
		const struct wire_node_facts *f;

		if (!is_member(i))
			continue;
		f = node_link_facts(st->b->nodes, i->node);
		if (f == NULL || f->wake == NULL)
			return false; /* nobody could wake it */
		if (!str_list_has(nodes, f->wake))
			str_list_add(nodes, f->wake);
		if (i->rec.spec.kind != WIRE_INSTANCE_WEB)
			continue;
		if (*n == SERVING_MAX ||
		    (!app_view_is(i, WIRE_INSTANCE_READY) && !is_stopping(st, i)))
			return false;
		v[(*n)++] = i;
	}
	return *n > 0;
}

static void
give_up(struct rollout_step *st)
{
	st->app.spec.sleep = WIRE_SLEEP_AWAKE;
	st->is_app_changed = true;
	(void)rollout_step_txn(st);
	wake(st);
}

static void
put_members(struct rollout_step *st)
{
	const struct wire_app_spec *s = &st->app.spec;
	static const char *const texts[] = { "", "Frozen: a request wakes it at once.",
		"Its memory was given back; a request wakes it.",
		"Stopped until the next request." };
	bool any = false;

	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (!is_member(i) ||
		    (i->rec.spec.sleep == s->sleep && i->rec.spec.sleep_order == s->sleep_order))
			continue;
		put(st, i, s->sleep, s->sleep_order);
		any = true;
	}
	if (any)
		tell(st, "idled", texts[s->sleep]);
}

static bool
all_asleep(const struct rollout_step *st)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (is_member(i) && i->status.sleep != st->app.spec.sleep)
			return false;
	}
	return true;
}

static void
go_to_sleep(struct rollout_step *st)
{
	const struct app_view_instance *v[SERVING_MAX];
	AUTO_FINI(str_list_fini) struct str_list nodes = { 0 };
	bool stops = st->app.spec.sleep == WIRE_SLEEP_STOPPED;
	size_t n = 0;

	if (!find_serving(st, v, &n, &nodes)) {
		give_up(st);
		return;
	}
	if (route_plan_put_asleep(st->b, rollout_step_txn(st), &st->app,
	        stops ? WIRE_ROUTE_PARKED : WIRE_ROUTE_LIVE, v, stops ? 0 : n, &nodes)) {
		st->waits_for_router = true;
		return;
	}
	store_txn_free(STEAL(st->t));
	/* All that they passed on by the table before must be known. */
	if (!router_link_is_quiet(st->b->routers, route_plan_rev(st->b, &st->app))) {
		st->waits_for_router = true;
		return;
	}
	fault_point("sleep_routers");
	put_members(st);
	st->is_settled = st->t == NULL && all_asleep(st);
}

bool
sleep_plan(struct rollout_step *st)
{
	const struct wire_app_spec *s = &st->app.spec;

	if (s->sleep != WIRE_SLEEP_AWAKE &&
	    (!is_steady(&st->app) || was_woken(st) ||
	        idler_is_used_since(st->b, st->app.id, s->sleep_order))) {
		give_up(st);
		return true;
	}
	if (s->sleep != WIRE_SLEEP_AWAKE) {
		go_to_sleep(st);
		return true;
	}
	wake(st);
	return st->t != NULL || is_starting(st);
}
