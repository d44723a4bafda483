#include "node/layer_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "node/node_dirs.h"

enum { HEX = 64, BLOB_MAX = 1024 * 1024 };
static const char digest_prefix[] = "sha256:";
static const char gone_prefix[] = ".gone-";

struct layer_store {
	const struct node_dirs *dirs;
	char *images;         /* owned */
	pthread_mutex_t lock; /* guards the members below, and renames in LAYERS */
	struct map *keep;     /* app id -> struct str_list * */
	struct map *used;     /* hex -> int64_t *: when it was sealed or last found by a build */
};

/* The 64 digits of a digest, or NULL. */
static const char *
hex_of(const char *digest)
{
	const char *hex =
	    str_has_prefix(digest, digest_prefix) ? digest + sizeof digest_prefix - 1 : NULL;

	return hex != NULL && str_is_hex(hex, HEX) ? hex : NULL;
}

static int64_t
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void
mark_used(struct layer_store *s, const char *hex)
{
	int64_t *t = xcalloc(1, sizeof *t);

	*t = now_s();
	map_set(s->used, hex, t);
}

static void
list_free(void *p)
{
	str_list_fini(p);
	free(p);
}

static int
fsync_dir(const char *path, struct err *e)
{
	AUTO(file_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot sync the directory %s", path);
	return 0;
}

/* What a collection was removing when it was killed. */
static void
remove_remains(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *de;

	while (d != NULL && (de = readdir(d)) != NULL) {
		AUTO(free) char *path = NULL;
		struct err e = { 0 };

		if (!str_has_prefix(de->d_name, gone_prefix))
			continue;
		path = file_join(dir, de->d_name);
		if (file_remove_tree(path, &e) < 0)
			log_warn("layer_remains", LOG_STR("path", path), LOG_ERR(&e));
	}
	if (d != NULL)
		closedir(d);
}

struct layer_store *
layer_store_open(const struct node_dirs *dirs, struct err *e)
{
	AUTO(layer_store_close) struct layer_store *s = xcalloc(1, sizeof *s);

	s->dirs = dirs;
	s->images = file_join(dirs->data, "images");
	s->keep = map_new(list_free);
	s->used = map_new(free);
	pthread_mutex_init(&s->lock, NULL);
	if (file_mkdirs(s->images, 0700, e) < 0)
		return NULL;
	remove_remains(dirs->layers);
	return STEAL(s);
}

void
layer_store_close(struct layer_store *take_s)
{
	if (take_s == NULL)
		return;
	map_free(take_s->keep);
	map_free(take_s->used);
	free(take_s->images);
	pthread_mutex_destroy(&take_s->lock);
	free(take_s);
}

char *
layer_store_path(const struct layer_store *s, const char *digest)
{
	return node_dirs_layer(s->dirs, digest);
}

bool
layer_store_has(const struct layer_store *s, const char *digest)
{
	AUTO(free) char *path = hex_of(digest) == NULL ? NULL : layer_store_path(s, digest);

	return path != NULL && file_exists(path);
}

void
layer_store_touch(struct layer_store *s, const char *digest)
{
	const char *hex = hex_of(digest);

	if (hex == NULL)
		return;
	pthread_mutex_lock(&s->lock);
	mark_used(s, hex);
	pthread_mutex_unlock(&s->lock);
}

static char *
size_path(const struct layer_store *s, const char *hex)
{
	return xasprintf("%s/%s.size", s->images, hex);
}

int64_t
layer_store_size(const struct layer_store *s, const char *digest)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO(free) char *path = hex_of(digest) == NULL ? NULL : size_path(s, hex_of(digest));
	struct err ignored = { 0 };
	int64_t size = 0;

	if (path == NULL || file_read(path, 32, &b, &ignored) < 0 ||
	    str_to_i64(buf_str(&b), 0, INT64_MAX, "size", &size, &ignored) < 0)
		return 0;
	return size;
}

static int
note_size(struct layer_store *s, const struct layer_store_item *it, struct err *e)
{
	AUTO(free)
	char *path = hex_of(it->digest) == NULL ? NULL : size_path(s, hex_of(it->digest));
	AUTO(free) char *text = xasprintf("%lld", (long long)it->size);

	if (path == NULL)
		return err_set(e, ERR_BUG, NULL, "not a digest: %s", it->digest);
	return file_replace_fast(path, text, strlen(text), 0600, e);
}

/* The tree takes its place, or goes away when the layer is there. */
static int
place(struct layer_store *s, const struct layer_store_item *it, struct err *e)
{
	AUTO(free) char *path = layer_store_path(s, it->digest);
	int rc;

	if (hex_of(it->digest) == NULL || path == NULL)
		return err_set(e, ERR_BUG, NULL, "not a digest: %s", it->digest);
	pthread_mutex_lock(&s->lock);
	rc = rename(it->tree, path);
	if (rc < 0 && (errno == EEXIST || errno == ENOTEMPTY))
		rc = 1;
	if (rc >= 0)
		mark_used(s, hex_of(it->digest));
	pthread_mutex_unlock(&s->lock);
	if (rc < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot seal the layer %s", it->digest);
	return rc == 1 ? file_remove_tree(it->tree, e) : 0;
}

/* First all bytes, then the names: a name that is there after a power cut has its bytes. One syncfs
 * (2 ms for 100 files) against 20 ms for an fsync each. */
int
layer_store_seal(
    struct layer_store *s, const struct layer_store_item *items, size_t n, struct err *e)
{
	AUTO(file_close) int fd = open(s->dirs->layers, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool is_new = false;

	for (size_t i = 0; i < n; i++) {
		if (layer_store_has(s, items[i].digest))
			continue;
		is_new = true;
		if (note_size(s, &items[i], e) < 0)
			return -1;
	}
	if (is_new && (fd < 0 || syncfs(fd) < 0))
		return err_set(e, errno == ENOSPC ? ERR_LIMIT : ERR_SYSTEM, NULL,
		    "cannot write the layers to disk");
	fault_point("layer_store_synced");
	for (size_t i = 0; i < n; i++) {
		if (place(s, &items[i], e) < 0)
			return -1;
	}
	fault_point("layer_store_placed");
	return is_new ? fsync_dir(s->dirs->layers, e) : 0;
}

char *
layer_store_put_blob(struct layer_store *s, const char *json, size_t n, struct err *e)
{
	AUTO(free) char *path = NULL;
	char hex[HEX + 1];

	secret_sha256_hex(json, n, hex);
	path = file_join(s->images, hex);
	if (!file_exists(path) && file_replace_fast(path, json, n, 0600, e) < 0)
		return NULL;
	return xasprintf("%s%s", digest_prefix, hex);
}

void
layer_store_keep(struct layer_store *s, const char *app_id, const struct str_list *digests)
{
	struct str_list *copy = xcalloc(1, sizeof *copy);

	str_list_copy(copy, digests);
	pthread_mutex_lock(&s->lock);
	map_set(s->keep, app_id, copy);
	pthread_mutex_unlock(&s->lock);
}

/* What the application had may be collected after the grace time from now. */
void
layer_store_forget(struct layer_store *s, const char *app_id)
{
	pthread_mutex_lock(&s->lock);
	(void)map_remove(s->keep, app_id);
	pthread_mutex_unlock(&s->lock);
}

struct kept {
	const char *hex;
	bool is;
};

static void
see_keep(const char *key, void *value, void *arg)
{
	const struct str_list *l = value;
	struct kept *k = arg;

	(void)key;
	for (size_t i = 0; i < l->n; i++) {
		const char *hex = hex_of(l->v[i]);

		k->is = k->is || (hex != NULL && strcmp(hex, k->hex) == 0);
	}
}

/* Moves an unused layer out of the way; false when it is used after all. First seen: from now on
 * its grace time runs, also after a restart. */
static bool
take_away(struct layer_store *s, const char *hex, const struct str_list *in_use, int64_t grace_s)
{
	AUTO(free) char *digest = xasprintf("%s%s", digest_prefix, hex);
	AUTO(free) char *path = layer_store_path(s, digest);
	AUTO(free) char *name = xasprintf("%s%s", gone_prefix, hex);
	AUTO(free) char *gone = file_join(s->dirs->layers, name);
	struct kept k = { .hex = hex };
	const int64_t *used;
	bool is_gone = false;

	if (in_use != NULL && str_list_has(in_use, digest))
		return false;
	pthread_mutex_lock(&s->lock);
	map_each(s->keep, see_keep, &k);
	used = map_get(s->used, hex);
	if (k.is)
		(void)map_remove(s->used, hex);
	else if (used == NULL && grace_s > 0)
		mark_used(s, hex);
	else if (used == NULL || now_s() - *used >= grace_s)
		is_gone = path != NULL && rename(path, gone) == 0;
	pthread_mutex_unlock(&s->lock);
	return is_gone;
}

/* Images that name a layer which is gone can start nothing. */
static void
remove_images_of(struct layer_store *s, const char *hex)
{
	AUTO(free) char *size = size_path(s, hex);
	DIR *d = opendir(s->images);
	const struct dirent *de;

	(void)unlink(size);
	while (d != NULL && (de = readdir(d)) != NULL) {
		AUTO_FINI(buf_fini) struct buf b = { 0 };
		AUTO(free) char *path = file_join(s->images, de->d_name);
		struct err e = { 0 };

		if (str_is_hex(de->d_name, HEX) && file_read(path, BLOB_MAX, &b, &e) == 0 &&
		    b.p != NULL && strstr(b.p, hex) != NULL)
			(void)unlink(path);
	}
	if (d != NULL)
		closedir(d);
}

/* Build caches of applications that have no record any more. */
static void
collect_caches(struct layer_store *s, int64_t grace_s)
{
	AUTO(free) char *dir = file_join(s->dirs->data, "cache");
	DIR *d = opendir(dir);
	const struct dirent *de;

	while (d != NULL && (de = readdir(d)) != NULL) {
		AUTO(free) char *path = file_join(dir, de->d_name);
		AUTO(free) char *key = xasprintf("cache %s", de->d_name);
		const int64_t *seen;
		struct err e = { 0 };
		bool is_old;

		if (de->d_name[0] == '.')
			continue;
		pthread_mutex_lock(&s->lock);
		seen = map_get(s->used, key);
		is_old = grace_s == 0 || (seen != NULL && now_s() - *seen >= grace_s);
		if (map_get(s->keep, de->d_name) != NULL) {
			(void)map_remove(s->used, key);
			is_old = false;
		} else if (seen == NULL) {
			mark_used(s, key);
		}
		pthread_mutex_unlock(&s->lock);
		if (is_old && file_remove_tree(path, &e) < 0)
			log_warn("cache_remains", LOG_STR("path", path), LOG_ERR(&e));
	}
	if (d != NULL)
		closedir(d);
}

int
layer_store_collect(
    struct layer_store *s, const struct str_list *in_use, int64_t grace_s, struct err *e)
{
	DIR *d = opendir(s->dirs->layers);
	const struct dirent *de;
	int count = 0;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "cannot read %s", s->dirs->layers);
	while ((de = readdir(d)) != NULL) {
		if (!str_is_hex(de->d_name, HEX) || !take_away(s, de->d_name, in_use, grace_s))
			continue;
		log_info("layer_collected", LOG_STR("layer", de->d_name));
		remove_images_of(s, de->d_name);
		count++;
	}
	closedir(d);
	remove_remains(s->dirs->layers);
	collect_caches(s, grace_s);
	return count;
}
