#include "node/gear_hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "node/container.h"
#include "node/gear.h"

enum {
	FILE_MAX = 256 * 1024,
	FILES_MAX = 100,
	MODE_DIR = 0750,
	MODE_FILE = 0640,
	MODE_EXEC = 0750
};

static const char in_layer[] = "app-root/runtime/repo/.openshift/action_hooks";

/* Around an action of all cartridges (pre_start), or of one of them (pre_start_redis). */
static bool
is_around_action(const char *name)
{
	return str_has_prefix(name, "pre_") || str_has_prefix(name, "post_");
}

static int
list_hooks(int layer, struct str_list *out, struct err *e)
{
	struct err none = { 0 };
	int fd = file_open_beneath(layer, in_layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &none);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (d == NULL) {
		file_close(fd);
		return 0;
	}
	while ((de = readdir(d)) != NULL) {
		if (is_around_action(de->d_name))
			str_list_add(out, de->d_name);
	}
	(void)closedir(d);
	return out->n <= FILES_MAX
	           ? 0
	           : err_set(e, ERR_LIMIT, "action_hooks",
	                 "there are %zu action hooks before and after actions: at most %d", out->n,
	                 FILES_MAX);
}

/* Links lead nowhere but within the layer. What is no file is no hook. */
static int
copy_hook(int layer, const char *name, const char *to, struct err *e)
{
	AUTO(free) char *rel = file_join(in_layer, name);
	AUTO(free) char *path = file_join(to, name);
	AUTO(free) char *self = NULL;
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	AUTO(file_close)
	int fd = file_open_beneath(layer, rel, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, e);
	struct stat st;
	mode_t mode;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	self = xasprintf("/proc/self/fd/%d", fd);
	mode = st.st_mode & S_IXUSR ? MODE_EXEC : MODE_FILE;
	if (file_read(self, FILE_MAX, &text, e) < 0 ||
	    file_replace(path, text.n == 0 ? "" : text.p, text.n, mode, e) < 0)
		return -1;
	if (chmod(path, mode) < 0 || chown(path, 0, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "set the owner of %s", path);
	return 0;
}

static int
make_dir(const char *path, struct err *e)
{
	if (mkdir(path, MODE_DIR) < 0 && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, NULL, "make %s", path);
	if (chmod(path, MODE_DIR) < 0 || chown(path, 0, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "set the owner of %s", path);
	return 0;
}

static int
replace(int layer, const struct str_list *names, const char *dir, struct err *e)
{
	AUTO(free) char *now = file_join(dir, "action_hooks");
	AUTO(free) char *new = file_join(dir, "action_hooks.new");

	if (names->n == 0 && !file_exists(now))
		return 0;
	if (make_dir(dir, e) < 0 || file_remove_tree(new, e) < 0 || make_dir(new, e) < 0)
		return -1;
	for (size_t i = 0; i < names->n; i++) {
		if (copy_hook(layer, names->v[i], new, e) < 0)
			return -1;
	}
	if (renameat2(AT_FDCWD, new, AT_FDCWD, now, RENAME_EXCHANGE) < 0 && rename(new, now) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "replace %s", now);
	return file_remove_tree(new, e);
}

int
gear_hooks_publish(const char *gear_dir, const char *app_layer, struct err *e)
{
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	AUTO(free) char *dir = file_join(gear_dir, "hooks");
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	AUTO(file_close)
	int layer = app_layer == NULL ? -1 : open(app_layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (app_layer != NULL && layer < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", app_layer);
	if (layer >= 0 && list_hooks(layer, &names, e) < 0)
		return -1;
	(void)pthread_mutex_lock(&one_at_a_time);
	rc = replace(layer, &names, dir, e);
	(void)pthread_mutex_unlock(&one_at_a_time);
	return rc;
}

void
gear_hooks_bind(const struct gear *g, struct container_spec *s)
{
	AUTO(free) char *dir = file_join(g->dir, "hooks");
	struct err e = { 0 };

	if (make_dir(dir, &e) < 0)
		log_warn("service_without_hooks", LOG_STR("gear", g->record.uuid), LOG_ERR(&e));
	else
		container_spec_bind(s, dir, "~/app-root/runtime/repo/.openshift", true, true);
}
