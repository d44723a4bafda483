/* Deployments: list, roll back, deploy a ref. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

static int
get_deployments(const struct cmd_line *l, const char *app, struct api_reply *out, struct err *e)
{
	AUTO(free) char *path = xasprintf("%s/deployments", app);

	return api_call(l, "GET", path, NULL, out, e);
}

static int
run_list(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply app = { 0 };
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = api_app_path(l, cmd_arg(l, 0), e);

	if (path == NULL || api_call(l, "GET", path, NULL, &app, e) < 0 ||
	    get_deployments(l, path, &r, e) < 0)
		return -1;
	const char *active = codec_string(codec_get(app.data, "deployment_id"));
	bool has_canary = codec_get(codec_get(app.data, "canary"), "percent") != NULL;
	AUTO(free) char *is_active = xasprintf("id=%s", active == NULL ? "" : active);
	const struct output_column columns[] = {
		{ "", is_active },
		{ "ID", "id" },
		{ "COMMIT", "sha1" },
		{ "REF", "ref" },
		{ "BUILT", "created_at" },
		{ "LAST ACTIVATED", "activations[-1]" },
		{ "CLIENTS %", has_canary ? "share" : NULL },
		{ NULL, NULL },
	};
	output_table(l, r.data, columns);
	return 0;
}

/* id NULL: the one before. */
static int
activate(const struct cmd_line *l, const char *app, const char *id, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = xasprintf("%s/events", app);
	AUTO_FINI(buf_fini) struct buf body = { 0 };

	if (id == NULL) {
		buf_adds(&body, "{\"event\":\"rollback\"}");
	} else {
		buf_adds(&body, "{\"event\":\"activate\",\"deployment_id\":");
		buf_add_json_str(&body, id);
		buf_addc(&body, '}');
	}
	if (api_call(l, "POST", path, body.p, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	output_note(l, "%s%s serves.", id == NULL ? "The deployment before" : "Deployment ",
	    id == NULL ? "" : id);
	return 0;
}

/* `rollback [APP] [ID]`: inside a clone an id of 8 hex digits alone means its app. */
static int
run_rollback(const struct cmd_line *l, struct err *e)
{
	const char *name = cmd_arg(l, 0);
	const char *id = cmd_arg(l, 1);

	if (id == NULL && name != NULL && str_is_hex(name, 8)) {
		id = name;
		name = NULL;
	}
	AUTO(free) char *app = api_app_path(l, name, e);
	if (app == NULL)
		return -1;
	return activate(l, app, id, e);
}

/* `deploy [APP] REF` */
static int
run_deploy(const struct cmd_line *l, struct err *e)
{
	bool has_app = l->args.n == 2;
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *app = api_app_path(l, has_app ? cmd_arg(l, 0) : NULL, e);

	if (app == NULL)
		return -1;
	AUTO(free) char *path = xasprintf("%s/deployments", app);
	buf_adds(&body, "{\"ref\":");
	buf_add_json_str(&body, cmd_arg(l, has_app ? 1 : 0));
	buf_addf(&body, ",\"hot_deploy\":%s,\"force_clean_build\":%s}",
	    cmd_has(l, "hot-deploy") ? "true" : "false",
	    cmd_has(l, "force-clean-build") ? "true" : "false");
	if (api_call(l, "POST", path, body.p, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	const char *id = codec_string(codec_get(r.data, "id"));
	int64_t share = codec_int(codec_get(r.data, "share"), 100);
	if (share < 100)
		output_note(l,
		    "Deployment %s serves %" PRId64 " %% of the clients. For all: pinion canary "
		    "promote; for none: pinion canary abort.",
		    id == NULL ? "" : id, share);
	else
		output_note(l, "Deployment %s serves.", id == NULL ? "" : id);
	return 0;
}

static int
post_event(const struct cmd_line *l, const char *name, const char *body, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *app = api_app_path(l, name, e);

	if (app == NULL)
		return -1;
	AUTO(free) char *path = xasprintf("%s/events", app);
	if (api_call(l, "POST", path, body, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	return 0;
}

/* `canary set [APP] [ID]`: an id of 8 hex digits alone means the clone's app. */
static int
run_canary(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	const char *name = cmd_arg(l, 0);
	const char *id = cmd_arg(l, 1);
	int64_t percent;

	if (id == NULL && name != NULL && str_is_hex(name, 8)) {
		id = name;
		name = NULL;
	}
	buf_adds(&body, "{\"event\":\"canary\"");
	if (id != NULL) {
		buf_adds(&body, ",\"deployment_id\":");
		buf_add_json_str(&body, id);
	}
	if (cmd_has(l, "percent")) {
		if (str_to_i64(str_of(cmd_option(l, "percent")), 0, 100, "percent", &percent, e) <
		    0)
			return -1;
		buf_addf(&body, ",\"percent\":%" PRId64, percent);
	}
	buf_addc(&body, '}');
	if (post_event(l, name, body.p, e) < 0)
		return -1;
	output_note(l, "The canary serves its share: see pinion deployments.");
	return 0;
}

static int
run_promote(const struct cmd_line *l, struct err *e)
{
	if (post_event(l, cmd_arg(l, 0), "{\"event\":\"promote\"}", e) < 0)
		return -1;
	output_note(l, "What was the canary serves all clients.");
	return 0;
}

static int
run_abort(const struct cmd_line *l, struct err *e)
{
	if (post_event(l, cmd_arg(l, 0), "{\"event\":\"abort\"}", e) < 0)
		return -1;
	output_note(l, "The canary is gone.");
	return 0;
}

static const struct cmd_option deploy_options[] = {
	CMD_APP_OPTIONS,
	{ "hot-deploy", 0, NULL, "do not stop the application" },
	{ "force-clean-build", 0, NULL, "build without cached dependencies" },
	{ NULL, 0, NULL, NULL },
};

static const struct cmd_option canary_options[] = {
	{ "percent", 0, "N", "of the clients get it, 0 to 100 (as before, or 10)" },
	CMD_APP_OPTIONS,
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_deploy_table[] = {
	{ "deployments", "[APP]", 0, 1,
	    "list the deployments that are kept\n\nThe one that serves is marked with *.",
	    cmd_app_options, run_list, false },
	{ "rollback", "[APP] [ID]", 0, 2,
	    "serve an earlier deployment again\n\nWithout ID: the one that was active before.",
	    cmd_app_options, run_rollback, false },
	{ "deploy", "[APP] REF", 1, 2, "build and serve a branch, tag or commit that was pushed",
	    deploy_options, run_deploy, false },
	{ "canary set", "[APP] [DEPLOYMENT]", 0, 2,
	    "serve a deployment to some of the clients\n\nIt runs beside the one that serves, in "
	    "the "
	    "same gears. A client is chosen\nby its address, or by the cookie of sticky sessions, "
	    "and "
	    "stays with its\ndeployment. Without DEPLOYMENT: changes the share of the canary there "
	    "is.\nWith 0 it runs and serves nobody, with 100 all; either way the other is\nthere "
	    "to "
	    "go back to at once. What is pushed meanwhile takes the canary's\nplace. One that "
	    "fails is "
	    "given up.",
	    canary_options, run_canary, false },
	{ "canary promote", "[APP]", 0, 1,
	    "serve the canary to all clients\n\nNothing is started: its instances run already.",
	    cmd_app_options, run_promote, false },
	{ "canary abort", "[APP]", 0, 1, "serve the canary to nobody any more and stop it",
	    cmd_app_options, run_abort, false },
	{ 0 },
};
