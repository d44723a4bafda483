#include "node/cart_merge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "node/cart_files.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/tree_copy.h"
#include "node/whiteout.h"

enum { DEPTH_MAX = 128, DIR_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

static const char opaque_name[] = "trusted.overlay.opaque";

/* --- before the scripts --- */

/* What an older release's setup wrote does not show through the new code. */
static int
hide(const char *upper, const char *svc, const char *rel, struct err *e)
{
	AUTO(file_close) int up = open(upper, DIR_FLAGS);
	AUTO(file_close) int below = open(svc, DIR_FLAGS);
	AUTO(free) char *dir = xstrndup(rel, strlen(rel) - (str_has_suffix(rel, "/") ? 1 : 0));
	char *name = dir;
	struct stat st;

	for (char *slash; up >= 0 && below >= 0 && (slash = strchr(name, '/')) != NULL;
	     name = slash + 1) {
		int next;

		*slash = '\0';
		next = openat(below, name, DIR_FLAGS);
		file_close(below);
		below = next;
		if (below < 0 || fstat(below, &st) < 0)
			return 0;
		if (mkdirat(up, name, 0700) == 0 &&
		    (fchownat(up, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		        fchmodat(up, name, st.st_mode & 07777, 0) < 0))
			return err_set(e, ERR_SYSTEM, NULL, "cannot own %s", rel);
		next = openat(up, name, DIR_FLAGS);
		file_close(up);
		up = next;
	}
	if (up < 0 || below < 0 || fstatat(below, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (mknodat(up, name, S_IFCHR, makedev(0, 0)) == 0)
		return 0;
	file_close(below);
	below = errno == EEXIST ? openat(up, name, DIR_FLAGS) : -1;
	if (below >= 0 && fsetxattr(below, opaque_name, "y", 1, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot replace %s", rel);
	return 0;
}

int
cart_merge_hide(const struct cart_dir_entry *c, const char *upper, const char *below, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list rewritten = { 0 };

	cart_files_expand(below, &c->managed.setup_rewritten, &rewritten);
	for (size_t i = 0; i < rewritten.n; i++) {
		if (hide(upper, below, rewritten.v[i], e) < 0)
			return -1;
	}
	return 0;
}

int
cart_merge_begin(const struct cart_dir_entry *c, const char *code, const char *upper,
    const char *svc, bool is_compatible, struct err *e)
{
	static const struct tree_copy_opts as_is = { 0 };
	AUTO(free) char *from_dir = file_join(code, c->cart.name);
	AUTO(free) char *to_dir = file_join(upper, c->cart.name);
	AUTO(file_close) int from = -1;
	AUTO(file_close) int to = -1;

	if (file_mkdirs(to_dir, 0755, e) < 0)
		return -1;
	from = open(from_dir, DIR_FLAGS);
	to = open(to_dir, DIR_FLAGS);
	if (from < 0 || to < 0 || fchown(to, CONTAINER_UID, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot copy the code of %s", c->cart.name);
	if (tree_copy(from, to, &as_is, e) < 0)
		return -1;
	return is_compatible ? 0 : cart_merge_hide(c, upper, svc, e);
}

/* --- after them --- */

static int
remove_at(int dir, const char *name, struct err *e)
{
	AUTO(free) char *path = xasprintf("/proc/self/fd/%d/%s", dir, name);
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : file_remove_tree(path, e);
}

static int
move_entry(int from, int to, const char *name, struct err *e)
{
	if (renameat(from, name, to, name) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot move %s into its place", name);
	return 0;
}

static int merge_dir(int from, int to, int depth, struct err *e);

static int
merge_sub(int from, int to, const char *name, int depth, struct err *e)
{
	AUTO(file_close) int sub_from = openat(from, name, DIR_FLAGS);
	AUTO(file_close) int sub_to = openat(to, name, DIR_FLAGS);
	struct stat st;

	if (sub_from < 0 || fstat(sub_from, &st) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", name);
	if (sub_to < 0 || whiteout_is_opaque(sub_from)) {
		if (remove_at(to, name, e) < 0)
			return -1;
		(void)fremovexattr(sub_from, opaque_name); /* it is no layer there */
		return move_entry(from, to, name, e);
	}
	if (fchown(sub_to, st.st_uid, st.st_gid) < 0 || fchmod(sub_to, st.st_mode & 07777) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot own %s", name);
	if (merge_dir(sub_from, sub_to, depth + 1, e) < 0)
		return -1;
	return unlinkat(from, name, AT_REMOVEDIR) < 0
	           ? err_set(e, ERR_SYSTEM, NULL, "cannot remove %s", name)
	           : 0;
}

static int
merge_entry(int from, int to, const char *name, int depth, struct err *e)
{
	struct stat st, old;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot stat %s", name);
	if (S_ISDIR(st.st_mode))
		return merge_sub(from, to, name, depth, e);
	if (S_ISCHR(st.st_mode)) { /* a whiteout: it was removed */
		if (remove_at(to, name, e) < 0)
			return -1;
		return unlinkat(from, name, 0) < 0
		           ? err_set(e, ERR_SYSTEM, NULL, "cannot remove %s", name)
		           : 0;
	}
	if (fstatat(to, name, &old, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(old.st_mode) &&
	    remove_at(to, name, e) < 0)
		return -1;
	return move_entry(from, to, name, e);
}

/* Each entry is in one place or the other: it may be cut short and done again. */
static int
merge_dir(int from, int to, int depth, struct err *e)
{
	int fd = openat(from, ".", DIR_FLAGS);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	const struct dirent *de;

	if (d == NULL) {
		file_close(fd);
		return err_set(e, ERR_SYSTEM, NULL, "cannot read a directory");
	}
	while ((de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			str_list_add(&names, de->d_name);
	}
	closedir(d);
	if (depth > DEPTH_MAX)
		return err_set(e, ERR_LIMIT, NULL, "the tree is deeper than %d", DEPTH_MAX);
	for (size_t i = 0; i < names.n; i++) {
		if (merge_entry(from, to, names.v[i], depth, e) < 0)
			return -1;
		fault_point("cart_merging");
	}
	return 0;
}

static int
finish_one(const struct gear *g, const struct gear_cart *c, struct err *e)
{
	AUTO(free) char *from_dir = xasprintf("%s/base/%s/%s", g->dir, c->base, c->name);
	AUTO(free) char *to_dir = xasprintf("%s/svc/%s", g->dir, c->name);
	AUTO(file_close) int from = open(from_dir, DIR_FLAGS);
	AUTO(file_close) int to = -1;

	if (from < 0) /* nothing, or all was done */
		return 0;
	to = open(to_dir, DIR_FLAGS);
	if (to < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", to_dir);
	if (merge_dir(from, to, 0, e) < 0)
		return err_wrap(e, "upgrade %s", c->name);
	if (syncfs(to) < 0 || rmdir(from_dir) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot end the upgrade of %s", c->name);
	return 0;
}

int
cart_merge_finish(const struct gear *g, struct err *e)
{
	for (size_t i = 0; i < g->record.carts.n; i++) {
		const struct gear_cart *c = &g->record.carts.v[i];

		if (c->is_service && finish_one(g, c, e) < 0)
			return -1;
	}
	return 0;
}
