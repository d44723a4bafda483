#include "node/cart_code.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/cart/cart_dir.h"
#include "node/container.h"
#include "node/node_dirs.h"

enum { DEPTH_MAX = 16, CHUNK = 64 * 1024 };

/* File modes of source trees are not reliable: what lies in bin/ and hooks/ is a program. */
static bool
is_program(const char *rel)
{
	const char *name = strrchr(rel, '/');

	if (name == NULL || strchr(rel, '/') == NULL)
		return false;
	return str_has_prefix(rel, "bin/") || str_has_prefix(rel, "hooks/") ||
	       str_has_prefix(rel, "usr/bin/") ||
	       ((str_has_prefix(rel, "versions/") || str_has_prefix(rel, "usr/versions/")) &&
	           name - rel >= 4 && strncmp(name - 4, "/bin", 4) == 0);
}

static int
copy_file(int from_dir, int to_dir, const char *name, mode_t mode, struct err *e)
{
	AUTO(file_close) int in = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(file_close)
	int out = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	AUTO(free) char *chunk = xmalloc(CHUNK);
	ssize_t n = -1;

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
copy_link(int from_dir, int to_dir, const char *name, struct err *e)
{
	char target[4096];
	ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);

	if (n < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read the link %s", name);
	target[n] = '\0';
	if (symlinkat(target, to_dir, name) < 0 ||
	    fchownat(to_dir, name, CONTAINER_UID, CONTAINER_UID, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make the link %s", name);
	return 0;
}

static int copy_dir(int from, int to, const char *rel, int depth, struct err *e);

static int
copy_entry(int from, int to, const char *name, const char *rel, int depth, struct err *e)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot stat %s", rel);
	if (S_ISLNK(st.st_mode))
		return copy_link(from, to, name, e);
	if (S_ISREG(st.st_mode))
		return copy_file(
		    from, to, name, is_program(rel) || (st.st_mode & 0100) != 0 ? 0755 : 0644, e);
	if (S_ISDIR(st.st_mode)) {
		AUTO(file_close)
		int sub_from = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		AUTO(file_close) int sub_to = -1;

		if (mkdirat(to, name, 0755) == 0)
			sub_to = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub_from < 0 || sub_to < 0 || fchown(sub_to, CONTAINER_UID, CONTAINER_UID) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot make the directory %s", rel);
		return copy_dir(sub_from, sub_to, rel, depth + 1, e);
	}
	return 0;
}

static int
copy_dir(int from, int to, const char *rel, int depth, struct err *e)
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

		/* The template is the repository's start and no part of the gear's code. */
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
		    (depth == 0 &&
		        (strcmp(de->d_name, ".git") == 0 || strcmp(de->d_name, "template") == 0 ||
		            strcmp(de->d_name, "template.git") == 0)))
			continue;
		rc = copy_entry(from, to, de->d_name, below, depth, e);
	}
	closedir(d);
	return rc;
}

/* All into a directory beside it, then one rename. */
static int
make_layer(const char *path, const struct cart_dir_entry *c, struct err *e)
{
	AUTO(free) char *word = secret_random_hex(4);
	AUTO(free) char *tmp = xasprintf("%s.%s", path, word);
	AUTO(free) char *inner = file_join(tmp, c->cart.name);
	AUTO(file_close) int from = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(file_close) int to = -1;
	struct err ignored = { 0 };
	int rc = -1;

	if (file_mkdirs(inner, 0755, e) < 0)
		return -1;
	to = open(inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from < 0 || to < 0 || chmod(tmp, 0755) < 0 || fchmod(to, 0755) < 0 ||
	    fchown(to, CONTAINER_UID, CONTAINER_UID) < 0)
		(void)err_set(
		    e, ERR_SYSTEM, NULL, "cannot make the code layer of %s", c->cart.name);
	else
		rc = copy_dir(from, to, "", 0, e);
	if (rc == 0 && syncfs(to) < 0)
		rc = err_set(e, ERR_SYSTEM, NULL, "cannot write %s to disk", tmp);
	if (rc == 0 && rename(tmp, path) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		rc = err_set(e, ERR_SYSTEM, NULL, "cannot rename %s", tmp);
	if (file_remove_tree(tmp, &ignored) < 0)
		log_warn("cartridge_copy_remains", LOG_STR("path", tmp), LOG_ERR(&ignored));
	return rc;
}

char *
cart_code_layer(const struct node_dirs *d, const struct cart_dir_entry *c, struct err *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* one copy at a time */
	AUTO(free) char *dir = file_join(d->data, "carts");
	AUTO(free) char *path = file_join(dir, c->digest);
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (!file_exists(path))
		rc = file_mkdirs(dir, 0700, e) < 0 ? -1 : make_layer(path, c, e);
	pthread_mutex_unlock(&lock);
	return rc < 0 ? NULL : STEAL(path);
}
