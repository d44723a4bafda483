#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/oci/oci_snapshot.h"

enum {
	CHUNK = 64 * 1024,
	NAMES_MAX = 64, /* of archives and dumps in one snapshot */
	UUID_MIN = 24,
	DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
};

static const char archive_suffix[] = ".tar.gz";
static const char dump_word[] = "_snapshot.";

struct sorter {
	int dir, data;
	const struct oci_snapshot_in *in;
	struct oci_snapshot_result *out;
};

/* Without a version: of "postgresql-9.2" the first ten. */
static size_t
stem_of(const char *name)
{
	const char *dash = strrchr(name, '-');

	return dash != NULL && dash[1] >= '0' && dash[1] <= '9' ? (size_t)(dash - name)
	                                                        : strlen(name);
}

/* The service of the list that has this stem; NULL: none. */
static const char *
find(const struct str_list *services, const char *name, size_t stem)
{
	for (size_t i = 0; services != NULL && i < services->n; i++) {
		const char *s = services->v[i];

		if (stem_of(s) == stem && strncmp(s, name, stem) == 0)
			return s;
	}
	return NULL;
}

static void
leave(struct sorter *s, const char *name, size_t stem)
{
	AUTO(free) char *word = xstrndup(name, stem);

	if (!str_list_has(&s->out->left, word))
		str_list_add(&s->out->left, word);
}

static DIR *
open_list(int dir)
{
	int fd = openat(dir, ".", DIR_FLAGS);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (d == NULL)
		file_close(fd);
	return d;
}

static int
make_dir(int at, const char *path, struct err *e)
{
	return mkdirat(at, path, 0755) < 0 && errno != EEXIST
	           ? err_set(e, ERR_SYSTEM, NULL, "make a directory")
	           : 0;
}

/* --- snapshots of gears --- */

static bool
is_of_gear(struct archive_entry *en)
{
	const char *name = archive_entry_pathname(en);
	AUTO(free) char *uuid = NULL;

	if (name == NULL || strncmp(name, "./", 2) != 0)
		return false;
	uuid = xstrndup(name + 2, strcspn(name + 2, "/"));
	return strlen(uuid) >= UUID_MIN && str_is_hex(uuid, strlen(uuid));
}

static bool
is_snapshot(int fd)
{
	struct archive *a = archive_read_new();
	struct archive_entry *en;
	bool is_one = archive_read_support_filter_gzip(a) == ARCHIVE_OK &&
	              archive_read_support_format_tar(a) == ARCHIVE_OK &&
	              archive_read_open_fd(a, fd, CHUNK) == ARCHIVE_OK &&
	              archive_read_next_header(a, &en) == ARCHIVE_OK && is_of_gear(en);

	archive_read_free(a);
	return is_one && lseek(fd, 0, SEEK_SET) == 0;
}

/* Those that the head's data have under the same name stay theirs; hidden ones are the shell's. */
static int
move_data(const struct sorter *s, int from, struct err *e)
{
	AUTO(file_close) int data = openat(from, "data", DIR_FLAGS);
	DIR *d = data < 0 ? NULL : open_list(data);
	struct dirent *de;
	int rc = 0;

	while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
		if (de->d_name[0] != '.' &&
		    renameat2(data, de->d_name, s->data, de->d_name, RENAME_NOREPLACE) < 0 &&
		    errno != EEXIST)
			rc = err_set(e, ERR_SYSTEM, NULL, "move the data of a service");
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

/* What a gear of its own had saved comes to the data of this one. */
static int
merge(struct sorter *s, int fd, const char *name, const char *service, struct err *e)
{
	AUTO_FINI(oci_snapshot_result_fini) struct oci_snapshot_result r = { 0 };
	AUTO(free) char *path = xasprintf("merged/%s", service);
	AUTO(file_close) int to = -1;
	const struct oci_snapshot_in in = {
		.app_name = s->in->app_name,
		.transforms = s->in->transforms,
		.files_max = s->in->files_max - s->out->files,
		.bytes_max = s->in->bytes_max - s->out->bytes,
	};

	if (make_dir(s->dir, "merged", e) < 0 || make_dir(s->dir, path, e) < 0)
		return -1;
	to = openat(s->dir, path, DIR_FLAGS);
	if (to < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open a directory");
	if (oci_snapshot_read(fd, to, &in, &r, e) < 0)
		return err_wrap(e, "within it, in %s", name);
	s->out->files += r.files;
	s->out->bytes += r.bytes;
	return move_data(s, to, e) < 0 || unlinkat(s->data, name, 0) < 0 ? -1 : 0;
}

static int
sort_archive(struct sorter *s, const char *name, struct err *e)
{
	AUTO(file_close)
	int fd = openat(s->data, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO(free) char *base = xstrndup(name, strlen(name) - strlen(archive_suffix));
	size_t stem = stem_of(base);
	const char *here = find(s->in->here, base, stem), *apart = find(s->in->apart, base, stem);
	AUTO(free) char *to = apart == NULL ? NULL : xasprintf("parts/%s%s", apart, archive_suffix);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !is_snapshot(fd))
		return 0;
	if (here != NULL)
		return merge(s, fd, name, here, e);
	if (to == NULL)
		leave(s, base, stem);
	else if (make_dir(s->dir, "parts", e) < 0)
		return -1;
	else if (renameat(s->data, name, s->dir, to) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "move %s", name);
	return 0;
}

/* --- dumps --- */

/* v2's names: SERVICE_dump_snapshot.gz, _db_dbname, _version … */
static bool
is_of_dump(const char *rest)
{
	return strncmp(rest, "_dump_", 6) == 0 || strncmp(rest, "_db_", 4) == 0 ||
	       strcmp(rest, "_version") == 0 || strstr(rest, dump_word) != NULL;
}

/* As a snapshot of a gear would hold them. */
static int
move_dump(const struct sorter *s, const char *service, struct err *e)
{
	static const char *const below[] = { "", "/gear", "/gear/app-root", "/gear/app-root/data" };
	AUTO(free) char *top = xasprintf("parts/%s", service);
	size_t stem = stem_of(service);
	AUTO(file_close) int to = -1;
	struct dirent *de;
	DIR *d;
	int rc = make_dir(s->dir, "parts", e);

	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(below); i++) {
		AUTO(free) char *path = xasprintf("%s%s", top, below[i]);

		rc = make_dir(s->dir, path, e);
		file_close(to);
		to = openat(s->dir, path, DIR_FLAGS);
	}
	d = rc < 0 ? NULL : open_list(s->data);
	while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
		if (strncmp(de->d_name, service, stem) == 0 && is_of_dump(de->d_name + stem) &&
		    renameat(s->data, de->d_name, to, de->d_name) < 0)
			rc = err_set(e, ERR_SYSTEM, NULL, "move the dump of %s", service);
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

static int
sort_dump(struct sorter *s, const char *name, struct err *e)
{
	size_t stem = strcspn(name, "_");
	const char *apart = find(s->in->apart, name, stem);

	if (apart != NULL)
		return move_dump(s, apart, e);
	if (find(s->in->here, name, stem) == NULL)
		leave(s, name, stem);
	return 0;
}

/* --- all --- */

static void
list(int data, struct str_list *out)
{
	DIR *d = open_list(data);
	struct dirent *de;

	while (d != NULL && out->n < NAMES_MAX && (de = readdir(d)) != NULL) {
		const char *n = de->d_name;

		if ((n[0] >= 'a' && n[0] <= 'z') &&
		    (str_has_suffix(n, archive_suffix) || strstr(n, dump_word) != NULL))
			str_list_add(out, n);
	}
	if (d != NULL)
		closedir(d);
}

int
oci_snapshot_parts_sort(
    int dir_fd, const struct oci_snapshot_in *in, struct oci_snapshot_result *out, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	AUTO(file_close) int data = openat(dir_fd, "data", DIR_FLAGS);
	struct sorter s = { .dir = dir_fd, .data = data, .in = in, .out = out };
	int rc = 0;

	if (data >= 0)
		list(data, &names);
	for (size_t i = 0; rc == 0 && i < names.n; i++) {
		if (strstr(names.v[i], dump_word) == NULL)
			rc = sort_archive(&s, names.v[i], e);
	}
	/* Those too that an archive brought. */
	str_list_fini(&names);
	if (data >= 0)
		list(data, &names);
	for (size_t i = 0; rc == 0 && i < names.n; i++) {
		if (strstr(names.v[i], dump_word) != NULL)
			rc = sort_dump(&s, names.v[i], e);
	}
	return rc;
}
