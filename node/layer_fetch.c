#include "node/layer_fetch.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/loop/worker.h"
#include "lib/oci/oci_tar.h"
#include "lib/wire/wire_gear.h"
#include "node/layer_store.h"
#include "node/node_dirs.h"
#include "node/tree_stream.h"

struct layer_fetch {
	struct layer_fetch_opts o;
	struct str_list missing; /* digests; the last is under way */
	char *dir;               /* owned: of the one under way */
	struct tree_fetch *tree;
	struct worker_job *job;
	layer_fetch_fn *fn;
	void *arg;
};

/* Directory made or removed, digest checked, sealed: on a worker. */
struct layer_job {
	struct layer_fetch *fetch; /* done only */
	struct layer_store *layers;
	char *dir, *digest; /* owned; digest NULL: the directory is to be made */
	struct err e;
};

static void
free_job(void *p)
{
	struct layer_job *j = p;

	free(j->dir);
	free(j->digest);
	free(j);
}

void
layer_fetch_cancel(struct layer_fetch *take_f)
{
	if (take_f == NULL)
		return;
	tree_fetch_cancel(take_f->tree);
	worker_detach(take_f->job);
	str_list_fini(&take_f->missing);
	free(take_f->dir);
	free(take_f);
}

static void
finish(struct layer_fetch *f, const struct err *e)
{
	layer_fetch_fn *fn = f->fn;
	void *arg = f->arg;

	layer_fetch_cancel(f);
	fn(e, arg);
}

static void
run_make(void *p)
{
	struct layer_job *j = p;

	if (mkdir(j->dir, 0700) < 0)
		(void)err_set(&j->e, ERR_SYSTEM, NULL, "make %s", j->dir);
}

static int
check(const struct layer_job *j, int64_t *out_size, struct err *e)
{
	AUTO(file_close) int fd = open(j->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(free) char *digest = NULL;

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", j->dir);
	digest = oci_tar_digest(fd, "", out_size, e);
	if (digest == NULL)
		return -1;
	if (strcmp(digest, j->digest) != 0)
		return err_set(e, ERR_INVALID, "layers", "what came for the layer %s is %s",
		    j->digest, digest);
	return 0;
}

static void
run_seal(void *p)
{
	struct layer_job *j = p;
	struct layer_store_item item = { .tree = j->dir, .digest = j->digest };
	struct err ignored = { 0 };

	fault_point("layer_fetched");
	if (check(j, &item.size, &j->e) == 0 && layer_store_seal(j->layers, &item, 1, &j->e) == 0)
		return;
	if (file_remove_tree(j->dir, &ignored) < 0)
		log_warn("layer_remains", LOG_STR("path", j->dir), LOG_ERR(&ignored));
}

static void start_next(struct layer_fetch *f);

static void
on_sealed(void *p)
{
	struct layer_job *j = p;
	struct layer_fetch *f = j->fetch;
	struct err e = j->e;

	f->job = NULL;
	free_job(j);
	if (e.code != ERR_NONE) {
		finish(f, &e);
		return;
	}
	log_info("layer_fetched", LOG_STR("digest", f->missing.v[f->missing.n - 1]));
	free(str_list_pop(&f->missing));
	start_next(f);
}

static void
submit(struct layer_fetch *f, const char *digest, worker_fn *run, worker_fn *done)
{
	struct layer_job *j = xcalloc(1, sizeof *j);

	*j = (struct layer_job){ .fetch = f,
		.layers = f->o.layers,
		.dir = xstrdup(f->dir),
		.digest = xstrdup_null(digest) };
	f->job = worker_submit(f->o.worker, run, done, free_job, j);
}

static void
run_discard(void *p)
{
	struct layer_job *j = p;
	struct err e = { 0 };

	if (file_remove_tree(j->dir, &e) < 0)
		log_warn("layer_remains", LOG_STR("path", j->dir), LOG_ERR(&e));
}

static void
on_tree(const struct err *e, void *arg)
{
	struct layer_fetch *f = arg;
	struct err why;

	f->tree = NULL;
	if (e == NULL) {
		submit(f, f->missing.v[f->missing.n - 1], run_seal, on_sealed);
		return;
	}
	why = *e;
	submit(f, NULL, run_discard, free_job);
	f->job = NULL;
	err_wrap(&why, "layer %s", f->missing.v[f->missing.n - 1]);
	finish(f, &why);
}

static void
on_made(void *p)
{
	struct layer_job *j = p;
	struct layer_fetch *f = j->fetch;
	AUTO(free)
	char *url = xasprintf("%s/internal/node/layer?digest=%s&asker=%s", f->o.broker,
	    f->missing.v[f->missing.n - 1], f->o.node);
	const struct tree_fetch_opts o = { f->o.loop, f->o.http, url, f->o.token, f->dir };
	struct err e = j->e;

	f->job = NULL;
	free_job(j);
	if (e.code == ERR_NONE)
		f->tree = tree_fetch_start(&o, on_tree, f, &e);
	if (f->tree == NULL)
		finish(f, &e);
}

static void
start_next(struct layer_fetch *f)
{
	AUTO(free) char *word = secret_random_hex(8);

	if (f->missing.n == 0) {
		finish(f, NULL);
		return;
	}
	free(f->dir);
	f->dir = xasprintf("%s/fetch-%s", f->o.dirs->scratch, word);
	submit(f, NULL, run_make, on_made);
}

static void
look(struct layer_fetch *f, const char *digest)
{
	if (digest != NULL && digest[0] != '\0' && !layer_store_has(f->o.layers, digest))
		str_list_add(&f->missing, digest);
}

struct layer_fetch *
layer_fetch_start(const struct layer_fetch_opts *o, const struct wire_layers *layers,
    layer_fetch_fn *fn, void *arg)
{
	struct layer_fetch *f = xcalloc(1, sizeof *f);

	*f = (struct layer_fetch){ .o = *o, .fn = fn, .arg = arg };
	look(f, layers->app);
	look(f, layers->deps);
	look(f, layers->rest);
	if (f->missing.n == 0) {
		layer_fetch_cancel(f);
		return NULL;
	}
	start_next(f);
	return f;
}
