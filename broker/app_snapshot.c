#include "broker/app_snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/repo_tar.h"
#include "broker/rollout.h"
#include "broker/snapshot_gears.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_snapshot.h"

enum { QUEUE_MAX = 1024 * 1024, ERROR_MAX = 800, TIMEOUT_MS = 6 * 3600 * 1000 };

struct app_snapshot {
	struct broker *b; /* borrowed */
	char *app_id;
	char *deployment;               /* owned: it alone is wanted; NULL: all */
	struct snapshot_save *services; /* of other gears */
	struct http_call *call;
	struct repo_tar *git;
	struct buf out; /* order and repository, on the way to the node */
	size_t out_at;
	bool has_git, is_paused;
	struct buf error_text;
	int status;
	struct err git_error;
	app_snapshot_data_fn *on_data;
	app_snapshot_done_fn *done;
	void *arg;
};

void
app_snapshot_cancel(struct app_snapshot *take_s)
{
	if (take_s == NULL)
		return;
	http_call_cancel(take_s->call);
	repo_tar_free(take_s->git);
	snapshot_save_free(take_s->services);
	free(take_s->app_id);
	free(take_s->deployment);
	buf_fini(&take_s->out);
	buf_fini(&take_s->error_text);
	free(take_s);
}
DEFINE_AUTO(struct app_snapshot *, app_snapshot_cancel)

/* --- the order --- */

static bool
is_archive(const struct wire_deployment *d)
{
	return !d->is_template && (d->sha1 == NULL || *d->sha1 == '\0');
}

/* What came as an archive has no commit: null. */
static void
add_metadata(struct buf *b, const struct wire_deployment *d)
{
	buf_adds(b, "{\"git_ref\":");
	buf_add_json_str(b, d->ref == NULL || *d->ref == '\0' ? "master" : d->ref);
	if (is_archive(d))
		buf_adds(b, ",\"git_sha1\":null");
	else
		buf_addf(b, ",\"git_sha1\":\"%.7s\"", d->sha1 == NULL ? "" : d->sha1);
	buf_addf(b, ",\"id\":\"%s\",\"hot_deploy\":%s,\"force_clean_build\":%s,\"activations\":[",
	    d->id, d->hot_deploy ? "true" : "null", d->force_clean_build ? "true" : "null");
	for (size_t i = 0; i < d->activations.n; i++)
		buf_addf(b, "%s%" PRId64 ".%03d", i > 0 ? "," : "",
		    d->activations.v[i].at_ms / 1000, (int)(d->activations.v[i].at_ms % 1000));
	buf_addf(b, "],\"checksum\":\"%s\"}\n", d->sha1 == NULL ? "" : d->sha1);
}

static char *
datetime_of(const struct wire_deployment *d)
{
	time_t at = (time_t)d->created_at;
	char text[64];
	struct tm tm;

	gmtime_r(&at, &tm);
	if (strftime(text, sizeof text, "%Y-%m-%d_%H-%M-%S.000", &tm) == 0)
		text[0] = '\0';
	return xstrdup(text);
}

static void
add_order(struct app_snapshot *s, const struct wire_app *a)
{
	AUTO_FINI(wire_snapshot_order_fini) struct wire_snapshot_order o = { 0 };
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	AUTO_FINI(buf_fini) struct buf metadata = { 0 };
	const char *id = s->deployment != NULL ? s->deployment : a->status.deployment;
	struct err e = { 0 };

	o.app_name = xstrdup(a->name);
	o.is_deployment = s->deployment != NULL;
	if (id != NULL && *id != '\0' &&
	    record_get(s->b->store, store_key_deployment(a->id, id), &wire_deployment_codec, &d,
	        NULL, &e) == 0) {
		add_metadata(&metadata, &d);
		o.deployment_id = xstrdup(d.id);
		o.metadata = buf_steal(&metadata);
		o.datetime = datetime_of(&d);
		o.is_archive = is_archive(&d);
		codec_copy(&wire_layers_codec, &o.layers, &d.layers);
	}
	codec_encode(&wire_snapshot_order_codec, &o, &s->out);
	buf_addc(&s->out, '\n');
}

/* --- the repository, to the node --- */

static void
wake_call(struct app_snapshot *s)
{
	if (s->call != NULL)
		http_call_resume(s->call);
}

static bool
on_git_data(const char *p, size_t n, void *arg)
{
	struct app_snapshot *s = arg;

	buf_add(&s->out, p, n);
	wake_call(s);
	return s->out.n - s->out_at < QUEUE_MAX;
}

static void
on_git_done(const char *git_dir, const struct err *e, void *arg)
{
	struct app_snapshot *s = arg;

	(void)git_dir;
	s->has_git = true;
	if (e != NULL)
		s->git_error = *e;
	wake_call(s);
}

static ssize_t
on_read(struct http_call *c, char *p, size_t n, void *arg)
{
	struct app_snapshot *s = arg;
	size_t left = s->out.n - s->out_at;

	(void)c;
	if (s->git_error.code != ERR_NONE)
		return HTTP_CALL_ABORT;
	if (left == 0)
		return s->has_git ? 0 : HTTP_CALL_PAUSE;
	if (n > left)
		n = left;
	memcpy(p, s->out.p + s->out_at, n);
	s->out_at += n;
	if (s->out_at == s->out.n) {
		buf_clear(&s->out);
		s->out_at = 0;
		if (s->git != NULL && !s->has_git)
			repo_tar_resume(s->git);
	}
	return (ssize_t)n;
}

/* --- the archive, from it --- */

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct app_snapshot *s = arg;

	(void)c;
	s->status = status;
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct app_snapshot *s = arg;

	(void)c;
	if (s->status != 200) {
		if (s->error_text.n < ERROR_MAX)
			buf_add(&s->error_text, p, n < ERROR_MAX ? n : ERROR_MAX);
		return true;
	}
	if (s->is_paused)
		return false;
	s->is_paused = !s->on_data(p, n, s->arg);
	return true;
}

static void
on_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	AUTO(app_snapshot_cancel) struct app_snapshot *s = arg;
	const char *text = s->error_text.p == NULL ? "" : s->error_text.p;
	struct err bad = { 0 };

	(void)c;
	(void)body;
	s->call = NULL;
	if (s->git_error.code != ERR_NONE)
		bad = s->git_error;
	else if (s->status != 0 && s->status != 200)
		(void)err_set(&bad, status == 409 ? ERR_CONFLICT : ERR_SYSTEM, NULL, "%.*s",
		    (int)strcspn(text, "\n"), text);
	else if (e != NULL)
		(void)err_set(&bad, ERR_BUSY, NULL, "the node broke off: %s", e->text);
	s->done(bad.code == ERR_NONE ? NULL : &bad, s->arg);
}

static int
start_head(struct app_snapshot *s, const char *services, struct err *e)
{
	static const char *const headers[] = { "Content-Type: application/octet-stream",
		"Expect:", NULL };
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct app_view_app *v = app_view_get(rollout_view(s->b->rollout), s->app_id);
	AUTO(free) char *path = xasprintf("/v1/gears/%s/snapshot", s->app_id);
	AUTO(free) char *url = NULL;
	struct http_call_opts o = {
		.method = "POST",
		.headers = headers,
		.read = on_read,
		.on_head = on_head,
		.on_data = on_data,
		.timeout_ms = TIMEOUT_MS,
	};

	if (record_app_by_id(s->b->store, s->app_id, &a, NULL, e) < 0)
		return -1;
	if (v->gears_n == 0)
		return err_set(e, ERR_NOT_FOUND, NULL, "Application '%s' has no gear.", a.name);
	add_order(s, &a);
	if (node_link_call(s->b->nodes, v->gears[0]->node, path, &o, &url, e) < 0)
		return -1;
	s->has_git = s->deployment != NULL;
	if (!s->has_git)
		s->git = repo_tar_save(s->b->repos, &a, services, on_git_data, on_git_done, s);
	s->call = http_call_start(s->b->client, &o, on_end, s, e);
	return s->call == NULL ? -1 : 0;
}

static void
on_services(const char *dir, const struct err *e, void *arg)
{
	struct app_snapshot *s = arg;
	struct err bad = { 0 };

	if (e == NULL && start_head(s, dir, &bad) == 0)
		return;
	s->done(e != NULL ? e : &bad, s->arg);
	app_snapshot_cancel(s);
}

struct app_snapshot *
app_snapshot_start(struct broker *b, const char *app_id, app_snapshot_data_fn *on_archive,
    app_snapshot_done_fn *done, void *arg, struct err *e)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct app_snapshot *s;

	if (record_app_by_id(b->store, app_id, &a, NULL, e) < 0)
		return NULL;
	s = xcalloc(1, sizeof *s);
	*s = (struct app_snapshot){
		.b = b, .app_id = xstrdup(app_id), .on_data = on_archive, .done = done, .arg = arg
	};
	s->services = snapshot_save_start(b, app_id, a.name, on_services, s);
	return s;
}

struct app_snapshot *
app_snapshot_deployment(struct broker *b, const char *app_id, const char *deployment,
    app_snapshot_data_fn *on_archive, app_snapshot_done_fn *done, void *arg, struct err *e)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	AUTO(app_snapshot_cancel) struct app_snapshot *s = NULL;
	struct err why = { 0 };

	if (!str_is_hex(deployment, strlen(deployment)) ||
	    record_get(b->store, store_key_deployment(app_id, deployment), &wire_deployment_codec,
	        &d, NULL, &why) < 0) {
		(void)err_set(e, ERR_NOT_FOUND, NULL,
		    "Deployment '%.64s' not found: 'gear deployments' lists those that are kept",
		    deployment);
		return NULL;
	}
	s = xcalloc(1, sizeof *s);
	*s = (struct app_snapshot){ .b = b,
		.app_id = xstrdup(app_id),
		.deployment = xstrdup(deployment),
		.on_data = on_archive,
		.done = done,
		.arg = arg };
	return start_head(s, NULL, e) < 0 ? NULL : STEAL(s);
}

void
app_snapshot_resume(struct app_snapshot *s)
{
	s->is_paused = false;
	wake_call(s);
}
