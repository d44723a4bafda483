#include "lib/cart/cart_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum { DEPTH_MAX = 16, FILES_MAX = 20000, FILE_MAX = 64 * 1024 * 1024 };

struct cart_dir {
	struct cart_dir_entry *v;
	size_t n;
};

static void
entry_fini(struct cart_dir_entry *d)
{
	wire_cart_fini(&d->cart);
	wire_managed_fini(&d->managed);
	free(d->path);
	free(d->digest);
	*d = (struct cart_dir_entry){ 0 };
}

void
cart_dir_close(struct cart_dir *take_d)
{
	if (take_d == NULL)
		return;
	for (size_t i = 0; i < take_d->n; i++)
		entry_fini(&take_d->v[i]);
	free(take_d->v);
	free(take_d);
}
DEFINE_AUTO(struct cart_dir *, cart_dir_close)

static void
dirent_list_free(struct dirent **take_v, int n)
{
	for (int i = 0; i < n; i++)
		free(take_v[i]);
	free(take_v);
}

/* A walk that collects what the digest is made of. */
struct walk {
	struct buf text; /* a line an entry: mode, name, digest of the content or link target */
	size_t files;
	bool has_erb;
};

static int walk_dir(struct walk *w, const char *dir, const char *rel, int depth, struct err *e);

static int
walk_entry(struct walk *w, const char *path, const char *rel, int depth, struct err *e)
{
	struct stat st;
	char hex[65] = "";

	if (lstat(path, &st) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot stat %s", path);
	if (++w->files > FILES_MAX)
		return err_set(e, ERR_LIMIT, NULL, "more than %d files", FILES_MAX);
	if (S_ISLNK(st.st_mode)) {
		char target[4096];
		ssize_t n = readlink(path, target, sizeof target - 1);

		if (n < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot read the link %s", path);
		buf_addf(&w->text, "l %s %.*s\n", rel, (int)n, target);
	} else if (S_ISDIR(st.st_mode)) {
		buf_addf(&w->text, "d %s\n", rel);
		return walk_dir(w, path, rel, depth + 1, e);
	} else if (S_ISREG(st.st_mode)) {
		AUTO_FINI(buf_fini) struct buf b = { 0 };

		if (file_read(path, FILE_MAX, &b, e) < 0)
			return -1;
		secret_sha256_hex(b.p == NULL ? "" : b.p, b.n, hex);
		buf_addf(&w->text, "f %d %s %s\n", (st.st_mode & S_IXUSR) != 0, rel, hex);
		if (str_has_suffix(rel, ".erb") && str_has_prefix(rel, "env/"))
			w->has_erb = true;
	}
	return 0;
}

/* In byte order of the names, so that equal trees have equal digests. */
static int
walk_dir(struct walk *w, const char *dir, const char *rel, int depth, struct err *e)
{
	struct dirent **names = NULL;
	int rc = 0, n;

	if (depth > DEPTH_MAX)
		return err_set(
		    e, ERR_LIMIT, NULL, "%s is more than %d directories deep", rel, DEPTH_MAX);
	n = scandir(dir, &names, NULL, alphasort);
	if (n < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read the directory %s", dir);
	for (int i = 0; rc == 0 && i < n; i++) {
		const char *name = names[i]->d_name;
		AUTO(free) char *path = NULL;
		AUTO(free) char *below = NULL;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, ".git") == 0)
			continue;
		path = file_join(dir, name);
		below = rel[0] == '\0' ? xstrdup(name) : file_join(rel, name);
		rc = walk_entry(w, path, below, depth, e);
	}
	dirent_list_free(names, n);
	return rc;
}

static bool
has_file(const char *dir, const char *rel)
{
	AUTO(free) char *path = file_join(dir, rel);

	return file_exists(path);
}

static int
read_managed(const char *path, struct cart_dir_entry *d, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO(free) char *file = file_join(path, "metadata/managed_files.yml");

	if (!file_exists(file))
		return 0;
	if (file_read(file, WIRE_CART_MANIFEST_MAX, &b, e) < 0 ||
	    wire_managed_parse(
	        b.p == NULL ? "" : b.p, b.n, d->cart.name, d->cart.short_name, &d->managed, e) < 0)
		return err_wrap(e, "managed_files.yml");
	return 0;
}

/* One software version of the cartridge at path. */
static int
add_version(struct cart_dir *d, const char *path, const struct buf *manifest, const char *version,
    const struct walk *w, const char *digest, struct err *e)
{
	AUTO_FINI(entry_fini) struct cart_dir_entry x = { 0 };

	if (wire_cart_parse(manifest->p, manifest->n, version, &x.cart, e) < 0 ||
	    read_managed(path, &x, e) < 0)
		return -1;
	if (cart_dir_find(d, x.cart.name, x.cart.version, x.cart.cart_version) != NULL)
		return err_set(e, ERR_CONFLICT, "Cartridge-Version", "%s %s %s is there twice",
		    x.cart.name, x.cart.version, x.cart.cart_version);
	x.path = xstrdup(path);
	x.digest = xstrdup(digest);
	x.has_setup = has_file(path, "bin/setup");
	x.has_install = has_file(path, "bin/install");
	x.has_post_install = has_file(path, "bin/post_install");
	x.has_upgrade = has_file(path, "bin/upgrade");
	x.has_teardown = has_file(path, "bin/teardown");
	x.has_erb = w->has_erb || x.managed.processed_templates.n > 0;
	d->v = xreallocarray(d->v, d->n + 1, sizeof *d->v);
	d->v[d->n++] = x;
	x = (struct cart_dir_entry){ 0 };
	return 0;
}

static int
add_release(struct cart_dir *d, const char *path, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf manifest = { 0 };
	AUTO_FINI(wire_cart_fini) struct wire_cart own = { 0 };
	AUTO(free) char *file = file_join(path, "metadata/manifest.yml");
	struct walk w = { 0 };
	char digest[65];
	int rc = 0;

	if (file_read(file, WIRE_CART_MANIFEST_MAX, &manifest, e) < 0)
		return -1;
	buf_reserve(&manifest, 1);
	if (wire_cart_parse(manifest.p, manifest.n, NULL, &own, e) < 0)
		return -1;
	rc = walk_dir(&w, path, "", 0, e);
	if (rc == 0)
		secret_sha256_hex(w.text.p, w.text.n, digest);
	for (size_t i = 0; rc == 0 && i < own.versions.n; i++)
		rc = add_version(d, path, &manifest, own.versions.v[i], &w, digest, e);
	buf_fini(&w.text);
	return rc;
}

static void
try_release(struct cart_dir *d, const char *path)
{
	struct err e = { 0 };

	if (add_release(d, path, &e) < 0)
		log_error("cartridge_invalid", LOG_STR("path", path), LOG_STR("field", e.field),
		    LOG_ERR(&e));
}

/* NAME itself, or its releases one below. */
static void
add_cartridge(struct cart_dir *d, const char *path)
{
	struct dirent **names = NULL;
	int n;

	if (has_file(path, "metadata/manifest.yml")) {
		try_release(d, path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		AUTO(free) char *below = file_join(path, names[i]->d_name);

		if (names[i]->d_name[0] != '.' && has_file(below, "metadata/manifest.yml"))
			try_release(d, below);
	}
	if (n >= 0)
		dirent_list_free(names, n);
}

static int
by_name_newest_first(const void *a, const void *b)
{
	const struct cart_dir_entry *x = a, *y = b;
	int d = strcmp(x->cart.name, y->cart.name);

	if (d == 0)
		d = wire_cart_version_cmp(y->cart.cart_version, x->cart.cart_version);
	return d != 0 ? d : wire_cart_version_cmp(y->cart.version, x->cart.version);
}

struct cart_dir *
cart_dir_open(const char *dir, struct err *e)
{
	AUTO(cart_dir_close) struct cart_dir *d = xcalloc(1, sizeof *d);
	AUTO(free) char *root = realpath(dir, NULL);
	struct dirent **names = NULL;
	int n;

	n = root == NULL ? -1 : scandir(root, &names, NULL, alphasort);
	if (n < 0) {
		(void)err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, "cartridges",
		    "cannot read the directory of cartridges %s", dir);
		return NULL;
	}
	for (int i = 0; i < n; i++) {
		AUTO(free) char *path = file_join(root, names[i]->d_name);

		if (names[i]->d_name[0] != '.')
			add_cartridge(d, path);
	}
	dirent_list_free(names, n);
	if (d->n > 0)
		qsort(d->v, d->n, sizeof *d->v, by_name_newest_first);
	return STEAL(d);
}

struct cart_dir *
cart_dir_open_one(const char *path, struct err *e)
{
	AUTO(cart_dir_close) struct cart_dir *d = xcalloc(1, sizeof *d);
	AUTO(free) char *root = realpath(path, NULL);

	if (root == NULL) {
		(void)err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, NULL,
		    "cannot read the directory %s", path);
		return NULL;
	}
	return add_release(d, root, e) < 0 ? NULL : STEAL(d);
}

size_t
cart_dir_count(const struct cart_dir *d)
{
	return d->n;
}

const struct cart_dir_entry *
cart_dir_at(const struct cart_dir *d, size_t i)
{
	return &d->v[i];
}

const struct cart_dir_entry *
cart_dir_find(
    const struct cart_dir *d, const char *name, const char *version, const char *cart_version)
{
	const struct cart_dir_entry *best = NULL;

	for (size_t i = 0; i < d->n; i++) {
		const struct cart_dir_entry *x = &d->v[i];

		if (strcmp(x->cart.name, name) != 0 ||
		    (version != NULL && strcmp(x->cart.version, version) != 0) ||
		    (cart_version != NULL && strcmp(x->cart.cart_version, cart_version) != 0))
			continue;
		if (best == NULL || by_name_newest_first(x, best) < 0)
			best = x;
	}
	return best;
}
