#include "broker/restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/app.h"
#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/gear_deploy.h"
#include "broker/node_act.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/restore_git.h"
#include "broker/restore_part.h"
#include "broker/restore_run.h"
#include "broker/rollout.h"
#include "broker/snapshot_gears.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"

enum {
	QUEUE_MAX = 1024 * 1024,
	TIMEOUT_MS = 6 * 3600 * 1000,
	HOLD_MS = 20 * 60 * 1000, /* then the application runs again, whatever happened */
	DRAIN_MS = 120 * 1000,
	POLL_MS = 20,
};

struct restore {
	struct broker *b; /* borrowed */
	struct wire_restore rec;
	char *node; /* of the head gear */
	bool wants_git, is_closed, is_detached;
	restore_line_fn *on_line;
	restore_room_fn *on_room;
	restore_done_fn *done;
	void *arg;
	struct http_call *call;
	struct buf out; /* of the archive, on the way to the node */
	size_t out_at;
	size_t at; /* of rec.gears */
	struct restore_part *part;
	struct restore_git *git;
	struct node_act *act;
	struct loop_timer *timer;
	int64_t until_ms;
};

static void
restore_free(struct restore *r)
{
	http_call_cancel(r->call);
	node_act_cancel(r->act);
	loop_timer_cancel(r->timer);
	restore_part_cancel(r->part);
	restore_git_free(r->git);
	wire_restore_fini(&r->rec);
	buf_fini(&r->out);
	free(r->node);
	free(r);
}

static void
say(const char *line, void *arg)
{
	const struct restore *r = arg;

	if (r->on_line != NULL && !r->is_detached)
		r->on_line(line, r->arg);
}

/* --- carried through, or taken back --- */

static void
on_run_done(const struct err *e, void *arg)
{
	struct restore *r = arg;

	if (!r->is_detached)
		r->done(e, r->arg);
	restore_free(r);
}

static void
on_run_dropped(void *arg)
{
	restore_free(arg);
}

static void
hand_over(struct restore *r, const struct err *failure)
{
	const struct restore_run_opts o = {
		.on_line = say, .done = on_run_done, .drop = on_run_dropped, .arg = r
	};

	restore_git_free(STEAL(r->git));
	restore_run_start(r->b->restores, &r->rec, failure, &o);
}

static void
fail(struct restore *r, const struct err *e)
{
	r->is_closed = true;
	r->rec.is_decided = false;
	http_call_cancel(STEAL(r->call));
	hand_over(r, e);
}

static void
put_record(struct restore *r, store_txn_fn *fn, void *arg)
{
	struct store_txn *t = store_txn_new();

	record_put(t, store_key_restore(r->rec.app_id), &wire_restore_codec, &r->rec);
	store_txn_submit(r->b->store, t, fn, arg);
}

static void
on_decided(int64_t rev, const struct err *e, void *arg)
{
	struct restore *r = arg;

	(void)rev;
	if (e != NULL) {
		fail(r, e);
		return;
	}
	fault_point("restore_decided");
	hand_over(r, NULL);
}

static const struct app_view_app *
view_of(const struct restore *r)
{
	return app_view_get(rollout_view(r->b->rollout), r->rec.app_id);
}

static bool
has_web(const struct restore *r)
{
	const struct app_view_app *v = view_of(r);

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
	if (has_web(r)) {
		(void)err_set(
		    &e, ERR_BUSY, NULL, "The application does not stop: try again later.");
		fail(r, &e);
		return;
	}
	r->rec.is_decided = true;
	put_record(r, on_decided, r);
}

/* --- the application stops --- */

static int64_t
unix_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
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
	fault_point("restore_held");
	r->until_ms = loop_now_ms() + DRAIN_MS;
	r->timer = loop_timer_start(r->b->loop, POLL_MS, true, on_poll, r);
}

static void pre_restore(struct restore *r);

static void
on_pre_done(const struct wire_act_result *result, const struct err *e, void *arg)
{
	struct restore *r = arg;

	(void)e;
	r->act = NULL;
	if (result != NULL && !result->ok)
		log_info("pre_restore_failed", LOG_STR("app", r->rec.app_id),
		    LOG_STR("reason", result->reason));
	r->at++;
	pre_restore(r);
}

static void
pre_restore(struct restore *r)
{
	const struct wire_act_order order = { .action = (char *)"pre-restore" };
	const struct app_view_gear *g;
	struct err e = { 0 };

	if (r->at >= r->rec.gears.n) {
		say("Stopping the application for the exchange of its data", r);
		app_change(r->b, r->rec.app_id, hold, r, on_held, r);
		return;
	}
	g = snapshot_gears_find(view_of(r), r->rec.gears.v[r->at]);
	if (g == NULL)
		(void)err_set(&e, ERR_NOT_FOUND, NULL, "A gear of the application is gone.");
	else
		r->act =
		    node_act_start(r->b, g->node, g->gear.uuid, &order, NULL, on_pre_done, r, &e);
	if (r->act == NULL)
		fail(r, &e);
}

/* --- the repository --- */

static void
on_git(const char *git_dir, const struct err *e, void *arg)
{
	struct restore *r = arg;

	(void)git_dir;
	if (e != NULL) {
		fail(r, e);
		return;
	}
	restore_git_free(STEAL(r->git));
	r->at = 0;
	pre_restore(r);
}

/* Damaged ones are refused before anything changes. */
static void
check_git(struct restore *r)
{
	struct err e = { 0 };

	if (!r->rec.has_git) {
		r->at = 0;
		pre_restore(r);
		return;
	}
	r->git = restore_git_start(r->b, r->node, r->rec.app_id, on_git, r, &e);
	if (r->git == NULL)
		fail(r, &e);
}

/* --- snapshots of services' gears, within it --- */

static void unpack_part(struct restore *r);

/* The first service of that gear. */
static const char *
service_of(const struct app_view_gear *g)
{
	for (size_t i = 0; i < g->gear.cartridges.n; i++) {
		if (g->gear.cartridges.v[i].is_service)
			return g->gear.cartridges.v[i].name;
	}
	return "";
}

static void
on_part(bool was_there, const struct err *e, void *arg)
{
	struct restore *r = arg;
	AUTO(free) char *uuid = xstrdup(r->rec.gears.v[r->at]);
	const struct app_view_gear *g = snapshot_gears_find(view_of(r), uuid);

	r->part = NULL;
	if (e != NULL) {
		fail(r, e);
		return;
	}
	if (was_there) {
		r->at++;
	} else {
		AUTO(free)
		char *line = xasprintf("The snapshot has nothing of %s, which stays as it is",
		    g == NULL ? "a service" : service_of(g));

		say(line, r);
		str_list_remove(&r->rec.gears, uuid);
	}
	unpack_part(r);
}

/* The head gear is the last. */
static void
unpack_part(struct restore *r)
{
	const struct app_view_app *v = view_of(r);
	const struct app_view_gear *g;
	struct err e = { 0 };

	if (r->at + 1 >= r->rec.gears.n) {
		check_git(r);
		return;
	}
	g = snapshot_gears_find(v, r->rec.gears.v[r->at]);
	if (g == NULL)
		(void)err_set(&e, ERR_NOT_FOUND, NULL, "A gear of the application is gone.");
	else
		r->part = restore_part_start(r->b, v->gears[0], service_of(g), g, on_part, r, &e);
	if (r->part == NULL)
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

/* What is not taken. */
static void
say_rest(struct restore *r, const struct wire_snapshot_found *found)
{
	for (size_t i = 0; i < found->left.n; i++) {
		AUTO(free)
		char *line =
		    xasprintf("The snapshot has data of %s, which the application does not "
		              "have: they are left in app-root/data",
		        found->left.v[i]);

		say(line, r);
	}
	if (r->wants_git && found->was_binary && !found->has_deployment)
		say("The snapshot's deployment is an archive, not a commit: it is taken by "
		    "applications whose deployment type is binary",
		    r);
}

static void
on_uploaded(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	AUTO_FINI(wire_snapshot_found_fini) struct wire_snapshot_found found = { 0 };
	struct restore *r = arg;
	struct err bad = { 0 };

	(void)c;
	r->call = NULL;
	r->is_closed = true;
	if (e != NULL)
		(void)err_set(&bad, ERR_BUSY, NULL, "the node broke off: %s", e->text);
	else if (status != 200)
		(void)err_set(&bad, code_of(status), NULL, "%.*s",
		    (int)(memchr(body.p, '\n', body.n) == NULL
		              ? body.n
		              : (size_t)((const char *)memchr(body.p, '\n', body.n) - body.p)),
		    body.p);
	else if (codec_decode(
	             &wire_snapshot_found_codec, body.p, body.n, &found, CODEC_IGNORE, &bad) < 0)
		(void)err_wrap(&bad, "the node's answer");
	if (bad.code != ERR_NONE) {
		fail(r, &bad);
		return;
	}
	r->rec.has_git = found.has_git;
	r->rec.has_deployment = found.has_deployment;
	say_rest(r, &found);
	r->rec.ref = STEAL(found.ref);
	r->rec.sha1 = STEAL(found.sha1);
	unpack_part(r);
}

/* What of the snapshot goes where: the node's words for it. Caller owns. */
static char *
restore_path(
    const struct broker *b, const struct restore_opts *o, const struct snapshot_gears *apart)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err none = { 0 };
	bool is_binary = record_app_by_id(b->store, o->app_id, &a, NULL, &none) == 0 &&
	                 gear_deploy_check_type(&a, true, &none) == 0;
	struct buf path = { 0 };

	buf_addf(&path, "/v1/gears/%s/restore?git=%d&binary=%d&apart=", o->app_id, o->wants_git,
	    is_binary);
	for (size_t i = 0; i < apart->n; i++)
		buf_addf(&path, "%s%s", i == 0 ? "" : ",", apart->v[i].cart);
	return buf_steal(&path);
}

/* A service must run to take its data back. */
static int
check_services(const struct broker *b, const char *app_id, struct err *e)
{
	const struct app_view_app *v = app_view_get(rollout_view(b->rollout), app_id);

	for (size_t i = 0; i < v->gears_n; i++) {
		const struct wire_gear *g = &v->gears[i]->gear;

		for (size_t k = 0; k < g->cartridges.n; k++) {
			if (g->cartridges.v[k].is_service &&
			    !snapshot_gears_runs(v, g->uuid, g->cartridges.v[k].name))
				return err_set(e, ERR_CONFLICT, NULL,
				    "The service %s of the application does not run, so that its "
				    "data "
				    "cannot be loaded: start it first.",
				    g->cartridges.v[k].name);
		}
	}
	return 0;
}

static void
on_recorded(int64_t rev, const struct err *e, void *arg)
{
	struct broker *b = arg;

	(void)b;
	(void)rev;
	if (e != NULL)
		log_error("restore_not_recorded", LOG_ERR(e));
}

struct restore *
restore_start(struct broker *b, const struct restore_opts *o, struct err *e)
{
	static const char *const headers[] = { "Content-Type: application/gzip", "Expect:", NULL };
	const struct app_view_app *v = app_view_get(rollout_view(b->rollout), o->app_id);
	AUTO(free) char *path = NULL;
	AUTO(free) char *url = NULL;
	struct http_call_opts call = {
		.method = "POST",
		.headers = headers,
		.read = on_read,
		.timeout_ms = TIMEOUT_MS,
	};
	AUTO(free) char *key = store_key_restore(o->app_id);
	AUTO_FINI(snapshot_gears_fini) struct snapshot_gears services = { 0 };
	struct store_kv kv;
	struct restore *r;

	if (v->gears_n == 0) {
		(void)err_set(e, ERR_NOT_FOUND, NULL, "The application has no gear.");
		return NULL;
	}
	if (store_get(b->store, key, &kv)) {
		(void)err_set(e, ERR_CONFLICT, NULL,
		    "A snapshot is being restored into the application already.");
		return NULL;
	}
	if (check_services(b, o->app_id, e) < 0)
		return NULL;
	snapshot_gears_list(v, &services);
	path = restore_path(b, o, &services);
	if (node_link_call(b->nodes, v->gears[0]->node, path, &call, &url, e) < 0)
		return NULL;
	r = xcalloc(1, sizeof *r);
	*r = (struct restore){
		.b = b,
		.rec = { .app_id = xstrdup(o->app_id),
		    .login = xstrdup(o->login),
		    .git_url = xstrdup_null(o->git_url) },
		.node = xstrdup(v->gears[0]->node),
		.wants_git = o->wants_git,
		.on_line = o->on_line,
		.on_room = o->on_room,
		.done = o->done,
		.arg = o->arg,
	};
	for (size_t i = 0; i < services.n; i++)
		str_list_add(&r->rec.gears, services.v[i].uuid);
	str_list_add(&r->rec.gears, o->app_id);
	r->call = http_call_start(b->client, &call, on_uploaded, r, e);
	if (r->call != NULL) {
		put_record(r, on_recorded, b);
		return r;
	}
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
restore_abort(struct restore *r, const struct err *e)
{
	if (!r->is_closed)
		fail(r, e);
}

void
restore_detach(struct restore *take_r)
{
	if (take_r == NULL)
		return;
	take_r->is_detached = true;
	if (!take_r->is_closed)
		restore_abort(
		    take_r, &(const struct err){ .code = ERR_BUSY, .text = "it was broken off" });
}
