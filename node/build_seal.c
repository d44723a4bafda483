#include "node/build_seal.h"

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
#include "lib/oci/oci_image.h"
#include "lib/oci/oci_tar.h"
#include "node/build_plan.h"
#include "node/container.h"
#include "node/layer_store.h"

static const char runtime[] = "app-root/runtime";
static const char repo[] = "app-root/runtime/repo";

enum { DEPTH_MAX = 100 };
enum { PARTS = 3, PART_APP = 0, PART_DEPS = 1, PART_REST = 2 };

struct part {
	char *tree; /* owned; NULL: nothing */
	char *digest;
	int64_t size;
};

static void parts_fini(struct part (*p)[PARTS])
{
	for (size_t i = 0; i < PARTS; i++) {
		free((*p)[i].tree);
		free((*p)[i].digest);
	}
}

/* All directories of rel below dir, owned by the gear's user; app-root itself by root, as in v2. */
static int
make_dirs(const char *dir, const char *rel, struct err *e)
{
	for (const char *p = rel;;) {
		size_t n = strcspn(p, "/");
		AUTO(free) char *path = xasprintf("%s/%.*s", dir, (int)(p - rel + (long)n), rel);

		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", path);
		if (lchown(path, p == rel && p[n] != '\0' ? 0 : CONTAINER_UID, CONTAINER_UID) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot own %s", path);
		if (p[n] == '\0')
			return 0;
		p += n + 1;
	}
}

/* FROM/rel -> TO/rel, with the directories above it; absent: nothing. Real directories only: where
 * a link stands, the build has led us astray. */
static int
move_part(const char *from, const char *to, const char *rel, bool *moved, struct err *e)
{
	AUTO(free) char *source = file_join(from, rel);
	AUTO(free) char *target = file_join(to, rel);
	AUTO(free) char *above = xstrdup(rel);
	char *slash = strrchr(above, '/');
	AUTO(file_close) int root = open(from, O_PATH | O_DIRECTORY | O_CLOEXEC);
	AUTO(file_close) int fd = -1;
	struct err ignored = { 0 };
	struct stat st, direct;

	if (root >= 0)
		fd = file_open_beneath(root, rel, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0, &ignored);
	if (fd < 0 || fstat(fd, &st) < 0 || lstat(source, &direct) < 0)
		return 0;
	if (st.st_ino != direct.st_ino || st.st_dev != direct.st_dev)
		return err_set(e, ERR_INVALID, NULL,
		    "%s lies behind a link: it must be a directory itself", rel);
	if (!S_ISDIR(st.st_mode))
		return 0;
	if (slash != NULL) {
		*slash = '\0';
		if (make_dirs(to, above, e) < 0)
			return -1;
	}
	if (rename(source, target) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot move %s", rel);
	*moved = true;
	return 0;
}

/* Removes REL when it is an empty directory, or what must not be kept. */
static int
drop(const char *dir, const char *rel, struct err *e)
{
	AUTO(free) char *path = file_join(dir, rel);

	return file_remove_tree(path, e);
}

/* Private files of cartridges (env/) belong to the gear's base layers, never into an image. */
static int
drop_env(const char *rest, struct err *e)
{
	DIR *d = opendir(rest);
	const struct dirent *de;
	int rc = 0;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read %s", rest);
	while (rc == 0 && (de = readdir(d)) != NULL) {
		AUTO(free) char *env = NULL;

		if (de->d_name[0] == '.' || de->d_type != DT_DIR)
			continue;
		env = file_join(de->d_name, "env");
		rc = drop(rest, env, e);
	}
	closedir(d);
	return rc;
}

/* Directories that hold nothing but empty directories go away; true: dir itself is empty now. */
static bool
prune(int dir, int depth)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *de;
	bool is_empty = true;

	if (d == NULL) {
		file_close(copy);
		return false;
	}
	while ((de = readdir(d)) != NULL) {
		AUTO(file_close) int sub = -1;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		sub = openat(dir, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0 || depth > DEPTH_MAX || !prune(sub, depth + 1) ||
		    unlinkat(dir, de->d_name, AT_REMOVEDIR) < 0)
			is_empty = false;
	}
	closedir(d);
	return is_empty;
}

/* What is left of up/ once repository and dependencies are out of it. */
static int
split_rest(const char *up, bool *is_empty, struct err *e)
{
	static const char *const dropped[] = { ".npm", ".cache", ".node-gyp", "app-root/data",
		"app-root/logs", "app-root/runtime/.state", ".env", ".ssh", "app-deployments" };
	AUTO(file_close) int fd = -1;

	for (size_t i = 0; i < ARRAY_LEN(dropped); i++) {
		if (drop(up, dropped[i], e) < 0)
			return -1;
	}
	if (drop_env(up, e) < 0)
		return -1;
	fd = open(up, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", up);
	*is_empty = prune(fd, 0);
	return 0;
}

static int
make_part_dir(const char *dir, const char *name, struct part *p, struct err *e)
{
	p->tree = file_join(dir, name);
	if (mkdir(p->tree, 0755) < 0 || lchown(p->tree, CONTAINER_UID, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", p->tree);
	return 0;
}

static int
split(const struct build_seal *in, struct part parts[PARTS], struct err *e)
{
	AUTO(free) char *up = file_join(in->dir, "up");
	const struct wire_cart_pinion *p = &in->web->cart.pinion;
	static const char *const dirs[] = { "dependencies", "build-dependencies" };
	bool has_deps = false, has_app = false, is_rest_empty = true;

	if (make_part_dir(in->dir, "app", &parts[PART_APP], e) < 0 ||
	    make_part_dir(in->dir, "deps", &parts[PART_DEPS], e) < 0)
		return -1;
	for (size_t i = 0; i < p->dependency_paths.n; i++) {
		AUTO(free) char *rel = file_join(repo, p->dependency_paths.v[i]);

		/* What came with the repository stays with it. */
		if (in->plan->deps_key[0] != '\0' &&
		    move_part(up, parts[PART_DEPS].tree, rel, &has_deps, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		AUTO(free) char *rel = file_join(runtime, dirs[i]);

		if (move_part(up, parts[PART_DEPS].tree, rel, &has_deps, e) < 0)
			return -1;
	}
	if (move_part(up, parts[PART_APP].tree, repo, &has_app, e) < 0 ||
	    split_rest(up, &is_rest_empty, e) < 0)
		return -1;
	if (!has_app)
		return err_set(e, ERR_INVALID, NULL, "the build removed the repository directory");
	if (!is_rest_empty)
		parts[PART_REST].tree = STEAL(up);
	if (!has_deps) {
		free(parts[PART_DEPS].tree);
		parts[PART_DEPS].tree = NULL;
	}
	return 0;
}

/* No program of a layer runs as anyone but its caller: on the host's disk their owner is a user of
 * the host. Nobody else changes the tree now. */
static int
drop_set_ids(int dir, int depth, struct err *e)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *de;
	int rc = 0;

	if (d == NULL) {
		file_close(copy);
		return err_set(e, ERR_SYSTEM, NULL, "cannot read a directory of the layer");
	}
	while (rc == 0 && (de = readdir(d)) != NULL) {
		AUTO(file_close) int sub = -1;
		struct stat st;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
		    fstatat(dir, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISREG(st.st_mode) && (st.st_mode & (S_ISUID | S_ISGID)) != 0 &&
		    fchmodat(dir, de->d_name, st.st_mode & 0777, 0) < 0)
			rc = err_set(
			    e, ERR_SYSTEM, NULL, "cannot change the mode of %s", de->d_name);
		if (!S_ISDIR(st.st_mode))
			continue;
		sub = openat(dir, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (depth > DEPTH_MAX)
			rc = err_set(
			    e, ERR_LIMIT, NULL, "directories lie deeper than %d", DEPTH_MAX);
		else if (sub >= 0)
			rc = drop_set_ids(sub, depth + 1, e);
	}
	closedir(d);
	return rc;
}

static int
digest_part(struct part *p, struct err *e)
{
	AUTO(file_close) int fd = open(p->tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", p->tree);
	if (drop_set_ids(fd, 0, e) < 0)
		return -1;
	p->digest = oci_tar_digest(fd, "", &p->size, e);
	return p->digest == NULL ? -1 : 0;
}

/* The parts, each with its digest. */
static int
take_parts(const struct build_seal *in, struct part parts[PARTS], struct err *e)
{
	if (!in->plan->needs_container) {
		parts[PART_APP].tree = file_join(in->dir, "up");
		parts[PART_APP].digest = xstrdup(in->src->digest);
		parts[PART_APP].size = in->src->size;
		return 0;
	}
	if (split(in, parts, e) < 0)
		return -1;
	for (size_t i = 0; i < PARTS; i++) {
		if (parts[i].tree != NULL && digest_part(&parts[i], e) < 0)
			return -1;
	}
	return 0;
}

static void
add_image_layer(const struct build_seal *in, const char *digest, const char *what,
    struct oci_image_layer *l, size_t *n)
{
	if (digest == NULL || digest[0] == '\0')
		return;
	l[(*n)++] = (struct oci_image_layer){
		.digest = digest, .size = layer_store_size(in->layers, digest), .what = what
	};
}

/* Config and manifest that name the layers: what a registry would be given. */
static int
make_image(const struct build_seal *in, struct wire_build_result *out, struct err *e)
{
	struct oci_image_layer layers[PARTS];
	const struct wire_build_order *o = in->order;
	AUTO(free) char *home = xasprintf("/var/lib/openshift/%s", o->gear.uuid);
	AUTO(free) char *ident = wire_cart_ident(&in->web->cart);
	const struct oci_image_label labels[] = {
		{ "org.opencontainers.image.title", o->gear.app_name },
		{ "org.opencontainers.image.revision", o->sha1 },
		{ "io.pinion.app", o->gear.app_id },
		{ "io.pinion.cartridge", ident },
		{ "io.pinion.layer.app", out->layers.app },
		{ "io.pinion.layer.deps", out->layers.deps },
		{ "io.pinion.layer.rest", out->layers.rest },
		{ "io.pinion.start.kind", in->plan->start.kind },
		{ "io.pinion.start.command", in->plan->start.command },
	};
	struct oci_image im = { .arch = oci_image_arch(),
		.workdir = home,
		.layers = layers,
		.labels = labels,
		.labels_n = ARRAY_LEN(labels) };
	AUTO_FINI(buf_fini) struct buf config = { 0 };
	AUTO_FINI(buf_fini) struct buf manifest = { 0 };
	AUTO(free) char *config_digest = NULL;

	add_image_layer(
	    in, out->layers.rest, "what the build wrote elsewhere", layers, &im.layers_n);
	add_image_layer(in, out->layers.deps, "dependencies", layers, &im.layers_n);
	add_image_layer(in, out->layers.app, "application", layers, &im.layers_n);
	oci_image_config(&im, &config);
	config_digest = layer_store_put_blob(in->layers, config.p, config.n, e);
	if (config_digest == NULL)
		return -1;
	oci_image_manifest(&im, config_digest, config.n, &manifest);
	out->image = layer_store_put_blob(in->layers, manifest.p, manifest.n, e);
	return out->image == NULL ? -1 : 0;
}

int
build_seal(const struct build_seal *in, struct wire_build_result *out, struct err *e)
{
	AUTO_FINI(parts_fini) struct part parts[PARTS] = { 0 };
	struct layer_store_item items[PARTS];
	size_t n = 0;

	if (take_parts(in, parts, e) < 0)
		return -1;
	for (size_t i = 0; i < PARTS; i++) {
		if (parts[i].tree != NULL)
			items[n++] = (struct layer_store_item){ .tree = parts[i].tree,
				.digest = parts[i].digest,
				.size = parts[i].size };
	}
	if (layer_store_seal(in->layers, items, n, e) < 0)
		return -1;
	mem_set_str(&out->layers.app, parts[PART_APP].digest);
	mem_set_str(
	    &out->layers.deps, parts[PART_DEPS].digest == NULL ? "" : parts[PART_DEPS].digest);
	mem_set_str(
	    &out->layers.rest, parts[PART_REST].digest == NULL ? "" : parts[PART_REST].digest);
	if (in->plan->deps_reused) {
		mem_set_str(&out->layers.deps, in->order->previous.deps);
		mem_set_str(&out->layers.rest, in->order->previous.rest);
	}
	return make_image(in, out, e);
}
