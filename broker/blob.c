#include "broker/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_cart_type.h"

enum { HEX = 64, BLOCK = 256 * 1024, SWEEP_MS = 5 * 1000 };
static const char prefix[] = "sha256:";
static const char path_prefix[] = "/internal/node/blob/";

struct blob_store {
	struct broker *b;  /* borrowed */
	char *dir;         /* owned */
	struct map *holds; /* digest → int *, owned */
	struct loop_timer *timer;
	struct worker_job *sweep;
	struct take *waiting; /* for the end of the sweep; owned */
};

static const char *
hex_of(const char *digest)
{
	const char *hex = str_has_prefix(digest, prefix) ? digest + sizeof prefix - 1 : NULL;

	return hex != NULL && str_is_hex(hex, HEX) ? hex : NULL;
}

/* --- who refers to one --- */

static void
add_refs(struct str_list *out, const struct wire_gear_cart_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const char *digest = l->v[i].digest;

		if (digest != NULL && digest[0] != '\0' && !str_list_has(out, digest))
			str_list_add(out, digest);
	}
}

static bool
see_app(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *a = rec;

	(void)key;
	(void)rev;
	add_refs(arg, &a->cartridges);
	add_refs(arg, &a->cartridges_before);
	return true;
}

/* Also one that goes: its end may need the scripts. */
static bool
see_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;

	(void)key;
	(void)rev;
	add_refs(arg, &g->cartridges);
	return true;
}

static bool
see_type(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_cart_type *t = rec;
	struct str_list *out = arg;

	(void)key;
	(void)rev;
	if (t->digest != NULL && t->digest[0] != '\0')
		str_list_add(out, t->digest);
	return true;
}

static void
see_hold(const char *digest, void *value, void *arg)
{
	(void)value;
	str_list_add(arg, digest);
}

static void
find_refs(const struct blob_store *s, struct str_list *out)
{
	record_each_with(s->b->store, STORE_PREFIX_APP, prefix, &wire_app_codec, see_app, out);
	record_each_with(s->b->store, STORE_PREFIX_GEAR, prefix, &wire_gear_codec, see_gear, out);
	record_each(s->b->store, STORE_PREFIX_CART_TYPE, &wire_cart_type_codec, see_type, out);
	map_each(s->holds, see_hold, out);
}

/* --- sweeping --- */

struct sweep {
	struct blob_store *s; /* for done only */
	char *dir;            /* owned */
	struct str_list keep; /* digests */
};

static void
sweep_free(void *p)
{
	struct sweep *w = p;

	free(w->dir);
	str_list_fini(&w->keep);
	free(w);
}

static void
sweep_run(void *p)
{
	struct sweep *w = p;
	DIR *d = opendir(w->dir);
	const struct dirent *de;

	while (d != NULL && (de = readdir(d)) != NULL) {
		AUTO(free) char *digest = xasprintf("%s%s", prefix, de->d_name);

		if (!str_is_hex(de->d_name, HEX) || str_list_has(&w->keep, digest))
			continue;
		if (unlinkat(dirfd(d), de->d_name, 0) == 0)
			log_info("blob_removed", LOG_STR("digest", digest));
	}
	if (d != NULL)
		closedir(d);
}

static void place_waiting(struct blob_store *s);

static void
sweep_done(void *p)
{
	struct sweep *w = p;
	struct blob_store *s = w->s;

	s->sweep = NULL;
	sweep_free(w);
	place_waiting(s);
}

/* What came later is not in its list: nothing gets its name while one sweeps. */
static void
on_sweep(void *arg)
{
	struct blob_store *s = arg;
	struct sweep *w;

	if (s->sweep != NULL)
		return;
	w = xcalloc(1, sizeof *w);
	*w = (struct sweep){ .s = s, .dir = xstrdup(s->dir) };
	find_refs(s, &w->keep);
	s->sweep = worker_submit(s->b->worker, sweep_run, sweep_done, sweep_free, w);
}

/* --- taking --- */

void
blob_store_hold(struct blob_store *s, const char *digest)
{
	int *n = map_get(s->holds, digest);

	if (n == NULL) {
		n = xcalloc(1, sizeof *n);
		map_set(s->holds, digest, n);
	}
	(*n)++;
}

void
blob_store_release(struct blob_store *s, const char *digest)
{
	int *n = digest == NULL ? NULL : map_get(s->holds, digest);

	if (n == NULL || --*n > 0)
		return;
	(void)map_remove(s->holds, digest);
}

char *
blob_store_tmp(struct blob_store *s)
{
	AUTO(free) char *word = secret_random_hex(8);

	return xasprintf("%s/.tmp-%s", s->dir, word);
}

struct take {
	struct take *next;
	struct blob_store *s; /* for done only */
	char *path, *dir;     /* owned */
	char *digest;         /* owned; found by the first run */
	blob_store_fn *done;
	void *arg;
	struct err e;
};

static void
take_free(void *p)
{
	struct take *t = p;

	free(t->path);
	free(t->dir);
	free(t->digest);
	free(t);
}

static void
take_hash(void *p)
{
	struct take *t = p;
	AUTO(file_close) int fd = open(t->path, O_RDONLY | O_CLOEXEC);
	AUTO(free) char *block = xmalloc(BLOCK);
	struct secret_sha256 *h = secret_sha256_new();
	char hex[HEX + 1];
	ssize_t n = -1;

	while (fd >= 0 && (n = read(fd, block, BLOCK)) > 0)
		secret_sha256_add(h, block, (size_t)n);
	secret_sha256_end(h, hex);
	secret_sha256_free(h);
	if (fd < 0 || n < 0 || fsync(fd) < 0)
		(void)err_set(&t->e, ERR_SYSTEM, NULL, "cannot keep the archive");
	else
		t->digest = xasprintf("%s%s", prefix, hex);
}

static void
take_place(void *p)
{
	struct take *t = p;
	AUTO(free) char *to = file_join(t->dir, t->digest + sizeof prefix - 1);
	AUTO(file_close) int dir = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (rename(t->path, to) < 0 || dir < 0 || fsync(dir) < 0)
		(void)err_set(&t->e, ERR_SYSTEM, NULL, "cannot keep the archive");
}

static void
take_end(void *p)
{
	struct take *t = p;

	if (t->e.code != ERR_NONE) {
		(void)unlink(t->path);
		if (t->digest != NULL)
			blob_store_release(t->s, t->digest);
		t->done(NULL, &t->e, t->arg);
	} else {
		fault_point("blob_taken");
		t->done(t->digest, NULL, t->arg);
	}
	take_free(t);
}

/* The digest is known: it is held before the file has its name. */
static void
take_hashed(void *p)
{
	struct take *t = p;
	struct blob_store *s = t->s;

	if (t->e.code != ERR_NONE) {
		take_end(t);
		return;
	}
	blob_store_hold(s, t->digest);
	t->next = s->waiting;
	s->waiting = t;
	if (s->sweep == NULL)
		place_waiting(s);
}

static void
place_waiting(struct blob_store *s)
{
	while (s->waiting != NULL) {
		struct take *t = s->waiting;

		s->waiting = t->next;
		worker_submit(s->b->worker, take_place, take_end, take_free, t);
	}
}

void
blob_store_take(struct blob_store *s, const char *path, blob_store_fn *done, void *arg)
{
	struct take *t = xcalloc(1, sizeof *t);

	*t = (struct take){
		.s = s, .path = xstrdup(path), .dir = xstrdup(s->dir), .done = done, .arg = arg
	};
	worker_submit(s->b->worker, take_hash, take_hashed, take_free, t);
}

/* --- serving --- */

/* One answer: a block is read by a worker, written, and the next when the node has taken it. */
struct serve {
	struct blob_store *s;
	struct http_req *r; /* NULL: the node went away */
	int fd;
	char *block; /* owned */
	ssize_t n;
	bool is_reading;
};

static void
serve_free(void *p)
{
	struct serve *v = p;

	file_close(v->fd);
	free(v->block);
	free(v);
}

static void serve_next(struct serve *v);

static void
serve_read(void *p)
{
	struct serve *v = p;

	v->n = read(v->fd, v->block, BLOCK);
}

static void
on_drain(struct http_req *r, void *arg)
{
	(void)r;
	serve_next(arg);
}

static void
serve_write(void *p)
{
	struct serve *v = p;

	v->is_reading = false;
	if (v->r == NULL) {
		serve_free(v);
		return;
	}
	if (v->n <= 0) {
		http_req_on_close(v->r, NULL, NULL);
		if (v->n < 0)
			http_req_abort(v->r);
		else
			http_req_end(v->r);
		serve_free(v);
		return;
	}
	if (http_req_write(v->r, v->block, (size_t)v->n))
		serve_next(v);
	else
		http_req_on_drain(v->r, on_drain, v);
}

static void
serve_next(struct serve *v)
{
	http_req_on_drain(v->r, NULL, NULL);
	v->is_reading = true;
	worker_submit(v->s->b->worker, serve_read, serve_write, serve_free, v);
}

static void
on_close(struct http_req *r, void *arg)
{
	struct serve *v = arg;

	(void)r;
	v->r = NULL;
	if (!v->is_reading)
		serve_free(v);
}

void
blob_store_serve(struct blob_store *s, struct http_req *r)
{
	const char *digest = http_req_path(r) + strlen(path_prefix);
	const char *hex = str_has_prefix(http_req_path(r), path_prefix) ? hex_of(digest) : NULL;
	AUTO(free) char *path = hex == NULL ? NULL : file_join(s->dir, hex);
	static const char *const headers[] = { "Content-Type: application/x-tar", NULL };
	struct serve *v;
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0) {
		http_req_reply_text(r, 404, "There is no such archive.\n");
		return;
	}
	v = xcalloc(1, sizeof *v);
	*v = (struct serve){ .s = s, .r = r, .fd = fd, .block = xmalloc(BLOCK) };
	http_req_on_close(r, on_close, v);
	http_req_begin(r, 200, headers);
	serve_next(v);
}

/* --- all --- */

struct blob_store *
blob_store_new(struct broker *b, struct err *e)
{
	AUTO(blob_store_free) struct blob_store *s = xcalloc(1, sizeof *s);
	const struct dirent *de;
	DIR *d;

	s->b = b;
	s->dir = file_join(b->conf.data, "blobs");
	s->holds = map_new(free);
	if (file_mkdirs(s->dir, 0700, e) < 0)
		return NULL;
	d = opendir(s->dir);
	while (d != NULL && (de = readdir(d)) != NULL) {
		if (str_has_prefix(de->d_name, ".tmp-"))
			(void)unlinkat(dirfd(d), de->d_name, 0);
	}
	if (d != NULL)
		closedir(d);
	s->timer = loop_timer_start(b->loop, SWEEP_MS, true, on_sweep, s);
	return STEAL(s);
}

void
blob_store_free(struct blob_store *take_s)
{
	if (take_s == NULL)
		return;
	loop_timer_cancel(take_s->timer);
	worker_detach(take_s->sweep);
	while (take_s->waiting != NULL) {
		struct take *t = take_s->waiting;

		take_s->waiting = t->next;
		take_free(t);
	}
	map_free(take_s->holds);
	free(take_s->dir);
	free(take_s);
}
