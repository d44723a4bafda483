/* Snapshots of an application. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

static char *
snapshot_path(const struct cmd_line *l, struct err *e)
{
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);

	return app == NULL ? NULL : xasprintf("%s/snapshot", app);
}

/* Beside it, then renamed: a file of that name is always whole. */
static int
save_file(const struct cmd_line *l, const char *path, const char *file, struct err *e)
{
	AUTO(free) char *part = xasprintf("%s.part", file);
	AUTO(file_close) int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, "--filepath", "cannot write %s", part);
	if (api_download(l, path, fd, e) < 0) {
		(void)unlink(part);
		return -1;
	}
	if (fsync(fd) < 0 || fstat(fd, &st) < 0 || rename(part, file) < 0)
		return err_set(e, ERR_SYSTEM, "--filepath", "cannot write %s", file);
	output_note(l, "Saved to %s (%lld KB).", file, (long long)(st.st_size / 1024));
	return 0;
}

static int
run_save(const struct cmd_line *l, struct err *e)
{
	AUTO(free) char *path = snapshot_path(l, e);
	AUTO(free) char *name = NULL;
	const char *file = cmd_option(l, "filepath");
	const char *at;

	if (path == NULL)
		return -1;
	if (file != NULL && strcmp(file, "-") == 0)
		return api_download(l, path, STDOUT_FILENO, e);
	if (file == NULL) {
		at = strstr(path, "/application/") + strlen("/application/");
		name = xasprintf("%.*s.tar.gz", (int)strcspn(at, "/"), at);
		file = name;
	}
	return save_file(l, path, file, e);
}

static int
run_restore(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *path = snapshot_path(l, e);
	AUTO(free) char *full = NULL;
	AUTO(file_close) int fd = -1;
	const char *file = cmd_option(l, "filepath");

	if (path == NULL)
		return -1;
	if (file == NULL)
		return err_set(
		    e, ERR_INVALID, "--filepath", "is needed: the snapshot, or - for stdin");
	if (strcmp(file, "-") != 0) {
		fd = open(file, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_set(e, ERR_SYSTEM, "--filepath", "cannot read %s", file);
	}
	full = xasprintf("%s?git=%s", path, cmd_has(l, "no-git") ? "false" : "true");
	if (api_upload(l, full, fd < 0 ? STDIN_FILENO : fd, &r, e) < 0)
		return -1;
	output_note(l, "Restored.");
	return 0;
}

static const struct cmd_option save_options[] = {
	CMD_APP_OPTIONS,
	{ "filepath", 'f', "FILE", "where to write it (default APP.tar.gz); - is standard output" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd_option restore_options[] = {
	CMD_APP_OPTIONS,
	{ "filepath", 'f', "FILE", "the snapshot; - is standard input" },
	{ "no-git", 0, NULL, "leave the repository and the deployed code as they are" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_snapshot_table[] = {
	{ "snapshot save", "[APP]", 0, 1,
	    "save data, code and databases of an application to a file\n\nThe archive has the "
	    "layout "
	    "of OpenShift v2's snapshots. The application goes on running;\nits databases dump "
	    "themselves.",
	    save_options, run_save, false },
	{ "snapshot restore", "[APP]", 0, 1,
	    "restore a snapshot, also of another application\n\nThe present data is replaced by "
	    "the "
	    "snapshot's, all or nothing. The application stops for\nthe exchange; then the "
	    "snapshot's code is deployed.",
	    restore_options, run_restore, false },
	{ 0 },
};
