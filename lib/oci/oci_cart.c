#include "lib/oci/oci_cart.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/oci/oci_tar.h"

enum {
	BLOCK = 128 * 1024,
	PATH_LONGEST = 1024,
	NAME_LONGEST = 255,
	DEPTH_MAX = 32,
	MANIFEST_MAX = 64 * 1024,      /* as a cartridge on disk */
	RATIO_FROM = 16 * 1024 * 1024, /* below that any ratio is harmless */
};
static const char manifest_name[] = "metadata/manifest.yml";

enum kind { KIND_DIR = 1, KIND_FILE, KIND_LINK };

struct pack {
	const struct oci_cart_opts *o;
	struct archive *a;
	int in_fd;
	int64_t in_size;
	char *top;        /* the single top directory, owned; NULL: none */
	bool has_top;     /* something was seen */
	bool is_top_only; /* all is in it */
	struct map *seen; /* path → enum kind, as a pointer; borrowed values */
	int64_t files, bytes;
	bool has_manifest;
	struct buf *manifest; /* borrowed or NULL */
	struct oci_tar tar;
	struct buf out; /* not yet written */
	int out_fd;
	struct err write_error;
};

static const char kinds[] = { 0, KIND_DIR, KIND_FILE, KIND_LINK };

/* A name for a message: nothing that a terminal obeys. */
static char *
shown(const char *s)
{
	struct buf b = { 0 };

	buf_add_printable(&b, s, 200);
	return b.p == NULL ? xstrdup("") : buf_steal(&b);
}

static int
refuse(const char *path, struct err *e, const char *why)
{
	AUTO(free) char *name = shown(path);

	return err_set(e, ERR_INVALID, NULL, "the archive's entry '%s' %s", name, why);
}

/* "./a//b/" becomes "a/b"; -1: hostile. Caller owns. */
static int
clean(const char *raw, char **out, struct err *e)
{
	struct buf b = { 0 };
	struct str rest = str_of(raw);
	int depth = 0;

	if (raw[0] == '/')
		return refuse(raw, e, "has an absolute name");
	if (rest.n > PATH_LONGEST || !str_is_utf8(raw, rest.n))
		return refuse(raw, e, "has too long a name, or one that is not UTF-8");
	for (const char *p = raw; *p != '\0'; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '\\')
			return refuse(raw, e, "has a control character or '\\' in its name");
	}
	while (rest.n > 0) {
		struct str part;

		rest = str_cut(rest, '/', &part);
		if (part.n == 0 || str_eq(part, "."))
			continue;
		if (str_eq(part, "..") || part.n > NAME_LONGEST || ++depth > DEPTH_MAX) {
			buf_fini(&b);
			return refuse(raw, e, "has '..' in its name, or is too deep");
		}
		if (b.n > 0)
			buf_addc(&b, '/');
		buf_addstr(&b, part);
	}
	*out = b.p == NULL ? xstrdup("") : buf_steal(&b);
	return 0;
}

/* Does a relative link in the directory of path stay below the top? */
static bool
stays(const char *path, const char *target)
{
	struct str rest = str_of(target);
	int depth = 0;

	if (target[0] == '/' || target[0] == '\0' || rest.n > PATH_LONGEST)
		return false;
	for (const char *p = path; *p != '\0'; p++)
		depth += *p == '/';
	while (rest.n > 0) {
		struct str part;

		rest = str_cut(rest, '/', &part);
		if (str_eq(part, ".."))
			depth--;
		else if (part.n > 0 && !str_eq(part, "."))
			depth++;
		if (depth < 0)
			return false;
	}
	return true;
}

static bool
is_git(const char *path)
{
	return strcmp(path, ".git") == 0 || str_has_prefix(path, ".git/");
}

/* --- reading --- */

static int
open_archive(struct pack *k, struct err *e)
{
	if (k->a != NULL)
		(void)archive_read_free(k->a);
	k->a = archive_read_new();
	if (k->a == NULL || lseek(k->in_fd, 0, SEEK_SET) < 0 ||
	    archive_read_support_filter_gzip(k->a) < ARCHIVE_WARN ||
	    archive_read_support_filter_bzip2(k->a) < ARCHIVE_WARN ||
	    archive_read_support_filter_xz(k->a) < ARCHIVE_WARN ||
	    archive_read_support_format_tar(k->a) != ARCHIVE_OK ||
	    archive_read_support_format_zip(k->a) != ARCHIVE_OK ||
	    archive_read_open_fd(k->a, k->in_fd, BLOCK) != ARCHIVE_OK)
		return err_set(e, ERR_INVALID, NULL, "this is no tar, tar.gz or zip archive: %s",
		    k->a == NULL ? "out of memory" : archive_error_string(k->a));
	return 0;
}

static int
damaged(struct pack *k, struct err *e)
{
	AUTO(free)
	char *why = shown(
	    archive_error_string(k->a) == NULL ? "it ends too early" : archive_error_string(k->a));

	return err_set(e, ERR_INVALID, NULL, "the archive is damaged: %s", why);
}

/* 1: an entry; 0: the end. */
static int
next_entry(struct pack *k, struct archive_entry **en, struct err *e)
{
	int rc = archive_read_next_header(k->a, en);

	if (rc == ARCHIVE_EOF)
		return 0;
	if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
		return damaged(k, e);
	if (archive_entry_is_encrypted(*en))
		return err_set(e, ERR_INVALID, NULL, "the archive is encrypted");
	return 1;
}

static int
path_of(struct archive_entry *en, char **out, struct err *e)
{
	const char *raw = archive_entry_pathname_utf8(en);

	if (raw == NULL)
		raw = archive_entry_pathname(en);
	if (raw == NULL)
		return err_set(
		    e, ERR_INVALID, NULL, "an entry of the archive has no readable name");
	return clean(raw, out, e);
}

static int
too_large(const struct pack *k, struct err *e)
{
	return err_set(e, ERR_LIMIT, NULL,
	    "the archive unpacks to more than %lld MB, or to more than %lld times its size",
	    (long long)(k->o->bytes_max / 1000000), (long long)k->o->ratio_max);
}

static bool
is_too_large(const struct pack *k, int64_t bytes)
{
	return bytes > k->o->bytes_max ||
	       (bytes > RATIO_FROM && bytes / k->o->ratio_max > k->in_size);
}

/* --- first pass: bounds, and whether all lies in one directory --- */

static int
note_entry(struct pack *k, struct archive_entry *en, struct err *e)
{
	AUTO(free) char *path = NULL;
	int64_t size = archive_entry_size(en);
	size_t n;

	if (path_of(en, &path, e) < 0)
		return -1;
	if (++k->files > k->o->files_max)
		return err_set(e, ERR_LIMIT, NULL, "the archive has more than %lld entries",
		    (long long)k->o->files_max);
	if (size < 0 || is_too_large(k, k->bytes += size))
		return too_large(k, e);
	if (path[0] == '\0')
		return 0;
	n = strcspn(path, "/");
	if (!k->has_top) {
		k->has_top = k->is_top_only = true;
		k->top = xstrndup(path, n);
	}
	/* the directory itself, or what lies in it */
	if (strncmp(path, k->top, n) != 0 || k->top[n] != '\0' ||
	    (path[n] == '\0' && archive_entry_filetype(en) != AE_IFDIR))
		k->is_top_only = false;
	return 0;
}

static int
first_pass(struct pack *k, struct err *e)
{
	struct archive_entry *en = NULL;
	int rc;

	if (open_archive(k, e) < 0)
		return -1;
	while ((rc = next_entry(k, &en, e)) == 1) {
		if (note_entry(k, en, e) < 0)
			return -1;
	}
	k->files = k->bytes = 0;
	return rc;
}

/* --- second pass: out --- */

static void
put(const void *p, size_t n, void *arg)
{
	struct pack *k = arg;

	buf_add(&k->out, p, n);
	if (k->out.n < BLOCK || k->write_error.code != ERR_NONE)
		return;
	(void)!file_write_all(k->out_fd, k->out.p, k->out.n, &k->write_error);
	buf_clear(&k->out);
}

static enum kind
kind_of(const struct pack *k, const char *path)
{
	const char *v = map_get(k->seen, path);

	return v == NULL ? 0 : (enum kind) * v;
}

static void
set_kind(struct pack *k, const char *path, enum kind kind)
{
	map_set(k->seen, path, (void *)(uintptr_t)&kinds[kind]);
}

/* Directories above it, told once each; none may be a file or a link. */
static int
check_above(struct pack *k, const char *path, struct err *e)
{
	for (const char *p = strchr(path, '/'); p != NULL; p = strchr(p + 1, '/')) {
		AUTO(free) char *above = xstrndup(path, (size_t)(p - path));
		enum kind kind = kind_of(k, above);

		if (kind == KIND_FILE || kind == KIND_LINK)
			return refuse(path, e, "lies behind a file or a link");
		if (kind == 0) {
			set_kind(k, above, KIND_DIR);
			oci_tar_dir(&k->tar, above, 0755);
		}
	}
	return 0;
}

static int
put_data(struct pack *k, const char *path, int64_t size, struct err *e)
{
	bool is_manifest = k->manifest != NULL && strcmp(path, manifest_name) == 0;
	static char block[BLOCK];
	int64_t left = size;
	la_ssize_t n;

	if (is_manifest && size > MANIFEST_MAX)
		return refuse(path, e, "is larger than a manifest may be");
	while ((n = archive_read_data(k->a, block, sizeof block)) > 0) {
		if (n > left)
			return refuse(path, e, "is larger than the archive says");
		oci_tar_data(&k->tar, block, (size_t)n);
		if (is_manifest)
			buf_add(k->manifest, block, (size_t)n);
		left -= n;
		k->bytes += n;
		if (is_too_large(k, k->bytes))
			return too_large(k, e);
		if (k->write_error.code != ERR_NONE)
			return *e = k->write_error, -1;
	}
	return n < 0 || left > 0 ? damaged(k, e) : 0;
}

static int
put_file(struct pack *k, const char *path, struct archive_entry *en, struct err *e)
{
	int64_t size = archive_entry_size(en);
	unsigned mode = (archive_entry_perm(en) & 0100) != 0 ? 0755 : 0644;

	if (strcmp(path, manifest_name) == 0) {
		k->has_manifest = true;
		if (k->o->manifest.n > 0)
			return 0; /* ours comes at the end */
	}
	set_kind(k, path, KIND_FILE);
	oci_tar_file(&k->tar, path, mode, (uint64_t)size);
	return put_data(k, path, size, e);
}

static int
put_link(struct pack *k, const char *path, const char *target, struct err *e)
{
	if (target == NULL || !stays(path, target))
		return refuse(path, e,
		    "is a symbolic link that is absolute or leaves the cartridge: make it "
		    "relative");
	if (str_has_prefix(path, "metadata"))
		return refuse(path, e, "is a symbolic link where the metadata must be");
	set_kind(k, path, KIND_LINK);
	oci_tar_link(&k->tar, path, target);
	return 0;
}

/* What is below the single top directory, when there is one; NULL: the top itself. */
static const char *
below_top(const struct pack *k, const char *path)
{
	size_t n;

	if (!k->is_top_only)
		return path[0] == '\0' ? NULL : path;
	n = strlen(k->top);
	return strncmp(path, k->top, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

/* A hard link has no data of its own here. */
static int
put_entry(struct pack *k, struct archive_entry *en, struct err *e)
{
	AUTO(free) char *whole = NULL;
	mode_t type = archive_entry_filetype(en);
	const char *path;

	if (path_of(en, &whole, e) < 0)
		return -1;
	path = below_top(k, whole);
	if (path == NULL || is_git(path))
		return 0;
	if (archive_entry_hardlink(en) != NULL)
		return refuse(path, e, "is a hard link: put the file itself in the archive");
	if (type == AE_IFDIR && kind_of(k, path) == KIND_DIR)
		return 0;
	if (kind_of(k, path) != 0)
		return refuse(path, e, "is there twice");
	if (check_above(k, path, e) < 0)
		return -1;
	switch (type) {
	case AE_IFDIR:
		set_kind(k, path, KIND_DIR);
		oci_tar_dir(&k->tar, path, 0755);
		return 0;
	case AE_IFREG:
		return put_file(k, path, en, e);
	case AE_IFLNK:
		return put_link(k, path, archive_entry_symlink(en), e);
	default:
		return refuse(path, e, "is a device, socket or pipe");
	}
}

static int
put_manifest(struct pack *k, struct err *e)
{
	const struct str m = k->o->manifest;

	if (m.n == 0 && !k->has_manifest)
		return err_set(e, ERR_INVALID, NULL,
		    "the archive holds no cartridge: it has no metadata/manifest.yml");
	if (m.n == 0)
		return 0;
	if (check_above(k, manifest_name, e) < 0)
		return -1;
	oci_tar_file(&k->tar, manifest_name, 0644, m.n);
	oci_tar_data(&k->tar, m.p, m.n);
	return 0;
}

static int
second_pass(struct pack *k, struct err *e)
{
	struct archive_entry *en = NULL;
	int rc;

	if (open_archive(k, e) < 0)
		return -1;
	while ((rc = next_entry(k, &en, e)) == 1) {
		if (put_entry(k, en, e) < 0)
			return -1;
		if (k->write_error.code != ERR_NONE)
			return *e = k->write_error, -1;
	}
	if (rc < 0 || put_manifest(k, e) < 0)
		return -1;
	oci_tar_end(&k->tar);
	if (k->write_error.code != ERR_NONE)
		return *e = k->write_error, -1;
	return file_write_all(k->out_fd, k->out.p == NULL ? "" : k->out.p, k->out.n, e);
}

int
oci_cart_pack(
    int in_fd, int out_fd, const struct oci_cart_opts *o, struct buf *out_manifest, struct err *e)
{
	struct pack k = { .o = o, .in_fd = in_fd, .out_fd = out_fd, .manifest = out_manifest };
	int rc = -1;

	k.in_size = lseek(in_fd, 0, SEEK_END);
	if (k.in_size < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot seek in the archive");
	if (k.in_size == 0)
		return err_set(e, ERR_INVALID, NULL, "the archive is empty");
	k.seen = map_new(NULL);
	k.tar = (struct oci_tar){ .put = put, .arg = &k };
	if (first_pass(&k, e) == 0)
		rc = second_pass(&k, e);
	if (k.a != NULL)
		(void)archive_read_free(k.a);
	map_free(k.seen);
	buf_fini(&k.out);
	free(k.top);
	return rc;
}
