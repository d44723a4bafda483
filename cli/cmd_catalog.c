/* The catalogue of cartridges, for administrators. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/prompt.h"
#include "lib/base/mem.h"
#include "lib/loop/child_run.h"

static const struct output_column columns[] = {
	{ "NAME", "name" },
	{ "RELEASE", "cartridge_version" },
	{ "ACTIVE", "active=true" },
	{ "OBSOLETE", "obsolete=true" },
	{ "ORIGIN", "origin" },
	{ "ID", "id" },
	{ NULL, NULL },
};
static const struct output_column show_columns[] = {
	{ "Name", "name" },
	{ "Release", "cartridge_version" },
	{ "Vendor", "vendor" },
	{ "What it is", "display_name" },
	{ "Type", "type" },
	{ "Active", "active" },
	{ "Obsolete", "obsolete" },
	{ "Origin", "origin" },
	{ "From", "url" },
	{ "Archive", "digest" },
	{ "Id", "id" },
	{ NULL, NULL },
};

static char *
path_of(const struct cmd_line *l)
{
	struct buf b = { 0 };

	buf_adds(&b, "admin/cartridge/");
	buf_add_url(&b, cmd_arg(l, 0));
	return buf_steal(&b);
}

static void
close_file(FILE **f)
{
	if (*f != NULL)
		(void)fclose(*f);
}

/* A directory as an archive without a name, which the broker unpacks with care. */
static int
pack_dir(const char *dir, FILE *to, struct err *e)
{
	AUTO(free) char *real = realpath(dir, NULL);
	const char *argv[] = { "/usr/bin/tar", "--exclude=./.git", "-cf", "-", "-C", real, ".",
		NULL };
	const struct child_opts o = { .argv = argv, .out_fd = fileno(to) };
	int rc;

	if (real == NULL)
		return err_set(e, ERR_SYSTEM, "DIR", "cannot find %s", dir);
	rc = child_run(&o, NULL, 0, NULL, e);
	if (rc != 0)
		return rc < 0 ? -1 : err_wrap(e, "tar");
	return lseek(fileno(to), 0, SEEK_SET) < 0 ? err_set(e, ERR_SYSTEM, NULL, "cannot pack") : 0;
}

/* A directory or an archive of this machine. */
static int
import_file(const struct cmd_line *l, const char *path, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(close_file) FILE *f = NULL;
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(e, ERR_SYSTEM, "FILE", "cannot find %s", path);
	f = S_ISDIR(st.st_mode) ? tmpfile() : fopen(path, "re");
	if (f == NULL)
		return err_set(e, ERR_SYSTEM, "FILE", "cannot open %s", path);
	if (S_ISDIR(st.st_mode) && pack_dir(path, f, e) < 0)
		return -1;
	if (api_upload(l,
	        cmd_has(l, "inactive") ? "admin/cartridges?activate=false" : "admin/cartridges",
	        fileno(f), &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

static int
run_import(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };

	if (strstr(cmd_arg(l, 0), "://") == NULL)
		return import_file(l, cmd_arg(l, 0), e);
	buf_addc(&body, '{');
	buf_add_json_member(&body, "url", cmd_arg(l, 0));
	buf_add_json_member(&body, "checksum", cmd_option(l, "checksum"));
	buf_addf(&body, ",\"activate\":%s}", cmd_has(l, "inactive") ? "false" : "true");
	if (api_call(l, "POST", "admin/cartridges", body.p, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

static int
run_list(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };

	if (api_call(l, "GET", "admin/cartridges", NULL, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

static int
run_show(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = path_of(l);

	if (api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	output_object(l, r.data, show_columns);
	return 0;
}

static int
change(const struct cmd_line *l, const char *json, const char *done, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = path_of(l);

	if (api_call(l, "PUT", path, json, &r, e) < 0)
		return -1;
	if (cmd_has(l, "json"))
		output_object(l, r.data, show_columns);
	output_note(l, "%s %s.", cmd_arg(l, 0), done);
	return 0;
}

static int
run_activate(const struct cmd_line *l, struct err *e)
{
	return change(l, "{\"active\":true,\"obsolete\":false}", "can be added to applications", e);
}

static int
run_deactivate(const struct cmd_line *l, struct err *e)
{
	return cmd_has(l, "obsolete")
	           ? change(l, "{\"obsolete\":true}", "is obsolete", e)
	           : change(l, "{\"active\":false}", "is no longer in the catalogue", e);
}

static int
run_remove(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = path_of(l);

	if (prompt_confirm(l, e, "Remove %s from the catalogue?", cmd_arg(l, 0)) < 0 ||
	    api_call(l, "DELETE", path, NULL, &r, e) < 0)
		return -1;
	output_note(l, "%s is gone; applications that have it keep it.", cmd_arg(l, 0));
	return 0;
}

static int
run_upgrade(const struct cmd_line *l, struct err *e)
{
	static const struct output_column upgrades[] = {
		{ "DOMAIN", "domain_id" },
		{ "APPLICATION", "application" },
		{ "CARTRIDGE", "cartridge" },
		{ "FROM", "from" },
		{ "TO", "to" },
		{ "WITHOUT RESTART", "compatible=true" },
		{ "ERROR", "error" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };

	if (cmd_arg(l, 0) == NULL && !cmd_has(l, "all"))
		return err_set(e, ERR_INVALID, "APP",
		    "name the application, DOMAIN/APP or its id, or say --all");
	buf_addc(&body, '{');
	buf_add_json_member(&body, "application", cmd_arg(l, 0));
	buf_add_json_member(&body, "cartridge", cmd_arg(l, 1));
	buf_addc(&body, '}');
	if (api_call(l, "POST", "admin/cartridge-upgrades", body.p, &r, e) < 0)
		return -1;
	if (codec_count(r.data) == 0 && !cmd_has(l, "json"))
		output_note(l, "Nothing to upgrade.");
	else
		output_table(l, r.data, upgrades);
	for (size_t i = 0; i < codec_count(r.data); i++) {
		if (codec_string(codec_get(codec_at(r.data, i), "error")) != NULL)
			return err_set(e, ERR_CONFLICT, NULL, "not all could be upgraded");
	}
	return 0;
}

static const struct cmd_option import_options[] = {
	{ "checksum", 0, "SUM", "of the archive: sha256:HEX or md5:HEX" },
	{ "inactive", 0, NULL, "do not offer it yet" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option deactivate_options[] = {
	{ "obsolete", 0, NULL, "only hide it: it is marked as obsolete" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option remove_options[] = {
	{ "yes", 'y', NULL, "do not ask" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option upgrade_options[] = {
	{ "all", 0, NULL, "of all applications" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_catalog_table[] = {
	{ "admin cartridge import", "DIR|FILE|URL", 1, 1,
	    "take a cartridge into the catalogue (for admins)\n\nA directory, an archive (tar, "
	    "tar.gz, zip), or the address of a manifest, an archive or a git repository. Of "
	    "several releases of one name "
	    "the one that was activated last is offered.",
	    import_options, run_import, false },
	{ "admin cartridge list", "", 0, 0, "list the catalogue with what is hidden (for admins)",
	    NULL, run_list, false },
	{ "admin cartridge show", "NAME", 1, 1, "show a cartridge of the catalogue (for admins)",
	    NULL, run_show, false },
	{ "admin cartridge activate", "NAME", 1, 1, "offer a cartridge (for admins)", NULL,
	    run_activate, false },
	{ "admin cartridge deactivate", "NAME", 1, 1, "no longer offer a cartridge (for admins)",
	    deactivate_options, run_deactivate, false },
	{ "admin cartridge remove", "NAME", 1, 1, "remove an imported cartridge (for admins)",
	    remove_options, run_remove, false },
	{ "admin cartridge upgrade", "[APP] [CARTRIDGE]", 0, 2,
	    "bring cartridges of applications to their newest release (for admins)\n\nWithout a "
	    "restart where the new release says that it is compatible.",
	    upgrade_options, run_upgrade, false },
	{ 0 },
};
