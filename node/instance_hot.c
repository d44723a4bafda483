/* A deployment is put into an instance that runs and goes on running (v2's hot_deploy): its layers
 * are laid out beside the instance, then a script inside makes the tree the same and runs the
 * actions that belong to it. What lies in the instance's upper directory is then that deployment's,
 * so a later start finds it, too. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/loop/child.h"
#include "lib/loop/worker.h"
#include "node/cart_action.h"
#include "node/cart_store.h"
#include "node/container.h"
#include "node/deployment_tree.h"
#include "node/gear.h"
#include "node/gear_hooks.h"
#include "node/instance_env.h"
#include "node/instance_state.h"
#include "node/layer_fetch.h"
#include "node/node_dirs.h"
#include "node/tree_copy.h"

enum { TIMEOUT_MS = 300000, OUTPUT_MAX = 64 * 1024, TAIL_MAX = 4096, MARK_MAX = 256 };

/* Where the script finds it: CTL/hot. */
static const char staged[] = "hot";

struct instance_hot {
	struct instance *i; /* borrowed */
	char *deployment;   /* owned: the one that is put in */
	struct layer_fetch *fetch;
	struct worker_job *job;
	struct instance_env *env;
	struct child *child;
};

static void
hot_free(struct instance_hot *h)
{
	layer_fetch_cancel(h->fetch);
	worker_detach(h->job);
	instance_env_cancel(h->env);
	child_free(h->child);
	free(h->deployment);
	free(h);
}

void
instance_hot_stop(struct instance *i)
{
	if (i->hot != NULL)
		hot_free(STEAL(i->hot));
}

bool
instance_hot_is_due(const struct instance *i)
{
	return i->deployed != NULL && i->spec.kind == WIRE_INSTANCE_WEB &&
	       i->spec.want == WIRE_WANT_PRESENT && i->status.hot_failure == NULL &&
	       strcmp(i->deployed, i->spec.deployment_id) != 0;
}

void
instance_mark(const char *path, const char *deployment)
{
	struct err e = { 0 };

	if (file_replace_fast(path, deployment, strlen(deployment), 0600, &e) < 0)
		log_warn("instance_unmarked", LOG_STR("path", path), LOG_ERR(&e));
}

char *
instance_marked(const char *path)
{
	struct buf b = { 0 };
	struct err e = { 0 };

	return file_read(path, MARK_MAX, &b, &e) < 0 ? NULL : buf_steal(&b);
}

/* --- the worker's part: CTL/hot, which the gear's user cannot touch until it is whole --- */

struct hot_job {
	struct instance_hot *owner;   /* for done only */
	const struct node_dirs *dirs; /* constant */
	char *gear_dir;               /* owned */
	struct wire_instance spec;
	bool is_end; /* clears up; else lays out */
	bool is_ok;  /* with is_end: the deployment is the instance's now */
	struct err e;
};

static void
free_job(void *take_job)
{
	struct hot_job *j = take_job;

	wire_instance_fini(&j->spec);
	free(j->gear_dir);
	free(j);
}

static int
open_new(int at, const char *name, struct err *e)
{
	int fd = -1;

	if ((mkdirat(at, name, 0700) == 0 || errno == EEXIST))
		fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_set(e, ERR_SYSTEM, NULL, "cannot make the directory %s", name) : fd;
}

/* Also of a deployment without dependencies: what was there before goes. */
static int
make_parts(int hot, struct err *e)
{
	static const char *const parts[] = { "repo", "dependencies", "build-dependencies" };
	AUTO(file_close) int root = open_new(hot, "app-root", e);
	AUTO(file_close) int runtime = root < 0 ? -1 : open_new(root, "runtime", e);

	if (runtime < 0 || fchmod(root, 0755) < 0 || fchmod(runtime, 0755) < 0)
		return -1;
	for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
		AUTO(file_close) int part = open_new(runtime, parts[k], e);

		if (part < 0 || fchown(part, CONTAINER_UID, CONTAINER_UID) < 0)
			return -1;
	}
	return 0;
}

/* The upper layer first, as an overlay shows it. */
static int
copy_layers(const struct hot_job *j, int hot, struct err *e)
{
	static const struct tree_copy_opts opts = { .keeps = true };
	const struct wire_layers *l = &j->spec.layers;
	const char *const digests[] = { l->app, l->deps, l->rest };

	for (size_t k = 0; k < ARRAY_LEN(digests); k++) {
		AUTO(free) char *path = NULL;
		AUTO(file_close) int from = -1;

		if (digests[k] == NULL || digests[k][0] == '\0')
			continue;
		path = node_dirs_layer(j->dirs, digests[k]);
		from = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (from < 0)
			return err_set(
			    e, ERR_NOT_FOUND, "layers", "layer %s is not on this node", digests[k]);
		if (tree_copy(from, hot, &opts, e) < 0)
			return -1;
	}
	return 0;
}

static int
describe(const struct hot_job *j, int hot, struct err *e)
{
	AUTO(free) char *path = xasprintf("/proc/self/fd/%d", hot);
	const struct deployment_tree d = { .id = j->spec.deployment_id,
		.ref = j->spec.ref,
		.sha1 = j->spec.sha1,
		.created = j->spec.deployed_at,
		.hot_deploy = j->spec.hot_deploy,
		.force_clean_build = j->spec.force_clean_build };

	return deployment_tree_write(path, &d, e);
}

static int
lay_out(const struct hot_job *j, const char *ctl_path, struct err *e)
{
	AUTO(file_close) int ctl = open(ctl_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(file_close) int hot = ctl < 0 ? -1 : open_new(ctl, staged, e);

	if (hot < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make %s/%s", ctl_path, staged);
	if (fchown(hot, 0, 0) < 0 || make_parts(hot, e) < 0 || copy_layers(j, hot, e) < 0 ||
	    describe(j, hot, e) < 0)
		return -1;
	if (fchmod(hot, 0755) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s/%s", ctl_path, staged);
	return 0;
}

static void
give_over(const struct hot_job *j, const char *ready)
{
	const char *app = j->spec.layers.app;
	AUTO(free)
	char *layer = app == NULL || app[0] == '\0' ? NULL : node_dirs_layer(j->dirs, app);
	struct err e = { 0 };

	instance_mark(ready, j->spec.deployment_id);
	if (gear_hooks_publish(j->gear_dir, layer, &e) < 0)
		log_warn("hooks_not_published", LOG_STR("instance", j->spec.id), LOG_ERR(&e));
}

static void
run_job(void *job)
{
	struct hot_job *j = job;
	AUTO(free) char *ctl = xasprintf("%s/inst/%s/ctl", j->gear_dir, j->spec.id);
	AUTO(free) char *hot = file_join(ctl, staged);
	AUTO(free) char *ready = xasprintf("%s/inst/%s/ready", j->gear_dir, j->spec.id);

	if (j->is_ok)
		give_over(j, ready);
	if (file_remove_tree(hot, &j->e) == 0 && !j->is_end)
		(void)lay_out(j, ctl, &j->e);
	if (!j->is_end)
		fault_point("hot_laid_out");
}

static struct worker_job *
submit(struct instance_hot *h, bool is_end, bool is_ok, worker_fn *done)
{
	struct instance *i = h->i;
	struct hot_job *j = xcalloc(1, sizeof *j);

	*j = (struct hot_job){
		.owner = h,
		.dirs = i->table->o.dirs,
		.gear_dir = node_dirs_gear(i->table->o.dirs, i->spec.gear),
		.is_end = is_end,
		.is_ok = is_ok,
	};
	codec_copy(&wire_instance_codec, &j->spec, &i->spec);
	return worker_submit(i->table->o.worker, run_job, done, free_job, j);
}

/* --- the loop's part --- */

/* why NULL: it is in. */
static void
finish(struct instance_hot *h, const char *why)
{
	struct instance *i = h->i;

	(void)submit(h, true, why == NULL, free_job);
	log_info("instance_hot", LOG_STR("instance", i->spec.id),
	    LOG_STR("deployment", h->deployment), LOG_STR("error", why == NULL ? "" : why));
	if (why == NULL) {
		mem_set_str(&i->deployed, h->deployment);
		fault_point("hot_done");
	} else if (strcmp(h->deployment, i->spec.deployment_id) == 0) {
		mem_set_str(&i->status.hot_failure, why);
	}
	instance_hot_stop(i);
	instance_set_state(i, WIRE_INSTANCE_READY);
	instance_next(i);
}

static void
on_end(struct child *c, const struct child_end *end, void *arg)
{
	struct instance_hot *h = arg;
	size_t from = end->out_len > TAIL_MAX ? end->out_len - TAIL_MAX : 0;
	AUTO(free) char *why = NULL;

	h->child = NULL;
	if (end->status != 0) {
		why = xasprintf("the hot deployment failed: %s", end->why);
		str_list_fini(&h->i->status.log_tail);
		str_list_take(
		    &h->i->status.log_tail, xstrdup(end->out_len == 0 ? "" : end->out + from));
	}
	child_free(c);
	finish(h, why);
}

/* The web cartridge, or NULL. */
static const struct cart_dir_entry *
web_of(const struct instance *i)
{
	const struct wire_gear_cart *web = wire_gear_web(&i->gear->spec.cartridges);

	return web == NULL ? NULL : cart_store_find(i->table->o.carts, web);
}

static void
on_env(const struct str_list *env, const struct err *e, void *arg)
{
	struct instance_hot *h = arg;
	struct instance *i = h->i;
	const struct cart_dir_entry *web = web_of(i);
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
	AUTO_FINI(str_list_fini) struct str_list all = { 0 };
	struct container_entry entry = {
		.merge_stderr = true, .out_max = OUTPUT_MAX, .timeout_ms = TIMEOUT_MS
	};
	struct err bad = { 0 };

	h->env = NULL;
	if (e != NULL) {
		finish(h, e->text);
		return;
	}
	if (web == NULL) {
		finish(h, "this node does not have the web cartridge any more");
		return;
	}
	cart_action_hot_argv(web, &i->gear->spec.storage, &argv);
	str_list_copy(&all, env);
	str_list_add(&all, "PINION_CALL=1"); /* daemons are not to hold its output */
	str_list_take(&argv, NULL);
	str_list_take(&all, NULL);
	entry.argv = (const char *const *)argv.v;
	entry.env = (const char *const *)all.v;
	h->child = container_enter(i->container, &entry, NULL, on_end, h, &bad);
	if (h->child == NULL)
		finish(h, bad.text);
}

static void
on_laid_out(void *job)
{
	struct hot_job *j = job;
	struct instance_hot *h = j->owner;
	struct err e = j->e;

	h->job = NULL;
	free_job(j);
	instance_sleep_thaw(h->i);
	if (e.code == ERR_NONE)
		h->env = instance_env_start(h->i->table, h->i->spec.id,
		    web_of(h->i) == NULL ? NULL : web_of(h->i)->cart.name, on_env, h, &e);
	if (h->env == NULL)
		finish(h, e.text);
}

static void
on_fetched(const struct err *e, void *arg)
{
	struct instance_hot *h = arg;

	h->fetch = NULL;
	if (e != NULL)
		finish(h, e->text);
	else
		h->job = submit(h, false, false, on_laid_out);
}

void
instance_hot_start(struct instance *i)
{
	struct instance_hot *h;

	if (i->hot != NULL && strcmp(i->hot->deployment, i->spec.deployment_id) == 0)
		return;
	instance_hot_stop(i); /* another one is wanted meanwhile */
	h = xcalloc(1, sizeof *h);
	h->i = i;
	h->deployment = xstrdup(i->spec.deployment_id);
	i->hot = h;
	h->fetch = layer_fetch_start(i->table->o.fetch, &i->spec.layers, on_fetched, h);
	if (h->fetch == NULL)
		on_fetched(NULL, h);
}
