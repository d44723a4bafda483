#include "node/tree_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/container.h"

enum { DEPTH_MAX = 128, CHUNK = 64 * 1024 };

static int
copy_file(const struct tree_copy_opts *o, int from_dir, int to_dir, const char *name, mode_t mode,
    struct err *e)
{
	AUTO(file_close) int in = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(file_close)
	int out = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	AUTO(free) char *chunk = xmalloc(CHUNK);
	ssize_t n = -1;

	if (out < 0 && errno == EEXIST && o->keeps)
		return 0;
	if (in < 0 || out < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot copy %s", name);
	while ((n = read(in, chunk, CHUNK)) > 0) {
		if (file_write_all(out, chunk, (size_t)n, e) < 0)
			return -1;
	}
	if (n < 0 || fchmod(out, mode) < 0 || fchown(out, CONTAINER_UID, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot copy %s", name);
	return 0;
}

static int
copy_link(const struct tree_copy_opts *o, int from_dir, int to_dir, const char *name, struct err *e)
{
	char target[4096];
	ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);

	if (n < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read the link %s", name);
	target[n] = '\0';
	if (symlinkat(target, to_dir, name) < 0 && errno == EEXIST && o->keeps)
		return 0;
	if (fchownat(to_dir, name, CONTAINER_UID, CONTAINER_UID, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make the link %s", name);
	return 0;
}

static int copy_dir(
    const struct tree_copy_opts *o, int from, int to, const char *rel, int depth, struct err *e);

static int
copy_entry(const struct tree_copy_opts *o, int from, int to, const char *name, const char *rel,
    int depth, struct err *e)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot stat %s", rel);
	if (S_ISLNK(st.st_mode))
		return copy_link(o, from, to, name, e);
	if (S_ISREG(st.st_mode))
		return copy_file(o, from, to, name,
		    o->mode == NULL ? st.st_mode & 0777 : o->mode(rel, st.st_mode), e);
	if (S_ISDIR(st.st_mode)) {
		AUTO(file_close)
		int sub_from = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		AUTO(file_close) int sub_to = -1;
		bool is_new = mkdirat(to, name, 0755) == 0;

		if (is_new || errno == EEXIST)
			sub_to = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub_from < 0 || sub_to < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot make the directory %s", rel);
		if (is_new && (fchown(sub_to, CONTAINER_UID, CONTAINER_UID) < 0 ||
		                  (o->mode == NULL && fchmod(sub_to, st.st_mode & 0777) < 0)))
			return err_set(e, ERR_SYSTEM, NULL, "cannot own the directory %s", rel);
		return copy_dir(o, sub_from, sub_to, rel, depth + 1, e);
	}
	return 0;
}

static int
copy_dir(
    const struct tree_copy_opts *o, int from, int to, const char *rel, int depth, struct err *e)
{
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *de;
	int rc = 0;

	if (d == NULL || depth > DEPTH_MAX) {
		file_close(d == NULL ? copy : -1);
		if (d != NULL)
			closedir(d);
		return err_set(e, ERR_SYSTEM, NULL, "cannot read the directory %s", rel);
	}
	while (rc == 0 && (de = readdir(d)) != NULL) {
		AUTO(free)
		char *below = rel[0] == '\0' ? xstrdup(de->d_name) : file_join(rel, de->d_name);

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
		    (o->is_left_out != NULL && o->is_left_out(below)))
			continue;
		rc = copy_entry(o, from, to, de->d_name, below, depth, e);
	}
	closedir(d);
	return rc;
}

int
tree_copy(int from, int to, const struct tree_copy_opts *o, struct err *e)
{
	return copy_dir(o, from, to, "", 0, e);
}
