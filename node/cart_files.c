#include "node/cart_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "node/container_ids.h"
#include "node/gear_env.h"
#include "node/whiteout.h"

enum { DEPTH_MAX = 16, FOUND_MAX = 5000, COPY_MAX = 16 * 1024 * 1024 };

/* Where a path of the home lies on the host. */
struct place {
	int root;        /* owned: directory fd; -1 */
	const char *rel; /* below it; points into the path that was asked for */
};

static const char *
below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

static struct place
find_place(const struct cart_files *f, const char *path)
{
	AUTO(free) char *dir = NULL;
	struct place p = { .root = -1 };

	if ((p.rel = below(path, "app-root/data")) != NULL) {
		dir = file_join(f->gear_dir, "data");
	} else if ((p.rel = below(path, "app-root/logs")) != NULL) {
		dir = file_join(f->gear_dir, "logs");
	} else {
		p.rel = path;
		dir = xstrdup(
		    f->own != NULL && below(path, f->cart->cart.name) != NULL ? f->own : f->up);
	}
	p.root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p;
}

/* The directory above the last name of rel; the name is returned. */
static int
open_above(int root, const char *rel, const char **out_name)
{
	size_t n = strlen(rel);
	AUTO(free) char *copy = NULL;
	const char *slash;
	struct err ignored = { 0 };

	while (n > 0 && rel[n - 1] == '/')
		n--;
	copy = xstrndup(rel, n);
	slash = strrchr(copy, '/');
	*out_name = slash == NULL ? rel : rel + (slash - copy) + 1;
	if (slash == NULL)
		return openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	copy[slash - copy] = '\0';
	return file_open_beneath(root, copy, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, &ignored);
}

/* --- globs --- */

bool
cart_files_match(const char *pattern, const char *path)
{
	for (; *pattern != '\0'; pattern++, path++) {
		bool is_deep = pattern[0] == '*' && pattern[1] == '*';

		if (*pattern != '*') {
			if (*pattern != *path)
				return false;
			continue;
		}
		while (*pattern == '*')
			pattern++;
		if (is_deep && *pattern == '/' && cart_files_match(pattern + 1, path))
			return true; /* no directory at all, here */
		for (;; path++) {
			if (cart_files_match(pattern, path))
				return true;
			if (*path == '\0' || (*path == '/' && !is_deep))
				return false;
		}
	}
	return *path == '\0';
}

struct search {
	const char *pattern;
	struct str_list *out;
};

static void
search_dir(struct search *s, int at, const char *rel, int depth)
{
	int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (d == NULL)
		return;
	while (depth <= DEPTH_MAX && s->out->n < FOUND_MAX && (de = readdir(d)) != NULL) {
		AUTO(free)
		char *path = rel[0] == '\0' ? xstrdup(de->d_name) : file_join(rel, de->d_name);
		struct stat st;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
		    fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISREG(st.st_mode) && cart_files_match(s->pattern, path) &&
		    !str_list_has(s->out, path))
			str_list_take(s->out, STEAL(path));
		else if (S_ISDIR(st.st_mode)) {
			AUTO(file_close)
			int sub = openat(
			    dirfd(d), de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (sub >= 0)
				search_dir(s, sub, path, depth + 1);
		}
	}
	closedir(d);
}

/* Below the directories in front of the first '*' alone. */
static void
search_root(const char *root, const char *pattern, struct str_list *out)
{
	size_t n = strcspn(pattern, "*");
	AUTO(file_close) int at = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(file_close) int fd = -1;
	AUTO(free) char *prefix = NULL;
	struct search s = { .pattern = pattern, .out = out };
	struct err ignored = { 0 };

	while (n > 0 && pattern[n - 1] != '/')
		n--;
	prefix = xstrndup(pattern, n > 0 ? n - 1 : 0);
	if (at >= 0)
		fd = prefix[0] == '\0' ? dup(at)
		                       : file_open_beneath(at, prefix,
		                             O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &ignored);
	if (fd >= 0)
		search_dir(&s, fd, prefix, 0);
}

void
cart_files_expand(const char *root, const struct str_list *patterns, struct str_list *out)
{
	for (size_t i = 0; i < patterns->n; i++) {
		if (strchr(patterns->v[i], '*') != NULL)
			search_root(root, patterns->v[i], out);
		else if (!str_list_has(out, patterns->v[i]))
			str_list_add(out, patterns->v[i]);
	}
}

/* locked_files with their globs resolved, over all layers. */
static void
expand(const struct cart_files *f, struct str_list *out)
{
	const struct str_list *l = &f->cart->managed.locked_files;

	cart_files_expand(f->up, l, out);
	if (f->own != NULL)
		cart_files_expand(f->own, l, out);
	for (size_t k = 0; k < f->lowers->n; k++)
		cart_files_expand(f->lowers->v[k], l, out);
}

/* --- making --- */

/* Each directory in front of the last name, owned by the user; but app-root by root, as in v2. */
static int
make_above(int root, const char *rel, struct err *e)
{
	size_t n = strlen(rel);

	while (n > 0 && rel[n - 1] == '/')
		n--;
	for (size_t i = 1; i < n; i++) {
		AUTO(free) char *part = NULL;
		AUTO(file_close) int above = -1;
		const char *name;
		bool is_root;

		if (rel[i] != '/')
			continue;
		part = xstrndup(rel, i);
		above = open_above(root, part, &name);
		if (above < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", part);
		if (mkdirat(above, name, 0755) < 0) {
			if (errno != EEXIST)
				return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", part);
			continue;
		}
		is_root = strcmp(part, "app-root") == 0;
		if (fchownat(above, name, is_root ? 0 : CONTAINER_UID, CONTAINER_UID,
		        AT_SYMLINK_NOFOLLOW) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot own %s", part);
	}
	return 0;
}

static int
own(int above, const char *name, uid_t uid, struct err *e)
{
	if (fchownat(above, name, uid, CONTAINER_UID, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, NULL, "cannot own %s", name);
	return 0;
}

/* What is root's now the user still reads, by his group: scripts write with umask 077. */
static int
open_to_group(int above, const char *name, struct err *e)
{
	AUTO(file_close)
	int fd = openat(above, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return 0;
	if (fchmod(fd, (st.st_mode & 07777) | (st.st_mode & 0500) >> 3) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s to the gear's group", name);
	return 0;
}

/* One file of a layer below, to be changed: its copy in the upper. 1: it is in none. */
static int
copy_up(const struct cart_files *f, const char *rel, int above, const char *name, struct err *e)
{
	for (size_t i = 0; i < f->lowers->n; i++) {
		AUTO(file_close)
		int root = open(f->lowers->v[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		AUTO(file_close) int in = -1;
		AUTO(file_close) int out = -1;
		AUTO(free) char *text = NULL;
		struct err ignored = { 0 };
		struct stat st;
		ssize_t n;

		if (root >= 0)
			in = file_open_beneath(
			    root, rel, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0, &ignored);
		if (root >= 0 && in < 0 && whiteout_hides(root, rel))
			return 1;
		if (in < 0 || fstat(in, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			return mkdirat(above, name, st.st_mode & 07777) < 0 && errno != EEXIST
			           ? err_set(e, ERR_SYSTEM, NULL, "cannot make %s", rel)
			           : 0;
		if (!S_ISREG(st.st_mode) || st.st_size > COPY_MAX)
			return 1;
		text = xcalloc(1, (size_t)st.st_size + 1);
		n = read(in, text, (size_t)st.st_size);
		out = openat(above, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (n < 0 || out < 0 || fchmod(out, st.st_mode & 07777) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot copy %s", rel);
		return file_write_all(out, text, (size_t)n, e);
	}
	return 1;
}

static bool
is_there(int above, const char *name)
{
	struct stat st;

	return fstatat(above, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* An entry that ends in '/' is a directory. */
static int
make_entry(int above, const char *name, struct err *e)
{
	size_t n = strlen(name);
	AUTO(free) char *plain = xstrndup(name, n > 0 && name[n - 1] == '/' ? n - 1 : n);
	AUTO(file_close) int fd = -1;

	if (plain[n - 1] == '\0') {
		if (mkdirat(above, plain, 0755) < 0 && errno != EEXIST)
			return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", name);
		return 0;
	}
	fd = openat(above, plain, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	return fd < 0 ? err_set(e, ERR_SYSTEM, NULL, "cannot make %s", name) : 0;
}

/* Made if it is missing, then owned. */
static int
set_owner(const struct cart_files *f, const char *path, uid_t uid, bool makes, struct err *e)
{
	struct place p = find_place(f, path);
	AUTO(file_close) int root = p.root;
	AUTO(file_close) int above = -1;
	AUTO(free) char *plain = NULL;
	const char *name;
	size_t n;

	if (root < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open the place of %s", path);
	if (make_above(root, p.rel, e) < 0)
		return -1;
	above = open_above(root, p.rel, &name);
	if (above < 0)
		return makes ? err_set(e, ERR_SYSTEM, NULL, "cannot make %s", path) : 0;
	n = strlen(name);
	plain = xstrndup(name, n > 0 && name[n - 1] == '/' ? n - 1 : n);
	if (!is_there(above, plain)) {
		int rc = copy_up(f, path, above, plain, e);

		if (rc < 0 || (rc > 0 && makes && make_entry(above, name, e) < 0))
			return -1;
	}
	if (own(above, plain, uid, e) < 0)
		return -1;
	return uid == 0 ? open_to_group(above, plain, e) : 0;
}

/* --- what is the platform's --- */

/* The scripts may have put a link in its place: taken away first. */
static int
write_var(int dir, const struct wire_var *v, uid_t owner, struct err *e)
{
	AUTO(file_close) int fd = -1;

	(void)unlinkat(dir, v->name, 0);
	fd = openat(dir, v->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0 || fchown(fd, owner, CONTAINER_UID) < 0 || fchmod(fd, 0644) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot write env/%s", v->name);
	return file_write_all(fd, v->value, strlen(v->value), e);
}

static int
write_vars(const struct cart_files *f, uid_t owner, struct err *e)
{
	AUTO(free) char *inner = file_join(f->cart->cart.name, "env/x");
	AUTO(free) char *rel = file_join(f->cart->cart.name, "env");
	AUTO(file_close)
	int root = open(f->own != NULL ? f->own : f->up, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(file_close) int dir = -1;
	struct wire_var_list vars = { 0 };
	int rc = root < 0 ? err_set(e, ERR_SYSTEM, NULL, "cannot open the home")
	                  : make_above(root, inner, e);

	if (rc == 0)
		dir = file_open_beneath(root, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, e);
	if (dir < 0)
		return -1;
	gear_env_cart_vars(f->uuid, f->cart, &vars);
	for (size_t i = 0; i < vars.n; i++) {
		if (rc == 0)
			rc = write_var(dir, &vars.v[i], owner, e);
		wire_var_fini(&vars.v[i]);
	}
	free(vars.v);
	return rc;
}

/* Links of dependency_dirs: what lies behind them comes with a deployment. */
static int
make_links(const struct cart_files *f, const struct wire_managed_link_list *l, const char *where,
    struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		struct place p = find_place(f, l->v[i].link);
		AUTO(file_close) int root = p.root;
		AUTO(file_close) int up = open(f->up, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		AUTO(file_close) int above = -1;
		AUTO(free) char *plain = NULL;
		AUTO(free)
		char *behind = xasprintf("app-root/runtime/%s/%s/", where, l->v[i].target);
		AUTO(free)
		char *target = xasprintf(
		    "/var/lib/openshift/%s/app-root/runtime/%s/%s", f->uuid, where, l->v[i].target);
		AUTO(free) char *inner = file_join(behind, "x");
		const char *name;

		if (root < 0 || up < 0 || make_above(root, p.rel, e) < 0 ||
		    make_above(up, inner, e) < 0)
			return e->code != ERR_NONE
			           ? -1
			           : err_set(e, ERR_SYSTEM, NULL, "cannot link %s", l->v[i].link);
		above = open_above(root, p.rel, &name);
		plain = xstrndup(name, strcspn(name, "/"));
		if (above < 0 || (symlinkat(target, above, plain) < 0 && errno != EEXIST))
			return err_set(
			    e, ERR_SYSTEM, NULL, "cannot make the link %s", l->v[i].link);
		if (own(above, plain, CONTAINER_UID, e) < 0)
			return -1;
	}
	return 0;
}

int
cart_files_unlock(const struct cart_files *f, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list all = { 0 };

	if (write_vars(f, CONTAINER_UID, e) < 0 ||
	    make_links(f, &f->cart->managed.dependency_dirs, "dependencies", e) < 0 ||
	    make_links(f, &f->cart->managed.build_dependency_dirs, "build-dependencies", e) < 0)
		return -1;
	expand(f, &all);
	for (size_t i = 0; i < all.n; i++) {
		if (set_owner(f, all.v[i], CONTAINER_UID, true, e) < 0)
			return -1;
	}
	return 0;
}

int
cart_files_lock(const struct cart_files *f, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list all = { 0 };
	static const char *const immutable[] = { "metadata/manifest.yml",
		"metadata/managed_files.yml" };

	expand(f, &all);
	for (size_t i = 0; i < all.n; i++) {
		if (set_owner(f, all.v[i], 0, false, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < ARRAY_LEN(immutable); i++) {
		AUTO(free) char *path = file_join(f->cart->cart.name, immutable[i]);
		AUTO(free) char *full = file_join(f->own != NULL ? f->own : f->up, path);

		if (file_exists(full) && set_owner(f, path, 0, false, e) < 0)
			return -1;
	}
	return write_vars(f, 0, e);
}

/* --- checks --- */

static int
check_home(const struct cart_files *f, const struct str_list *others, struct err *e)
{
	DIR *d = opendir(f->up);
	const struct dirent *de;
	int rc = 0;

	while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
		if (de->d_name[0] != '.' && strcmp(de->d_name, f->cart->cart.name) != 0 &&
		    strcmp(de->d_name, "app-root") != 0 &&
		    strcmp(de->d_name, "app-deployments") != 0 && !str_list_has(others, de->d_name))
			rc = err_set(e, ERR_INVALID, NULL,
			    "the cartridge made %s in the gear's home, which it may not",
			    de->d_name);
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

/* A variable of the cartridge that the gear has too would never be seen by anyone alike. */
static int
check_vars(const struct cart_files *f, const char *layer, struct err *e)
{
	AUTO(free) char *rel = file_join(f->cart->cart.name, "env");
	AUTO(free) char *gear_env = file_join(f->gear_dir, "env");
	AUTO(file_close) int root = open(layer, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct err ignored = { 0 };
	int fd = root < 0 ? -1
	                  : file_open_beneath(
	                        root, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, &ignored);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	int rc = 0;

	while (rc == 0 && d != NULL && (de = readdir(d)) != NULL) {
		AUTO(free) char *path = file_join(gear_env, de->d_name);
		struct stat own_st, gear_st;

		if (!str_is_env_name(de->d_name) || strcmp(de->d_name, "PATH") == 0 ||
		    strcmp(de->d_name, "LD_LIBRARY_PATH") == 0 ||
		    fstatat(dirfd(d), de->d_name, &own_st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(own_st.st_mode))
			continue;
		if (lstat(path, &gear_st) == 0 && S_ISREG(gear_st.st_mode))
			rc = err_set(e, ERR_INVALID, NULL,
			    "the cartridge's env/%s overrides a variable of the gear", de->d_name);
	}
	if (d != NULL)
		closedir(d);
	return rc;
}

int
cart_files_check(const struct cart_files *f, const struct str_list *others, struct err *e)
{
	if (check_home(f, others, e) < 0 || check_vars(f, f->own != NULL ? f->own : f->up, e) < 0)
		return -1;
	return f->own != NULL || f->lowers->n == 0 ? 0 : check_vars(f, f->lowers->v[0], e);
}
