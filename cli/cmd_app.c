/* Applications: create, show, delete, start, stop, scale. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/prompt.h"
#include "cli/variables.h"
#include "lib/base/mem.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"

static const struct output_column app_columns[] = {
	{ "Name", "name" },
	{ "Domain", "domain_id" },
	{ "URL", "app_url" },
	{ "SSH", "ssh_url" },
	{ "Git", "git_url" },
	{ "Git by HTTP", "git_http_url" },
	{ "Cartridge", "framework" },
	{ "State", "state" },
	{ "Disk quota", "quota" },
	{ "Notice", "notice" },
	{ "Deployment", "deployment_id" },
	{ "Canary", "canary.deployment_id" },
	{ "Canary's clients %", "canary.percent" },
	{ "Gears", "gear_count" },
	{ "Auto scaling", "auto_scaling" },
	{ "Gear size", "gear_profile" },
	{ "Branch", "deployment_branch" },
	{ "Created", "creation_time" },
	{ NULL, NULL },
};

static int
run_create(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(variables_fini) struct variables vars = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO_FINI(buf_fini) struct buf path = { 0 };

	if (variables_from_options(l, "env", &vars, e) < 0)
		return -1;
	AUTO(free) char *domain = api_domain(l, e);
	if (domain == NULL)
		return -1;
	buf_adds(&path, "domain/");
	buf_add_url(&path, domain);
	buf_adds(&path, "/applications");
	buf_adds(&body, "{\"name\":");
	buf_add_json_str(&body, cmd_arg(l, 0));
	buf_adds(&body, ",\"cartridges\":[");
	for (size_t i = 1; i < l->args.n; i++) {
		bool is_url = strstr(cmd_arg(l, i), "://") != NULL;

		buf_adds(&body, i == 1 ? "" : ",");
		buf_adds(&body, is_url ? "{\"url\":" : "");
		buf_add_json_str(&body, cmd_arg(l, i));
		buf_adds(&body, is_url ? "}" : "");
	}
	buf_addf(&body, "],\"scale\":%s", cmd_has(l, "scale") ? "true" : "false");
	if (cmd_has(l, "no-idle"))
		buf_adds(&body, ",\"idle_freeze\":-1");
	if (cmd_has(l, "from-code")) {
		buf_adds(&body, ",\"initial_git_url\":");
		buf_add_json_str(&body, cmd_option(l, "from-code"));
	}
	if (vars.n > 0) {
		buf_adds(&body, ",\"environment_variables\":");
		variables_json(&vars, &body);
	}
	buf_addc(&body, '}');
	if (api_call(l, "POST", path.p, body.p, &r, e) < 0)
		return -1;
	output_object(l, r.data, app_columns);
	output_note(l, "\nPush your code:  pinion git clone %s", cmd_arg(l, 0));
	return 0;
}

static int
run_list(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "NAME", "name" },
		{ "DOMAIN", "domain_id" },
		{ "CARTRIDGE", "framework" },
		{ "STATE", "state" },
		{ "GEARS", "gear_count" },
		{ "URL", "app_url" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };

	if (api_call(l, "GET", "applications", NULL, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

/* GET of the application the command means. */
static int
get_app(const struct cmd_line *l, char **out_path, struct api_reply *out, struct err *e)
{
	AUTO(free) char *path = api_app_path(l, cmd_arg(l, 0), e);

	if (path == NULL || api_call(l, "GET", path, NULL, out, e) < 0)
		return -1;
	if (out_path != NULL)
		*out_path = STEAL(path);
	return 0;
}

static int
run_show(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };

	if (get_app(l, NULL, &r, e) < 0)
		return -1;
	output_object(l, r.data, app_columns);
	return 0;
}

static int
run_delete(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = api_app_path(l, cmd_arg(l, 0), e);

	if (path == NULL ||
	    prompt_confirm(l, e, "Delete %s with its code and data?", cmd_arg(l, 0)) < 0)
		return -1;
	if (api_call(l, "DELETE", path, NULL, &r, e) < 0)
		return -1;
	output_note(l, "%s is gone.", cmd_arg(l, 0));
	return 0;
}

static int
send_event(const struct cmd_line *l, const char *event, const char *done, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);

	if (app == NULL)
		return -1;
	buf_adds(&path, app);
	if (cmd_has(l, "cartridge")) {
		buf_adds(&path, "/cartridge/");
		buf_add_url(&path, cmd_option(l, "cartridge"));
	}
	buf_addf(&body, "{\"event\":\"%s\"", event);
	if (cmd_has(l, "gear")) {
		buf_adds(&body, ",\"gear\":");
		buf_add_json_str(&body, cmd_option(l, "gear"));
	}
	buf_addc(&body, '}');
	return api_event(l, path.p, body.p, done, e);
}

static int
run_start(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "start", "It runs.", e);
}

static int
run_stop(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "stop", "It is stopped.", e);
}

static int
run_restart(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "restart", "It was restarted.", e);
}

static int
run_force_stop(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "force-stop", "It is stopped.", e);
}

static int
run_reload(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "reload", "It was reloaded.", e);
}

static int
run_tidy(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "tidy", "It was tidied.", e);
}

static int
run_status(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "status", "", e);
}

static int
run_thread_dump(const struct cmd_line *l, struct err *e)
{
	return send_event(l, "thread-dump", "See pinion logs.", e);
}

static void
on_browser(struct child *c, const struct child_end *end, void *arg)
{
	bool *done = arg;

	(void)c;
	(void)end;
	*done = true;
}

/* Opens the URL in the desktop's browser where there is one. */
static int
run_open(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	struct err ignored = { 0 };
	bool done = false;

	if (get_app(l, NULL, &r, e) < 0)
		return -1;
	const char *url = codec_string(codec_get(r.data, "app_url"));
	if (url == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "the broker told no URL");
	output_line(url, strlen(url));
	struct loop *loop = loop_new();
	struct child_opts o = {
		.argv = (const char *const[]){ "/usr/bin/xdg-open", url, NULL },
		.env = (const char *const *)environ,
		.timeout_ms = 10000,
	};
	struct child *c = child_start(loop, &o, NULL, on_browser, &done, &ignored);
	if (c != NULL)
		(void)loop_run_until(loop, &done, 11000);
	child_free(c);
	loop_free(loop);
	return 0;
}

/* `scale APP worker=2`. */
static int
scale_process(const struct cmd_line *l, const char *name, const char *equals, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *type = xstrndup(equals, strcspn(equals, "="));
	int64_t n;

	if (str_to_i64(str_of(equals + strlen(type) + 1), 0, 1000, "N", &n, e) < 0)
		return -1;
	AUTO(free) char *app = api_app_path(l, name, e);
	if (app == NULL)
		return -1;
	AUTO(free) char *path = xasprintf("%s/processes", app);
	buf_adds(&body, "{\"type\":");
	buf_add_json_str(&body, type);
	buf_addf(&body, ",\"count\":%" PRId64 "}", n);
	if (api_call(l, "POST", path, body.p, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	return 0;
}

/* `scale APP N`, or inside a clone `scale N`. */
/* Those of the web framework; services have gears of their own. */
static int
web_gears(const struct cmd_line *l, const char *app, int64_t *out, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = xasprintf("%s/cartridges", app);

	if (api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	for (size_t i = 0; i < codec_count(r.data); i++) {
		const struct codec_value *c = codec_at(r.data, i);
		const char *type = codec_string(codec_get(c, "type"));

		if (type != NULL && strcmp(type, "standalone") == 0)
			*out = codec_int(codec_get(c, "current_scale"), 0);
	}
	return 0;
}

static int
run_scale(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(api_reply_fini) struct api_reply scaled = { 0 };
	bool has_app = l->args.n == 2;
	const char *what = cmd_arg(l, has_app ? 1 : 0);
	int64_t want, have = 0;

	if (strchr(what, '=') != NULL && strncmp(what, "web=", 4) != 0)
		return scale_process(l, has_app ? cmd_arg(l, 0) : NULL, what, e);
	if (strncmp(what, "web=", 4) == 0)
		what += 4;
	if (str_to_i64(str_of(what), 1, 1000, "N", &want, e) < 0)
		return -1;
	AUTO(free) char *app = api_app_path(l, has_app ? cmd_arg(l, 0) : NULL, e);
	if (app == NULL || api_call(l, "GET", app, NULL, &r, e) < 0)
		return -1;
	if (web_gears(l, app, &have, e) < 0)
		return -1;
	if (have == want) {
		if (cmd_has(l, "json"))
			output_object(l, r.data, app_columns);
		output_note(l, "It has %" PRId64 " already.", want);
		return 0;
	}
	AUTO(free) char *path = xasprintf("%s/events", app);
	AUTO(free)
	char *body = xasprintf(
	    "{\"event\":\"%s\",\"to\":%" PRId64 "}", want > have ? "scale-up" : "scale-down", want);
	if (api_call(l, "POST", path, body, &scaled, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, scaled.data, app_columns);
	output_note(l, "It has %" PRId64 " gear%s now.", want, want == 1 ? "" : "s");
	return 0;
}

static const struct cmd_option create_options[] = {
	{ "domain", 'd', "NAME", "the domain it belongs to (if you have several)" },
	{ "env", 'e', "NAME=VALUE", "an environment variable; may be given again" },
	{ "from-code", 0, "GITURL", "start with the code of this repository" },
	{ "scale", 's', NULL, "allow more than one gear" },
	{ "no-idle", 0, NULL, "never let it sleep by itself" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option event_options[] = {
	CMD_APP_OPTIONS,
	{ "cartridge", 'c', "NAME", "only this cartridge" },
	{ "gear", 'g', "UUID", "only this gear (tidy, status, thread-dump)" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option delete_options[] = {
	CMD_APP_OPTIONS,
	{ "yes", 'y', NULL, "do not ask" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_app_table[] = {
	{ "app create", "NAME CARTRIDGE…", 2, -1,
	    "make an application\n\nOne web cartridge, and what else it is to have: names (see "
	    "pinion cartridges) or addresses of manifests. It serves the web cartridge's template "
	    "until the first push.",
	    create_options, run_create, false },
	{ "app list", "", 0, 0, "list the applications", NULL, run_list, false },
	{ "app show", "[APP]", 0, 1, "show an application", cmd_app_options, run_show, false },
	{ "app delete", "APP", 1, 1, "delete an application with its code and data", delete_options,
	    run_delete, false },
	{ "app start", "[APP]", 0, 1, "start a stopped application", event_options, run_start,
	    false },
	{ "app stop", "[APP]", 0, 1, "stop an application: its URL answers 503", event_options,
	    run_stop, false },
	{ "app restart", "[APP]", 0, 1, "restart without losing a request", event_options,
	    run_restart, false },
	{ "app force-stop", "[APP]", 0, 1, "kill an application that does not stop",
	    cmd_app_options, run_force_stop, false },
	{ "app reload", "[APP]", 0, 1,
	    "have it read its settings anew: as a restart, or the cartridge's own way",
	    event_options, run_reload, false },
	{ "app tidy", "[APP]", 0, 1, "remove what its cartridges can spare", event_options,
	    run_tidy, false },
	{ "app status", "[APP]", 0, 1, "ask its cartridges how they are", event_options, run_status,
	    false },
	{ "app thread-dump", "[APP]", 0, 1, "write a dump of its threads into its output",
	    event_options, run_thread_dump, false },
	{ "app open", "[APP]", 0, 1, "print the URL and open it in a browser", cmd_app_options,
	    run_open, false },
	{ "scale", "[APP] N|TYPE=N", 1, 2,
	    "run N gears of an application, or N background processes\n\nTYPE is a process type of "
	    "its Procfile; those beside web do not run until they are scaled.",
	    cmd_app_options, run_scale, false },
	{ 0 },
};
