#include "broker/build_order.h"

#include <stdlib.h>
#include <string.h>

#include "broker/app_view.h"
#include "broker/artifact.h"
#include "broker/broker.h"
#include "broker/build_record.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "broker/repo_archive.h"
#include "broker/repo_git.h"
#include "broker/repo_submodule.h"
#include "broker/rollout.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/http_watch.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

enum {
	QUEUE_MAX = 1 << 20, /* bytes of the tree waiting for the node */
	LINE_LEN_MAX = 1 << 20,
	ERROR_TEXT_MAX = 800,
	TIMEOUT_S = 600,
	OUTPUT_MAX = 10 << 20,
	GRACE_MS = 60 * 1000,
	TREE_MAX_MB = 4096,
	TEMPLATE_MAX = 64 << 20,
	TEMPLATE_MS = 60 * 1000,
};

struct build_order {
	struct broker *b;       /* borrowed */
	struct build_record *r; /* borrowed */
	build_order_line_fn *on_line;
	build_order_done_fn *done;
	void *arg;
	struct repo_ask *ask;
	struct look_job *look; /* on a worker; its own owner once cancelled */
	struct worker_job *look_handle;
	struct repo_archive *archive;
	struct artifact_reader *artifact; /* instead of it */
	struct loop_timer *turn;
	struct http_call *call;
	struct buf out; /* for the node */
	size_t out_at;
	bool is_out_complete, is_archive_paused, is_call_paused;
	int status;
	struct http_lines lines;
	struct buf error_text; /* body of an answer that is not 200 */
	struct wire_build_result result;
	bool has_result;
	int64_t tree_max_mb;
};

void
build_order_cancel(struct build_order *take_o)
{
	if (take_o == NULL)
		return;
	repo_ask_cancel(take_o->ask);
	worker_detach(take_o->look_handle);
	repo_archive_cancel(take_o->archive);
	artifact_reader_cancel(take_o->artifact);
	loop_timer_cancel(take_o->turn);
	http_call_cancel(take_o->call);
	http_lines_fini(&take_o->lines);
	buf_fini(&take_o->out);
	buf_fini(&take_o->error_text);
	wire_build_result_fini(&take_o->result);
	free(take_o);
}

static void
end(struct build_order *o, const struct err *e)
{
	o->done(e == NULL ? &o->result : NULL, e, o->arg);
	build_order_cancel(o);
}

/* --- the node's side --- */

static ssize_t
on_read(struct http_call *c, char *p, size_t n, void *arg)
{
	struct build_order *o = arg;
	size_t left = o->out.n - o->out_at;

	(void)c;
	if (left == 0) {
		if (o->is_out_complete)
			return 0;
		o->is_call_paused = true;
		return HTTP_CALL_PAUSE;
	}
	if (n > left)
		n = left;
	memcpy(p, o->out.p + o->out_at, n);
	o->out_at += n;
	if (o->out_at == o->out.n) {
		buf_clear(&o->out);
		o->out_at = 0;
		if (o->is_archive_paused && o->archive != NULL)
			repo_archive_resume(o->archive);
		else if (o->is_archive_paused && o->artifact != NULL)
			artifact_reader_resume(o->artifact);
		o->is_archive_paused = false;
	}
	return (ssize_t)n;
}

static void
wake_call(struct build_order *o)
{
	if (!o->is_call_paused || o->call == NULL)
		return;
	o->is_call_paused = false;
	http_call_resume(o->call);
}

static void
on_line(struct str text, void *arg)
{
	AUTO_FINI(wire_build_line_fini) struct wire_build_line line = { 0 };
	struct build_order *o = arg;
	struct err e = { 0 };

	if (text.n == 0)
		return;
	if (codec_decode(&wire_build_line_codec, text.p, text.n, &line, CODEC_IGNORE, &e) < 0) {
		log_warn("build_line_broken", LOG_STR("node", o->r->node), LOG_ERR(&e));
		return;
	}
	if (line.has_result) {
		wire_build_result_fini(&o->result);
		o->result = line.result;
		line.result = (struct wire_build_result){ 0 };
		o->has_result = true;
	} else if (line.line != NULL) {
		o->on_line(line.line, o->arg);
	}
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct build_order *o = arg;

	(void)c;
	o->status = status;
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct build_order *o = arg;
	struct err e = { 0 };

	(void)c;
	if (o->status != 200) {
		if (o->error_text.n < ERROR_TEXT_MAX)
			buf_add(&o->error_text, p, n < ERROR_TEXT_MAX ? n : ERROR_TEXT_MAX);
		return true;
	}
	if (http_lines_feed(&o->lines, p, n, LINE_LEN_MAX, on_line, o, &e) < 0)
		log_warn("build_line_broken", LOG_STR("node", o->r->node), LOG_ERR(&e));
	return true;
}

static void
on_call_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct build_order *o = arg;
	struct err bad = { 0 };

	(void)c;
	(void)body;
	o->call = NULL;
	if (o->has_result && o->result.ok) {
		end(o, NULL);
		return;
	}
	if (o->has_result)
		(void)err_set(&bad, ERR_CONFLICT, NULL, "build failed: %s",
		    o->result.reason == NULL || *o->result.reason == '\0' ? "no reason given"
		                                                          : o->result.reason);
	else if (e != NULL)
		(void)err_set(&bad, ERR_BUSY, NULL,
		    "build failed: the node broke off (%s): push again", e->text);
	else if (status != 200)
		(void)err_set(&bad, ERR_BUSY, NULL, "build failed: the node answered %d: %s",
		    status, o->error_text.p == NULL ? "" : o->error_text.p);
	else
		(void)err_set(&bad, ERR_BUSY, NULL,
		    "build failed: the node broke off before its result: push again");
	end(o, &bad);
}

/* --- the tree --- */

static bool
on_tree(const char *p, size_t n, void *arg)
{
	struct build_order *o = arg;

	buf_add(&o->out, p, n);
	wake_call(o);
	o->is_archive_paused = o->out.n - o->out_at > QUEUE_MAX;
	return !o->is_archive_paused;
}

static void
on_tree_end(const struct err *e, void *arg)
{
	struct build_order *o = arg;
	struct err bad = { 0 };

	o->archive = NULL;
	o->artifact = NULL;
	if (e != NULL) {
		bad = *e;
		(void)err_wrap(&bad, "build failed");
		end(o, &bad);
		return;
	}
	o->is_out_complete = true;
	wake_call(o);
}

static int
fill_order(struct build_order *o, struct wire_build_order *w, struct err *e)
{
	const struct build_record *r = o->r;
	const struct app_view_app *v = app_view_get(rollout_view(o->b->rollout), r->app_id);
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO_FINI(wire_deployment_fini) struct wire_deployment old = { 0 };
	struct err none = { 0 };

	if (v->gears_n == 0 || record_app_by_id(o->b->store, r->app_id, &app, NULL, e) < 0)
		return err_set(e, ERR_NOT_FOUND, "app", "the application does not exist any more");
	w->id = xstrdup(r->id);
	codec_copy(&wire_gear_codec, &w->gear, &v->gears[0]->gear);
	if (r->moves_ref && str_has_prefix(r->ref, "refs/heads/"))
		mem_set_str(&w->gear.deployment_branch, r->ref + strlen("refs/heads/"));
	w->deployment_id = xstrdup(r->deployment_id);
	w->ref = xstrdup(r->ref);
	w->sha1 = xstrdup(r->sha1);
	w->force_clean = r->force_clean;
	w->hot_deploy = r->hot_deploy;
	w->is_template = r->is_template;
	w->is_artifact = r->artifact != NULL;
	w->timeout_s = TIMEOUT_S;
	w->output_max = OUTPUT_MAX;
	o->tree_max_mb = v->gears[0]->gear.limits.disk_mb;
	if (app.status.deployment != NULL && *app.status.deployment != '\0' &&
	    record_get(o->b->store, store_key_deployment(r->app_id, app.status.deployment),
	        &wire_deployment_codec, &old, NULL, &none) == 0) {
		codec_copy(&wire_layers_codec, &w->previous, &old.layers);
		w->previous_deps_key = xstrdup_null(old.deps_key);
	}
	return 0;
}

static int
call_node(struct build_order *o, struct err *e)
{
	AUTO_FINI(wire_build_order_fini) struct wire_build_order w = { 0 };
	static const char *const headers[] = { "Content-Type: application/octet-stream",
		"Expect:", NULL };
	AUTO(free) char *url = NULL;
	struct http_call_opts opts = {
		.method = "POST",
		.headers = headers,
		.read = on_read,
		.on_head = on_head,
		.on_data = on_data,
		.timeout_ms = (int64_t)TIMEOUT_S * 1000 + GRACE_MS,
	};

	if (fill_order(o, &w, e) < 0)
		return -1;
	codec_encode(&wire_build_order_codec, &w, &o->out);
	buf_addc(&o->out, '\n');
	if (node_link_call(o->b->nodes, o->r->node, "/v1/builds", &opts, &url, e) < 0)
		return -1;
	fault_point("build_call");
	o->call = http_call_start(o->b->client, &opts, on_call_end, o, e);
	return o->call == NULL ? -1 : 0;
}

/* --- an artifact --- */

static void
on_turn(void *arg)
{
	struct build_order *o = arg;
	struct err e = { 0 };

	loop_timer_cancel(STEAL(o->turn));
	if (call_node(o, &e) == 0)
		o->artifact =
		    artifact_reader_start(o->b, o->r->artifact, on_tree, on_tree_end, o, &e);
	if (o->artifact == NULL)
		end(o, &e);
}

/* --- the repository --- */

struct look_job {
	struct build_order *o; /* borrowed; loop only */
	char *git_dir, *sha1;
	char *base; /* that sha1 must descend from; NULL: none */
	struct repo_git_look look;
	struct err e;
	int rc;
};

static void
look_free(void *p)
{
	struct look_job *j = p;

	repo_git_look_fini(&j->look);
	free(j->git_dir);
	free(j->sha1);
	free(j->base);
	free(j);
}

static int
check_base(struct look_job *j)
{
	bool descends = false;

	if (j->base == NULL)
		return 0;
	if (repo_git_descends(j->git_dir, j->sha1, j->base, &descends, &j->e) < 0)
		return -1;
	return descends
	           ? 0
	           : err_set(&j->e, ERR_CONFLICT, "ref", "the branch moved meanwhile: fetch first");
}

/* A template's commit is the only one that a ref of its repository names. */
static int
look(struct look_job *j)
{
	AUTO_FINI(str_list_fini) struct str_list refs = { 0 };

	if (*j->sha1 == '\0') {
		if (repo_git_refs(j->git_dir, &refs, &j->e) < 0)
			return -1;
		if (refs.n < 2)
			return err_set(&j->e, ERR_NOT_FOUND, NULL, "the template is empty");
		mem_set_str(&j->sha1, refs.v[1]);
	}
	if (check_base(j) < 0)
		return -1;
	return repo_git_look(j->git_dir, j->sha1, &j->look, &j->e);
}

static void
look_run(void *p)
{
	struct look_job *j = p;

	j->rc = look(j);
}

static int
send_tree(struct build_order *o, const struct look_job *j, struct err *e)
{
	AUTO_FINI(repo_submodule_fini) struct repo_submodule_plan plan = { 0 };
	struct build_record *r = o->r;

	mem_set_str(&r->sha1, j->sha1);
	r->force_clean = r->force_clean || j->look.force_clean;
	r->hot_deploy = r->hot_deploy || (j->look.hot_deploy && !r->is_cold);
	r->disable_auto_scaling = j->look.disable_auto_scaling;
	if (repo_submodule_plan(o->b, r, j->git_dir, &j->look, &plan, o->on_line, o->arg, e) < 0 ||
	    call_node(o, e) < 0)
		return -1;
	if (o->tree_max_mb <= 0 || o->tree_max_mb > TREE_MAX_MB)
		o->tree_max_mb = TREE_MAX_MB;
	o->archive = repo_archive_start(
	    o->b->repos, plan.parts, plan.n, o->tree_max_mb << 20, on_tree, on_tree_end, o, e);
	return o->archive == NULL ? -1 : 0;
}

static void
look_done(void *p)
{
	struct look_job *j = p;
	struct build_order *o = j->o;
	struct err e = j->e;

	o->look_handle = NULL;
	if (j->rc == 0)
		j->rc = send_tree(o, j, &e);
	if (j->rc < 0) {
		if (e.code != ERR_CONFLICT)
			(void)err_wrap(&e, "build failed");
		end(o, &e);
	}
	look_free(j);
}

static void
on_repo(const char *git_dir, const struct err *e, void *arg)
{
	struct build_order *o = arg;
	struct look_job *j;
	struct err bad = { 0 };

	o->ask = NULL;
	if (e != NULL) {
		bad = *e;
		end(o, &bad);
		return;
	}
	j = xcalloc(1, sizeof *j);
	*j = (struct look_job){ .o = o,
		.git_dir = xstrdup(git_dir),
		.sha1 = xstrdup(o->r->sha1),
		.base = o->r->must_descend ? xstrdup(o->r->old_sha1) : NULL };
	o->look_handle = worker_submit(o->b->worker, look_run, look_done, look_free, j);
}

static void
open_template(struct build_order *o, const struct wire_app *app, struct str tar)
{
	o->ask = repo_open_template(o->b->repos, app, tar, on_repo, o);
}

static void
on_template(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct build_order *o = arg;
	struct err bad = { 0 };

	(void)c;
	o->call = NULL;
	if (record_app_by_id(o->b->store, o->r->app_id, &app, NULL, &bad) < 0) {
		end(o, &bad);
		return;
	}
	if (e != NULL || (status != 200 && status != 404))
		log_warn("template_unknown", LOG_STR("app", app.id), LOG_INT("status", status));
	open_template(o, &app, status == 200 && e == NULL ? body : (struct str){ 0 });
}

/* A cartridge's scripts may have changed what an application begins with: the gear has it. */
static int
ask_template(struct build_order *o, struct err *e)
{
	AUTO(free) char *path = xasprintf("/v1/gears/%s/template", o->r->app_id);
	AUTO(free) char *url = NULL;
	struct http_call_opts opts = { .body_max = TEMPLATE_MAX, .timeout_ms = TEMPLATE_MS };

	if (node_link_call(o->b->nodes, o->r->node, path, &opts, &url, e) < 0)
		return -1;
	o->call = http_call_start(o->b->client, &opts, on_template, o, e);
	return o->call == NULL ? -1 : 0;
}

struct build_order *
build_order_start(struct broker *b, struct build_record *r, build_order_line_fn *on_line_fn,
    build_order_done_fn *done, void *arg)
{
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct build_order *o = xcalloc(1, sizeof *o);
	struct err e = { 0 };
	bool has_app = record_app_by_id(b->store, r->app_id, &app, NULL, &e) == 0;

	*o =
	    (struct build_order){ .b = b, .r = r, .on_line = on_line_fn, .done = done, .arg = arg };
	if (r->artifact != NULL) {
		o->turn = loop_timer_start(b->loop, 0, false, on_turn, o);
	} else if (r->is_template && has_app && app.cartridges.n > 0) {
		if (ask_template(o, &e) < 0)
			open_template(o, &app, (struct str){ 0 });
	} else {
		o->ask = repo_open(b->repos, r->app_id, on_repo, o);
	}
	return o;
}
