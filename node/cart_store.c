#include "node/cart_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/secret.h"
#include "lib/cart/cart_dir.h"
#include "lib/http/http_client.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/node_dirs.h"

enum {
	HEX = 64,
	FILES_MAX = 20000,
	QUEUE_MAX = 256 * 1024, /* bytes waiting for the unpacker */
	IDLE_MS = 60 * 1000,
	UNPACK_MS = 10 * 60 * 1000,
	ANSWER_MAX = 4096, /* of a refusal */
};
static const char digest_prefix[] = "sha256:";
static const char bytes_max[] = "4294967296"; /* of one cartridge, unpacked */

/* Code that is here. */
struct code {
	struct cart_dir *dir; /* owned: its releases */
	int64_t unused_ms;    /* since when no gear wants it; 0: some does */
};

/* An archive on its way: stream → hash and unpacker → directory → entry. */
struct fetch {
	struct cart_store *s; /* borrowed */
	char *hex, *tmp;      /* owned */
	struct http_call *call;
	struct child *unpack;
	struct worker_job *job;
	struct secret_sha256 *hash; /* owned */
	bool is_full;               /* the call waits for the unpacker */
	bool has_all;
	struct err e;
};

/* One asker: waits until none of its digests is on its way. */
struct cart_store_get {
	struct cart_store_get *next;
	struct cart_store *s;     /* borrowed */
	struct str_list digests;  /* hex */
	struct loop_timer *later; /* answers from the loop */
	cart_store_fn *fn;
	void *arg;
	struct err e;
};

struct cart_store {
	struct cart_store_opts o;
	char *root;                  /* DATA/cart-code; owned */
	char *unpack;                /* the program; owned */
	pthread_mutex_t lock;        /* guards codes */
	struct map *codes;           /* hex → struct code, owned */
	struct map *fetches;         /* hex → struct fetch, owned */
	struct cart_store_get *gets; /* owned */
};

static const char *
hex_of(const char *digest)
{
	const char *hex = digest != NULL && str_has_prefix(digest, digest_prefix)
	                      ? digest + sizeof digest_prefix - 1
	                      : NULL;

	return hex != NULL && str_is_hex(hex, HEX) ? hex : NULL;
}

static void
code_free(void *p)
{
	struct code *c = p;

	cart_dir_close(c->dir);
	free(c);
}

static void
add_code(struct cart_store *s, const char *hex, struct cart_dir *take_dir)
{
	struct code *c = xcalloc(1, sizeof *c);

	c->dir = take_dir;
	pthread_mutex_lock(&s->lock);
	map_set(s->codes, hex, c);
	pthread_mutex_unlock(&s->lock);
}

/* --- fetching --- */

static void
fetch_free(void *p)
{
	struct fetch *f = p;

	http_call_cancel(f->call);
	child_free(f->unpack);
	worker_detach(f->job);
	secret_sha256_free(f->hash);
	free(f->hex);
	free(f->tmp);
	free(f);
}

static bool
get_is_done(const struct cart_store_get *g)
{
	for (size_t i = 0; i < g->digests.n; i++) {
		if (map_get(g->s->fetches, g->digests.v[i]) != NULL)
			return false;
	}
	return true;
}

static void
get_free(struct cart_store_get *g)
{
	loop_timer_cancel(g->later);
	str_list_fini(&g->digests);
	free(g);
}

static void
get_unlink(struct cart_store_get *g)
{
	for (struct cart_store_get **p = &g->s->gets; *p != NULL; p = &(*p)->next) {
		if (*p == g) {
			*p = g->next;
			return;
		}
	}
}

static void
on_answer(void *arg)
{
	struct cart_store_get *g = arg;
	cart_store_fn *fn = g->fn;
	void *fn_arg = g->arg;
	struct err e = g->e;

	get_unlink(g);
	get_free(g);
	fn(e.code == ERR_NONE ? NULL : &e, fn_arg);
}

static void
answer_soon(struct cart_store_get *g)
{
	if (g->later == NULL)
		g->later = loop_timer_start(g->s->o.loop, 0, false, on_answer, g);
}

struct work {
	struct fetch *fetch; /* for done only */
	char *tmp, *path;    /* owned; path NULL: only removes */
	struct cart_dir *dir;
	struct err e;
};

static void
work_free(void *p)
{
	struct work *w = p;

	cart_dir_close(w->dir);
	free(w->tmp);
	free(w->path);
	free(w);
}

static void
run_discard(void *p)
{
	struct work *w = p;
	struct err e = { 0 };

	if (file_remove_tree(w->tmp, &e) < 0)
		log_warn("cartridge_remains", LOG_STR("path", w->tmp), LOG_ERR(&e));
}

static void
discard(struct cart_store *s, const char *path)
{
	struct work *w = xcalloc(1, sizeof *w);

	w->tmp = xstrdup(path);
	worker_submit(s->o.worker, run_discard, work_free, work_free, w);
}

/* The fetch is over: whoever waits for it hears. */
static void
fetch_end(struct fetch *f, const struct err *e)
{
	struct cart_store *s = f->s;
	AUTO(free) char *hex = xstrdup(f->hex);
	struct err why = { 0 };

	if (e != NULL) {
		why = *e;
		log_warn("cartridge_not_fetched", LOG_STR("digest", hex), LOG_ERR(e));
		discard(s, f->tmp);
	} else {
		log_info("cartridge_fetched", LOG_STR("digest", hex));
	}
	(void)map_remove(s->fetches, hex);
	for (struct cart_store_get *g = s->gets; g != NULL; g = g->next) {
		if (!str_list_has(&g->digests, hex))
			continue;
		if (why.code != ERR_NONE && g->e.code == ERR_NONE)
			g->e = why;
		if (get_is_done(g))
			answer_soon(g);
	}
}

/* The tree is complete: it takes its name. */
static void
run_place(void *p)
{
	struct work *w = p;
	AUTO(file_close) int fd = open(w->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fchown(fd, 0, 0) < 0 || fchmod(fd, 0755) < 0 || syncfs(fd) < 0) {
		(void)err_set(&w->e, ERR_SYSTEM, NULL, "cannot write the cartridge to disk");
		return;
	}
	w->dir = cart_dir_open_one(w->tmp, &w->e);
	if (w->dir == NULL)
		return;
	cart_dir_close(STEAL(w->dir));
	fault_point("cart_store_place");
	if (rename(w->tmp, w->path) < 0 && errno != EEXIST && errno != ENOTEMPTY) {
		(void)err_set(&w->e, ERR_SYSTEM, NULL, "cannot rename %s", w->tmp);
		return;
	}
	w->dir = cart_dir_open_one(w->path, &w->e);
}

static void
on_placed(void *p)
{
	struct work *w = p;
	struct fetch *f = w->fetch;
	struct err e = w->e;

	f->job = NULL;
	if (w->dir != NULL)
		add_code(f->s, f->hex, STEAL(w->dir));
	work_free(w);
	fetch_end(f, e.code == ERR_NONE ? NULL : &e);
}

static void
place(struct fetch *f)
{
	struct work *w = xcalloc(1, sizeof *w);

	w->fetch = f;
	w->tmp = xstrdup(f->tmp);
	w->path = file_join(f->s->root, f->hex);
	f->job = worker_submit(f->s->o.worker, run_place, on_placed, work_free, w);
}

static void
on_unpacked(struct child *c, const struct child_end *end, void *arg)
{
	struct fetch *f = arg;
	struct err e = { 0 };
	char hex[HEX + 1];

	if (end->status == 1)
		(void)err_set(
		    &e, ERR_INVALID, NULL, "%.*s", (int)strcspn(end->err, "\n"), end->err);
	else if (end->status != 0)
		(void)err_set(&e, ERR_SYSTEM, NULL, "the unpacker failed (%s)", end->why);
	f->unpack = NULL;
	child_free(c);
	if (!f->has_all) { /* it gave up before the end of the archive, or the call did */
		http_call_cancel(STEAL(f->call));
		fetch_end(f, f->e.code != ERR_NONE ? &f->e : &e);
		return;
	}
	secret_sha256_end(f->hash, hex);
	if (e.code == ERR_NONE && strcmp(hex, f->hex) != 0)
		(void)err_set(&e, ERR_INVALID, "digest",
		    "the archive is sha256:%s instead of sha256:%s", hex, f->hex);
	if (e.code != ERR_NONE)
		fetch_end(f, &e);
	else
		place(f);
}

static void
on_unpack_drain(struct child *c, void *arg)
{
	struct fetch *f = arg;

	(void)c;
	f->is_full = false;
	if (f->call != NULL)
		http_call_resume(f->call);
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct fetch *f = arg;

	(void)c;
	if (status == 404)
		(void)err_set(
		    &f->e, ERR_NOT_FOUND, "digest", "the broker has no archive sha256:%s", f->hex);
	else if (status != 200)
		(void)err_set(&f->e, ERR_BUSY, NULL, "the broker answered %d", status);
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct fetch *f = arg;

	(void)c;
	if (f->is_full)
		return false;
	if (f->e.code != ERR_NONE || f->unpack == NULL)
		return true;
	secret_sha256_add(f->hash, p, n);
	f->is_full = child_write(f->unpack, p, n) > QUEUE_MAX;
	return true;
}

static void
on_call_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct fetch *f = arg;

	(void)c;
	(void)status;
	(void)body;
	f->call = NULL;
	if (e != NULL && f->e.code == ERR_NONE)
		(void)err_set(&f->e, ERR_BUSY, NULL, "%s", e->text);
	f->has_all = f->e.code == ERR_NONE;
	if (f->has_all)
		child_close_stdin(f->unpack);
	else
		child_kill(f->unpack, 9);
}

static int
start_unpack(struct fetch *f, struct err *e)
{
	const char *argv[] = { f->s->unpack, "tree", "", "", "20000", bytes_max, NULL };
	AUTO(file_close) int fd = -1;

	_Static_assert(FILES_MAX == 20000, "as in argv");
	if (mkdir(f->tmp, 0755) < 0 ||
	    (fd = open(f->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    (geteuid() == 0 && fchown(fd, CONTAINER_UID, CONTAINER_UID) < 0))
		return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", f->tmp);
	const struct child_opts o = { .argv = argv,
		.has_stdin = true,
		.pass_fds = &fd,
		.pass_n = 1,
		.timeout_ms = UNPACK_MS };

	f->unpack = child_start(f->s->o.loop, &o, NULL, on_unpacked, f, e);
	if (f->unpack == NULL)
		return -1;
	child_on_drain(f->unpack, on_unpack_drain);
	return 0;
}

static int
start_call(struct fetch *f, struct err *e)
{
	AUTO(free)
	char *url = xasprintf("%s/internal/node/blob/%s%s", f->s->o.broker, digest_prefix, f->hex);
	const struct http_call_opts o = { .url = url,
		.bearer = f->s->o.token,
		.on_head = on_head,
		.on_data = on_data,
		.body_max = ANSWER_MAX,
		.idle_timeout_ms = IDLE_MS };

	f->call = http_call_start(f->s->o.http, &o, on_call_end, f, e);
	return f->call == NULL ? -1 : 0;
}

/* -1: nothing is under way. */
static int
fetch_start(struct cart_store *s, const char *hex, struct err *e)
{
	AUTO(free) char *word = secret_random_hex(4);
	struct fetch *f = xcalloc(1, sizeof *f);

	*f = (struct fetch){ .s = s,
		.hex = xstrdup(hex),
		.tmp = xasprintf("%s/.%.8s-%s", s->root, hex, word),
		.hash = secret_sha256_new() };
	map_set(s->fetches, hex, f);
	if (start_unpack(f, e) == 0 && start_call(f, e) == 0)
		return 0;
	(void)map_remove(s->fetches, hex);
	return -1;
}

/* --- finding and asking --- */

const struct cart_dir_entry *
cart_store_find(struct cart_store *s, const struct wire_gear_cart *c)
{
	const struct cart_dir_entry *x;

	if (c->digest != NULL && c->digest[0] != '\0') {
		const struct code *code;

		pthread_mutex_lock(&s->lock);
		code = hex_of(c->digest) == NULL ? NULL : map_get(s->codes, hex_of(c->digest));
		x = code == NULL ? NULL : cart_dir_find(code->dir, c->name, c->version, NULL);
		pthread_mutex_unlock(&s->lock);
		return x;
	}
	x = c->cart_version == NULL
	        ? NULL
	        : cart_dir_find(s->o.carts, c->name, c->version, c->cart_version);
	return x != NULL ? x : cart_dir_find(s->o.carts, c->name, c->version, NULL);
}

/* Begins what one cartridge needs. */
static void
want(struct cart_store_get *g, const struct wire_gear_cart *c)
{
	struct cart_store *s = g->s;
	const char *hex = hex_of(c->digest);

	if (c->digest == NULL || c->digest[0] == '\0') {
		(void)err_set(&g->e, ERR_NOT_FOUND, "cartridges",
		    "this node does not have the cartridge %s-%s", c->name, c->version);
		return;
	}
	if (hex == NULL) {
		(void)err_set(&g->e, ERR_INVALID, "digest", "'%.80s' is no digest", c->digest);
		return;
	}
	if (map_get(s->codes, hex) != NULL) { /* else find had it */
		(void)err_set(&g->e, ERR_INVALID, "cartridges",
		    "the archive sha256:%s holds no cartridge %s-%s", hex, c->name, c->version);
		return;
	}
	str_list_add(&g->digests, hex);
	if (map_get(s->fetches, hex) == NULL)
		(void)fetch_start(s, hex, &g->e);
}

struct cart_store_get *
cart_store_get(
    struct cart_store *s, const struct wire_gear_cart_list *carts, cart_store_fn *fn, void *arg)
{
	struct cart_store_get *g = xcalloc(1, sizeof *g);

	*g = (struct cart_store_get){ .next = s->gets, .s = s, .fn = fn, .arg = arg };
	s->gets = g;
	for (size_t i = 0; i < carts->n && g->e.code == ERR_NONE; i++) {
		if (cart_store_find(s, &carts->v[i]) == NULL)
			want(g, &carts->v[i]);
	}
	if (g->e.code != ERR_NONE || get_is_done(g))
		answer_soon(g);
	return g;
}

void
cart_store_cancel(struct cart_store_get *take_g)
{
	if (take_g == NULL)
		return;
	get_unlink(take_g);
	get_free(take_g);
}

/* --- the end of code --- */

struct collect {
	struct cart_store *s;
	const struct str_list *in_use; /* digests */
	int64_t now, grace_ms;
	struct str_list gone; /* hex */
};

static void
look(const char *hex, void *value, void *arg)
{
	struct collect *x = arg;
	struct code *c = value;
	AUTO(free) char *digest = xasprintf("%s%s", digest_prefix, hex);

	if (str_list_has(x->in_use, digest))
		c->unused_ms = 0;
	else if (c->unused_ms == 0 && x->grace_ms > 0)
		c->unused_ms = x->now;
	else if (x->now - c->unused_ms >= x->grace_ms)
		str_list_add(&x->gone, hex);
}

/* The unpacked tree, and the layer that was made of it (node/cart_code). */
static void
drop(struct cart_store *s, const char *hex)
{
	const struct code *c = map_get(s->codes, hex);
	AUTO(free) char *path = file_join(s->root, hex);
	AUTO(free) char *name = xasprintf(".gone-%s", hex);
	AUTO(free) char *gone = file_join(s->root, name);

	if (cart_dir_count(c->dir) > 0) {
		AUTO(free)
		char *layer =
		    xasprintf("%s/carts/%s", s->o.dirs->data, cart_dir_at(c->dir, 0)->digest);

		discard(s, layer);
	}
	if (rename(path, gone) == 0)
		discard(s, gone);
	log_info("cartridge_collected", LOG_STR("digest", hex));
	pthread_mutex_lock(&s->lock);
	(void)map_remove(s->codes, hex);
	pthread_mutex_unlock(&s->lock);
}

void
cart_store_collect(struct cart_store *s, const struct str_list *in_use, int64_t grace_s)
{
	struct collect x = {
		.s = s, .in_use = in_use, .now = loop_now_ms(), .grace_ms = grace_s * 1000
	};

	map_each(s->codes, look, &x);
	for (size_t i = 0; i < x.gone.n; i++)
		drop(s, x.gone.v[i]);
	str_list_fini(&x.gone);
}

/* --- all --- */

/* A tree of an earlier run; what was cut short is removed. */
static void
load(struct cart_store *s, const char *name)
{
	AUTO(free) char *path = file_join(s->root, name);
	struct cart_dir *dir;
	struct err e = { 0 };

	if (str_is_hex(name, HEX)) {
		dir = cart_dir_open_one(path, &e);
		if (dir != NULL) {
			add_code(s, name, dir);
			return;
		}
		log_warn("cartridge_unreadable", LOG_STR("path", path), LOG_ERR(&e));
		e = (struct err){ 0 };
	}
	if (file_remove_tree(path, &e) < 0)
		log_warn("cartridge_remains", LOG_STR("path", path), LOG_ERR(&e));
}

struct cart_store *
cart_store_open(const struct cart_store_opts *o, struct err *e)
{
	AUTO(cart_store_close) struct cart_store *s = xcalloc(1, sizeof *s);
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	const struct dirent *de;
	DIR *d;

	s->o = *o;
	s->root = file_join(o->dirs->data, "cart-code");
	s->unpack = file_join(o->dirs->libexec, "pinion-unpack");
	pthread_mutex_init(&s->lock, NULL);
	s->codes = map_new(code_free);
	s->fetches = map_new(fetch_free);
	if (file_mkdirs(s->root, 0700, e) < 0)
		return NULL;
	d = opendir(s->root);
	while (d != NULL && (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			str_list_add(&names, de->d_name);
	}
	if (d != NULL)
		closedir(d);
	for (size_t i = 0; i < names.n; i++)
		load(s, names.v[i]);
	return STEAL(s);
}

void
cart_store_close(struct cart_store *take_s)
{
	if (take_s == NULL)
		return;
	while (take_s->gets != NULL)
		cart_store_cancel(take_s->gets);
	map_free(take_s->fetches);
	map_free(take_s->codes);
	pthread_mutex_destroy(&take_s->lock);
	free(take_s->root);
	free(take_s->unpack);
	free(take_s);
}
