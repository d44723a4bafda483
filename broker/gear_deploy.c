#include "broker/gear_deploy.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/app.h"
#include "broker/app_state.h"
#include "broker/broker.h"
#include "broker/build.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "broker/rollout.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"

enum { SHORT_SHA1 = 7 };

struct gear_deploy {
	struct broker *b;                  /* borrowed */
	char *app_id, *login, *deployment; /* owned */
	bool is_hot, is_clean;
	struct repo_ask *ask;
	struct build *build;
	struct rollout_wait *wait;
	bool is_changing; /* the record is being written */
	bool is_detached;
	void (*on_line)(const char *line, void *arg);
	void (*done)(const struct err *e, void *arg);
	void *arg;
};

static void
release(void *p)
{
	struct gear_deploy *d = p;

	free(d->app_id);
	free(d->login);
	free(d->deployment);
	free(d);
}

void
gear_deploy_detach(struct gear_deploy *take_d)
{
	struct gear_deploy *d = take_d;

	if (d == NULL)
		return;
	d->is_detached = true;
	if (d->build != NULL)
		build_detach(STEAL(d->build));
	rollout_wait_cancel(STEAL(d->wait));
	if (!d->is_changing && d->ask == NULL)
		loop_free_later(d->b->loop, release, d);
}

static void
finish(struct gear_deploy *d, const struct err *e)
{
	void (*done)(const struct err *, void *) = d->done;
	void *arg = d->arg;

	gear_deploy_detach(d);
	done(e, arg);
}

static void
on_line(const char *line, void *arg)
{
	struct gear_deploy *d = arg;

	d->on_line(line, d->arg);
}

/* --- a ref --- */

static void
on_built(const char *deployment_id, const struct err *e, void *arg)
{
	struct gear_deploy *d = arg;

	(void)deployment_id;
	d->build = NULL;
	on_line(e == NULL ? "Activation status: success" : "Activation status: failure", d);
	on_line(e == NULL ? "Deployment completed with status: success"
	                  : "Deployment completed with status: failure",
	    d);
	finish(d, e);
}

static void
on_resolved(const char *ref, const char *sha1, const struct err *e, void *arg)
{
	struct gear_deploy *d = arg;

	d->ask = NULL;
	if (e != NULL && d->is_detached)
		release(d);
	else if (e != NULL)
		finish(d, e);
	if (e != NULL)
		return;
	d->build = build_start(d->b->builds,
	    &(struct build_source){
	        .app_id = d->app_id,
	        .ref = ref,
	        .sha1 = sha1,
	        .hot_deploy = d->is_hot,
	        .force_clean = d->is_clean,
	        .login = d->login,
	    },
	    on_line, on_built, d);
	if (d->is_detached)
		gear_deploy_detach(d);
}

/* --- an earlier deployment --- */

static void
on_settled(const struct err *e, void *arg)
{
	struct gear_deploy *d = arg;

	d->wait = NULL;
	on_line(e == NULL ? "Activation status: success" : "Activation status: failure", d);
	finish(d, e);
}

static void
on_changed(const struct err *e, void *arg)
{
	struct gear_deploy *d = arg;

	d->is_changing = false;
	if (d->is_detached)
		release(d);
	else if (e != NULL)
		finish(d, e);
	else
		d->wait = rollout_wait(d->b->rollout, d->app_id, on_line, on_settled, d);
}

static int
activate(struct gear_deploy *d, const struct wire_app *app, struct err *e)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment found = { 0 };
	struct err why = { 0 };

	if (!str_is_hex(d->deployment, strlen(d->deployment)) ||
	    record_get(d->b->store, store_key_deployment(app->id, d->deployment),
	        &wire_deployment_codec, &found, NULL, &why) < 0)
		return err_set(e, ERR_NOT_FOUND, NULL,
		    "Deployment '%.64s' not found: 'gear deployments' lists those that are kept",
		    d->deployment);
	on_line("Activating deployment", d);
	d->is_changing = true;
	app_state_set(d->b, app->id,
	    &(struct app_state_order){ .word = APP_STATE_ACTIVATE, .deployment = d->deployment },
	    on_changed, d);
	return 0;
}

const char *
gear_deploy_branch(const struct wire_app *app)
{
	return app->deployment_branch == NULL || *app->deployment_branch == '\0'
	           ? "master"
	           : app->deployment_branch;
}

int
gear_deploy_check_type(const struct wire_app *app, bool is_artifact, struct err *e)
{
	const char *type = app->deployment_type;
	bool is_binary = type != NULL && strcmp(type, "binary") == 0;

	if (is_binary == is_artifact)
		return 0;
	return err_set(e, ERR_DENIED, NULL,
	    "OPENSHIFT_DEPLOYMENT_TYPE is '%s' - %s deployments are disabled.",
	    is_binary ? "binary" : "git", is_artifact ? "binary" : "git-based");
}

/* --- an archive --- */

static int
deploy_artifact(struct gear_deploy *d, const struct wire_app *app, char *take_path, struct err *e)
{
	AUTO(free) char *path = take_path;

	if (gear_deploy_check_type(app, true, e) < 0) {
		(void)unlink(path);
		return -1;
	}
	on_line("Starting deploy for binary artifact", d);
	d->build = build_start(d->b->builds,
	    &(struct build_source){
	        .app_id = d->app_id,
	        .take_artifact = STEAL(path),
	        .hot_deploy = d->is_hot,
	        .force_clean = d->is_clean,
	        .login = d->login,
	    },
	    on_line, on_built, d);
	return 0;
}

static int
deploy(struct gear_deploy *d, const struct wire_app *app, const char *ref, struct err *e)
{
	if (gear_deploy_check_type(app, false, e) < 0)
		return -1;
	if (!app_is_ref(ref))
		return err_set(e, ERR_INVALID, NULL,
		    "'%.64s' is no name that git allows for a branch, tag or commit", ref);
	d->ask = repo_resolve(d->b->repos, app->id, ref, on_resolved, d);
	return 0;
}

struct gear_deploy *
gear_deploy_start(struct broker *b, const struct gear_deploy_opts *o, struct err *e)
{
	struct gear_deploy *d = xcalloc(1, sizeof *d);
	const char *ref = o->ref == NULL ? gear_deploy_branch(o->app) : o->ref;

	*d = (struct gear_deploy){
		.b = b,
		.app_id = xstrdup(o->app->id),
		.login = xstrdup(o->login),
		.deployment = xstrdup_null(o->deployment),
		.is_hot = o->is_hot,
		.is_clean = o->is_clean,
		.on_line = o->on_line,
		.done = o->done,
		.arg = o->arg,
	};
	if ((o->take_artifact != NULL   ? deploy_artifact(d, o->app, o->take_artifact, e)
	        : o->deployment != NULL ? activate(d, o->app, e)
	                                : deploy(d, o->app, ref, e)) == 0)
		return d;
	release(d);
	return NULL;
}

/* --- the list --- */

struct listing {
	const char *active;
	struct omap *rows; /* by time: text */
};

static void
free_row(void *p)
{
	free(p);
}

static bool
add_row(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_deployment *d = rec;
	const struct listing *l = arg;
	int64_t at_ms = d->activations.n == 0 ? 0 : d->activations.v[d->activations.n - 1].at_ms;
	AUTO(free) char *order = xasprintf("%020lld %s", (long long)at_ms, d->id);
	const char *ref = d->ref == NULL ? "" : d->ref;
	const char *name = strrchr(ref, '/');
	time_t at = (time_t)(at_ms / 1000);
	char when[64] = "NEVER";
	struct tm tm;

	(void)key;
	(void)rev;
	if (at_ms > 0 && gmtime_r(&at, &tm) != NULL)
		(void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S +0000", &tm);
	omap_set(l->rows, order,
	    xasprintf("%s - %s - %s - %.*s%s\n", when, d->id, name == NULL ? ref : name + 1,
	        SHORT_SHA1, d->sha1 == NULL ? "" : d->sha1,
	        l->active != NULL && strcmp(l->active, d->id) == 0 ? " - ACTIVE" : ""));
	return true;
}

void
gear_deploy_list(struct broker *b, const struct wire_app *app, struct buf *out)
{
	struct listing l = { app->status.deployment, omap_new(free_row) };
	AUTO_FINI(str_list_fini) struct str_list rows = { 0 };
	AUTO(free) char *prefix = store_key_deployment(app->id, "");
	void *row = NULL;

	record_each(b->store, prefix, &wire_deployment_codec, add_row, &l);
	for (const char *k = omap_seek(l.rows, "", false, &row); k != NULL;
	     k = omap_seek(l.rows, k, true, &row))
		str_list_add(&rows, row);
	omap_free(l.rows);
	buf_adds(out, "Activation time - Deployment ID - Git Ref - Git SHA1\n");
	for (size_t i = rows.n; i > 0; i--)
		buf_adds(out, rows.v[i - 1]);
}
