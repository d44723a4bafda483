#include "broker/restore_run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "broker/app.h"
#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/build.h"
#include "broker/event_log.h"
#include "broker/node_act.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "broker/restore_artifact.h"
#include "broker/restore_git.h"
#include "broker/rollout.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum {
	CALL_MS = 3600 * 1000,
	AGAIN_MS = 500,
	AWAY_MS = 15 * 60 * 1000, /* so long may a node be away */
	BUSY_MS = 90 * 1000,      /* so long may a gear not be ready yet */
	TIDY_MS = 30 * 1000,
	LOAD_MS = 3600 * 1000, /* of a dump */
};

typedef void step_fn(struct restore_run *r);

struct restore_run {
	LIST_ENTRY(restore_run) link;
	struct restore_runs *all;
	struct wire_restore rec;
	struct restore_run_opts o;
	size_t at;        /* gear of the step */
	size_t cart;      /* its cartridge */
	step_fn *step;    /* that is under way */
	int64_t begun_ms; /* of the step, for one gear */
	struct http_call *call;
	struct node_act *act;
	struct loop_timer *timer;
	struct restore_git *git;
	struct restore_artifact *artifact;
	bool is_swapped, runs;
	char *ref, *sha1; /* to deploy */
	struct err e;     /* the first failure */
};

struct restore_runs {
	struct broker *b; /* borrowed */
	LIST_HEAD(, restore_run) list;
};

static void
run_free(struct restore_run *r)
{
	LIST_REMOVE(r, link);
	http_call_cancel(r->call);
	node_act_cancel(r->act);
	loop_timer_cancel(r->timer);
	restore_git_free(r->git);
	restore_artifact_free(r->artifact);
	wire_restore_fini(&r->rec);
	free(r->ref);
	free(r->sha1);
	free(r);
}

static struct broker *
broker_of(const struct restore_run *r)
{
	return r->all->b;
}

static void
say(struct restore_run *r, const char *line)
{
	if (r->o.on_line != NULL)
		r->o.on_line(line, r->o.arg);
}

static void
note(struct restore_run *r, const struct err *e)
{
	if (e != NULL && r->e.code == ERR_NONE)
		r->e = *e;
}

static void
enter(struct restore_run *r, step_fn *step)
{
	r->step = step;
	r->begun_ms = loop_now_ms();
	step(r);
}

static void
on_again(void *arg)
{
	struct restore_run *r = arg;

	loop_timer_cancel(STEAL(r->timer));
	r->step(r);
}

/* false: it has been tried for long enough. */
static bool
again(struct restore_run *r, int64_t max_ms)
{
	if (loop_now_ms() - r->begun_ms >= max_ms)
		return false;
	r->timer = loop_timer_start(broker_of(r)->loop, AGAIN_MS, false, on_again, r);
	return true;
}

/* NULL: it is not there any more. */
static const struct app_view_gear *
gear_of(const struct restore_run *r, const char *uuid)
{
	const struct app_view_app *v =
	    app_view_get(rollout_view(broker_of(r)->rollout), r->rec.app_id);

	for (size_t k = 0; k < v->gears_n; k++) {
		if (strcmp(v->gears[k]->gear.uuid, uuid) == 0)
			return v->gears[k];
	}
	return NULL;
}

static int
call_gear(struct restore_run *r, const char *method, const char *what, http_call_end_fn *on_end,
    struct err *e)
{
	const char *uuid = r->rec.gears.v[r->at];
	const struct app_view_gear *g = gear_of(r, uuid);
	AUTO(free) char *path = xasprintf("/v1/gears/%s/%s", uuid, what);
	AUTO(free) char *url = NULL;
	struct http_call_opts o = { .method = method, .timeout_ms = CALL_MS };

	if (g == NULL)
		return err_set(e, ERR_NOT_FOUND, NULL, "The gear %s is gone.", uuid);
	if (node_link_call(broker_of(r)->nodes, g->node, path, &o, &url, e) < 0)
		return -1;
	r->call = http_call_start(broker_of(r)->client, &o, on_end, r, e);
	return r->call == NULL ? -1 : 0;
}

/* --- the end --- */

static void
on_forgotten(int64_t rev, const struct err *e, void *arg)
{
	struct restore_run *r = arg;
	struct restore_run_opts o = r->o;
	struct err failure = r->e;

	(void)rev;
	if (e != NULL)
		log_error("restore_not_forgotten", LOG_STR("app", r->rec.app_id), LOG_ERR(e));
	if (failure.code != ERR_NONE)
		log_warn("restore_failed", LOG_STR("app", r->rec.app_id), LOG_ERR(&failure));
	if (failure.code == ERR_NONE)
		event_log_add(broker_of(r), r->rec.app_id, "restored",
		    "A snapshot was restored by %s.", r->rec.login);
	else if (r->rec.is_decided) /* nobody may be there to be told */
		event_log_add(broker_of(r), r->rec.app_id, "failed",
		    "A snapshot could not be restored: %s", failure.text);
	run_free(r);
	if (o.done != NULL)
		o.done(failure.code == ERR_NONE ? NULL : &failure, o.arg);
}

static void tidy(struct restore_run *r);

static void
tidy_next(struct restore_run *r)
{
	struct store_txn *t;
	char *key;

	if (++r->at < r->rec.gears.n) {
		enter(r, tidy);
		return;
	}
	t = store_txn_new();
	key = store_key_restore(r->rec.app_id);
	store_txn_delete(t, key);
	free(key);
	fault_point("restore_forget");
	store_txn_submit(broker_of(r)->store, t, on_forgotten, r);
}

static void
on_tidied(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	(void)c;
	(void)body;
	r->call = NULL;
	if ((e == NULL && status == 200) || !again(r, TIDY_MS))
		tidy_next(r);
}

/* What was unpacked goes, or what is left of it. */
static void
tidy(struct restore_run *r)
{
	struct err e = { 0 };

	if (r->at >= r->rec.gears.n || (call_gear(r, "DELETE", "restore", on_tidied, &e) < 0 &&
	                                   (e.code == ERR_NOT_FOUND || !again(r, TIDY_MS))))
		tidy_next(r);
}

static void
on_done_stored(int64_t rev, const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	(void)rev;
	note(r, e);
	r->at = 0;
	enter(r, tidy);
}

/* Who goes on from here must not look for what is gone. */
static void
clean_up(struct restore_run *r)
{
	struct store_txn *t = store_txn_new();

	r->rec.is_done = true;
	record_put(t, store_key_restore(r->rec.app_id), &wire_restore_codec, &r->rec);
	store_txn_submit(broker_of(r)->store, t, on_done_stored, r);
}

/* --- run again, deploy --- */

static void
on_built(const char *deployment_id, const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	(void)deployment_id;
	if (e != NULL && r->e.code == ERR_NONE)
		(void)err_set(&r->e, ERR_CONFLICT, NULL,
		    "The data and the repository were restored, but the code could not be "
		    "deployed: %s",
		    e->text);
	clean_up(r);
}

static void
on_build_line(const char *line, void *arg)
{
	say(arg, line);
}

static void
build(struct restore_run *r, const char *artifact)
{
	struct build_source src = {
		.app_id = r->rec.app_id,
		.ref = r->ref,
		.sha1 = r->sha1,
		.take_artifact = xstrdup_null(artifact),
		.force_clean = true,
		.is_cold = true,
		.login = r->rec.login,
		.git_url = r->rec.git_url,
	};

	say(r, "Deploying the restored code");
	fault_point("restore_deploy");
	(void)build_start(broker_of(r)->builds, &src, on_build_line, on_built, r);
}

static void
on_artifact(const char *path, const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	restore_artifact_free(STEAL(r->artifact));
	if (e == NULL)
		build(r, path);
	else if (e->code != ERR_BUSY || !again(r, BUSY_MS))
		on_built(NULL, e, r);
}

/* What came as an archive goes as it is. */
static void
deploy_archive(struct restore_run *r)
{
	const struct app_view_gear *g = gear_of(r, r->rec.app_id);
	struct err e = { 0 };

	if (g == NULL)
		(void)err_set(&e, ERR_NOT_FOUND, NULL, "The gear %s is gone.", r->rec.app_id);
	else
		r->artifact = restore_artifact_start(broker_of(r), g->node, r->rec.app_id,
		    g->gear.limits.disk_mb << 20, on_artifact, r, &e);
	if (r->artifact == NULL && (e.code != ERR_BUSY || !again(r, BUSY_MS)))
		on_built(NULL, &e, r);
}

static void
deploy(struct restore_run *r)
{
	if (r->rec.has_deployment && r->is_swapped)
		enter(r, deploy_archive);
	else if (r->sha1 != NULL)
		build(r, NULL);
	else
		clean_up(r);
}

/* --- what is no service: it did not run when services loaded their data --- */

static void post_restore(struct restore_run *r);

static void
on_post_restored(const struct wire_act_result *result, const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	r->act = NULL;
	if (result == NULL && e->code != ERR_NOT_FOUND && again(r, BUSY_MS))
		return;
	if (result != NULL && !result->ok && r->e.code == ERR_NONE)
		(void)err_set(&r->e, ERR_CONFLICT, NULL, "The files were restored, but %s",
		    result->reason == NULL ? "post-restore failed" : result->reason);
	r->cart++;
	enter(r, post_restore);
}

/* The next one that is no service, or NULL; its gear. */
static const struct wire_gear_cart *
next_beside(struct restore_run *r, const struct app_view_gear **gear)
{
	for (; r->at < r->rec.gears.n; r->at++, r->cart = 0) {
		*gear = gear_of(r, r->rec.gears.v[r->at]);
		for (; *gear != NULL && r->cart < (*gear)->gear.cartridges.n; r->cart++) {
			if (!(*gear)->gear.cartridges.v[r->cart].is_service)
				return &(*gear)->gear.cartridges.v[r->cart];
		}
	}
	return NULL;
}

/* Before the restored code is deployed, as in v2. */
static void
post_restore(struct restore_run *r)
{
	const struct app_view_gear *g = NULL;
	const struct wire_gear_cart *c = next_beside(r, &g);
	struct err e = { 0 };

	if (c == NULL) {
		deploy(r);
		return;
	}
	const struct wire_act_order order = { .action = (char *)"post-restore", .cart = c->name };

	r->act = node_act_start(
	    broker_of(r), g->node, g->gear.uuid, &order, NULL, on_post_restored, r, &e);
	if (r->act == NULL && !again(r, BUSY_MS))
		deploy(r);
}

static void
on_settled(const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	if (e != NULL && r->sha1 == NULL && !r->rec.has_deployment)
		note(r, e);
	r->at = r->cart = 0;
	enter(r, post_restore);
}

static int
let_run(struct wire_app *a, void *arg, struct err *e)
{
	struct restore_run *r = arg;

	(void)e;
	/* What was pushed is not what an application of archives runs: its deployment stays. */
	if (r->rec.has_deployment ||
	    (a->deployment_type != NULL && strcmp(a->deployment_type, "binary") == 0))
		free(STEAL(r->sha1));
	a->spec.held_ms = 0;
	r->runs = a->spec.running && a->spec.deployment != NULL && *a->spec.deployment != '\0';
	if (r->is_swapped && r->runs)
		a->spec.restart_gen++;
	return 0;
}

static void
on_let_run(const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	note(r, e);
	if (!r->is_swapped)
		clean_up(r);
	else if (r->runs && e == NULL)
		(void)rollout_wait(broker_of(r)->rollout, r->rec.app_id, NULL, on_settled, r);
	else
		deploy(r);
}

/* Whatever happened: the application runs again. */
static void
release(struct restore_run *r)
{
	app_change(broker_of(r), r->rec.app_id, let_run, r, on_let_run, r);
}

static void
fail(struct restore_run *r, const struct err *e)
{
	note(r, e);
	release(r);
}

/* --- the repository --- */

/* The deployed commit, where the repository has it; else the branch that deploys. */
static void
on_resolved(const char *ref, const char *sha1, const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	(void)ref;
	if (e == NULL) {
		mem_set_str(&r->sha1, sha1);
		if (r->rec.ref != NULL && app_is_ref(r->rec.ref))
			mem_set_str(&r->ref, r->rec.ref);
	}
	release(r);
}

static void
on_imported(const char *ref, const char *sha1, const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	restore_git_free(STEAL(r->git));
	if (e != NULL) {
		fail(r, e);
		return;
	}
	mem_set_str(&r->ref, ref);
	mem_set_str(&r->sha1, sha1);
	if (r->rec.sha1 != NULL && strlen(r->rec.sha1) >= 7 && app_is_ref(r->rec.sha1))
		(void)repo_resolve(broker_of(r)->repos, r->rec.app_id, r->rec.sha1, on_resolved, r);
	else
		release(r);
}

static void
on_git(const char *git_dir, const struct err *e, void *arg)
{
	struct restore_run *r = arg;

	if (e == NULL) {
		repo_import_dir(broker_of(r)->repos, r->rec.app_id, git_dir, on_imported, r);
		return;
	}
	restore_git_free(STEAL(r->git));
	if (e->code != ERR_BUSY || !again(r, AWAY_MS))
		fail(r, e);
}

static void
fetch_git(struct restore_run *r)
{
	const char *head = r->rec.gears.v[r->rec.gears.n - 1];
	const struct app_view_gear *g = gear_of(r, head);
	struct err e = { 0 };

	if (!r->rec.has_git) {
		release(r);
		return;
	}
	if (g == NULL)
		(void)err_set(&e, ERR_NOT_FOUND, NULL, "The gear %s is gone.", head);
	else
		r->git = restore_git_start(broker_of(r), g->node, head, on_git, r, &e);
	if (r->git == NULL && (e.code != ERR_BUSY || !again(r, AWAY_MS)))
		fail(r, &e);
}

/* --- databases --- */

static void load(struct restore_run *r);

static void
load_next(struct restore_run *r)
{
	r->at++;
	enter(r, load);
}

/* A service that was running is coming back, if the node is. */
static bool
has_service(const struct app_view_gear *g)
{
	for (size_t i = 0; i < g->gear.cartridges.n; i++) {
		if (g->gear.cartridges.v[i].is_service)
			return true;
	}
	return false;
}

/* What the cartridge itself says of its failure. */
static const char *
client_error(const struct wire_act_result *result)
{
	static const char word[] = "CLIENT_ERROR: ";

	for (size_t i = 0; i < result->messages.n; i++) {
		if (str_has_prefix(result->messages.v[i], word))
			return result->messages.v[i] + strlen(word);
	}
	return NULL;
}

static void
note_unloaded(struct restore_run *r, const struct wire_act_result *result)
{
	const char *why = client_error(result);

	if (why == NULL)
		why = result->reason == NULL ? "post-restore failed" : result->reason;
	if (r->e.code == ERR_NONE)
		(void)err_set(&r->e, ERR_CONFLICT, NULL,
		    "The files were restored, but not all of a service's data: %s", why);
}

static void
say_messages(struct restore_run *r, const struct wire_act_result *result)
{
	static const char word[] = "CLIENT_MESSAGE: ";

	for (size_t i = 0; i < result->messages.n; i++) {
		if (str_has_prefix(result->messages.v[i], word))
			say(r, result->messages.v[i] + strlen(word));
	}
}

static void
on_loaded(const struct wire_act_result *result, const struct err *e, void *arg)
{
	struct restore_run *r = arg;
	const struct app_view_gear *g = gear_of(r, r->rec.gears.v[r->at]);

	r->act = NULL;
	if (result != NULL)
		say_messages(r, result);
	if (result != NULL && !result->ok)
		note_unloaded(r, result);
	if (result == NULL && e->code == ERR_NOT_FOUND && g != NULL && has_service(g)) {
		if (again(r, BUSY_MS))
			return;
		(void)err_set(&r->e, ERR_CONFLICT, NULL,
		    "The files were restored, but not the data of a service, which does not run.");
	} else if (result == NULL && e->code != ERR_NOT_FOUND) {
		if (again(r, AWAY_MS))
			return;
		note(r, e);
	}
	load_next(r);
}

static void
load(struct restore_run *r)
{
	const struct wire_act_order order = { .action = (char *)"post-restore",
		.timeout_s = LOAD_MS / 1000 };
	const struct app_view_gear *g;
	struct err e = { 0 };

	if (r->at >= r->rec.gears.n) {
		enter(r, fetch_git);
		return;
	}
	g = gear_of(r, r->rec.gears.v[r->at]);
	if (g == NULL) {
		load_next(r);
		return;
	}
	fault_point("restore_load");
	r->act =
	    node_act_start(broker_of(r), g->node, g->gear.uuid, &order, NULL, on_loaded, r, &e);
	if (r->act == NULL && !again(r, AWAY_MS)) {
		note(r, &e);
		load_next(r);
	}
}

/* --- the swap --- */

static void commit(struct restore_run *r);

static void
give_up(struct restore_run *r, const struct err *why)
{
	struct err e = { 0 };

	if (r->at == 0)
		fail(r, why);
	else {
		(void)err_set(&e, why->code, NULL,
		    "The data of %zu of %zu gears were exchanged, then: %.300s. Restore the "
		    "snapshot again.",
		    r->at, r->rec.gears.n, why->text);
		fail(r, &e);
	}
}

static void
on_committed(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore_run *r = arg;
	struct err bad = { 0 };

	(void)c;
	r->call = NULL;
	if (e == NULL && status == 200) {
		r->at++;
		enter(r, commit);
		return;
	}
	(void)err_set(&bad, e != NULL ? ERR_BUSY : ERR_CONFLICT, NULL, "%.*s",
	    e != NULL ? 200 : (int)(body.n < 500 ? body.n : 500), e != NULL ? e->text : body.p);
	/* The node may have been started again, and does not know its gears yet. */
	if ((e != NULL && again(r, AWAY_MS)) ||
	    (e == NULL && (status == 404 || status == 409) && again(r, BUSY_MS)))
		return;
	give_up(r, &bad);
}

static void
commit(struct restore_run *r)
{
	struct err e = { 0 };

	if (r->at >= r->rec.gears.n) {
		fault_point("restore_swapped");
		r->is_swapped = true;
		r->at = 0;
		say(r, "Loading the data of services");
		enter(r, load);
		return;
	}
	fault_point("restore_commit");
	if (call_gear(r, "POST", "restore/commit", on_committed, &e) < 0 && !again(r, AWAY_MS))
		give_up(r, &e);
}

/* --- all --- */

void
restore_run_start(struct restore_runs *all, const struct wire_restore *rec,
    const struct err *failure, const struct restore_run_opts *o)
{
	struct restore_run *r = xcalloc(1, sizeof *r);

	r->all = all;
	LIST_INSERT_HEAD(&all->list, r, link);
	codec_copy(&wire_restore_codec, &r->rec, rec);
	if (o != NULL)
		r->o = *o;
	if (rec->is_done)
		enter(r, tidy);
	else if (rec->is_decided)
		enter(r, commit);
	else
		fail(r, failure);
}

struct restore_runs *
restore_runs_new(struct broker *b)
{
	struct restore_runs *all = xcalloc(1, sizeof *all);

	all->b = b;
	return all;
}

static bool
resume(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_restore *w = rec;
	struct err e = { 0 };

	(void)key;
	(void)rev;
	(void)err_set(&e, ERR_BUSY, NULL, "The broker ended before all was unpacked.");
	log_info("restore_goes_on", LOG_STR("app", w->app_id),
	    LOG_STR("to", w->is_decided ? "its end" : "where it began"));
	restore_run_start(arg, w, &e, NULL);
	return true;
}

void
restore_runs_resume(struct restore_runs *all)
{
	record_each(all->b->store, STORE_PREFIX_RESTORE, &wire_restore_codec, resume, all);
}

void
restore_runs_free(struct restore_runs *take_all)
{
	if (take_all == NULL)
		return;
	while (!LIST_EMPTY(&take_all->list)) {
		struct restore_run_opts o = LIST_FIRST(&take_all->list)->o;

		run_free(LIST_FIRST(&take_all->list));
		if (o.drop != NULL)
			o.drop(o.arg);
	}
	free(take_all);
}
