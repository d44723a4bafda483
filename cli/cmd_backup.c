/* Backups of an application. */
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/mem.h"

static char *
backup_path(const struct cmd_line *l, const char *below, struct err *e)
{
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);

	return app == NULL ? NULL : xasprintf("%s/backup%s", app, below);
}

static int
run_enable(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *path = backup_path(l, "", e);
	const char *keep = cmd_option(l, "keep");
	int64_t n = 7;

	if (path == NULL ||
	    (keep != NULL && str_to_i64(str_of(keep), 1, 1000, "--keep", &n, e) < 0))
		return -1;
	buf_addc(&body, '{');
	buf_add_json_member(&body, "every", cmd_option(l, "every"));
	buf_add_json_member(&body, "to", cmd_option(l, "to"));
	buf_addf(&body, "%s\"keep\":%lld}", body.n == 1 ? "" : ",", (long long)n);
	if (api_call(l, "PUT", path, body.p, &r, e) < 0)
		return -1;
	output_note(l, "Backups are made into %s.", codec_string(codec_get(r.data, "to")));
	return 0;
}

static int
run_disable(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = backup_path(l, "", e);

	return path == NULL ? -1 : api_call(l, "DELETE", path, NULL, &r, e);
}

static int
run_list(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "NAME", "name" },
		{ "MADE", "created_at" },
		{ "BYTES", "size" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = backup_path(l, "", e);
	const char *failure, *next;

	if (path == NULL || api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json")) {
		output_object(l, r.data, NULL);
		return 0;
	}
	output_table(l, codec_get(r.data, "backups"), columns);
	failure = codec_string(codec_get(r.data, "last_error"));
	next = codec_string(codec_get(r.data, "next_at"));
	if (failure != NULL)
		output_note(l, "The last one failed: %s", failure);
	output_note(l, next == NULL ? "No more are made." : "The next one: %s", next);
	return 0;
}

static int
run_run(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = backup_path(l, "/runs", e);

	if (path == NULL || api_call(l, "POST", path, "{}", &r, e) < 0)
		return -1;
	output_note(l, "Saved as %s.",
	    codec_string(codec_get(codec_at(codec_get(r.data, "backups"), 0), "name")));
	return 0;
}

static int
run_restore(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *path = backup_path(l, "/restores", e);

	buf_addc(&body, '{');
	buf_add_json_member(&body, "name", cmd_arg(l, 1));
	buf_addf(&body, "%s\"git\":%s}", body.n == 1 ? "" : ",",
	    cmd_has(l, "no-git") ? "false" : "true");
	if (path == NULL || api_call(l, "POST", path, body.p, &r, e) < 0)
		return -1;
	output_note(l, "Restored.");
	return 0;
}

static const struct cmd_option restore_options[] = {
	{ "domain", 'd', "NAME", "its domain" },
	{ "no-git", 0, NULL, "leave the repository and the deployed code as they are" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option enable_options[] = {
	CMD_APP_OPTIONS,
	{ "every", 0, "TIME", "how often: 12h, 1d (the default), 1w" },
	{ "keep", 0, "N", "how many are kept (7)" },
	{ "to", 0, "DIR|s3://…", "where, below what the administrator set" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_backup_table[] = {
	{ "backup enable", "[APP]", 0, 1,
	    "make backups of an application on a schedule\n\nThe first one is made at once. A "
	    "backup "
	    "is a snapshot; see pinion help snapshot save.",
	    enable_options, run_enable, false },
	{ "backup list", "[APP]", 0, 1, "list the backups of an application", cmd_app_options,
	    run_list, false },
	{ "backup run", "[APP]", 0, 1, "make a backup now", cmd_app_options, run_run, false },
	{ "backup restore", "APP [NAME]", 1, 2, "restore a backup: the newest, or that of a name",
	    restore_options, run_restore, false },
	{ "backup disable", "[APP]", 0, 1, "make no more backups; those there are stay",
	    cmd_app_options, run_disable, false },
	{ 0 },
};
