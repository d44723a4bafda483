#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/oci/oci_snapshot.h"

enum { CHUNK = 256 * 1024, DEPTH_MAX = 256 };

struct oci_snapshot {
	struct archive *a;
	char *uuid;                     /* owned */
	const struct str_list *exclude; /* borrowed */
	char *chunk;                    /* owned */
};

/* Never of use in another gear (OpenShift v2's list). */
static const char *const never[] = { "*/conf.d/openshift.conf", "*/run/httpd.pid",
	"haproxy*/run/stats", "*.bash_history", ".tmp", ".ssh", ".sandbox", ".tmp/*", ".ssh/*",
	".sandbox/*" };

static int
failed(struct oci_snapshot *s, struct err *e)
{
	errno = archive_errno(s->a);
	return err_set(e, ERR_SYSTEM, NULL, "write the archive: %s", archive_error_string(s->a));
}

int
oci_snapshot_close(struct oci_snapshot *take_s, struct err *e)
{
	struct oci_snapshot *s = take_s;
	int rc = 0;

	if (s == NULL)
		return 0;
	if (e != NULL && archive_write_close(s->a) != ARCHIVE_OK)
		rc = failed(s, e);
	else if (e == NULL)
		(void)archive_write_fail(s->a);
	archive_write_free(s->a);
	free(s->uuid);
	free(s->chunk);
	free(s);
	return rc;
}

struct oci_snapshot *
oci_snapshot_open(int out_fd, const char *uuid, const struct str_list *exclude, struct err *e)
{
	struct oci_snapshot *s = xcalloc(1, sizeof *s);

	s->a = archive_write_new();
	s->uuid = xstrdup(uuid);
	s->exclude = exclude;
	s->chunk = xmalloc(CHUNK);
	if (archive_write_add_filter_gzip(s->a) != ARCHIVE_OK ||
	    archive_write_set_filter_option(s->a, "gzip", "compression-level", "3") != ARCHIVE_OK ||
	    archive_write_set_format_pax_restricted(s->a) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(s->a, 1) != ARCHIVE_OK ||
	    archive_write_open_fd(s->a, out_fd) != ARCHIVE_OK) {
		(void)failed(s, e);
		(void)oci_snapshot_close(s, NULL);
		return NULL;
	}
	return s;
}

static bool
is_excluded(const struct oci_snapshot *s, const char *path)
{
	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		if (fnmatch(never[i], path, 0) == 0)
			return true;
	}
	for (size_t i = 0; s->exclude != NULL && i < s->exclude->n; i++) {
		const char *p = s->exclude->v[i];
		size_t n = strlen(p);

		if (fnmatch(p, path, 0) == 0 ||
		    (n > 0 && strncmp(p, path, n) == 0 && (p[n - 1] == '/' || path[n] == '/')))
			return true;
	}
	return false;
}

static struct archive_entry *
new_entry(const struct oci_snapshot *s, const char *path, unsigned type, mode_t mode)
{
	struct archive_entry *en = archive_entry_new();
	AUTO(free)
	char *name = xasprintf("./%s%s%s%s", s->uuid, *s->uuid == '\0' ? "" : "/", path,
	    type == AE_IFDIR && *path != '\0' ? "/" : "");

	archive_entry_set_pathname(en, name);
	archive_entry_set_filetype(en, type);
	archive_entry_set_perm(en, mode & 0777);
	archive_entry_set_uid(en, 1000);
	archive_entry_set_gid(en, 1000);
	archive_entry_set_uname(en, s->uuid);
	archive_entry_set_gname(en, s->uuid);
	return en;
}

static int
put_entry(struct oci_snapshot *s, struct archive_entry *take_en, struct err *e)
{
	int rc = archive_write_header(s->a, take_en);

	archive_entry_free(take_en);
	return rc == ARCHIVE_OK || rc == ARCHIVE_WARN ? 0 : failed(s, e);
}

/* A file that shrinks meanwhile is filled up: its size is told already. */
static int
put_content(struct oci_snapshot *s, int fd, int64_t size, struct err *e)
{
	while (size > 0) {
		size_t want = size < CHUNK ? (size_t)size : CHUNK;
		ssize_t n = read(fd, s->chunk, want);

		if (n <= 0) {
			memset(s->chunk, 0, want);
			n = (ssize_t)want;
		}
		if (archive_write_data(s->a, s->chunk, (size_t)n) < 0)
			return failed(s, e);
		size -= n;
	}
	return 0;
}

static int put_dir(struct oci_snapshot *s, int dir, const char *prefix, int depth, struct err *e);

static int
put_one(
    struct oci_snapshot *s, int dir, const char *name, const char *path, int depth, struct err *e)
{
	AUTO(file_close) int fd = -1;
	struct archive_entry *en;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISLNK(st.st_mode)) {
		char target[4096];
		ssize_t n = readlinkat(dir, name, target, sizeof target - 1);

		if (n < 0)
			return 0;
		target[n] = '\0';
		return oci_snapshot_link(s, path, target, e);
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return 0;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	en = new_entry(s, path, S_ISDIR(st.st_mode) ? AE_IFDIR : AE_IFREG, st.st_mode);
	archive_entry_set_mtime(en, st.st_mtim.tv_sec, 0);
	if (S_ISDIR(st.st_mode))
		return put_entry(s, en, e) < 0 ? -1 : put_dir(s, fd, path, depth + 1, e);
	archive_entry_set_size(en, st.st_size);
	return put_entry(s, en, e) < 0 ? -1 : put_content(s, fd, st.st_size, e);
}

static int
put_dir(struct oci_snapshot *s, int dir, const char *prefix, int depth, struct err *e)
{
	int fd = depth > DEPTH_MAX ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int rc = 0;

	if (d == NULL) {
		file_close(fd);
		return 0;
	}
	while (rc == 0 && (de = readdir(d)) != NULL) {
		AUTO(free)
		char *path = *prefix == '\0' ? xstrdup(de->d_name) : file_join(prefix, de->d_name);

		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    !is_excluded(s, path))
			rc = put_one(s, dir, de->d_name, path, depth, e);
	}
	closedir(d);
	return rc;
}

int
oci_snapshot_tree(struct oci_snapshot *s, int dir_fd, const char *prefix, struct err *e)
{
	struct archive_entry *en;

	if (dir_fd < 0 || is_excluded(s, prefix))
		return 0;
	en = new_entry(s, prefix, AE_IFDIR, 0750);
	return put_entry(s, en, e) < 0 ? -1 : put_dir(s, dir_fd, prefix, 0, e);
}

int
oci_snapshot_file(struct oci_snapshot *s, const char *path, const char *text, struct err *e)
{
	struct archive_entry *en = new_entry(s, path, AE_IFREG, 0640);
	size_t n = strlen(text);

	archive_entry_set_size(en, (int64_t)n);
	if (put_entry(s, en, e) < 0)
		return -1;
	return n == 0 || archive_write_data(s->a, text, n) >= 0 ? 0 : failed(s, e);
}

int
oci_snapshot_link(struct oci_snapshot *s, const char *path, const char *target, struct err *e)
{
	struct archive_entry *en = new_entry(s, path, AE_IFLNK, 0777);

	archive_entry_set_symlink(en, target);
	return put_entry(s, en, e);
}

static int
copy_members(struct oci_snapshot *s, struct archive *in, struct err *e)
{
	struct archive_entry *en;
	int rc;

	while ((rc = archive_read_next_header(in, &en)) == ARCHIVE_OK) {
		const char *path = archive_entry_pathname(en);
		AUTO(free) char *name = path == NULL ? NULL : xasprintf("./%s", path);
		la_ssize_t n;

		if (name == NULL)
			continue;
		archive_entry_set_pathname(en, name);
		if (archive_write_header(s->a, en) < ARCHIVE_WARN)
			return failed(s, e);
		while ((n = archive_read_data(in, s->chunk, CHUNK)) > 0) {
			if (archive_write_data(s->a, s->chunk, (size_t)n) < 0)
				return failed(s, e);
		}
		if (n < 0)
			break;
	}
	if (rc == ARCHIVE_EOF)
		return 0;
	return err_set(e, ERR_INVALID, NULL, "the repository's archive is cut short: %s",
	    archive_error_string(in) == NULL ? "" : archive_error_string(in));
}

int
oci_snapshot_copy(struct oci_snapshot *s, int in_fd, struct err *e)
{
	struct archive *in = archive_read_new();
	int rc = 0;

	if (archive_read_support_format_tar(in) != ARCHIVE_OK ||
	    archive_read_support_format_empty(in) != ARCHIVE_OK ||
	    archive_read_open_fd(in, in_fd, CHUNK) != ARCHIVE_OK)
		rc = err_set(e, ERR_INVALID, NULL, "read the repository's archive");
	else
		rc = copy_members(s, in, e);
	archive_read_free(in);
	return rc;
}
