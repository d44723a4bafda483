/* Log drains. */
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

static const struct output_column columns[] = {
	{ "ID", "id" },
	{ "URL", "url" },
	{ "STATE", "state" },
	{ "SENT", "sent" },
	{ "DROPPED", "dropped" },
	{ "ERROR", "error" },
	{ NULL, NULL },
};

static int
run_list(const struct cmd_line *l, struct err *e)
{
	return api_app_list(l, "drains", columns, e);
}

/* `drain add APP URL`, or inside a clone `drain add URL`. */
static int
run_add(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	bool has_app = l->args.n == 2;
	AUTO(free) char *app = api_app_path(l, has_app ? cmd_arg(l, 0) : NULL, e);

	if (app == NULL)
		return -1;
	AUTO(free) char *path = xasprintf("%s/drains", app);
	buf_adds(&body, "{\"url\":");
	buf_add_json_str(&body, cmd_arg(l, has_app ? 1 : 0));
	buf_addc(&body, '}');
	if (api_call(l, "POST", path, body.p, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	return 0;
}

static int
run_remove(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	bool has_app = l->args.n == 2;
	AUTO(free) char *app = api_app_path(l, has_app ? cmd_arg(l, 0) : NULL, e);

	if (app == NULL)
		return -1;
	buf_addf(&path, "%s/drain/", app);
	buf_add_url(&path, cmd_arg(l, has_app ? 1 : 0));
	return api_call(l, "DELETE", path.p, NULL, &r, e);
}

const struct cmd cmd_drain_table[] = {
	{ "drain add", "[APP] URL", 1, 2,
	    "send an application's log to syslog+tls://HOST:PORT or https://HOST/PATH",
	    cmd_app_options, run_add, false },
	{ "drain list", "[APP]", 0, 1, "list the log drains and how they are", cmd_app_options,
	    run_list, false },
	{ "drain remove", "[APP] ID", 1, 2, "remove a log drain", cmd_app_options, run_remove,
	    false },
	{ 0 },
};
