/* Persistent paths of an application. */
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

/* "storage" below the application, which the first of two arguments names, or --app. */
static char *
storage_path(const struct cmd_line *l, struct err *e)
{
	AUTO(free) char *app = api_app_path(l, l->args.n > 1 ? cmd_arg(l, 0) : NULL, e);

	return app == NULL ? NULL : xasprintf("%s/storage", app);
}

static int
run_add(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *path = NULL;
	const char *dir = cmd_arg(l, l->args.n - 1);

	if (cmd_has(l, "shared") && cmd_has(l, "exclusive"))
		return err_set(e, ERR_INVALID, "--exclusive", "cannot be given with --shared");
	path = storage_path(l, e);
	if (path == NULL)
		return -1;
	buf_addc(&body, '{');
	buf_add_json_member(&body, "path", dir);
	buf_add_json_member(&body, "cartridge", cmd_option(l, "cartridge"));
	buf_add_json_member(&body, "mode", cmd_has(l, "exclusive") ? "exclusive" : "shared");
	buf_addc(&body, '}');
	if (api_call(l, "POST", path, body.p, &r, e) < 0)
		return -1;
	output_note(l, "%s is kept over pushes from now on.", dir);
	return 0;
}

static int
run_list(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "PATH", "path" },
		{ "MODE", "mode" },
		{ "CARTRIDGE", "cartridge" },
		{ NULL, NULL },
	};

	return api_app_list(l, "storage", columns, e);
}

static int
run_remove(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	AUTO(free) char *base = storage_path(l, e);

	if (base == NULL)
		return -1;
	buf_adds(&path, base);
	buf_adds(&path, "?path=");
	buf_add_url(&path, cmd_arg(l, l->args.n - 1));
	if (cmd_has(l, "cartridge")) {
		buf_adds(&path, "&cartridge=");
		buf_add_url(&path, cmd_option(l, "cartridge"));
	}
	return api_call(l, "DELETE", path.p, NULL, &r, e);
}

static const struct cmd_option remove_options[] = {
	CMD_APP_OPTIONS,
	{ "cartridge", 'c', "NAME", "the path lies in this cartridge's directory" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option add_options[] = {
	CMD_APP_OPTIONS,
	{ "cartridge", 'c', "NAME", "the path lies in this cartridge's directory" },
	{ "shared", 0, NULL, "old and new instance may use it at once (the default)" },
	{ "exclusive", 0, NULL,
	    "one instance at a time: a rollout stops the old one first; requests wait" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_storage_table[] = {
	{ "storage add", "[APP] PATH", 1, 2,
	    "keep a directory of the application's tree over pushes\n\nPATH is relative to the "
	    "root of the repository. What the running instance has there is\ntaken over once; "
	    "then the directory lies on the gear's disk, and what a push brings\nthere does not "
	    "show.",
	    add_options, run_add, false },
	{ "storage list", "[APP]", 0, 1, "list the persistent paths", cmd_app_options, run_list,
	    false },
	{ "storage remove", "[APP] PATH", 1, 2,
	    "let a push replace the directory again\n\nIts files move to "
	    "app-root/data/removed-storage.",
	    remove_options, run_remove, false },
	{ 0 },
};
