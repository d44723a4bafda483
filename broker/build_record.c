#include "broker/build_record.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/build.h"
#include "broker/keep_plan.h"
#include "broker/record.h"
#include "broker/rollout.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum { REASON_MAX = 4000 };

void
build_record_init(struct build_record *r, const struct build_source *src)
{
	*r = (struct build_record){
		.app_id = xstrdup(src->app_id),
		.ref = xstrdup(src->ref == NULL ? "" : src->ref),
		.sha1 = xstrdup(src->sha1 == NULL ? "" : src->sha1),
		.old_sha1 = xstrdup(src->old_sha1 == NULL ? "" : src->old_sha1),
		.login = xstrdup(src->login == NULL ? "" : src->login),
		.git_url = xstrdup(src->git_url == NULL ? "" : src->git_url),
		.artifact = src->take_artifact,
		.is_template = src->is_template,
		.moves_ref = src->moves_ref,
		.force_clean = src->force_clean,
		.hot_deploy = src->hot_deploy,
		.is_cold = src->is_cold,
		.begin_us = src->begin_us,
	};
}

void
build_record_fini(struct build_record *r)
{
	free(r->id);
	free(r->app_id);
	free(r->deployment_id);
	free(r->node);
	free(r->ref);
	free(r->sha1);
	free(r->old_sha1);
	free(r->login);
	free(r->git_url);
	if (r->artifact != NULL)
		(void)unlink(r->artifact);
	free(r->artifact);
	wire_build_result_fini(&r->result);
	*r = (struct build_record){ 0 };
}

/* Where the ref is now; "" = it is not. Caller owns; NULL: it cannot be read. */
static char *
ref_now(const struct broker *b, const struct build_record *r, struct err *e)
{
	AUTO_FINI(wire_refs_fini) struct wire_refs refs = { 0 };
	struct err none = { 0 };

	if (record_get(b->store, store_key_refs(r->app_id), &wire_refs_codec, &refs, NULL, &none) <
	        0 &&
	    none.code != ERR_NOT_FOUND) {
		(void)err_set(e, none.code, NULL, "%s", none.text);
		return NULL;
	}
	for (size_t i = 0; i < refs.refs.n; i++) {
		if (strcmp(refs.refs.v[i].name, r->ref) == 0)
			return xstrdup(refs.refs.v[i].oid);
	}
	return xstrdup("");
}

/* Is the ref still what it was? */
static int
check_ref(const struct broker *b, const struct build_record *r, struct err *e)
{
	AUTO(free) char *now = NULL;

	if (!r->moves_ref)
		return 0;
	now = ref_now(b, r, e);
	if (now == NULL)
		return -1;
	if (strcmp(now, r->old_sha1) == 0)
		return 0;
	return err_set(e, ERR_CONFLICT, "ref", "the branch moved meanwhile: fetch first");
}

/* While this one waited its turn, another push may have moved the ref: that is fine if this one
 * builds on it. */
static int
rebase_ref(const struct broker *b, struct build_record *r, struct err *e)
{
	AUTO(free) char *now = NULL;

	if (!r->moves_ref)
		return 0;
	now = ref_now(b, r, e);
	if (now == NULL)
		return -1;
	if (strcmp(now, r->old_sha1) == 0)
		return 0;
	if (*now == '\0')
		return err_set(
		    e, ERR_CONFLICT, "ref", "the branch was deleted meanwhile: push again");
	r->must_descend = true;
	mem_set_str(&r->old_sha1, now);
	return 0;
}

static int
load_app(const struct broker *b, const char *id, struct wire_app *app, int64_t *rev, struct err *e)
{
	if (record_app_by_id(b->store, id, app, rev, e) < 0)
		return -1;
	if (app->spec.deleted)
		return err_set(e, ERR_NOT_FOUND, "app", "the application is being deleted");
	return 0;
}

static void
fill(const struct build_record *r, const char *state, const char *why, struct wire_build *out)
{
	*out = (struct wire_build){
		.id = xstrdup(r->id),
		.app_id = xstrdup(r->app_id),
		.deployment_id = xstrdup(r->deployment_id),
		.ref = xstrdup(r->ref),
		.sha1 = xstrdup(r->sha1),
		.state = xstrdup(state),
		.reason = xstrndup(why, strnlen(why, REASON_MAX)),
		.node = xstrdup(r->node),
		.moves_ref = r->moves_ref,
		.old_sha1 = xstrdup(r->old_sha1),
		.created_at = r->created_at,
	};
}

static void
put_build(struct store_txn *t, const struct build_record *r, const char *state, const char *why)
{
	AUTO_FINI(wire_build_fini) struct wire_build rec = { 0 };

	fill(r, state, why, &rec);
	record_put(t, store_key_build(r->app_id, r->id), &wire_build_codec, &rec);
}

static void
on_begun(int64_t rev, const struct err *e, void *arg)
{
	(void)rev;
	(void)arg;
	if (e != NULL)
		log_warn("build_not_recorded", LOG_ERR(e));
}

int
build_record_begin(struct broker *b, struct build_record *r, struct err *e)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	const struct app_view_app *v = app_view_get(rollout_view(b->rollout), r->app_id);
	struct store_txn *t;

	if (load_app(b, r->app_id, &app, NULL, e) < 0 || rebase_ref(b, r, e) < 0)
		return -1;
	if (v->gears_n == 0 || strcmp(v->gears[0]->gear.uuid, r->app_id) != 0)
		return err_set(e, ERR_BUSY, "app", "the application has no gear yet: try again");
	if (v->gears[0]->gear.moving_to != NULL || v->gears[0]->gear.moved_from != NULL)
		return err_set(e, ERR_BUSY, "app",
		    "the application moves to another node just now: push again in a minute");
	r->id = secret_random_hex(8);
	r->deployment_id = secret_random_hex(4);
	r->node = xstrdup(v->gears[0]->node);
	r->created_at = (int64_t)time(NULL);
	t = store_txn_new();
	put_build(t, r, "building", "");
	store_txn_submit(b->store, t, on_begun, NULL);
	return 0;
}

static void
fill_deployment(const struct build_record *r, struct wire_deployment *d)
{
	d->id = xstrdup(r->deployment_id);
	d->app_id = xstrdup(r->app_id);
	d->ref = xstrdup(r->ref);
	d->sha1 = xstrdup(r->sha1);
	d->created_at = r->created_at;
	d->hot_deploy = r->hot_deploy;
	d->disable_auto_scaling = r->disable_auto_scaling;
	d->force_clean_build = r->force_clean;
	d->is_template = r->is_template;
	d->image = xstrdup_null(r->result.image);
	codec_copy(&wire_layers_codec, &d->layers, &r->result.layers);
	d->deps_key = xstrdup_null(r->result.deps_key);
	codec_copy(&wire_start_codec, &d->start, &r->result.start);
	d->release = xstrdup_null(r->result.release);
	for (size_t i = 0; i < r->result.processes.n; i++)
		codec_copy(&wire_var_codec, codec_list_add(&wire_var_codec, &d->processes),
		    &r->result.processes.v[i]);
	d->health_path = xstrdup_null(r->result.health_path);
}

/* What is deployed while there is a canary takes its place: a push never gives all clients what its
 * owner shows to some of them. The template is nobody's to be kept, and with restored data only the
 * code that goes with them runs. */
static bool
is_canary(const struct broker *b, const struct build_record *r, const struct wire_app *app)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	struct err e = { 0 };

	return (app->spec.canary != NULL || app->canary_percent > 0) && !r->is_cold &&
	       !app->spec.replace && str_same(app->spec.deployment, app->status.deployment) &&
	       record_get(b->store, store_key_deployment(app->id, app->spec.deployment),
	           &wire_deployment_codec, &d, NULL, &e) == 0 &&
	       !d.is_template;
}

static void
want(const struct broker *b, const struct build_record *r, struct wire_app *app)
{
	app->spec.running = true;
	if (!is_canary(b, r, app)) {
		mem_set_str(&app->spec.deployment, r->deployment_id);
		mem_set_str(&app->spec.canary, NULL);
		return;
	}
	if (app->spec.canary == NULL)
		app->spec.canary_percent = app->canary_percent;
	mem_set_str(&app->spec.canary, r->deployment_id);
}

int
build_record_want(
    struct broker *b, const struct build_record *r, struct store_txn *t, struct err *e)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	const struct app_view_app *v = app_view_get(rollout_view(b->rollout), r->app_id);
	int64_t rev;

	if (load_app(b, r->app_id, &app, &rev, e) < 0 || check_ref(b, r, e) < 0)
		return -1;
	fill_deployment(r, &d);
	record_put_cas(t, store_key_deployment(r->app_id, d.id), 0, &wire_deployment_codec, &d);
	put_build(t, r, "rolling", "");
	keep_plan_put(b, t, v, &d, NULL);
	want(b, r, &app);
	record_put_cas(t, store_key_app(app.domain, app.name), rev, &wire_app_codec, &app);
	return 0;
}

static void
on_failed(int64_t rev, const struct err *e, void *arg)
{
	(void)rev;
	(void)arg;
	if (e != NULL && e->code != ERR_CONFLICT)
		log_warn("build_not_recorded", LOG_ERR(e));
}

void
build_record_fail(struct broker *b, const struct build_record *r, const char *why)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	AUTO(free) char *app_key = NULL;
	struct store_txn *t;
	int64_t app_rev = 0, rev = 0;
	struct err e = { 0 };

	if (r->id == NULL || record_app_by_id(b->store, r->app_id, &app, &app_rev, &e) < 0)
		return;
	app_key = store_key_app(app.domain, app.name);
	t = store_txn_new();
	store_txn_if_rev(t, app_key, app_rev);
	put_build(t, r, "failed", why);
	if (record_get(b->store, store_key_deployment(r->app_id, r->deployment_id),
	        &wire_deployment_codec, &d, &rev, &e) == 0 &&
	    d.activations.n == 0 && d.canary_ms == 0 && !str_same(app.spec.deployment, d.id) &&
	    !str_same(app.spec.canary, d.id)) {
		AUTO_FINI(str_list_fini) struct str_list without = { 0 };

		str_list_add(&without, d.id);
		record_delete_cas(t, store_key_deployment(r->app_id, d.id), rev);
		keep_plan_put(
		    b, t, app_view_get(rollout_view(b->rollout), r->app_id), NULL, &without);
	}
	store_txn_submit(b->store, t, on_failed, NULL);
}

bool
build_record_is_active(const struct broker *b, const struct build_record *r)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	struct err e = { 0 };

	return record_get(b->store, store_key_deployment(r->app_id, r->deployment_id),
	           &wire_deployment_codec, &d, NULL, &e) == 0 &&
	       (d.activations.n > 0 || d.canary_ms > 0);
}

/* --- after a start --- */

struct recover {
	struct broker *b; /* borrowed */
	build_record_recovered_fn *done;
	void *arg;
	struct str_list apps; /* with builds that did not end */
	size_t at;
};

static bool
find_open(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_build *b = rec;
	struct recover *x = arg;

	(void)key;
	(void)rev;
	if (b->state != NULL && strcmp(b->state, "done") != 0 && strcmp(b->state, "failed") != 0 &&
	    !str_list_has(&x->apps, b->app_id))
		str_list_add(&x->apps, b->app_id);
	return true;
}

struct undo {
	struct recover *x;
	struct store_txn *t;
	struct wire_app *app; /* NULL: no such application any more */
	struct str_list without;
	bool is_app_changed;
};

static bool
undo_one(const char *key, int64_t rev, void *rec, void *arg)
{
	struct wire_build *b = rec;
	struct undo *u = arg;
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	int64_t d_rev = 0;
	struct err e = { 0 };

	if (b->state == NULL || strcmp(b->state, "done") == 0 || strcmp(b->state, "failed") == 0)
		return true;
	if (u->app == NULL) {
		record_delete_cas(u->t, xstrdup(key), rev);
		return store_txn_count(u->t) < 60;
	}
	mem_set_str(&b->state, "failed");
	mem_set_str(&b->reason, "the broker was started anew while it ran");
	record_put_cas(u->t, xstrdup(key), rev, &wire_build_codec, b);
	log_info("build_interrupted", LOG_STR("app", b->app_id), LOG_STR("build", b->id));
	if (record_get(u->x->b->store, store_key_deployment(b->app_id, b->deployment_id),
	        &wire_deployment_codec, &d, &d_rev, &e) < 0 ||
	    d.activations.n > 0 || d.canary_ms > 0)
		return true;
	str_list_add(&u->without, d.id);
	record_delete_cas(u->t, store_key_deployment(b->app_id, d.id), d_rev);
	if (u->app->spec.deployment != NULL && strcmp(u->app->spec.deployment, d.id) == 0) {
		mem_set_str(&u->app->spec.deployment,
		    u->app->status.deployment == NULL ? "" : u->app->status.deployment);
		u->is_app_changed = true;
	}
	if (str_same(u->app->spec.canary, d.id)) {
		mem_set_str(&u->app->spec.canary, u->app->status.canary);
		u->is_app_changed = true;
	}
	return store_txn_count(u->t) < 60;
}

static void recover_next(void *arg);

static void
on_recovered(int64_t rev, const struct err *e, void *arg)
{
	struct recover *x = arg;

	(void)rev;
	if (e == NULL)
		x->at++;
	else if (e->code != ERR_CONFLICT) {
		log_error("recovery_failed", LOG_STR("app", x->apps.v[x->at]), LOG_ERR(e));
		x->at++;
	}
	loop_post(x->b->loop, recover_next, x);
}

static void
recover_next(void *arg)
{
	struct recover *x = arg;
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO(free) char *prefix = NULL;
	struct undo u = { .x = x };
	const char *id;
	int64_t rev = 0;
	struct err e = { 0 };

	if (x->at >= x->apps.n) {
		x->done(x->arg);
		str_list_fini(&x->apps);
		free(x);
		return;
	}
	id = x->apps.v[x->at];
	prefix = xasprintf("%s%s/", STORE_PREFIX_BUILD, id);
	u.app = record_app_by_id(x->b->store, id, &app, &rev, &e) == 0 ? &app : NULL;
	u.t = store_txn_new();
	record_each(x->b->store, prefix, &wire_build_codec, undo_one, &u);
	if (u.without.n > 0)
		keep_plan_put(
		    x->b, u.t, app_view_get(rollout_view(x->b->rollout), id), NULL, &u.without);
	if (u.is_app_changed)
		record_put_cas(
		    u.t, store_key_app(app.domain, app.name), rev, &wire_app_codec, &app);
	str_list_fini(&u.without);
	store_txn_submit(x->b->store, u.t, on_recovered, x);
}

void
build_record_recover(struct broker *b, build_record_recovered_fn *done, void *arg)
{
	struct recover *x = xcalloc(1, sizeof *x);

	*x = (struct recover){ .b = b, .done = done, .arg = arg };
	record_each(b->store, STORE_PREFIX_BUILD, &wire_build_codec, find_open, x);
	loop_post(b->loop, recover_next, x);
}
