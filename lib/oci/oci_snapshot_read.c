#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/oci/oci_rename.h"
#include "lib/oci/oci_snapshot.h"

enum {
	CHUNK = 256 * 1024,
	NAME_LONGEST = 255,
	PATH_LONGEST = 3500,
	DEPTH_MAX = 200,
	METADATA_MAX = 16384,
	METADATA_COUNT = 200,
	LINK_MAX = 4000,
	READ_TOTAL_FACTOR = 4, /* bytes that are passed over, in bytes_max */
};

static const struct codec_field result_fields[] = {
	CODEC_BOOL(struct oci_snapshot_result, has_data, 0),
	CODEC_BOOL(struct oci_snapshot_result, has_git, 0),
	CODEC_BOOL(struct oci_snapshot_result, was_binary, 0),
	CODEC_BOOL(struct oci_snapshot_result, has_deployment, 0),
	CODEC_INT(struct oci_snapshot_result, files, 0, INT64_MAX, 0),
	CODEC_INT(struct oci_snapshot_result, bytes, 0, INT64_MAX, 0),
	CODEC_INT(struct oci_snapshot_result, skipped, 0, INT64_MAX, 0),
	CODEC_STR(struct oci_snapshot_result, ref, 256, CODEC_OMIT_NULL),
	CODEC_STR(struct oci_snapshot_result, sha1, 64, CODEC_OMIT_NULL),
	CODEC_STRS(struct oci_snapshot_result, left, 255, 0),
	CODEC_END,
};
DEFINE_CODEC(oci_snapshot_result, struct oci_snapshot_result, result_fields)

struct oci_snapshot_metadata {
	char *git_ref, *git_sha1;
};
static const struct codec_field metadata_fields[] = {
	CODEC_STR(struct oci_snapshot_metadata, git_ref, 256, 0),
	CODEC_STR(struct oci_snapshot_metadata, git_sha1, 64, 0),
	CODEC_END,
};
DECLARE_CODEC(oci_snapshot_metadata, struct oci_snapshot_metadata)
DEFINE_CODEC(oci_snapshot_metadata, struct oci_snapshot_metadata, metadata_fields)

struct reader {
	struct archive *a;
	int dir;
	const struct oci_snapshot_in *in;
	struct oci_snapshot_result *out;
	struct oci_rename *rename;
	struct map *deployments; /* datetime → text of metadata.json, owned */
	char *current;           /* datetime; owned */
	char *chunk;
	int64_t passed; /* bytes of members that are not read */
};

static int
refuse(const char *path, struct err *e, const char *why)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_add_printable(&b, path, 200);
	return err_set(
	    e, ERR_INVALID, NULL, "the snapshot's entry '%s' %s", b.p == NULL ? "" : b.p, why);
}

/* "./a//b/" to "a/b" in place; false: hostile or too long. */
static bool
clean(char *p)
{
	char *to = p, *from = p;
	int depth = 0;

	if (strlen(p) > PATH_LONGEST)
		return false;
	from += strspn(from, "/");
	while (*from != '\0') {
		size_t n = strcspn(from, "/");

		if ((n == 2 && from[0] == '.' && from[1] == '.') || n > NAME_LONGEST ||
		    ++depth > DEPTH_MAX)
			return false;
		if (!(n == 1 && from[0] == '.')) {
			if (to != p)
				*to++ = '/';
			memmove(to, from, n);
			to += n;
		}
		from += n;
		from += strspn(from, "/");
	}
	*to = '\0';
	return true;
}

/* --- where a member goes --- */

static const char *
below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (strncmp(path, dir, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	return path[n] == '/' ? path + n + 1 : path + n;
}

/* Of a bare repository: what names and holds its objects; hooks, configuration and links to other
 * object stores are not. */
static bool
is_git_content(const char *rest)
{
	static const char *const dirs[] = { "refs", "objects" };

	if (strcmp(rest, "HEAD") == 0 || strcmp(rest, "packed-refs") == 0 || *rest == '\0')
		return true;
	if (below(rest, "objects/info") != NULL)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		if (below(rest, dirs[i]) != NULL)
			return true;
	}
	return false;
}

/* Such metadata name no commit: an archive was deployed. */
static bool
is_archive(const char *metadata, struct oci_snapshot_metadata *out)
{
	struct err e = { 0 };

	return codec_decode(&oci_snapshot_metadata_codec, metadata, strlen(metadata), out,
	           CODEC_IGNORE | CODEC_LAX, &e) == 0 &&
	       out->git_sha1 == NULL;
}

/* What is known of it so far says that it is to be read. */
static bool
is_wanted(const struct reader *r, const char *deployment)
{
	AUTO_FINI(oci_snapshot_metadata_fini) struct oci_snapshot_metadata m = { 0 };
	const char *text = map_get(r->deployments, deployment);

	if (!r->in->wants_git || (r->current != NULL && strcmp(r->current, deployment) != 0))
		return false;
	return text == NULL ? r->in->is_binary : is_archive(text, &m);
}

/* rest: below app-deployments. */
static char *
deployment_place(const struct reader *r, const char *rest)
{
	static const char *const parts[] = { "repo", "dependencies", "build-dependencies" };
	size_t n = strcspn(rest, "/");
	AUTO(free) char *name = xstrndup(rest, n);

	for (size_t i = 0; rest[n] == '/' && i < ARRAY_LEN(parts); i++) {
		if (below(rest + n + 1, parts[i]) != NULL)
			return is_wanted(r, name) ? file_join("deployments", rest) : NULL;
	}
	return NULL;
}

/* path: in the home. NULL: it is not read; caller owns. */
static char *
place_of(const struct reader *r, const char *path)
{
	const char *rest = below(path, "app-root/data");

	if (rest == NULL && (rest = below(path, r->in->app_name)) != NULL)
		rest = below(rest, "data");
	if (rest != NULL)
		return *rest == '\0' ? xstrdup("data") : file_join("data", rest);
	rest = below(path, "app-deployments");
	if (rest != NULL)
		return deployment_place(r, rest);
	rest = below(path, "git");
	if (rest == NULL || !r->in->wants_git)
		return NULL;
	rest = strchr(rest, '/');
	if (rest == NULL || !is_git_content(rest + 1))
		return NULL;
	return rest[1] == '\0' ? xstrdup("git") : file_join("git", rest + 1);
}

/* The member's path in the home (transformed, cleaned); NULL: of no gear. */
static char *
home_path(const struct reader *r, const char *name, bool *out_bad)
{
	AUTO(free) char *named = oci_rename_apply(r->rename, name);
	const char *slash;

	*out_bad = !clean(named);
	slash = *out_bad ? NULL : strchr(named, '/');
	return slash == NULL ? NULL : xstrdup(slash + 1);
}

/* --- making --- */

static int
open_in(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = (flags & O_CREAT) != 0 ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

/* The directory path, made with all above it. */
static int
make_dirs(const struct reader *r, const char *path, struct err *e)
{
	int fd = open_in(r->dir, ".", O_PATH | O_DIRECTORY, 0);
	struct str rest = str_of(path), part;

	while (fd >= 0 && rest.p != NULL) {
		AUTO(free) char *name = NULL;
		int next;

		rest = str_cut(rest, '/', &part);
		name = xstrndup(part.p, part.n);
		if (mkdirat(fd, name, 0755) < 0 && errno != EEXIST) {
			(void)err_set(e, ERR_SYSTEM, NULL, "make a directory");
			close(fd);
			return -1;
		}
		next = open_in(fd, name, O_PATH | O_DIRECTORY, 0);
		close(fd);
		fd = next;
	}
	return fd >= 0 ? fd : refuse(path, e, "lies below what is no directory");
}

static int
open_parent(const struct reader *r, const char *path, const char **out_name, struct err *e)
{
	const char *slash = strrchr(path, '/');
	AUTO(free) char *parent = slash == NULL ? NULL : xstrndup(path, (size_t)(slash - path));

	*out_name = slash == NULL ? path : slash + 1;
	return parent == NULL ? open_in(r->dir, ".", O_PATH | O_DIRECTORY, 0)
	                      : make_dirs(r, parent, e);
}

/* A later member takes the place of an earlier one, but not of a directory. */
static int
make_room(int parent, const char *name, const char *path, struct err *e)
{
	if (unlinkat(parent, name, 0) < 0 && errno != ENOENT)
		return refuse(path, e, "is a file where a directory is already");
	return 0;
}

static int
write_some(struct reader *r, int fd, const char *p, size_t n, struct err *e)
{
	r->out->bytes += (int64_t)n;
	if (r->out->bytes > r->in->bytes_max)
		return err_set(e, ERR_LIMIT, "disk",
		    "the snapshot holds more than the %lld MB that the gear's disk has room for",
		    (long long)(r->in->bytes_max / 1000000));
	if (file_write_all(fd, p, n, e) == 0)
		return 0;
	if (e->sys == ENOSPC || e->sys == EDQUOT)
		return err_set(
		    e, ERR_LIMIT, "disk", "the gear's disk has no room for the snapshot");
	return -1;
}

static int
make_file(struct reader *r, const char *path, mode_t mode, struct err *e)
{
	const char *name = NULL;
	AUTO(file_close) int parent = open_parent(r, path, &name, e);
	AUTO(file_close) int fd = -1;
	la_ssize_t n;

	if (parent < 0 || make_room(parent, name, path, e) < 0)
		return -1;
	fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == ENOSPC)
		return err_set(
		    e, ERR_LIMIT, "disk", "the gear's disk has no room for the snapshot");
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make a file");
	while ((n = archive_read_data(r->a, r->chunk, CHUNK)) > 0) {
		if (write_some(r, fd, r->chunk, (size_t)n, e) < 0)
			return -1;
	}
	if (n < 0)
		return err_set(e, ERR_INVALID, NULL, "the snapshot is cut short or damaged");
	return fchmod(fd, (mode & 0777) | 0400) < 0 ? err_set(e, ERR_SYSTEM, NULL, "chmod") : 0;
}

static int
make_dir(const struct reader *r, const char *path, mode_t mode, struct err *e)
{
	AUTO(file_close) int fd = make_dirs(r, path, e);
	AUTO(free) char *self = xasprintf("/proc/self/fd/%d", fd);

	if (fd < 0)
		return -1;
	/* Not every process has /proc: then it keeps 0755. */
	(void)chmod(self, (mode & 0777) | 0700);
	return 0;
}

static int
make_link(const struct reader *r, const char *path, const char *target, struct err *e)
{
	const char *name = NULL;
	AUTO(file_close) int parent = -1;

	if (target == NULL || strlen(target) > LINK_MAX)
		return refuse(path, e, "is a link to nowhere");
	parent = open_parent(r, path, &name, e);
	if (parent < 0 || make_room(parent, name, path, e) < 0)
		return -1;
	return symlinkat(target, parent, name) < 0 ? err_set(e, ERR_SYSTEM, NULL, "make a link")
	                                           : 0;
}

static int
make_hard_link(const struct reader *r, const char *path, const char *target, struct err *e)
{
	AUTO(file_close) int from = -1;
	AUTO(file_close) int parent = -1;
	const char *name = NULL, *old = NULL;
	AUTO(free) char *home = NULL;
	AUTO(free) char *place = NULL;
	struct stat st;
	bool is_bad;

	home = home_path(r, target, &is_bad);
	place = home == NULL ? NULL : place_of(r, home);
	if (place == NULL)
		return refuse(path, e, "is a hard link to what the snapshot does not restore");
	from = open_parent(r, place, &old, e);
	parent = open_parent(r, path, &name, e);
	if (from < 0 || parent < 0 || make_room(parent, name, path, e) < 0)
		return -1;
	if (fstatat(from, old, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    linkat(from, old, parent, name, 0) < 0)
		return refuse(path, e, "is a hard link to what is no file of the snapshot");
	return 0;
}

/* --- members --- */

/* app-deployments: what was current. */
static int
note_deployment(struct reader *r, const char *path, struct archive_entry *en)
{
	const char *rest = below(path, "app-deployments"), *slash;
	const char *target = archive_entry_symlink(en);

	if (rest == NULL)
		return 0;
	if (strcmp(rest, "current") == 0 && target != NULL) {
		mem_set_str(&r->current, target);
		return 0;
	}
	slash = strchr(rest, '/');
	if (slash != NULL && strcmp(slash, "/metadata.json") == 0 &&
	    archive_entry_filetype(en) == AE_IFREG && map_count(r->deployments) < METADATA_COUNT) {
		AUTO(free) char *name = xstrndup(rest, (size_t)(slash - rest));
		AUTO(free) char *text = xcalloc(1, METADATA_MAX + 1);
		la_ssize_t n = archive_read_data(r->a, text, METADATA_MAX);

		if (n > 0)
			map_set(r->deployments, name, STEAL(text));
	}
	return 0;
}

static int
count(struct reader *r, struct err *e)
{
	if (++r->out->files > r->in->files_max)
		return err_set(e, ERR_LIMIT, "files",
		    "the snapshot holds more than the %lld files that the gear may have",
		    (long long)r->in->files_max);
	return 0;
}

static int
take(struct reader *r, struct archive_entry *en, const char *place, struct err *e)
{
	mode_t mode = archive_entry_perm(en);
	const char *hard = archive_entry_hardlink(en);
	bool is_git = below(place, "git") != NULL;

	r->out->has_git = r->out->has_git || is_git;
	r->out->has_data = r->out->has_data || below(place, "data") != NULL;
	if (count(r, e) < 0)
		return -1;
	if (hard != NULL)
		return make_hard_link(r, place, hard, e);
	switch (archive_entry_filetype(en)) {
	case AE_IFDIR:
		return make_dir(r, place, is_git ? 0755 : mode, e);
	case AE_IFREG:
		return make_file(r, place, is_git ? 0644 : mode, e);
	case AE_IFLNK:
		if (is_git)
			return refuse(place, e, "is a link in a repository");
		return make_link(r, place, archive_entry_symlink(en), e);
	default:
		r->out->skipped++;
		return 0;
	}
}

static int
read_member(struct reader *r, struct archive_entry *en, struct err *e)
{
	const char *name = archive_entry_pathname(en);
	AUTO(free) char *home = NULL;
	AUTO(free) char *place = NULL;
	bool is_bad = false;

	if (name == NULL)
		return 0;
	home = home_path(r, name, &is_bad);
	if (is_bad)
		return refuse(name, e, "has '..' in its name, or is too long or too deep");
	if (home == NULL)
		return 0;
	place = place_of(r, home);
	if (place != NULL)
		return take(r, en, place, e);
	r->passed += archive_entry_size(en) > 0 ? archive_entry_size(en) : 0;
	if (r->passed / READ_TOTAL_FACTOR > r->in->bytes_max)
		return err_set(e, ERR_LIMIT, NULL, "the snapshot is much too large for this gear");
	return note_deployment(r, home, en);
}

static void
find_current(struct reader *r)
{
	AUTO_FINI(oci_snapshot_metadata_fini) struct oci_snapshot_metadata m = { 0 };
	const char *text = r->current == NULL ? NULL : map_get(r->deployments, r->current);
	AUTO(free) char *repo = NULL;
	AUTO(free) char *dir = NULL;

	/* With metadata its name is that of a directory. */
	if (text == NULL)
		return;
	r->out->was_binary = is_archive(text, &m);
	r->out->ref = STEAL(m.git_ref);
	r->out->sha1 = STEAL(m.git_sha1);
	dir = file_join("deployments", r->current);
	repo = file_join(dir, "repo");
	r->out->has_deployment = r->out->was_binary && faccessat(r->dir, repo, F_OK, 0) == 0 &&
	                         renameat(r->dir, dir, r->dir, "deployment") == 0;
}

static int
read_all(struct reader *r, struct err *e)
{
	struct archive_entry *en;
	int64_t members = 0;
	int rc;

	while ((rc = archive_read_next_header(r->a, &en)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
		if (++members / READ_TOTAL_FACTOR > r->in->files_max)
			return err_set(
			    e, ERR_LIMIT, "files", "the snapshot has much too many members");
		if (read_member(r, en, e) < 0)
			return -1;
	}
	if (rc != ARCHIVE_EOF)
		return err_set(e, ERR_INVALID, NULL, "the snapshot is cut short or damaged");
	if (!r->out->has_data && !r->out->has_git)
		return err_set(e, ERR_INVALID, NULL,
		    "this is no snapshot of a gear: it has neither ./UUID/app-root/data nor "
		    "./UUID/git");
	find_current(r);
	return 0;
}

int
oci_snapshot_read(int in_fd, int dir_fd, const struct oci_snapshot_in *in,
    struct oci_snapshot_result *out, struct err *e)
{
	struct reader r = { .dir = dir_fd, .in = in, .out = out };
	int rc = -1;

	r.rename = oci_rename_new(in->transforms, e);
	if (r.rename == NULL)
		return -1;
	r.a = archive_read_new();
	r.chunk = xmalloc(CHUNK);
	r.deployments = map_new(free);
	if (archive_read_support_filter_gzip(r.a) != ARCHIVE_OK ||
	    archive_read_support_format_tar(r.a) != ARCHIVE_OK ||
	    archive_read_open_fd(r.a, in_fd, CHUNK) != ARCHIVE_OK)
		(void)err_set(e, ERR_INVALID, NULL,
		    "this is no snapshot: a tar archive, compressed by gzip, is expected");
	else
		rc = read_all(&r, e);
	archive_read_free(r.a);
	oci_rename_free(r.rename);
	map_free(r.deployments);
	free(r.current);
	free(r.chunk);
	return rc;
}
