#include "broker/restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/app.h"
#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/build.h"
#include "broker/event_log.h"
#include "broker/node_act.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "broker/repo_tar.h"
#include "broker/rollout.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_snapshot.h"

enum {
	QUEUE_MAX = 1024 * 1024,
	TIMEOUT_MS = 6 * 3600 * 1000,
	HOLD_MS = 20 * 60 * 1000, /* then the application runs again, whatever happened */
	DRAIN_MS = 120 * 1000,
	POLL_MS = 20,
};

struct restore {
	struct broker *b; /* borrowed */
	char *app_id, *login, *git_url, *node;
	bool wants_git, is_closed, is_detached;
	restore_line_fn *on_line;
	restore_room_fn *on_room;
	restore_done_fn *done;
	void *arg;
	struct http_call *call;
	struct buf out; /* of the archive, on the way to the node */
	size_t out_at;
	struct wire_snapshot_found found;
	struct repo_tar *git;
	const char *git_dir; /* borrowed from git: checked */
	struct node_act *act;
	struct loop_timer *timer;
	int64_t until_ms;
	bool is_held, is_swapped, runs;
	char *ref, *sha1; /* to deploy */
	struct err e;     /* the first failure */
};

static void
restore_free(struct restore *r)
{
	http_call_cancel(r->call);
	node_act_cancel(r->act);
	loop_timer_cancel(r->timer);
	repo_tar_free(r->git);
	wire_snapshot_found_fini(&r->found);
	buf_fini(&r->out);
	free(r->app_id);
	free(r->login);
	free(r->git_url);
	free(r->node);
	free(r->ref);
	free(r->sha1);
	free(r);
}

static void
say(struct restore *r, const char *line)
{
	if (r->on_line != NULL && !r->is_detached)
		r->on_line(line, r->arg);
}

/* --- the end --- */

static void
finish(struct restore *r)
{
	const struct err *e = r->e.code == ERR_NONE ? NULL : &r->e;

	if (e != NULL)
		log_warn("restore_failed", LOG_STR("app", r->app_id), LOG_ERR(e));
	else
		event_log_add(
		    r->b, r->app_id, "restored", "A snapshot was restored by %s.", r->login);
	if (!r->is_detached)
		r->done(e, r->arg);
	restore_free(r);
}

static void
note(struct restore *r, const struct err *e)
{
	if (e != NULL && r->e.code == ERR_NONE)
		r->e = *e;
}

static int64_t
unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
on_discarded(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore *r = arg;

	(void)c;
	(void)status;
	(void)body;
	(void)e;
	r->call = NULL;
	finish(r);
}

/* One call without a body to the node. */
static int
call_node(struct restore *r, const char *method, const char *what, http_call_data_fn *on_data,
    http_call_end_fn *on_end, struct err *e)
{
	AUTO(free) char *path = xasprintf("/v1/gears/%s/%s", r->app_id, what);
	AUTO(free) char *url = NULL;
	struct http_call_opts o = {
		.method = method, .on_data = on_data, .timeout_ms = TIMEOUT_MS
	};

	if (node_link_call(r->b->nodes, r->node, path, &o, &url, e) < 0)
		return -1;
	r->call = http_call_start(r->b->client, &o, on_end, r, e);
	return r->call == NULL ? -1 : 0;
}

/* What was unpacked goes; nothing has changed. */
static void
discard(struct restore *r)
{
	struct err e = { 0 };

	if (call_node(r, "DELETE", "restore", NULL, on_discarded, &e) < 0)
		finish(r);
}

/* --- afterwards: run again, deploy --- */

static void
on_built(const char *deployment_id, const struct err *e, void *arg)
{
	struct restore *r = arg;

	(void)deployment_id;
	if (e != NULL && r->e.code == ERR_NONE)
		(void)err_set(&r->e, ERR_CONFLICT, NULL,
		    "The data and the repository were restored, but the code could not be "
		    "deployed: %s",
		    e->text);
	finish(r);
}

static void
on_build_line(const char *line, void *arg)
{
	say(arg, line);
}

static void
deploy(struct restore *r)
{
	struct build_source src = {
		.app_id = r->app_id,
		.ref = r->ref,
		.sha1 = r->sha1,
		.force_clean = true,
		.login = r->login,
		.git_url = r->git_url,
	};

	if (r->sha1 == NULL) {
		finish(r);
		return;
	}
	say(r, "Deploying the restored code");
	(void)build_start(r->b->builds, &src, on_build_line, on_built, r);
}

static void
on_settled(const struct err *e, void *arg)
{
	struct restore *r = arg;

	if (e != NULL && r->sha1 == NULL)
		note(r, e);
	deploy(r);
}

static int
let_run(struct wire_app *a, void *arg, struct err *e)
{
	struct restore *r = arg;

	(void)e;
	a->spec.held_ms = 0;
	r->runs = a->spec.running && a->spec.deployment != NULL && *a->spec.deployment != '\0';
	if (r->is_swapped && r->runs)
		a->spec.restart_gen++;
	return 0;
}

static void
on_let_run(const struct err *e, void *arg)
{
	struct restore *r = arg;

	note(r, e);
	if (!r->is_swapped)
		discard(r);
	else if (r->runs && e == NULL)
		(void)rollout_wait(r->b->rollout, r->app_id, NULL, on_settled, r);
	else
		deploy(r);
}

/* Whatever happened: the application runs again. */
static void
release(struct restore *r)
{
	if (r->is_held)
		app_change(r->b, r->app_id, let_run, r, on_let_run, r);
	else
		discard(r);
}

static void
fail(struct restore *r, const struct err *e)
{
	note(r, e);
	release(r);
}

/* --- databases, repository --- */

/* The deployed commit, where the repository has it; else the branch that deploys. */
static void
on_resolved(const char *ref, const char *sha1, const struct err *e, void *arg)
{
	struct restore *r = arg;

	(void)ref;
	if (e == NULL) {
		mem_set_str(&r->sha1, sha1);
		if (r->found.ref != NULL && app_is_ref(r->found.ref))
			mem_set_str(&r->ref, r->found.ref);
	}
	release(r);
}

static void
on_imported(const char *ref, const char *sha1, const struct err *e, void *arg)
{
	struct restore *r = arg;

	if (e != NULL) {
		fail(r, e);
		return;
	}
	mem_set_str(&r->ref, ref);
	mem_set_str(&r->sha1, sha1);
	if (r->found.sha1 != NULL && strlen(r->found.sha1) >= 7 && app_is_ref(r->found.sha1))
		(void)repo_resolve(r->b->repos, r->app_id, r->found.sha1, on_resolved, r);
	else
		release(r);
}

static void
import_git(struct restore *r)
{
	if (r->git_dir == NULL)
		release(r);
	else
		repo_import_dir(r->b->repos, r->app_id, r->git_dir, on_imported, r);
}

static void
on_post_done(const struct wire_act_result *result, const struct err *e, void *arg)
{
	struct restore *r = arg;

	r->act = NULL;
	if (result != NULL && !result->ok && r->e.code == ERR_NONE)
		(void)err_set(&r->e, ERR_CONFLICT, NULL,
		    "The files were restored, but not all of a service's data: %s",
		    result->reason == NULL ? "post-restore failed" : result->reason);
	else if (result == NULL && e != NULL && e->code != ERR_NOT_FOUND)
		note(r, e);
	import_git(r);
}

static void
post_restore(struct restore *r)
{
	const struct wire_act_order order = { .action = (char *)"post-restore" };
	struct err e = { 0 };

	say(r, "Loading the data of services");
	r->act = node_act_start(r->b, r->node, r->app_id, &order, NULL, on_post_done, r, &e);
	if (r->act == NULL)
		import_git(r);
}

/* --- the swap --- */

static void
on_committed(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore *r = arg;
	struct err bad = { 0 };

	(void)c;
	r->call = NULL;
	if (e == NULL && status == 200) {
		r->is_swapped = true;
		post_restore(r);
		return;
	}
	(void)err_set(&bad, e != NULL ? ERR_BUSY : ERR_CONFLICT, NULL, "%.*s",
	    e != NULL ? 200 : (int)(body.n < 500 ? body.n : 500), e != NULL ? e->text : body.p);
	fail(r, &bad);
}

static bool
has_web(const struct restore *r)
{
	const struct app_view_app *v = app_view_get(rollout_view(r->b->rollout), r->app_id);

	for (size_t i = 0; i < v->instances_n; i++) {
		if (v->instances[i]->rev != 0 &&
		    v->instances[i]->rec.spec.kind != WIRE_INSTANCE_SERVICE)
			return true;
	}
	return false;
}

static void
on_poll(void *arg)
{
	struct restore *r = arg;
	struct err e = { 0 };

	if (has_web(r) && loop_now_ms() < r->until_ms)
		return;
	loop_timer_cancel(STEAL(r->timer));
	if (has_web(r))
		(void)err_set(
		    &e, ERR_BUSY, NULL, "The application does not stop: try again later.");
	else if (call_node(r, "POST", "restore/commit", NULL, on_committed, &e) == 0)
		return;
	fail(r, &e);
}

static int
hold(struct wire_app *a, void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	a->spec.held_ms = unix_ms() + HOLD_MS;
	return 0;
}

static void
on_held(const struct err *e, void *arg)
{
	struct restore *r = arg;

	if (e != NULL) {
		fail(r, e);
		return;
	}
	r->is_held = true;
	r->until_ms = loop_now_ms() + DRAIN_MS;
	r->timer = loop_timer_start(r->b->loop, POLL_MS, true, on_poll, r);
}

static void
on_pre_done(const struct wire_act_result *result, const struct err *e, void *arg)
{
	struct restore *r = arg;

	(void)e;
	r->act = NULL;
	if (result != NULL && !result->ok)
		log_info("pre_restore_failed", LOG_STR("app", r->app_id),
		    LOG_STR("reason", result->reason));
	say(r, "Stopping the application for the exchange of its data");
	app_change(r->b, r->app_id, hold, r, on_held, r);
}

static void
pre_restore(struct restore *r)
{
	const struct wire_act_order order = { .action = (char *)"pre-restore" };
	struct err e = { 0 };

	r->act = node_act_start(r->b, r->node, r->app_id, &order, NULL, on_pre_done, r, &e);
	if (r->act == NULL)
		fail(r, &e);
}

/* --- the repository --- */

static void
on_git_room(void *arg)
{
	struct restore *r = arg;

	if (r->call != NULL)
		http_call_resume(r->call);
}

static bool
on_git_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct restore *r = arg;

	(void)c;
	(void)repo_tar_write(r->git, p, n); /* bounded by the gear's disk */
	return true;
}

static void
on_git_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore *r = arg;
	struct err bad = { 0 };

	(void)c;
	(void)body;
	r->call = NULL;
	if (e == NULL && status == 200) {
		repo_tar_close(r->git);
		return;
	}
	(void)err_set(&bad, ERR_BUSY, NULL, "the node broke off within the repository");
	fail(r, &bad);
}

static void
on_git_checked(const char *git_dir, const struct err *e, void *arg)
{
	struct restore *r = arg;

	if (r->call != NULL) { /* tar ended before its input */
		http_call_cancel(STEAL(r->call));
	}
	if (e != NULL) {
		fail(r, e);
		return;
	}
	r->git_dir = git_dir;
	pre_restore(r);
}

static void
fetch_git(struct restore *r)
{
	struct err e = { 0 };

	r->git = repo_tar_load(r->b->repos, on_git_room, on_git_checked, r);
	if (r->git == NULL)
		(void)err_set(&e, ERR_SYSTEM, NULL, "no room for the repository");
	else if (call_node(r, "GET", "restore/git", on_git_data, on_git_end, &e) == 0)
		return;
	fail(r, &e);
}

/* --- the archive --- */

static ssize_t
on_read(struct http_call *c, char *p, size_t n, void *arg)
{
	struct restore *r = arg;
	size_t left = r->out.n - r->out_at;

	(void)c;
	if (left == 0)
		return r->is_closed ? 0 : HTTP_CALL_PAUSE;
	if (n > left)
		n = left;
	memcpy(p, r->out.p + r->out_at, n);
	r->out_at += n;
	if (r->out_at == r->out.n) {
		buf_clear(&r->out);
		r->out_at = 0;
		if (!r->is_closed && !r->is_detached)
			r->on_room(r->arg);
	}
	return (ssize_t)n;
}

static enum err_code
code_of(int status)
{
	switch (status) {
	case 409:
		return ERR_CONFLICT;
	case 422:
		return ERR_INVALID;
	case 429:
		return ERR_LIMIT;
	case 404:
		return ERR_NOT_FOUND;
	default:
		return ERR_SYSTEM;
	}
}

static void
on_uploaded(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct restore *r = arg;

	(void)c;
	r->call = NULL;
	r->is_closed = true;
	if (e != NULL)
		(void)err_set(&r->e, ERR_BUSY, NULL, "the node broke off: %s", e->text);
	else if (status != 200)
		(void)err_set(&r->e, code_of(status), NULL, "%.*s",
		    (int)(memchr(body.p, '\n', body.n) == NULL
		              ? body.n
		              : (size_t)((const char *)memchr(body.p, '\n', body.n) - body.p)),
		    body.p);
	else if (codec_decode(&wire_snapshot_found_codec, body.p, body.n, &r->found, CODEC_IGNORE,
	             &r->e) < 0)
		(void)err_wrap(&r->e, "the node's answer");
	if (r->e.code != ERR_NONE)
		discard(r);
	else if (r->found.has_git)
		fetch_git(r);
	else
		pre_restore(r);
}

struct restore *
restore_start(struct broker *b, const struct restore_opts *o, struct err *e)
{
	static const char *const headers[] = { "Content-Type: application/gzip", "Expect:", NULL };
	const struct app_view_app *v = app_view_get(rollout_view(b->rollout), o->app_id);
	AUTO(free) char *path = xasprintf("/v1/gears/%s/restore?git=%d", o->app_id, o->wants_git);
	AUTO(free) char *url = NULL;
	struct http_call_opts call = {
		.method = "POST",
		.headers = headers,
		.read = on_read,
		.timeout_ms = TIMEOUT_MS,
	};
	struct restore *r;

	if (v->gears_n == 0) {
		(void)err_set(e, ERR_NOT_FOUND, NULL, "The application has no gear.");
		return NULL;
	}
	if (node_link_call(b->nodes, v->gears[0]->node, path, &call, &url, e) < 0)
		return NULL;
	r = xcalloc(1, sizeof *r);
	*r = (struct restore){
		.b = b,
		.app_id = xstrdup(o->app_id),
		.login = xstrdup(o->login),
		.git_url = xstrdup_null(o->git_url),
		.node = xstrdup(v->gears[0]->node),
		.wants_git = o->wants_git,
		.on_line = o->on_line,
		.on_room = o->on_room,
		.done = o->done,
		.arg = o->arg,
	};
	r->call = http_call_start(b->client, &call, on_uploaded, r, e);
	if (r->call != NULL)
		return r;
	restore_free(r);
	return NULL;
}

bool
restore_write(struct restore *r, const void *p, size_t n)
{
	if (r->is_closed)
		return true; /* it was refused already */
	buf_add(&r->out, p, n);
	if (r->call != NULL)
		http_call_resume(r->call);
	return r->out.n - r->out_at < QUEUE_MAX;
}

void
restore_close(struct restore *r)
{
	r->is_closed = true;
	if (r->call != NULL)
		http_call_resume(r->call);
}

void
restore_detach(struct restore *take_r)
{
	if (take_r == NULL)
		return;
	take_r->is_detached = true;
	if (!take_r->is_closed)
		restore_free(take_r);
}
