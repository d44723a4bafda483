/* Settings of an application. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

enum { KEEP_MAX = 100000 };

static void
add_member(struct buf *body, const char *name)
{
	buf_addf(body, "%c\"%s\":", body->n == 0 ? '{' : ',', name);
}

static void
add_text(const struct cmd_line *l, const char *option, const char *name, struct buf *body)
{
	if (!cmd_has(l, option))
		return;
	add_member(body, name);
	buf_add_json_str(body, cmd_option(l, option));
}

static int
add_switch(
    const struct cmd_line *l, const char *option, const char *name, struct buf *body, struct err *e)
{
	const char *text = cmd_option(l, option);

	if (text == NULL)
		return 0;
	if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0)
		return err_set(e, ERR_INVALID, option, "must be on or off, is '%.40s'", text);
	add_member(body, name);
	buf_adds(body, strcmp(text, "on") == 0 ? "true" : "false");
	return 0;
}

static int
run_configure(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	int64_t keep, percent;

	if (add_switch(l, "auto-deploy", "auto_deploy", &body, e) < 0)
		return -1;
	add_text(l, "branch", "deployment_branch", &body);
	add_text(l, "deployment-type", "deployment_type", &body);
	add_text(l, "rollout", "rollout", &body);
	if (cmd_has(l, "keep-deployments")) {
		if (str_to_i64(str_of(cmd_option(l, "keep-deployments")), 1, KEEP_MAX,
		        "keep-deployments", &keep, e) < 0)
			return -1;
		add_member(&body, "keep_deployments");
		buf_addf(&body, "%" PRId64, keep);
	}
	if (cmd_has(l, "canary")) {
		if (str_to_i64(str_of(cmd_option(l, "canary")), 0, 100, "canary", &percent, e) < 0)
			return -1;
		add_member(&body, "canary_percent");
		buf_addf(&body, "%" PRId64, percent);
	}
	if (body.n == 0)
		return err_set(e, ERR_INVALID, NULL,
		    "nothing to change: see pinion app configure --help for what there is");
	buf_addc(&body, '}');
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);
	if (app == NULL || api_call(l, "PUT", app, body.p, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	output_note(l, "Kept.");
	return 0;
}

static const struct cmd_option configure_options[] = {
	{ "auto-deploy", 0, "on|off", "deploy each push to the deployment branch" },
	{ "branch", 0, "NAME", "the branch that is deployed" },
	{ "keep-deployments", 0, "N", "how many deployments can be rolled back to" },
	{ "deployment-type", 0, "TYPE", "git, or binary: archives, no pushes" },
	{ "rollout", 0, "HOW",
	    "overlap: the new instance serves before the old one stops; replace: it starts when "
	    "the "
	    "old one has stopped, requests wait" },
	{ "canary", 0, "N",
	    "what is pushed serves N percent of the clients until it is promoted; 0: all, at "
	    "once" },
	CMD_APP_OPTIONS,
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_configure_table[] = {
	{ "app configure", "[APP]", 0, 1, "change settings of an application", configure_options,
	    run_configure, false },
	{ 0 },
};
