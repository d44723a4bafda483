/* A canary: a deployment that runs beside the one that serves, for a share of the clients, until it
 * is promoted (then it is what a rollout would switch to, and its instances run already) or
 * aborted. Each gear has an instance of both. It never holds up the other: what it cannot have, it
 * is given up for. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/event_log.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/store/store_key.h"

static bool
is_none(const char *deployment)
{
	return deployment == NULL || *deployment == '\0';
}

static bool
is_of(const struct app_view_instance *i, const char *deployment)
{
	return !is_none(deployment) && str_same(i->rec.spec.deployment_id, deployment);
}

bool
rollout_canary_has(const struct wire_app *a, const struct app_view_instance *i)
{
	return is_of(i, a->spec.canary) || is_of(i, a->status.canary);
}

bool
rollout_canary_is_settled(const struct wire_app *a)
{
	return str_same(a->spec.canary, a->status.canary);
}

static void
set_serving(struct rollout_step *st, const char *deployment)
{
	mem_set_str(&st->app.status.canary, deployment);
	st->is_app_changed = true;
	(void)rollout_step_txn(st);
}

/* Back to the canary before, if that one serves, or to none. What serves leaves the route with the
 * next step. */
static void
give_up(struct rollout_step *st, const struct app_view_instance *bad, const char *why)
{
	struct wire_app *a = &st->app;
	AUTO(free) char *id = STEAL(a->spec.canary);

	fault_point("canary_give_up");
	rollout_fail(st, bad, why);
	log_warn("canary_failed", LOG_STR("app", a->name), LOG_STR("domain", a->domain),
	    LOG_STR("deployment", id), LOG_STR("reason", st->failure));
	event_log_put(rollout_step_txn(st), st->b->store, a->id,
	    bad == NULL ? NULL : bad->rec.spec.gear, bad == NULL ? NULL : bad->rec.spec.id,
	    "failed", "The canary, deployment %s, was given up: %s", id, st->failure);
	if (!str_same(id, a->status.canary)) {
		mem_set_str(&a->spec.canary, a->status.canary);
		rollout_drop(st, id, st->failure);
	}
	mem_set_str(&a->status.failure, st->failure);
	st->is_app_changed = true;
}

/* All of it runs. */
static void
begin(struct rollout_step *st, struct wire_deployment *d, int64_t rev)
{
	struct wire_app *a = &st->app;

	fault_point("canary_begin");
	d->canary_ms = st->now_ms;
	record_put_cas(rollout_step_txn(st), store_key_deployment(a->id, d->id), rev,
	    &wire_deployment_codec, d);
	rollout_settle_build(st, d->id);
	event_log_put(st->t, st->b->store, a->id, NULL, NULL, "deployed",
	    "Deployment %s is a canary: it gets %" PRId64 " %% of the clients, %s the others.",
	    d->id, a->spec.canary_percent, a->status.deployment);
	if (!is_none(a->status.canary))
		str_list_take(
		    &st->notes, xasprintf("Deployment %s takes the place of the canary %s", d->id,
		                    a->status.canary));
	str_list_take(&st->notes,
	    xasprintf("Deployment %s is a canary: it gets %" PRId64 " %% of the clients, "
	              "deployment %s the others",
	        d->id, a->spec.canary_percent, a->status.deployment));
	str_list_add(
	    &st->notes, "For all clients: pinion canary promote; for none: pinion canary abort");
	mem_set_str(&a->status.failure, "");
	set_serving(st, d->id);
	st->is_switch = st->waits_for_router = true;
}

static int
load(const struct rollout_step *st, struct wire_deployment *d, int64_t *rev)
{
	struct err e = { 0 };

	return record_get(st->b->store, store_key_deployment(st->app.id, st->app.spec.canary),
	    &wire_deployment_codec, d, rev, &e);
}

/* An instance for each gear, made where there is none. false: it was given up. */
static bool
gather(struct rollout_step *st, const struct rollout_gears *gears, const struct wire_deployment *d,
    struct rollout_set *kept, struct rollout_set *ready)
{
	bool is_new = !rollout_canary_is_settled(&st->app);
	bool has_release =
	    is_new && d->canary_ms == 0 && d->activations.n == 0 && !is_none(d->release);
	int64_t left;

	for (size_t k = 0; k < gears->n; k++) {
		const struct app_view_instance *i = rollout_step_target(st, gears->v[k], d->id);

		if (i == NULL) {
			rollout_step_create(st, gears->v[k], d, has_release && k == 0);
		} else if (app_view_is(i, WIRE_INSTANCE_FAILED)) {
			give_up(st, i, i->status.reason);
			return false;
		} else if (app_view_is(i, WIRE_INSTANCE_READY)) {
			rollout_set_add(ready, i);
		} else if (is_new && rollout_step_is_late(st, i, &left)) {
			give_up(st, i, "the node does not answer");
			return false;
		} else if (is_new) {
			rollout_step_again(st, left);
		}
		if (i != NULL)
			rollout_set_add(kept, i);
		if (has_release && ready->n == 0)
			break; /* the others start once the release command has ended */
	}
	return true;
}

void
rollout_canary_add(
    const struct rollout_step *st, struct rollout_set *kept, struct rollout_set *serving)
{
	if (is_none(st->app.spec.canary))
		return;
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (!rollout_step_is_web(i) || !rollout_step_is_live(i) ||
		    !rollout_canary_has(&st->app, i))
			continue;
		rollout_set_add(kept, i);
		if (is_of(i, st->app.status.canary) && app_view_is(i, WIRE_INSTANCE_READY))
			rollout_set_add(serving, i);
	}
}

bool
rollout_canary_plan(struct rollout_step *st, const struct rollout_gears *gears,
    struct rollout_set *kept, struct rollout_set *serving)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	struct rollout_set ready = { 0 };
	int64_t rev = 0;

	if (is_none(st->app.spec.canary)) {
		if (!is_none(st->app.status.canary))
			set_serving(st, NULL);
		return true;
	}
	if (st->app.spec.replace) {
		give_up(st, NULL, "the application's instances must not run at the same time");
		return false;
	}
	if (load(st, &d, &rev) < 0) {
		give_up(st, NULL, "the deployment does not exist any more");
		return false;
	}
	if (!gather(st, gears, &d, kept, &ready))
		return false;
	if (ready.n < gears->n || gears->n == 0) {
		rollout_canary_add(st, kept, serving); /* a restart, or one canary after another */
		return false;
	}
	if (!rollout_canary_is_settled(&st->app))
		begin(st, &d, rev);
	for (size_t k = 0; k < ready.n; k++)
		rollout_set_add(serving, ready.v[k]);
	return true;
}

void
rollout_canary_idle(struct rollout_step *st)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	int64_t rev = 0;

	if (rollout_canary_is_settled(&st->app))
		return;
	if (is_none(st->app.spec.canary))
		set_serving(st, NULL);
	else if (load(st, &d, &rev) < 0)
		give_up(st, NULL, "the deployment does not exist any more");
	else
		begin(st, &d, rev);
}
