/* Deployments: list, show, deploy a ref or an archive. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/build.h"
#include "broker/cart_source.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum { REF_MAX = 256, URL_MAX = 2048, EXIT_DEPLOYMENT = -1, EXIT_BOOL = 167 };

static void
free_deployment(void *p)
{
	wire_deployment_fini(p);
	free(p);
}

static bool
collect(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_deployment *d = rec;
	struct wire_deployment *copy = xcalloc(1, sizeof *copy);
	AUTO(free) char *order = xasprintf("%020lld %s", (long long)d->created_at, d->id);

	(void)key;
	(void)rev;
	codec_copy(&wire_deployment_codec, copy, d);
	omap_set(arg, order, copy);
	return true;
}

void
api_deployment_list(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO(free) char *prefix = NULL;
	struct omap *by_time;
	void *value = NULL;

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	by_time = omap_new(free_deployment);
	prefix = store_key_deployment(a.id, "");
	record_each(c->b->store, prefix, &wire_deployment_codec, collect, by_time);
	api_json_arr(api_data(c, "deployments"), NULL);
	for (const char *k = omap_seek(by_time, "", false, &value); k != NULL;
	     k = omap_seek(by_time, k, true, &value))
		api_view_deployment(c, &c->json, NULL, &a, value);
	api_json_end_arr(&c->json);
	omap_free(by_time);
	api_send(c, 200);
}

static int
load_deployment(
    const struct api_call *c, const char *app_id, const char *id, struct wire_deployment *d)
{
	struct err e = { 0 };

	if (strchr(id, '/') != NULL)
		return -1;
	return record_get(
	    c->b->store, store_key_deployment(app_id, id), &wire_deployment_codec, d, NULL, &e);
}

void
api_deployment_show(struct api_call *c)
{
	const char *id = api_param_of_path(c->params, "id");
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	if (load_deployment(c, a.id, id, &d) < 0) {
		api_fail(c, 404, 1, NULL, "Deployment '%.80s' not found in application '%s'.", id,
		    a.name);
		return;
	}
	api_view_deployment(c, api_data(c, "deployment"), NULL, &a, &d);
	api_send(c, 200);
}

/* --- deploying --- */

struct deploy {
	char *app_id; /* owned */
	char *git;    /* owned; URL of the repository */
	struct cart_source *download;
	bool hot, clean;
};

static void
deploy_free(void *p)
{
	struct deploy *s = p;

	cart_source_cancel(s->download);
	free(s->app_id);
	free(s->git);
	free(s);
}

static void
on_line(const char *line, void *arg)
{
	api_progress(arg, line);
}

static void
built(const char *deployment_id, const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct deploy *s = c->state;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	struct err gone = { 0 };

	if (e != NULL) {
		api_load_fail_rollout(c, e);
		return;
	}
	if (record_app_by_id(c->b->store, s->app_id, &a, NULL, &gone) < 0 ||
	    load_deployment(c, s->app_id, deployment_id, &d) < 0) {
		api_fail(c, 404, 1, NULL, "Deployment '%.80s' is no longer there.", deployment_id);
		return;
	}
	if (str_same(d.id, a.status.canary))
		api_message(c, "result", 0, NULL,
		    "Deployment %s is a canary: it gets %" PRId64 " %% of the clients.", d.id,
		    a.spec.canary_percent);
	else
		api_message(c, "result", 0, NULL, "Deployment %s is active.", d.id);
	api_view_deployment(c, api_data(c, "deployment"), NULL, &a, &d);
	api_send(c, 201);
}

static void
resolved(const char *ref, const char *sha1, const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct deploy *s = c->state;
	struct build_source src = { 0 };

	if (e != NULL) {
		api_fail_as(c, e, 422, EXIT_DEPLOYMENT);
		return;
	}
	src = (struct build_source){
		.app_id = s->app_id,
		.ref = ref,
		.sha1 = sha1,
		.hot_deploy = s->hot,
		.force_clean = s->clean,
		.login = c->who.login,
		.git_url = s->git,
	};
	(void)build_start(c->b->builds, &src, on_line, built, c);
}

static void
downloaded(const char *path, const struct err *e, void *arg)
{
	struct api_call *c = arg;
	struct deploy *s = c->state;
	struct err bad = { 0 };

	s->download = NULL;
	if (e != NULL) {
		bad = *e;
		(void)snprintf(bad.field, sizeof bad.field, "artifact_url");
		api_fail_as(c, &bad, 422, EXIT_DEPLOYMENT);
		return;
	}
	(void)build_start(c->b->builds,
	    &(const struct build_source){
	        .app_id = s->app_id,
	        .take_artifact = xstrdup(path),
	        .hot_deploy = s->hot,
	        .force_clean = s->clean,
	        .login = c->who.login,
	    },
	    on_line, built, c);
}

static bool
is_artifact_url(const char *url)
{
	AUTO(free) char *path = xstrndup(url, strcspn(url, "?#"));

	return (str_has_prefix(url, "http://") || str_has_prefix(url, "https://")) &&
	       (str_has_suffix(path, ".tgz") || str_has_suffix(path, ".tar.gz"));
}

static void
create_of_url(struct api_call *c, const struct wire_app *a, const char *url)
{
	struct deploy *s = c->state;
	struct err e = { 0 };

	if (strcmp(a->deployment_type, "binary") != 0) {
		api_fail(c, 422, EXIT_DEPLOYMENT, "artifact_url",
		    "Application %s has the deployment type '%s': archives cannot be deployed. "
		    "Change 'deployment_type' to 'binary' first.",
		    a->name, a->deployment_type);
		return;
	}
	if (!is_artifact_url(url)) {
		api_fail(c, 422, EXIT_DEPLOYMENT, "artifact_url",
		    "'%.200s' is no URL of an archive: it must begin with http:// or https://, "
		    "and its path end in .tgz or .tar.gz.",
		    url);
		return;
	}
	s->download = cart_source_start(c->b, url, NULL, downloaded, c, &e);
	if (s->download != NULL)
		return;
	(void)snprintf(e.field, sizeof e.field, "artifact_url");
	api_fail_as(c, &e, 422, EXIT_DEPLOYMENT);
}

static void
fail_ref(struct api_call *c, const char *ref)
{
	api_fail(c, 422, EXIT_DEPLOYMENT, "ref",
	    "'%.64s' is no name that git allows for a branch, tag or commit.", ref);
}

void
api_deployment_create(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const char *ref = NULL;
	const char *artifact = NULL;
	struct err e = { 0 };
	struct deploy *s;

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	if (api_param_has(c->params, "deployments")) {
		api_fail(c, 403, 1, NULL, "Only gears report deployments.");
		return;
	}
	s = xcalloc(1, sizeof *s);
	api_call_keep(c, s, deploy_free);
	s->app_id = xstrdup(a.id);
	s->git = xasprintf("%s/git/%s/%s.git", c->root, a.domain, a.name);
	if (api_param_bool(c->params, "hot_deploy", &s->hot, &e) < 0 ||
	    api_param_bool(c->params, "force_clean_build", &s->clean, &e) < 0) {
		api_fail_err(c, &e, EXIT_BOOL);
		return;
	}
	if (api_param_str(c->params, "ref", REF_MAX, &ref, &e) < 0 ||
	    api_param_str(c->params, "artifact_url", URL_MAX, &artifact, &e) < 0) {
		api_fail_err(c, &e, EXIT_DEPLOYMENT);
		return;
	}
	if (artifact != NULL && *artifact != '\0' && ref != NULL && *ref != '\0') {
		api_fail(c, 422, EXIT_DEPLOYMENT, "artifact_url",
		    "Send either 'ref' or 'artifact_url', not both.");
	} else if (artifact != NULL && *artifact != '\0') {
		create_of_url(c, &a, artifact);
	} else if (ref == NULL || *ref == '\0') {
		api_fail(c, 422, EXIT_DEPLOYMENT, "ref",
		    "The parameter 'ref' is required: a branch, tag or commit; or, for the "
		    "deployment type binary, 'artifact_url'.");
	} else if (!app_is_ref(ref)) {
		fail_ref(c, ref);
	} else if (strcmp(a.deployment_type, "git") != 0) {
		api_fail(c, 422, EXIT_DEPLOYMENT, "ref",
		    "Application %s has the deployment type '%s': refs cannot be deployed. Change "
		    "'deployment_type' to 'git' first.",
		    a.name, a.deployment_type);
	} else {
		(void)repo_resolve(c->b->repos, a.id, ref, resolved, c);
	}
}
