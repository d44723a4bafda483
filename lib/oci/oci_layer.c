#include "lib/oci/oci_layer.h"
#include "lib/oci/oci_input.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/oci/oci_tar.h"

enum {
	NAME_LONGEST = 255,
	PATH_LONGEST = 3000,
	DEPTH_MAX = 100,
	SCRIPT_MAX = 1024 * 1024,
	READ_BLOCK = 128 * 1024,
};

static const struct codec_field result_fields[] = {
	CODEC_STR(struct oci_layer_result, digest, 80, CODEC_REQUIRED),
	CODEC_INT(struct oci_layer_result, size, 0, INT64_MAX, 0),
	CODEC_INT(struct oci_layer_result, files, 0, INT64_MAX, 0),
	CODEC_INT(struct oci_layer_result, bytes, 0, INT64_MAX, 0),
	CODEC_STRS(struct oci_layer_result, fixed, OCI_LAYER_NAMES_MAX, 0),
	CODEC_STRS(struct oci_layer_result, lfs_pointers, OCI_LAYER_NAMES_MAX, 0),
	CODEC_BOOL(struct oci_layer_result, has_submodules, 0),
	CODEC_END,
};
DEFINE_CODEC(oci_layer_result, struct oci_layer_result, result_fields)

struct unpack {
	struct archive *a;
	int dir;
	const struct oci_layer_opts *o;
	struct oci_layer_result *out;
	struct secret_sha256
	    *hash; /* of the tar that the layer would be, while entries come in order */
	struct oci_tar tar;
	char *last; /* key of the entry before; owned */
	bool unordered;
	bool has_repo; /* of an artifact */
};

/* A path for a message. */
static char *
printable(const char *s)
{
	struct buf b = { 0 };

	buf_add_printable(&b, s, 200);
	return b.p == NULL ? xstrdup("") : buf_steal(&b);
}

static int
refuse(const char *path, struct err *e, const char *why)
{
	AUTO(free) char *shown = printable(path);

	return err_set(e, ERR_INVALID, NULL, "the archive's entry '%s' %s", shown, why);
}

static void
add_name(struct str_list *l, const char *path)
{
	if (l->n < OCI_LAYER_NAMES_MAX)
		str_list_take(l, printable(path));
}

/* Cleans "./a//b/" to "a/b" in place; false when it is hostile. */
static bool
clean_path(char *p, struct err *e)
{
	char *to = p, *from = p;
	int depth = 0;

	if (p[0] == '/') {
		(void)refuse(p, e, "has an absolute name");
		return false;
	}
	while (*from != '\0') {
		size_t n = strcspn(from, "/");

		if (n == 2 && from[0] == '.' && from[1] == '.') {
			(void)refuse(p, e, "has '..' in its name");
			return false;
		}
		if (n > NAME_LONGEST || ++depth > DEPTH_MAX || from - p > PATH_LONGEST) {
			(void)refuse(p, e, "has too long a name, or is too deep");
			return false;
		}
		if (n > 0 && !(n == 1 && from[0] == '.')) {
			if (to != p)
				*to++ = '/';
			memmove(to, from, n);
			to += n;
			from += n;
		} else {
			from += n;
		}
		from += strspn(from, "/");
	}
	*to = '\0';
	return true;
}

/* How far a relative link climbs above the home, which lies `above` directories over the link. */
static bool
link_stays(const char *path, const char *prefix, const char *target)
{
	int depth = 0;

	if (target[0] == '/' || target[0] == '\0')
		return false;
	for (const char *p = prefix; *p != '\0'; p++)
		depth += *p == '/';
	depth += prefix[0] != '\0';
	for (const char *p = path; *p != '\0'; p++)
		depth += *p == '/';
	while (*target != '\0') {
		size_t n = strcspn(target, "/");

		if (n == 2 && target[0] == '.' && target[1] == '.')
			depth--;
		else if (n > 0 && !(n == 1 && target[0] == '.'))
			depth++;
		if (depth < 0)
			return false;
		target += n + (target[n] == '/');
	}
	return true;
}

static int
open_beneath(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = (flags & O_CREAT) != 0 ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

/* The entry's directory, made where it is missing; *name: what is after the last '/'. */
static int
open_parent(struct unpack *u, const char *path, const char **name, struct err *e)
{
	const char *slash = strrchr(path, '/');
	AUTO(free) char *parent = slash == NULL ? NULL : xstrndup(path, (size_t)(slash - path));
	int fd;

	*name = slash == NULL ? path : slash + 1;
	fd = open_beneath(u->dir, parent == NULL ? "." : parent, O_PATH | O_DIRECTORY, 0);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT || parent == NULL)
		return refuse(path, e, "lies below what is no directory");
	u->unordered = true; /* directories that the archive does not name */
	for (size_t i = 1; parent[i - 1] != '\0'; i++) {
		if (parent[i] != '/' && parent[i] != '\0')
			continue;
		{
			AUTO(free) char *above = xstrndup(parent, i);
			const char *base = strrchr(above, '/');
			AUTO(free)
			char *up =
			    base == NULL ? xstrdup(".") : xstrndup(above, (size_t)(base - above));
			AUTO(file_close) int at = open_beneath(u->dir, up, O_PATH | O_DIRECTORY, 0);

			if (at < 0 || (mkdirat(at, base == NULL ? above : base + 1, 0755) < 0 &&
			                  errno != EEXIST))
				return err_set(e, ERR_SYSTEM, NULL, "cannot make a directory");
		}
		if (parent[i] == '\0')
			break;
	}
	fd = open_beneath(u->dir, parent, O_PATH | O_DIRECTORY, 0);
	return fd >= 0 ? fd
	               : err_set(e, ERR_SYSTEM, NULL, "cannot open the directory of the entry");
}

/* Notes the order; in order, the digest is made on the way. */
static void
note_order(struct unpack *u, const char *path, bool is_dir)
{
	char *key = xasprintf("%s%s", path, is_dir ? "/" : "");

	if (u->last != NULL && strcmp(u->last, key) >= 0)
		u->unordered = true;
	free(u->last);
	u->last = key;
}

static char *
in_layer(const struct unpack *u, const char *path)
{
	return u->o->prefix[0] == '\0' ? xstrdup(path) : file_join(u->o->prefix, path);
}

static int
make_dir(struct unpack *u, const char *path, struct err *e)
{
	const char *name = NULL;
	AUTO(file_close) int parent = open_parent(u, path, &name, e);
	AUTO(free) char *full = in_layer(u, path);

	if (parent < 0)
		return -1;
	if (mkdirat(parent, name, 0755) < 0) {
		struct stat st;

		u->unordered = true;
		if (errno != EEXIST || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode))
			return refuse(path, e, "is a directory where a file is already");
	}
	oci_tar_dir(&u->tar, full, 0755);
	return 0;
}

/* A later entry of the same name replaces the earlier one, but never a directory. */
static int
make_room(struct unpack *u, int parent, const char *name, const char *path, struct err *e)
{
	if (unlinkat(parent, name, 0) == 0)
		u->unordered = true;
	else if (errno == EISDIR || errno == EPERM)
		return refuse(path, e, "is a file where a directory is already");
	return 0;
}

/* Dependencies name programs of the stack: python/virtenv/bin/python3 -> /usr/bin/python3. */
static bool
is_to_stack(const struct unpack *u, const char *path, const char *target)
{
	return u->o->is_artifact && !str_has_prefix(path, "repo/") &&
	       str_has_prefix(target, "/usr/") && strstr(target, "..") == NULL;
}

static int
make_link(struct unpack *u, const char *path, const char *target, struct err *e)
{
	const char *name = NULL;
	AUTO(file_close) int parent = -1;
	AUTO(free) char *full = in_layer(u, path);

	if (target == NULL ||
	    (!link_stays(path, u->o->prefix, target) && !is_to_stack(u, path, target)))
		return refuse(path, e,
		    "is a symbolic link that is absolute or leaves the application: make it "
		    "relative");
	parent = open_parent(u, path, &name, e);
	if (parent < 0 || make_room(u, parent, name, path, e) < 0)
		return -1;
	if (symlinkat(target, parent, name) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a link");
	oci_tar_link(&u->tar, full, target);
	return 0;
}

static int
write_all(const struct unpack *u, int fd, const char *p, size_t n, struct err *e)
{
	if (file_write_all(fd, p, n, e) < 0) {
		if (e->sys == ENOSPC || e->sys == EDQUOT)
			return err_set(e, ERR_LIMIT, NULL, "the disk of this node is full");
		return -1;
	}
	u->out->bytes += (int64_t)n;
	if (u->out->bytes > u->o->bytes_max)
		return err_set(e, ERR_LIMIT, NULL, "the files have more than %lld MB",
		    (long long)(u->o->bytes_max / 1000000));
	return 0;
}

/* A script with CR LF cannot run: "bad interpreter". Only the line ends change. */
static bool
fix_script(struct buf *b)
{
	const char *nl = b->n < 3 ? NULL : memchr(b->p, '\n', b->n < 256 ? b->n : 256);
	size_t to = 0;

	if (nl == NULL || b->p[0] != '#' || b->p[1] != '!' || nl[-1] != '\r')
		return false;
	for (size_t i = 0; i < b->n; i++) {
		if (b->p[i] == '\r' && i + 1 < b->n && b->p[i + 1] == '\n')
			continue;
		b->p[to++] = b->p[i];
	}
	buf_truncate(b, to);
	return true;
}

static bool
is_lfs_pointer(const char *p, size_t n)
{
	static const char head[] = "version https://git-lfs.github.com/spec/v1";

	return n >= sizeof head - 1 && n < 1024 && memcmp(p, head, sizeof head - 1) == 0;
}

/* Small files are read whole: they may have to change, and their size must be known first. */
static int
write_small(struct unpack *u, int fd, const char *path, const char *full, unsigned mode,
    int64_t size, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_reserve(&b, (size_t)size);
	while ((int64_t)b.n < size) {
		la_ssize_t n = archive_read_data(u->a, b.p + b.n, (size_t)size - b.n);

		if (n <= 0)
			return err_set(e, ERR_INVALID, NULL, "the archive is truncated");
		b.n += (size_t)n;
	}
	if (b.p == NULL)
		buf_adds(&b, "");
	if (u->o->fix_scripts &&
	    (mode == 0755 || str_has_prefix(path, ".openshift/action_hooks/")) && fix_script(&b))
		add_name(&u->out->fixed, path);
	if (is_lfs_pointer(b.p, b.n))
		add_name(&u->out->lfs_pointers, path);
	oci_tar_file(&u->tar, full, mode, b.n);
	oci_tar_data(&u->tar, b.p, b.n);
	return write_all(u, fd, b.p, b.n, e);
}

static int
write_large(struct unpack *u, int fd, const char *full, unsigned mode, int64_t size, struct err *e)
{
	static char chunk[READ_BLOCK];
	int64_t left = size;

	oci_tar_file(&u->tar, full, mode, (uint64_t)size);
	while (left > 0) {
		size_t some = left < (int64_t)sizeof chunk ? (size_t)left : sizeof chunk;
		la_ssize_t n = archive_read_data(u->a, chunk, some);

		if (n <= 0)
			return err_set(e, ERR_INVALID, NULL, "the archive is truncated");
		oci_tar_data(&u->tar, chunk, (size_t)n);
		if (write_all(u, fd, chunk, (size_t)n, e) < 0)
			return -1;
		left -= n;
	}
	return 0;
}

static int
make_file(struct unpack *u, const char *path, struct archive_entry *en, struct err *e)
{
	unsigned mode = (archive_entry_perm(en) & 0100) != 0 ? 0755 : 0644;
	int64_t size = archive_entry_size(en);
	struct timespec times[2] = { { .tv_sec = archive_entry_mtime(en) },
		{ .tv_sec = archive_entry_mtime(en) } };
	const char *name = NULL;
	AUTO(file_close) int parent = open_parent(u, path, &name, e);
	AUTO(file_close) int fd = -1;
	AUTO(free) char *full = in_layer(u, path);
	int rc;

	if (parent < 0 || make_room(u, parent, name, path, e) < 0)
		return -1;
	if (size < 0 || size > u->o->bytes_max - u->out->bytes)
		return err_set(e, ERR_LIMIT, NULL, "the files have more than %lld MB",
		    (long long)(u->o->bytes_max / 1000000));
	fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return err_set(
		    e, errno == ENOSPC ? ERR_LIMIT : ERR_SYSTEM, NULL, "cannot make a file");
	rc = size <= SCRIPT_MAX ? write_small(u, fd, path, full, mode, size, e)
	                        : write_large(u, fd, full, mode, size, e);
	if (rc == 0 && times[0].tv_sec > 0)
		(void)futimens(fd, times);
	return rc;
}

/* A hard link is an earlier file's content under another name. */
static int
make_hard_link(struct unpack *u, const char *path, const char *target, struct err *e)
{
	AUTO(free) char *from = xstrdup(target);
	const char *name = NULL;
	AUTO(file_close) int parent = -1;
	AUTO(file_close) int in = -1;
	struct stat st;

	if (!clean_path(from, e))
		return refuse(path, e, "is a hard link that leaves the archive");
	in = open_beneath(u->dir, from, O_PATH | O_NOFOLLOW, 0);
	parent = open_parent(u, path, &name, e);
	if (parent < 0)
		return -1;
	if (in < 0 || fstat(in, &st) < 0 || !S_ISREG(st.st_mode))
		return refuse(path, e, "is a hard link to what is no file of the archive");
	if (make_room(u, parent, name, path, e) < 0)
		return -1;
	u->unordered = true;
	if (linkat(u->dir, from, parent, name, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a hard link");
	return 0;
}

/* The name below subdir, or NULL when the entry is not there. */
static const char *
below_subdir(const struct oci_layer_opts *o, const char *path)
{
	size_t n = strlen(o->subdir);

	if (n == 0)
		return path;
	if (strncmp(path, o->subdir, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return NULL;
	return path[n] == '/' ? path + n + 1 : "";
}

/* Of an artifact: is the entry to be unpacked? < 0: it may not be there. */
static int
is_wanted(struct unpack *u, const char *path, mode_t type, struct err *e)
{
	static const char *const parts[] = { "repo", "dependencies", "build-dependencies" };
	size_t n = strcspn(path, "/");

	if (!u->o->is_artifact)
		return 1;
	if (strcmp(path, "metadata.json") == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (strlen(parts[i]) != n || strncmp(parts[i], path, n) != 0)
			continue;
		if (path[n] == '\0' && type != AE_IFDIR)
			return refuse(path, e, "must be a directory");
		u->has_repo = u->has_repo || i == 0;
		return 1;
	}
	return refuse(path, e,
	    "lies outside of repo/, dependencies/ and build-dependencies/: an archive of a "
	    "deployment holds nothing else");
}

static int
unpack_entry(struct unpack *u, struct archive_entry *en, struct err *e)
{
	const char *raw = archive_entry_pathname(en);
	AUTO(free) char *whole = xstrdup(raw == NULL ? "" : raw);
	mode_t type = archive_entry_filetype(en);
	const char *path;
	int wanted;

	if (!clean_path(whole, e))
		return -1;
	path = below_subdir(u->o, whole);
	if (path == NULL || path[0] == '\0')
		return 0;
	wanted = is_wanted(u, path, type, e);
	if (wanted <= 0)
		return wanted;
	if (++u->out->files > u->o->files_max)
		return err_set(e, ERR_LIMIT, NULL, "the archive has more than %lld files",
		    (long long)u->o->files_max);
	note_order(u, path, type == AE_IFDIR);
	if (strcmp(path, ".gitmodules") == 0)
		u->out->has_submodules = true;
	if (archive_entry_hardlink(en) != NULL)
		return make_hard_link(u, path,
		    below_subdir(u->o, archive_entry_hardlink(en)) == NULL
		        ? ""
		        : below_subdir(u->o, archive_entry_hardlink(en)),
		    e);
	switch (type) {
	case AE_IFDIR:
		return make_dir(u, path, e);
	case AE_IFREG:
		return make_file(u, path, en, e);
	case AE_IFLNK:
		return make_link(u, path, archive_entry_symlink(en), e);
	default:
		return refuse(path, e, "is a device, socket or pipe");
	}
}

static void
put_hash(const void *p, size_t n, void *arg)
{
	secret_sha256_add(arg, p, n);
}

static int
read_entries(struct unpack *u, struct err *e)
{
	struct archive_entry *en = NULL;
	int rc;

	while ((rc = archive_read_next_header(u->a, &en)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
		if (unpack_entry(u, en, e) < 0)
			return -1;
	}
	if (rc != ARCHIVE_EOF)
		return err_set(
		    e, ERR_INVALID, NULL, "the archive is damaged: %s", archive_error_string(u->a));
	if (u->o->is_artifact && !u->has_repo)
		return err_set(e, ERR_INVALID, NULL,
		    "the archive has no repo/: it must be the tar.gz or zip of a deployment, with "
		    "what "
		    "is to run in repo/");
	return 0;
}

/* The digest that was made on the way, or, after entries out of order, one of the tree as it is. */
static int
finish(struct unpack *u, struct err *e)
{
	char hex[65];

	if (u->unordered) {
		u->out->digest = oci_tar_digest(u->dir, u->o->prefix, &u->out->size, e);
		return u->out->digest == NULL ? -1 : 0;
	}
	oci_tar_end(&u->tar);
	u->out->size = (int64_t)u->tar.total;
	secret_sha256_end(u->hash, hex);
	u->out->digest = xasprintf("sha256:%s", hex);
	return 0;
}

int
oci_layer_unpack(int in_fd, int dir_fd, const struct oci_layer_opts *o,
    struct oci_layer_result *out, struct err *e)
{
	struct unpack u = { .dir = dir_fd, .o = o, .out = out, .hash = secret_sha256_new() };
	struct oci_input in = { .spool_fd = -1 };
	int rc = -1;

	u.tar = (struct oci_tar){ .put = put_hash, .arg = u.hash };
	u.unordered = o->is_artifact; /* repo/ is there before */
	for (const char *p = o->prefix; *p != '\0';) {
		size_t n = strcspn(p, "/");
		AUTO(free) char *above = xstrndup(o->prefix, (size_t)(p - o->prefix) + n);

		oci_tar_dir(&u.tar, above, 0755);
		p += n + (p[n] == '/');
	}
	u.a = archive_read_new();
	if (u.a == NULL || archive_read_support_format_tar(u.a) != ARCHIVE_OK ||
	    archive_read_support_format_empty(u.a) != ARCHIVE_OK ||
	    (o->is_artifact && (archive_read_support_filter_gzip(u.a) != ARCHIVE_OK ||
	                           archive_read_support_format_zip_seekable(u.a) != ARCHIVE_OK)))
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot read archives");
	else
		rc = oci_input_open(&in, u.a, in_fd, dir_fd, o->bytes_max, e);
	if (rc == 0)
		rc = read_entries(&u, e);
	if (rc == 0)
		rc = finish(&u, e);
	if (u.a != NULL)
		(void)archive_read_free(u.a);
	oci_input_fini(&in);
	secret_sha256_free(u.hash);
	free(u.last);
	if (rc < 0)
		oci_layer_result_fini(out);
	return rc;
}
