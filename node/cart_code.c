#include "node/cart_code.h"

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
#include "node/tree_copy.h"

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

static bool
is_left_out(const char *rel)
{
	return strcmp(rel, ".git") == 0;
}

static mode_t
mode_of(const char *rel, mode_t mode)
{
	return is_program(rel) || (mode & 0100) != 0 ? 0755 : 0644;
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
	const struct tree_copy_opts opts = { .mode = mode_of, .is_left_out = is_left_out };
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
		rc = tree_copy(from, to, &opts, e);
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
