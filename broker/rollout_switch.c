#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/app.h"
#include "broker/app_cart.h"
#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/event_log.h"
#include "broker/keep_plan.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "broker/route_plan.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum { ACTIVATIONS_KEPT = 100, BUILDS_KEPT = 20 };

struct find_build {
	const char *deployment;
	struct wire_build out; /* id NULL: none */
	int64_t rev;
};

static bool
find_build(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_build *b = rec;
	struct find_build *f = arg;

	(void)key;
	if (b->deployment_id == NULL || strcmp(b->deployment_id, f->deployment) != 0 ||
	    b->state == NULL || strcmp(b->state, "rolling") != 0)
		return true;
	codec_copy(&wire_build_codec, &f->out, b);
	f->rev = rev;
	return false;
}

/* The build whose result the deployment is and that still waits for it. */
static bool
rolling_build(struct rollout_step *st, const char *deployment, struct find_build *f)
{
	AUTO(free) char *prefix = xasprintf("%s%s/", STORE_PREFIX_BUILD, st->app.id);

	*f = (struct find_build){ .deployment = deployment };
	record_each(st->b->store, prefix, &wire_build_codec, find_build, f);
	return f->out.id != NULL;
}

static void
put_build(struct rollout_step *st, struct find_build *f, const char *state, const char *reason)
{
	mem_set_str(&f->out.state, state);
	mem_set_str(&f->out.reason, reason);
	record_put_cas(rollout_step_txn(st), store_key_build(st->app.id, f->out.id), f->rev,
	    &wire_build_codec, &f->out);
}

static void
set_ref(struct wire_refs *refs, const char *name, const char *oid)
{
	struct wire_ref *r = NULL;

	for (size_t i = 0; i < refs->refs.n; i++) {
		if (strcmp(refs->refs.v[i].name, name) == 0)
			r = &refs->refs.v[i];
	}
	if (r == NULL) {
		r = codec_list_add(&wire_ref_codec, &refs->refs);
		r->name = xstrdup(name);
	}
	mem_set_str(&r->oid, oid);
}

/* The branch that was pushed moves with the deployment. */
static void
move_ref(struct rollout_step *st, const struct wire_build *b)
{
	AUTO_FINI(wire_refs_fini) struct wire_refs refs = { 0 };
	const char *branch = b->ref + strlen("refs/heads/");
	int64_t rev = 0;
	struct err e = { 0 };

	if (record_get(
	        st->b->store, store_key_refs(st->app.id), &wire_refs_codec, &refs, &rev, &e) < 0)
		rev = 0;
	set_ref(&refs, b->ref, b->sha1);
	st->app.pushed = true;
	if (str_has_prefix(b->ref, "refs/heads/")) {
		mem_set_str(&refs.head, b->ref);
		mem_set_str(&st->app.deployment_branch, branch);
	}
	record_put_cas(
	    rollout_step_txn(st), store_key_refs(st->app.id), rev, &wire_refs_codec, &refs);
}

static void
activate(struct rollout_step *st)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	struct wire_activation *a;
	int64_t rev = 0;
	struct err e = { 0 };

	if (record_get(st->b->store, store_key_deployment(st->app.id, st->app.spec.deployment),
	        &wire_deployment_codec, &d, &rev, &e) < 0)
		return;
	if (d.activations.n >= ACTIVATIONS_KEPT) {
		memmove(d.activations.v, d.activations.v + 1,
		    (d.activations.n - 1) * sizeof *d.activations.v);
		d.activations.n--;
	}
	a = codec_list_add(&wire_activation_codec, &d.activations);
	a->at_ms = st->now_ms;
	record_put_cas(rollout_step_txn(st), store_key_deployment(st->app.id, d.id), rev,
	    &wire_deployment_codec, &d);
}

static void
add_notes(struct rollout_step *st, const struct app_view_instance *i)
{
	for (size_t k = 0; k < i->status.notes.n; k++) {
		if (!str_list_has(&st->notes, i->status.notes.v[k]))
			str_list_add(&st->notes, i->status.notes.v[k]);
	}
}

static void
tell(struct rollout_step *st, const char *kind, const char *text)
{
	event_log_put(rollout_step_txn(st), st->b->store, st->app.id, NULL, NULL, kind, "%s", text);
}

/* For `pinion events`; status is still that before the switch. */
static void
tell_switch(struct rollout_step *st, size_t n)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	const struct wire_app *a = &st->app;
	AUTO(free) char *text = NULL;
	struct err e = { 0 };

	if (!str_same(a->spec.deployment, a->status.deployment)) {
		if (record_get(st->b->store, store_key_deployment(a->id, a->spec.deployment),
		        &wire_deployment_codec, &d, NULL, &e) < 0)
			return;
		const char *how = n > 0 ? "serves" : "is the one to start";

		if (d.is_template)
			text = xasprintf("Deployment %s of the template %s.", d.id, how);
		else if (d.ref == NULL || *d.ref == '\0')
			text = xasprintf("Deployment %s of an archive %s.", d.id, how);
		else
			text =
			    xasprintf("Deployment %s of %s (%.8s) %s.", d.id, d.ref, d.sha1, how);
		tell(st, "deployed", text);
	} else if (n > 0 && rollout_step_was_stopped(a)) {
		tell(st, "started", "The application was started.");
	} else if (n > 0 && a->spec.restart_gen != a->status.restart_gen) {
		tell(st, "restarted", "The application was restarted.");
	} else if (n > 0 && a->spec.env_rev != a->status.env_rev) {
		tell(st, "configured", "The application was restarted with changed variables.");
	}
}

/* As v2 says it. */
static void
add_hot_notes(struct rollout_step *st)
{
	static const char *const words[] = { "stopping", "starting" };

	for (size_t w = 0; w < ARRAY_LEN(words); w++) {
		for (size_t k = 0; k < st->app.cartridges.n; k++)
			str_list_take(&st->notes,
			    xasprintf("Not %s cartridge %s because hot deploy is enabled", words[w],
			        st->app.cartridges.v[k].name));
	}
}

void
rollout_settle_build(struct rollout_step *st, const char *deployment)
{
	struct find_build build = { 0 };

	if (rolling_build(st, deployment, &build)) {
		if (build.out.moves_ref)
			move_ref(st, &build.out);
		put_build(st, &build, "done", "");
	}
	wire_build_fini(&build.out);
}

/* What is not on the new route ends, but for a canary that has not begun yet. */
static void
retire_others(struct rollout_step *st, const struct rollout_set *kept)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];
		bool is_kept = !rollout_step_is_web(i);

		for (size_t j = 0; j < kept->n && !is_kept; j++)
			is_kept = kept->v[j] == i;
		if (!is_kept)
			rollout_step_retire(st, i);
	}
}

void
rollout_switch(struct rollout_step *st, const struct app_view_instance *const *v, size_t n)
{
	struct wire_app *a = &st->app;
	struct rollout_set kept = { 0 }, serving = { 0 };
	bool is_hot = false;

	fault_point("rollout_switch");
	if (!str_same(a->spec.deployment, a->status.deployment))
		activate(st);
	rollout_settle_build(st, a->spec.deployment);
	tell_switch(st, n);
	for (size_t k = 0; k < n && !is_hot; k++)
		is_hot = rollout_hot_is_told(a, v[k]);
	mem_set_str(&a->status.deployment, a->spec.deployment);
	mem_set_str(&a->status.failure, "");
	if (a->spec.canary == NULL)
		mem_set_str(&a->status.canary, NULL);
	mem_set_str(&a->status.phase, n > 0 ? "idle" : a->spec.running ? "idle" : "stopping");
	a->status.restart_gen = a->spec.restart_gen;
	a->status.env_rev = a->spec.env_rev;
	rollout_cart_done(st);
	st->is_app_changed = st->is_switch = st->waits_for_router = true;
	if (n == 0) { /* nothing runs: the caller sees to instances */
		(void)route_plan_put(st->b, rollout_step_txn(st), a, WIRE_ROUTE_STOPPED, NULL, 0);
		return;
	}
	for (size_t k = 0; k < n; k++) {
		rollout_set_add(&kept, v[k]);
		rollout_set_add(&serving, v[k]);
		add_notes(st, v[k]);
	}
	rollout_canary_add(st, &kept, &serving);
	(void)route_plan_put(st->b, rollout_step_txn(st), a, WIRE_ROUTE_LIVE, serving.v, serving.n);
	retire_others(st, &kept);
	if (is_hot)
		add_hot_notes(st);
}

void
rollout_drop(struct rollout_step *st, const char *id, const char *why)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	AUTO_FINI(str_list_fini) struct str_list without = { 0 };
	struct find_build build = { 0 };
	int64_t rev = 0;
	struct err e = { 0 };

	if (rolling_build(st, id, &build))
		put_build(st, &build, "failed", why);
	wire_build_fini(&build.out);
	if (record_get(st->b->store, store_key_deployment(st->app.id, id), &wire_deployment_codec,
	        &d, &rev, &e) < 0 ||
	    d.activations.n > 0 || d.canary_ms > 0)
		return;
	str_list_add(&without, id);
	record_delete_cas(rollout_step_txn(st), store_key_deployment(st->app.id, id), rev);
	keep_plan_put(st->b, st->t, st->v, NULL, &without);
}

static char *
failure_text(const struct app_view_instance *bad, const char *why)
{
	struct buf text = { 0 };

	buf_adds(&text, why != NULL && *why != '\0' ? why : "the new instance did not start");
	if (bad != NULL && bad->rec.spec.gear != NULL &&
	    strcmp(bad->rec.spec.gear, bad->rec.spec.app_id) != 0)
		buf_addf(&text, " (gear %s)", bad->rec.spec.gear);
	return buf_steal(&text);
}

void
rollout_fail(struct rollout_step *st, const struct app_view_instance *bad, const char *why)
{
	free(st->failure);
	st->failure = failure_text(bad, why);
	if (bad != NULL)
		str_list_copy(&st->tail, &bad->status.log_tail);
}

void
rollout_give_up(struct rollout_step *st, const struct app_view_instance *bad, const char *why)
{
	struct wire_app *a = &st->app;
	bool was_stopped = rollout_step_was_stopped(a);
	bool is_scale = str_same(a->spec.deployment, a->status.deployment) &&
	                a->spec.restart_gen == a->status.restart_gen &&
	                a->spec.env_rev == a->status.env_rev && !app_cart_is_pending(a);
	bool is_cart_pending = app_cart_is_pending(a); /* variables get a turn of their own */
	bool is_cart_rolled = a->spec.cart_roll != a->status.cart_roll;
	bool was_hot = false;
	int64_t cart_roll = a->spec.cart_roll;
	int64_t gears = 0;
	AUTO(free)
	char *what = is_cart_pending && a->cartridges_before.n > 0
	                 ? xstrdup("The change of cartridges was taken back")
	                 : xasprintf("%s of deployment %s failed",
	                       is_scale ? "A start" : "The rollout", a->spec.deployment);

	fault_point("rollout_give_up");
	if (is_cart_pending)
		app_cart_put_back(st->b, rollout_step_txn(st), a);
	else
		app_put_back_vars(st->b, rollout_step_txn(st), a);
	rollout_fail(st, bad, why);
	log_warn("rollout_failed", LOG_STR("app", a->name), LOG_STR("domain", a->domain),
	    LOG_STR("deployment", a->spec.deployment), LOG_STR("reason", st->failure));
	event_log_put(rollout_step_txn(st), st->b->store, a->id,
	    bad == NULL ? NULL : bad->rec.spec.gear, bad == NULL ? NULL : bad->rec.spec.id,
	    "failed", "%s: %s", what, st->failure);
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];
		bool is_new = !str_same(i->rec.spec.deployment_id, a->status.deployment) ||
		              i->rec.restart_gen != a->status.restart_gen ||
		              i->rec.env_rev != a->status.env_rev ||
		              (is_cart_rolled && i->rec.cart_rev >= cart_roll) || was_stopped ||
		              app_view_is(i, WIRE_INSTANCE_FAILED);

		if (!rollout_step_is_web(i) || rollout_canary_has(a, i))
			continue;
		if (!was_stopped && rollout_hot_is_told(a, i)) {
			was_hot = true; /* it serves, with half of each: until another one does */
			gears++;
			continue;
		}
		if (is_new && !i->rec.retired)
			rollout_step_want(st, i, WIRE_WANT_GONE);
		else if (!i->rec.retired && app_view_is(i, WIRE_INSTANCE_READY))
			gears++;
	}
	if (!str_same(a->spec.deployment, a->status.deployment))
		rollout_drop(st, a->spec.deployment, st->failure);
	if (is_scale && !was_stopped && gears > 0)
		a->spec.gears = gears;
	if (was_stopped)
		a->spec.running = false;
	mem_set_str(&a->spec.deployment, a->status.deployment == NULL ? "" : a->status.deployment);
	a->spec.restart_gen = a->status.restart_gen + (was_hot ? 1 : 0);
	if (!is_cart_pending)
		a->spec.env_rev = a->status.env_rev;
	mem_set_str(&a->status.phase, was_stopped ? "stopping" : "idle");
	mem_set_str(&a->status.failure, st->failure);
	st->is_app_changed = true;
	(void)rollout_step_txn(st);
}

void
rollout_tell_gears(struct rollout_step *st)
{
	const char *branch = st->app.deployment_branch;

	for (size_t k = 0; k < st->v->gears_n && rollout_step_has_room(st); k++) {
		const struct app_view_gear *g = st->v->gears[k];
		AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };

		if (branch == NULL || g->gear.want == WIRE_WANT_GONE ||
		    (str_same(g->gear.deployment_branch, branch) &&
		        g->gear.is_scalable == st->app.scalable))
			continue;
		codec_copy(&wire_gear_codec, &gear, &g->gear);
		gear.is_scalable = st->app.scalable;
		mem_set_str(&gear.deployment_branch, branch);
		record_put_cas(rollout_step_txn(st), store_key_gear(g->node, gear.uuid), g->rev,
		    &wire_gear_codec, &gear);
	}
}

struct prune {
	const struct wire_app *app;
	struct str_list ids; /* with when */
	int64_t when[1100];  /* last activation; never activated = newest */
	size_t n;
};

static bool
prune_visit(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_deployment *d = rec;
	struct prune *p = arg;

	(void)key;
	(void)rev;
	if (p->n >= ARRAY_LEN(p->when))
		return false;
	p->when[p->n++] = d->activations.n > 0 ? d->activations.v[d->activations.n - 1].at_ms
	                  : d->canary_ms > 0   ? d->canary_ms
	                                       : INT64_MAX;
	str_list_add(&p->ids, d->id);
	return true;
}

static void prune_builds(struct rollout_step *st);

void
rollout_prune(struct rollout_step *st)
{
	AUTO(free) char *prefix = xasprintf("%s%s/", STORE_PREFIX_DEPLOYMENT, st->app.id);
	AUTO_FINI(str_list_fini) struct str_list drop = { 0 };
	struct prune *p = xcalloc(1, sizeof *p);
	size_t keep = st->app.keep_deployments > 0 ? (size_t)st->app.keep_deployments : 1;

	p->app = &st->app;
	record_each(st->b->store, prefix, &wire_deployment_codec, prune_visit, p);
	for (size_t left = p->n; left > keep && drop.n < 40; left--) {
		size_t oldest = p->n;

		for (size_t i = 0; i < p->n; i++) {
			bool is_used = str_same(p->ids.v[i], st->app.status.deployment) ||
			               str_same(p->ids.v[i], st->app.spec.deployment) ||
			               str_same(p->ids.v[i], st->app.status.canary) ||
			               str_same(p->ids.v[i], st->app.spec.canary);

			if (!is_used && p->when[i] < INT64_MAX &&
			    (oldest == p->n || p->when[i] < p->when[oldest]))
				oldest = i;
		}
		if (oldest == p->n)
			break;
		str_list_add(&drop, p->ids.v[oldest]);
		p->when[oldest] = INT64_MAX;
	}
	str_list_fini(&p->ids);
	free(p);
	for (size_t i = 0; i < drop.n; i++) {
		AUTO(free) char *key = store_key_deployment(st->app.id, drop.v[i]);

		store_txn_delete(rollout_step_txn(st), key);
	}
	if (drop.n > 0)
		keep_plan_put(st->b, st->t, st->v, NULL, &drop);
	else
		prune_builds(st);
}

struct old_builds {
	struct str_list keys;
	int64_t at[256];
	size_t n;
};

static bool
old_visit(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_build *b = rec;
	struct old_builds *o = arg;

	(void)rev;
	if (o->n >= ARRAY_LEN(o->at))
		return false;
	if (!str_same(b->state, "done") && !str_same(b->state, "failed"))
		return true;
	o->at[o->n++] = b->created_at;
	str_list_add(&o->keys, key);
	return true;
}

/* Records of builds that ended, but the newest. */
static void
prune_builds(struct rollout_step *st)
{
	AUTO(free) char *prefix = xasprintf("%s%s/", STORE_PREFIX_BUILD, st->app.id);
	struct old_builds o = { 0 };

	record_each(st->b->store, prefix, &wire_build_codec, old_visit, &o);
	for (size_t left = o.n; left > BUILDS_KEPT && rollout_step_has_room(st); left--) {
		size_t oldest = o.n;

		for (size_t i = 0; i < o.n; i++) {
			if (o.at[i] >= 0 && (oldest == o.n || o.at[i] < o.at[oldest]))
				oldest = i;
		}
		store_txn_delete(rollout_step_txn(st), o.keys.v[oldest]);
		o.at[oldest] = -1;
	}
	str_list_fini(&o.keys);
}
