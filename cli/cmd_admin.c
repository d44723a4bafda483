/* The catalogue, the state of the system, users. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/prompt.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

static int
list(const struct cmd_line *l, const char *path, const struct output_column *columns, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };

	if (api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

static int
run_cartridges(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "NAME", "name" },
		{ "TYPE", "type" },
		{ "WHAT IT IS", "display_name" },
		{ NULL, NULL },
	};

	return list(l, "cartridges", columns, e);
}

static void
print_notices(const struct cmd_line *l, const struct codec_value *nodes)
{
	static const struct output_column columns[] = {
		{ "GEAR", "gear" },
		{ "NOTICE", "notice" },
		{ NULL, NULL },
	};

	for (size_t i = 0; i < codec_count(nodes); i++) {
		const struct codec_value *v = codec_get(codec_at(nodes, i), "notices");

		if (codec_count(v) == 0)
			continue;
		(void)putchar('\n');
		output_table(l, v, columns);
	}
}

static int
run_status(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	static const struct output_column nodes[] = {
		{ "NODE", "id" },
		{ "STATE", "state" },
		{ "GEARS", "gears" },
		{ "DISK FREE", "disk_free_mb" },
		{ "OF MB", "disk_total_mb" },
		{ "QUOTA", "quota" },
		{ "RECLAIM", "reclaim" },
		{ "VERSION", "version" },
		{ NULL, NULL },
	};
	static const struct output_column routers[] = {
		{ "ROUTER", "id" },
		{ "STATE", "state" },
		{ "REVISION", "revision" },
		{ NULL, NULL },
	};

	if (api_call(l, "GET", "status", NULL, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json")) {
		output_object(l, r.data, NULL);
		return 0;
	}
	output_table(l, codec_get(r.data, "nodes"), nodes);
	print_notices(l, codec_get(r.data, "nodes"));
	(void)putchar('\n');
	output_table(l, codec_get(r.data, "routers"), routers);
	return 0;
}

static int
run_user_create(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(secret_free) char *password = prompt_password(l, "Password of the new user: ", e);

	if (password == NULL)
		return -1;
	buf_adds(&body, "{\"login\":");
	buf_add_json_str(&body, cmd_arg(l, 0));
	buf_adds(&body, ",\"password\":");
	buf_add_json_str(&body, password);
	buf_addf(&body, ",\"admin\":%s}", cmd_has(l, "admin") ? "true" : "false");
	int rc = api_call(l, "POST", "users", body.p, &r, e);
	secret_wipe(body.p, body.n);
	if (rc < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, NULL);
	output_note(l, "The user %s can log in.", cmd_arg(l, 0));
	return 0;
}

static int
run_user_list(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "USER", "login" },
		{ "GEARS", "consumed_gears" },
		{ "AT MOST", "max_gears" },
		{ "CREATED", "created_at" },
		{ NULL, NULL },
	};

	return list(l, "users", columns, e);
}

static int
run_user_set(const struct cmd_line *l, struct err *e)
{
	static const struct {
		const char *option, *member;
	} numbers[] = {
		{ "max-gears", "max_gears" },
		{ "max-domains", "max_domains" },
		{ "max-storage", "max_storage_per_gear" },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };

	buf_adds(&path, "users/");
	buf_add_url(&path, cmd_arg(l, 0));
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		int64_t n;

		if (!cmd_has(l, numbers[i].option))
			continue;
		if (str_to_i64(str_of(cmd_option(l, numbers[i].option)), 0, INT32_MAX,
		        numbers[i].option, &n, e) < 0)
			return -1;
		buf_addf(&body, "%c\"%s\":%" PRId64, body.n == 0 ? '{' : ',', numbers[i].member, n);
	}
	if (cmd_has(l, "downloads")) {
		const char *word = cmd_option(l, "downloads");
		bool yes = strcmp(word, "yes") == 0;

		if (!yes && strcmp(word, "no") != 0)
			return err_set(e, ERR_INVALID, "downloads", "must be yes or no");
		buf_addf(&body, "%c\"download_cartridges\":%s", body.n == 0 ? '{' : ',',
		    yes ? "true" : "false");
	}
	if (body.n == 0)
		return err_set(e, ERR_INVALID, "max-gears",
		    "give --max-gears, --max-domains, --max-storage or --downloads");
	buf_addc(&body, '}');
	return api_call(l, "PUT", path.p, body.p, &r, e);
}

static int
run_user_delete(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	bool force = cmd_has(l, "force");

	if (prompt_confirm(l, e, "Delete the user %s%s?", cmd_arg(l, 0),
	        force ? " with all domains and applications" : "") < 0)
		return -1;
	buf_adds(&path, "users/");
	buf_add_url(&path, cmd_arg(l, 0));
	if (api_call(l, "DELETE", path.p, force ? "{\"force\":true}" : NULL, &r, e) < 0)
		return -1;
	output_note(l, "The user %s is gone.", cmd_arg(l, 0));
	return 0;
}

static const struct cmd_option create_options[] = {
	{ "password-file", 0, "FILE", "file that holds the password; - is standard input" },
	{ "admin", 0, NULL, "may manage users" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option set_options[] = {
	{ "max-gears", 0, "N", "gears in all the user's domains" },
	{ "max-domains", 0, "N", "domains" },
	{ "max-storage", 0, "GB", "disk of a gear beside its profile's (see cartridge storage)" },
	{ "downloads", 0, "yes|no", "cartridges by their URL; no: those of the catalogue only" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option delete_options[] = {
	{ "force", 0, NULL, "delete domains and applications too" },
	{ "yes", 'y', NULL, "do not ask" },
	{ NULL, 0, NULL, NULL },
};

static int
run_gear_move(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf path = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };

	buf_adds(&path, "gear/");
	buf_add_url(&path, cmd_arg(l, 0));
	buf_adds(&path, "/node");
	buf_adds(&body, "{\"node\":");
	buf_add_json_str(&body, cmd_arg(l, 1));
	buf_addc(&body, '}');
	return api_call(l, "PUT", path.p, body.p, &r, e);
}

const struct cmd cmd_admin_table[] = {
	{ "cartridges", "", 0, 0, "list what applications can be made of", NULL, run_cartridges,
	    false },
	{ "status", "", 0, 0, "show nodes and routers (for admins)", NULL, run_status, false },
	{ "gear move", "GEAR NODE", 2, 2, "move a gear to another node (for admins)", NULL,
	    run_gear_move, false },
	{ "user create", "NAME", 1, 1, "make a user (for admins)", create_options, run_user_create,
	    false },
	{ "user list", "", 0, 0, "list the users (for admins)", NULL, run_user_list, false },
	{ "user set", "NAME", 1, 1, "say how much a user may have (for admins)", set_options,
	    run_user_set, false },
	{ "user delete", "NAME", 1, 1, "delete a user (for admins)", delete_options,
	    run_user_delete, false },
	{ 0 },
};
