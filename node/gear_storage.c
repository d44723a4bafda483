#include "node/gear_storage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "node/container.h"
#include "node/tree_copy.h"
#include "node/whiteout.h"

enum {
	DEPTH_MAX = 128,
	NAMES_MAX = 1000,
	DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
};

static const char removed_dir[] = "removed-storage";

static char *
store_dir(const struct gear *g)
{
	return file_join(g->dir, "storage");
}

/* --- taking over --- */

enum found { FOUND_NONE, FOUND_DIR, FOUND_HIDDEN /* nothing below counts */, FOUND_OTHER };

/* The directory place of a layer, no link followed. hides: layers below it do not show. */
static enum found
open_place(const char *layer, const char *place, int *out_fd, bool *hides)
{
	int fd = open(layer, DIR_FLAGS);
	struct str rest = str_of(place), part;
	struct stat st;

	*hides = false;
	while (fd >= 0 && rest.p != NULL) {
		AUTO(free) char *name = NULL;
		int next;

		rest = str_cut(rest, '/', &part);
		name = xstrndup(part.p, part.n);
		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			close(fd);
			return FOUND_NONE;
		}
		if (!S_ISDIR(st.st_mode)) {
			close(fd);
			return whiteout_is(&st) ? FOUND_HIDDEN : FOUND_OTHER;
		}
		next = openat(fd, name, DIR_FLAGS);
		close(fd);
		fd = next;
		*hides = *hides || (fd >= 0 && whiteout_is_opaque(fd));
	}
	*out_fd = fd;
	return fd < 0 ? FOUND_NONE : FOUND_DIR;
}

static int remove_hidden(int from, int to, int depth, struct err *e);

/* What stands in the way of name of the upper layer goes from the copy. */
static int
remove_hidden_entry(int from, int to, const char *name, int depth, struct err *e)
{
	AUTO(free) char *path = xasprintf("/proc/self/fd/%d/%s", to, name);
	AUTO(file_close) int sub_from = -1;
	AUTO(file_close) int sub_to = -1;
	struct stat st, old;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fstatat(to, name, &old, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (!S_ISDIR(st.st_mode) || !S_ISDIR(old.st_mode))
		return file_remove_tree(path, e);
	sub_from = openat(from, name, DIR_FLAGS);
	sub_to = openat(to, name, DIR_FLAGS);
	if (sub_from < 0 || sub_to < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", name);
	if (whiteout_is_opaque(sub_from))
		return file_remove_tree(path, e);
	return remove_hidden(sub_from, sub_to, depth + 1, e);
}

static int
remove_hidden(int from, int to, int depth, struct err *e)
{
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	int rc = 0;

	if (d == NULL) {
		file_close(fd);
		return err_set(e, ERR_SYSTEM, NULL, "read a directory");
	}
	if (depth > DEPTH_MAX)
		rc = err_set(e, ERR_LIMIT, NULL, "the tree is deeper than %d", DEPTH_MAX);
	while (rc == 0 && (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			rc = remove_hidden_entry(from, to, de->d_name, depth, e);
	}
	closedir(d);
	return rc;
}

/* One layer onto the copy; *hidden: those above it hide it. */
static int
add_layer(const char *layer, const char *place, int to, struct err *e)
{
	static const struct tree_copy_opts as_is = { 0 };
	AUTO(file_close) int from = -1;
	bool hides;

	if (open_place(layer, place, &from, &hides) != FOUND_DIR)
		return 0;
	return remove_hidden(from, to, 0, e) < 0 ? -1 : tree_copy(from, to, &as_is, e);
}

/* How many of the layers show at place, from the top. */
static int
count_visible(const struct str_list *all, const char *place, size_t *out_n, struct err *e)
{
	for (size_t i = 0; i < all->n; i++) {
		AUTO(file_close) int fd = -1;
		bool hides;
		enum found f = open_place(all->v[i], place, &fd, &hides);

		if (f == FOUND_OTHER)
			return err_set(e, ERR_INVALID, "path",
			    "%s is a file in the deployed tree, or below one: a persistent path is "
			    "a directory",
			    place);
		if (f == FOUND_HIDDEN) {
			*out_n = i;
			return 0;
		}
		if (hides) {
			*out_n = i + 1;
			return 0;
		}
	}
	*out_n = all->n;
	return 0;
}

static int
take_over_into(const char *fresh, const char *place, const struct str_list *all, struct err *e)
{
	AUTO(file_close) int to = -1;
	size_t n = 0;

	if (count_visible(all, place, &n, e) < 0)
		return -1;
	if (mkdir(fresh, 0750) < 0 || chown(fresh, CONTAINER_UID, CONTAINER_UID) < 0 ||
	    (to = open(fresh, DIR_FLAGS)) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make %s", fresh);
	while (n > 0) {
		if (add_layer(all->v[--n], place, to, e) < 0)
			return -1;
	}
	fault_point("storage_copied");
	return syncfs(to) < 0 ? err_set(e, ERR_SYSTEM, NULL, "write %s", fresh) : 0;
}

static int
take_over_one(
    const struct gear *g, const struct wire_storage *s, const struct str_list *all, struct err *e)
{
	AUTO(free) char *name = wire_storage_name(s);
	AUTO(free) char *place = wire_storage_place(s);
	AUTO(free) char *store = store_dir(g);
	AUTO(free) char *path = file_join(store, name);
	AUTO(free) char *fresh = file_join(store, ".new");
	struct err unused = { 0 };

	if (wire_storage_check(s, e) < 0)
		return -1;
	if (s->is_going || file_exists(path))
		return 0;
	if (file_mkdirs(store, 0711, e) < 0 || file_remove_tree(fresh, e) < 0)
		return -1;
	if (take_over_into(fresh, place, all, e) < 0) {
		if (file_remove_tree(fresh, &unused) < 0)
			log_warn("storage_remains", LOG_STR("gear", g->spec.uuid));
		if (e->sys == ENOSPC || e->sys == EDQUOT)
			return err_set(e, ERR_LIMIT, "disk",
			    "the gear's disk has no room for a copy of %s: remove files, or take a "
			    "larger gear",
			    s->path);
		return err_wrap(e, "take over %s", s->path);
	}
	if (rename(fresh, path) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "rename %s", fresh);
	fault_point("storage_taken_over");
	log_info("storage_taken_over", LOG_STR("gear", g->spec.uuid), LOG_STR("path", place));
	return 0;
}

int
gear_storage_take_over(
    const struct gear *g, const char *upper, const struct str_list *layers, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list all = { 0 };

	if (upper != NULL)
		str_list_add(&all, upper);
	for (size_t i = 0; i < layers->n; i++)
		str_list_add(&all, layers->v[i]);
	for (size_t i = 0; i < g->spec.storage.n; i++) {
		if (take_over_one(g, &g->spec.storage.v[i], &all, e) < 0)
			return -1;
	}
	return 0;
}

/* --- binding --- */

/* Makes the directory rel (and those above it) in upper where no layer has it. */
static int
make_way(const char *upper, const struct str_list *layers, const char *rel, struct err *e)
{
	AUTO(file_close) int fd = open(upper, DIR_FLAGS);
	struct str rest = str_of(rel), part;
	bool is_new = false;

	while (fd >= 0 && rest.p != NULL) {
		AUTO(free) char *so_far = NULL;
		AUTO(free) char *name = NULL;
		int next;

		rest = str_cut(rest, '/', &part);
		so_far = xstrndup(rel, (size_t)(part.p + part.n - rel));
		name = xstrndup(part.p, part.n);
		for (size_t i = 0; !is_new && i < layers->n; i++) {
			AUTO(file_close) int at = -1;
			bool hides;

			if (open_place(layers->v[i], so_far, &at, &hides) == FOUND_DIR)
				break;
			is_new = i + 1 == layers->n;
		}
		if (mkdirat(fd, name, 0755) == 0 &&
		    fchownat(fd, name, CONTAINER_UID, CONTAINER_UID, AT_SYMLINK_NOFOLLOW) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "own %s", rel);
		next = openat(fd, name, DIR_FLAGS);
		close(fd);
		fd = next;
	}
	return fd < 0 ? err_set(e, ERR_SYSTEM, NULL, "make %s", rel) : 0;
}

int
gear_storage_bind(const struct gear *g, const char *upper, const struct str_list *layers,
    bool for_build, struct container_spec *s, struct err *e)
{
	for (size_t i = 0; i < g->spec.storage.n; i++) {
		const struct wire_storage *w = &g->spec.storage.v[i];
		AUTO(free) char *name = wire_storage_name(w);
		AUTO(free) char *place = wire_storage_place(w);
		AUTO(free) char *source = xasprintf("%s/storage/%s", g->dir, name);
		AUTO(free) char *target = xasprintf("~/%s", place);

		if (wire_storage_check(w, e) < 0)
			return -1;
		if (!file_exists(source) || w->is_going || (for_build && w->exclusive))
			continue;
		if (make_way(upper, layers, place, e) < 0)
			return -1;
		container_spec_bind(s, source, target, false, true);
	}
	return 0;
}

/* --- the end --- */

static bool
is_named(const struct gear *g, const char *name)
{
	for (size_t i = 0; i < g->spec.storage.n; i++) {
		AUTO(free) char *own = wire_storage_name(&g->spec.storage.v[i]);

		if (strcmp(own, name) == 0)
			return true;
	}
	return false;
}

/* The directory for what was removed, in the user's own: no link is followed. */
static int
open_removed(const struct gear *g, struct err *e)
{
	AUTO(free) char *data = file_join(g->dir, "data");
	AUTO(file_close) int at = open(data, DIR_FLAGS);
	int fd;

	if (at >= 0 && mkdirat(at, removed_dir, 0750) == 0 &&
	    fchownat(at, removed_dir, CONTAINER_UID, CONTAINER_UID, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "own %s", removed_dir);
	fd = at < 0 ? -1 : openat(at, removed_dir, DIR_FLAGS);
	return fd < 0 ? err_set(e, ERR_SYSTEM, NULL, "open ~/app-root/data/%s", removed_dir) : fd;
}

/* Moves a directory there, under a name that nothing has: whoever removes twice in a second, or has
 * laid something there, keeps both. Leaves errno. */
static int
move_removed(int from, const char *name, int removed, const char *stem)
{
	long long now = (long long)time(NULL);

	for (int i = 0; i < NAMES_MAX; i++) {
		AUTO(free)
		char *to = i == 0 ? xasprintf("%s.%lld", stem, now)
		                  : xasprintf("%s.%lld.%d", stem, now, i);

		if (renameat2(from, name, removed, to, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -1;
	}
	return -1;
}

int
gear_storage_retire(const struct gear *g, struct err *e)
{
	AUTO(free) char *store = store_dir(g);
	DIR *d = opendir(store);
	struct dirent *de;
	int rc = 0;

	if (d == NULL)
		return errno == ENOENT ? 0 : err_set(e, ERR_SYSTEM, NULL, "open %s", store);
	while (rc == 0 && (de = readdir(d)) != NULL) {
		AUTO(file_close) int removed = -1;

		if (de->d_name[0] == '.' || is_named(g, de->d_name))
			continue;
		removed = open_removed(g, e);
		if (removed < 0)
			rc = -1;
		else if (move_removed(dirfd(d), de->d_name, removed, de->d_name) < 0)
			rc = err_set(e, ERR_SYSTEM, NULL, "move %s", de->d_name);
		if (rc < 0)
			break;
		fault_point("storage_retired");
		log_info(
		    "storage_removed", LOG_STR("gear", g->spec.uuid), LOG_STR("name", de->d_name));
	}
	closedir(d);
	return rc;
}

static int
rescue_one(const struct gear *g, const struct wire_storage *s, const char *upper, struct err *e)
{
	AUTO(free) char *name = wire_storage_name(s);
	AUTO(free) char *place = wire_storage_place(s);
	AUTO(free) char *store = store_dir(g);
	AUTO(free) char *path = file_join(store, name);
	char *last = strrchr(place, '/');
	AUTO(file_close) int from = -1;
	AUTO(file_close) int removed = -1;
	bool hides;

	if (s->is_going || file_exists(path) || last == NULL)
		return 0;
	*last = '\0';
	if (open_place(upper, place, &from, &hides) != FOUND_DIR)
		return 0;
	removed = open_removed(g, e);
	if (removed < 0)
		return -1;
	if (move_removed(from, last + 1, removed, name) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, NULL, "move %s", place);
	log_warn("storage_rescued", LOG_STR("gear", g->spec.uuid), LOG_STR("name", name));
	return 0;
}

int
gear_storage_rescue(const struct gear *g, const char *upper, struct err *e)
{
	for (size_t i = 0; i < g->spec.storage.n; i++) {
		if (rescue_one(g, &g->spec.storage.v[i], upper, e) < 0)
			return -1;
	}
	return 0;
}
