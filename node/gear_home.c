#include "node/gear_home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/container_ids.h"

enum { ROOT = 0, USER = CONTAINER_UID };

struct home_entry {
	const char *path;
	mode_t mode;
	uid_t owner;
	const char *link; /* NULL: a directory */
};

/* OpenShift v2's home; what is bound from the volume is an empty directory here. The group is
 * always the gear's. */
static const struct home_entry home_entries[] = {
	{ "base", 0711, ROOT, NULL },
	{ "base/0", 0750, ROOT, NULL },
	{ "base/0/.env", 0750, ROOT, NULL },
	{ "base/0/.ssh", 0750, ROOT, NULL },
	{ "base/0/.openshift_ssh", 0750, USER, NULL },
	{ "base/0/.auth", 0750, USER, NULL },
	{ "base/0/.gem", 0750, USER, NULL },
	{ "base/0/app-deployments", 0750, USER, NULL },
	{ "base/0/app-deployments/by-id", 0750, USER, NULL },
	{ "base/0/app-root", 0750, ROOT, NULL },
	{ "base/0/app-root/data", 0750, USER, NULL },
	{ "base/0/app-root/logs", 0750, USER, NULL },
	{ "base/0/app-root/runtime", 0750, USER, NULL },
	{ "base/0/app-root/runtime/repo", 0750, USER, NULL },
	{ "base/0/app-root/runtime/dependencies", 0750, USER, NULL },
	{ "base/0/app-root/runtime/build-dependencies", 0750, USER, NULL },
	{ "base/0/app-root/runtime/data", 0, USER, "../data" },
	{ "base/0/app-root/repo", 0, USER, "runtime/repo" },
	{ "base/0/app-root/dependencies", 0, USER, "runtime/dependencies" },
	{ "base/0/app-root/build-dependencies", 0, USER, "runtime/build-dependencies" },
	{ "auth", 0750, ROOT, NULL },
	{ "env", 0750, ROOT, NULL },
	{ "env/user_vars", 0750, ROOT, NULL },
	{ "data", 0750, USER, NULL },
	{ "logs", 0750, USER, NULL },
	{ "svc", 0711, ROOT, NULL },
	{ "inst", 0711, ROOT, NULL },
};

/* Also what was there gets its owner and mode: a start that died in the middle goes on here. */
static int
make_entry(int at, const struct home_entry *h, struct err *e)
{
	gid_t group = h->owner == ROOT && h->mode == 0755 ? ROOT : USER;
	int rc = h->link != NULL ? symlinkat(h->link, at, h->path) : mkdirat(at, h->path, 0700);

	if (rc < 0 && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, NULL, "make %s", h->path);
	if (fchownat(at, h->path, h->owner, group, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (h->link == NULL && fchmodat(at, h->path, h->mode, 0) < 0))
		return err_set(e, ERR_SYSTEM, NULL, "set the owner of %s", h->path);
	return 0;
}

static int
make_all(const char *root, const struct home_entry *v, size_t n, struct err *e)
{
	AUTO(file_close) int at = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (at < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", root);
	for (size_t i = 0; i < n; i++) {
		if (make_entry(at, &v[i], e) < 0)
			return -1;
	}
	return 0;
}

int
gear_home_set_state(const char *home, const char *state, struct err *e)
{
	AUTO(free) char *path = file_join(home, "app-root/runtime/.state");
	AUTO(free) char *line = xasprintf("%s\n", state);

	if (file_replace_fast(path, line, strlen(line), 0640, e) < 0)
		return -1;
	if (lchown(path, USER, USER) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "own %s", path);
	return 0;
}

int
gear_home_skeleton(const char *root, struct err *e)
{
	AUTO(free) char *base = file_join(root, "base/0");

	if (make_all(root, home_entries, ARRAY_LEN(home_entries), e) < 0 ||
	    gear_home_set_state(base, "new", e) < 0)
		return -1;
	return gear_home_make_spare(root, e);
}

static int
make_instance_at(const char *dir, struct err *e)
{
	static const struct home_entry entries[] = {
		{ "up", 0750, ROOT, NULL },
		{ "work", 0755, ROOT, NULL },
		{ "work/work", 0755, ROOT, NULL },
		{ "tmp", 01777, ROOT, NULL },
		{ "ctl", 0750, USER, NULL },
	};

	if (file_mkdirs(dir, 0711, e) < 0)
		return -1;
	return make_all(dir, entries, ARRAY_LEN(entries), e);
}

int
gear_home_make_instance(const char *root, const char *id, struct err *e)
{
	AUTO(free) char *dir = xasprintf("%s/inst/%s", root, id);
	AUTO(free) char *spare = xasprintf("%s/inst/%s", root, GEAR_HOME_SPARE);

	if (!file_exists(dir) && rename(spare, dir) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, NULL, "make %s", dir);
	return make_instance_at(dir, e);
}

int
gear_home_make_spare(const char *root, struct err *e)
{
	AUTO(free) char *dir = xasprintf("%s/inst/%s", root, GEAR_HOME_SPARE);

	return make_instance_at(dir, e);
}
