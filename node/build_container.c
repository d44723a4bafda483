#include "node/build_container.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/build_plan.h"
#include "node/builder.h"
#include "node/cart_action.h"
#include "node/cart_code.h"
#include "node/cart_store.h"
#include "node/deployment_tree.h"
#include "node/gear.h"
#include "node/gear_home.h"
#include "node/gear_storage.h"
#include "node/init_control.h"
#include "node/layer_store.h"
#include "node/net.h"
#include "node/node_dirs.h"
#include "node/resolver_link.h"
#include "node/tree_copy.h"
#include "node/tree_size.h"

enum { MEMORY_MIN_MB = 1024, PIDS_MIN = 512, CPU_MIN_PERCENT = 200 };
static const int64_t CACHE_BYTES_MAX = 1024LL * 1024 * 1024;
static const char cache_target[] = "/var/cache/pinion";

/* What the worker makes before the start. */
struct prepare_job {
	struct build_container *owner; /* for done only */
	const struct node_dirs *dirs;
	struct net *net;
	const char *resolver;
	const struct cart_dir_entry **carts; /* owned array */
	size_t n;
	const struct cart_dir_entry *web;
	char *id, *app_id, *dir, *cache; /* owned */
	int64_t net_kbit;
	bool is_clean;
	bool has_archived;
	bool is_hot;
	char *deployment, *ref, *sha1; /* owned */
	struct str_list before;  /* trees to start from: the layers of the deployment before */
	struct str_list archive; /* all layers of the deployment before, for pre-repo-archive */
	struct str_list codes;   /* code layers, as carts */
	struct str_list actions; /* in: all; out: those with something to do */
	struct gear gear;        /* copies: dir, and of the spec uuid and storage */
	struct container_spec storage; /* out: binds of persistent paths */
	int rc;
	struct err e;
};

struct build_container {
	struct build_container_in in;
	struct prepare_job *prepared; /* once it is done */
	struct worker_job *job;
	struct cart_run *run;
	struct loop_timer *later;
	char *id;
	cart_run_out_fn *on_out;
	cart_run_done_fn *done;
	void *arg;
	bool is_archiving; /* pre-repo-archive, on the tree that is to be replaced */
	bool is_paused;
	bool is_aborted;
	struct err why;
};

static void
prepare_free(void *p)
{
	struct prepare_job *j = p;

	free(j->carts);
	free(j->id);
	free(j->app_id);
	free(j->dir);
	free(j->cache);
	str_list_fini(&j->before);
	str_list_fini(&j->archive);
	free(j->deployment);
	free(j->ref);
	free(j->sha1);
	str_list_fini(&j->codes);
	str_list_fini(&j->actions);
	free(j->gear.dir);
	codec_fini(&wire_gear_codec, &j->gear.spec);
	container_spec_fini(&j->storage);
	free(j);
}

/* --- the worker's part --- */

static int
attach_net(struct prepare_job *j, struct err *e)
{
	AUTO(file_close) int udp = -1;
	AUTO(file_close) int tcp = -1;
	struct net_link link;
	struct err quiet = { 0 };

	if (j->net == NULL)
		return 0;
	if (net_attach(j->net, j->id, NULL, j->net_kbit, &link, e) < 0)
		return -1;
	if (j->resolver == NULL)
		return 0;
	udp = net_socket(j->net, j->id, SOCK_DGRAM, RESOLVER_ADDRESS, RESOLVER_PORT, e);
	tcp = udp < 0 ? -1
	              : net_socket(j->net, j->id, SOCK_STREAM, RESOLVER_ADDRESS, RESOLVER_PORT, e);
	if (tcp < 0)
		return -1;
	/* Without names a build may still succeed: the cache, local wheels. */
	const struct resolver_who who = { .instance = j->id, .app = j->app_id };

	if (resolver_link_add(j->resolver, &who, udp, tcp, &quiet) < 0)
		log_warn("build_resolver", LOG_STR("build", j->id), LOG_ERR(&quiet));
	return 0;
}

/* The application's build cache: kept between builds, in the builder only. One that has grown too
 * large begins anew. */
static int
make_cache(const struct prepare_job *j, struct err *e)
{
	AUTO(free) char *caches = file_join(j->dirs->data, "cache");

	if ((j->is_clean || tree_size(j->cache, CACHE_BYTES_MAX) > CACHE_BYTES_MAX) &&
	    file_remove_tree(j->cache, e) < 0)
		return -1;
	/* Owned by a user id that the host may know too: nobody else may come near. */
	if (file_mkdirs(caches, 0700, e) < 0 || file_mkdirs(j->cache, 0755, e) < 0)
		return -1;
	if (lchown(j->cache, CONTAINER_UID, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot own %s", j->cache);
	return 0;
}

/* Cartridges that say nothing of what they need find what the last build left, as in v2, where only
 * a clean build empties it. Copied, since a sealed layer holds all of its part. */
static int
copy_before(const struct prepare_job *j, struct err *e)
{
	static const struct tree_copy_opts as_is = { 0 };
	AUTO(free) char *up = file_join(j->dir, "up");
	AUTO(file_close) int to = open(up, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < j->before.n; i++) {
		AUTO(file_close)
		int from = open(j->before.v[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (from >= 0 && tree_copy(from, to, &as_is, e) < 0)
			return -1;
	}
	return 0;
}

/* Steps with neither an action of the cartridge nor a hook of the user cost nothing. */
static void
filter_actions(struct prepare_job *j)
{
	AUTO(free) char *up = file_join(j->dir, "up");
	size_t n = 0;

	for (size_t i = 0; i < j->actions.n; i++) {
		if (cart_action_is_needed(j->web, up, j->actions.v[i]))
			j->actions.v[n++] = j->actions.v[i];
		else
			free(j->actions.v[i]);
	}
	j->actions.n = n;
}

/* Over the tree that is built; what is there in the tree is sealed all the same. */
static int
bind_storage(struct prepare_job *j, struct err *e)
{
	const struct str_list none = { 0 };
	AUTO(free) char *up = file_join(j->dir, "up");

	return gear_storage_bind(&j->gear, up, &none, true, &j->storage, e);
}

/* DIR/before/{up,work/work}: what pre-repo-archive writes, below what the build does. */
static int
make_archive_dirs(const struct prepare_job *j, struct err *e)
{
	static const char *const names[] = { "before/up", "before/work/work" };

	for (size_t i = 0; j->archive.n > 0 && i < ARRAY_LEN(names); i++) {
		AUTO(free) char *path = file_join(j->dir, names[i]);

		if (file_mkdirs(path, 0755, e) < 0)
			return -1;
		if (i == 0 && chown(path, CONTAINER_UID, CONTAINER_UID) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot own %s", path);
	}
	return 0;
}

/* What it did to the old tree itself is of no matter any more. */
static void
run_forget_tree(void *p)
{
	struct prepare_job *j = p;
	AUTO(free) char *tree = file_join(j->dir, "before/up/app-root/runtime/repo");

	j->rc = file_remove_tree(tree, &j->e);
}

static void
write_deployment(const struct prepare_job *j)
{
	AUTO(free) char *up = file_join(j->dir, "up");
	AUTO(free)
	char *hot = file_join(up, "app-root/runtime/repo/.openshift/markers/hot_deploy");
	const struct deployment_tree d = { .id = j->deployment,
		.ref = j->ref,
		.sha1 = j->sha1,
		.hot_deploy = j->is_hot || file_exists(hot),
		.force_clean_build = j->is_clean };
	struct err e = { 0 };

	if (deployment_tree_write(up, &d, &e) < 0 || gear_home_set_state(up, "building", &e) < 0)
		log_warn("deployment_untold", LOG_STR("build", j->id), LOG_ERR(&e));
}

static void
run_prepare(void *p)
{
	struct prepare_job *j = p;
	AUTO(free) char *ctl = file_join(j->dir, "ctl");
	const struct init_settings idle = { 0 };

	j->rc = -1;
	for (size_t i = 0; i < j->n; i++) {
		char *code = j->carts[i] == NULL ? xstrdup("")
		                                 : cart_code_layer(j->dirs, j->carts[i], &j->e);

		if (code == NULL)
			return;
		str_list_take(&j->codes, code);
	}
	filter_actions(j);
	write_deployment(j);
	if (bind_storage(j, &j->e) < 0 || copy_before(j, &j->e) < 0 || make_cache(j, &j->e) < 0 ||
	    attach_net(j, &j->e) < 0 || make_archive_dirs(j, &j->e) < 0 ||
	    init_control_write(ctl, &idle, &j->e) < 0)
		return;
	j->rc = 0;
}

static void
run_detach(void *p)
{
	struct prepare_job *j = p;
	struct err e = { 0 };

	if (j->net == NULL)
		return;
	if (j->resolver != NULL && resolver_link_remove(j->resolver, j->id, &e) < 0)
		log_warn("build_resolver_remains", LOG_STR("build", j->id), LOG_ERR(&e));
	if (net_detach(j->net, j->id, &e) < 0)
		log_warn("build_network_remains", LOG_STR("build", j->id), LOG_ERR(&e));
}

/* --- the loop's part --- */

static void
container_end(struct build_container *c)
{
	loop_timer_cancel(c->later);
	worker_detach(c->job);
	/* Also what was begun and not finished is taken back, once no worker is in it. */
	if (c->prepared != NULL)
		worker_submit(c->in.o->worker, run_detach, prepare_free, prepare_free, c->prepared);
	free(c->id);
	free(c);
}

static void
finish(struct build_container *c, const char *step, int exit_code, const struct err *e)
{
	cart_run_done_fn *done = c->done;
	void *arg = c->arg;

	container_end(c);
	done(step, exit_code, e, arg);
}

static void on_prepared(void *p);

static void
on_run_done(const char *step, int exit_code, const struct err *e, void *arg)
{
	struct build_container *c = arg;

	c->run = NULL;
	if (e != NULL || !c->is_archiving) {
		finish(c, step, exit_code, e);
		return;
	}
	c->is_archiving = false;
	c->job = worker_submit(
	    c->in.o->worker, run_forget_tree, on_prepared, prepare_free, STEAL(c->prepared));
}

static void
on_out(const char *p, size_t n, void *arg)
{
	struct build_container *c = arg;

	c->on_out(p, n, c->arg);
}

static int64_t
at_least(int64_t v, int64_t min)
{
	return v > min ? v : min;
}

static void
fill_spec(const struct build_container *c, struct container_spec *s)
{
	const struct build_container_in *in = &c->in;
	const struct gear *g = in->gear;
	AUTO(free) char *ctl = file_join(in->dir, "ctl");

	s->id = xstrdup(c->id);
	s->gear = xstrdup(g->spec.uuid);
	s->uid_base = g->record.uid_base;
	if (c->is_archiving)
		str_list_copy(&s->lowers, &c->prepared->archive);
	else if (c->prepared->archive.n > 0)
		str_list_take(&s->lowers, file_join(in->dir, "before/up"));
	gear_add_lowers(g, &c->prepared->codes, NULL, s);
	s->upper = file_join(in->dir, c->is_archiving ? "before/up" : "up");
	s->work = file_join(in->dir, c->is_archiving ? "before/work" : "work");
	s->tmp = file_join(in->dir, "tmp");
	gear_add_binds(g, s);
	gear_bind_services(g, NULL, NULL, s);
	for (size_t i = 0; i < c->prepared->storage.binds.n; i++) {
		const struct container_bind *b = &c->prepared->storage.binds.v[i];

		container_spec_bind(s, b->source, b->target, b->ro, b->idmapped);
	}
	container_spec_bind(s, c->prepared->cache, cache_target, false, true);
	container_spec_bind(s, ctl, "/run/pinion/ctl", false, true);
	s->netns = in->o->net == NULL ? NULL : net_ns_path(in->o->net, c->id);
	s->limits = g->spec.limits;
	s->limits.memory_mb = at_least(s->limits.memory_mb, MEMORY_MIN_MB);
	s->limits.pids = at_least(s->limits.pids, PIDS_MIN);
	s->limits.cpu_percent = at_least(s->limits.cpu_percent, CPU_MIN_PERCENT);
	s->hostname = xstrdup(g->spec.gear_name);
	str_list_add(&s->args, "/run/pinion/init");
	str_list_add(&s->args, "/run/pinion/ctl");
	s->is_builder = true;
}

static struct cart_run *
start_run(struct build_container *c, struct err *e)
{
	AUTO_FINI(container_spec_fini) struct container_spec spec = { 0 };
	AUTO_FINI(cart_run_step_list_fini) struct cart_run_step_list steps = { 0 };
	AUTO_FINI(str_list_fini) struct str_list homes = { 0 };
	AUTO_FINI(str_list_fini) struct str_list extra = { 0 };
	AUTO(free) char *env_dir = file_join(c->in.gear->dir, "env");
	const struct prepare_job *p = c->prepared;

	fill_spec(c, &spec);
	for (size_t i = 0; i < (c->is_archiving ? 1 : p->actions.n); i++) {
		AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
		const char *action = c->is_archiving ? "pre-repo-archive" : p->actions.v[i];

		cart_action_argv(p->web, action, &argv);
		cart_run_add(&steps, action, &argv);
	}
	str_list_take(&homes, file_join(c->in.gear->dir, "svc"));
	str_list_add(&homes, spec.upper);
	for (size_t i = 0; i < spec.lowers.n; i++)
		str_list_add(&homes, spec.lowers.v[i]);
	str_list_take(&extra, xasprintf("PINION_CACHE_DIR=%s", cache_target));
	str_list_take(&extra, xasprintf("OPENSHIFT_BUILD_REF=%s",
	                          c->in.order->sha1 == NULL ? "" : c->in.order->sha1));
	const struct cart_run_opts o = { .loop = c->in.o->loop,
		.worker = c->in.o->worker,
		.containers = c->in.o->containers,
		.carts = p->carts,
		.carts_n = p->n,
		.spec = &spec,
		.steps = &steps,
		.gear = &c->in.order->gear,
		.env_dir = env_dir,
		.homes = &homes,
		.acting = p->web->cart.name,
		.extra = &extra,
		.timeout_ms = c->in.timeout_ms };

	return cart_run_start(&o, on_out, on_run_done, c, e);
}

static void
on_prepared(void *p)
{
	struct prepare_job *j = p;
	struct build_container *c = j->owner;
	struct err e = j->e;

	c->job = NULL;
	c->prepared = j;
	if (c->is_aborted) {
		finish(c, NULL, 0, &c->why);
		return;
	}
	/* Here again after pre-repo-archive: the job is done a second time. */
	c->is_archiving = j->archive.n > 0 && !j->has_archived;
	j->has_archived = true;
	if (j->rc == 0)
		c->run = start_run(c, &e);
	if (c->run == NULL)
		finish(c, NULL, 0, &e);
	else
		cart_run_pause(c->run, c->is_paused);
}

static void
list_before(const struct build_container_in *in, struct prepare_job *j)
{
	const char *const digests[] = { in->order->previous.deps, in->order->previous.rest };

	for (size_t i = 0; i < ARRAY_LEN(digests); i++) {
		char *path = digests[i] == NULL || digests[i][0] == '\0'
		                 ? NULL
		                 : layer_store_path(in->o->layers, digests[i]);

		if (path != NULL && !j->is_clean && !in->order->is_artifact && j->web != NULL &&
		    !j->web->cart.pinion.is_given)
			str_list_take(&j->before, path);
		else
			free(path);
	}
}

/* v2 calls pre-repo-archive before the tree is replaced: cartridges save from it what they want. */
static void
list_archive(const struct build_container_in *in, struct prepare_job *j)
{
	const struct wire_layers *l = &in->order->previous;
	const char *const digests[] = { l->app, l->deps, l->rest };

	if (j->web == NULL || j->web->cart.pinion.is_given || l->app == NULL || l->app[0] == '\0')
		return;
	for (size_t i = 0; i < ARRAY_LEN(digests); i++) {
		AUTO(free)
		char *path = digests[i] == NULL || digests[i][0] == '\0'
		                 ? NULL
		                 : layer_store_path(in->o->layers, digests[i]);

		if (path != NULL && file_exists(path))
			str_list_take(&j->archive, STEAL(path));
		else if (i == 0)
			return; /* the tree is not here */
	}
}

struct build_container *
build_container_start(
    const struct build_container_in *in, cart_run_out_fn *out, cart_run_done_fn *done, void *arg)
{
	const struct wire_gear *g = &in->order->gear;
	struct build_container *c = xcalloc(1, sizeof *c);
	struct prepare_job *j = xcalloc(1, sizeof *j);

	*c = (struct build_container){ .in = *in,
		.on_out = out,
		.done = done,
		.arg = arg,
		.id = xasprintf("build-%s", in->order->id) };
	*j = (struct prepare_job){ .owner = c,
		.dirs = in->o->dirs,
		.net = in->o->net,
		.resolver = in->o->resolver,
		.n = g->cartridges.n,
		.id = xstrdup(c->id),
		.app_id = xstrdup(g->app_id),
		.net_kbit = g->limits.net_kbit,
		.dir = xstrdup(in->dir),
		.cache = xasprintf("%s/cache/%s", in->o->dirs->data, g->app_id),
		.is_clean = in->plan->is_clean };
	j->carts = xcalloc(j->n + 1, sizeof *j->carts);
	for (size_t i = 0; i < j->n; i++) {
		const struct wire_gear_cart *w = &g->cartridges.v[i];

		j->carts[i] = cart_store_find(in->o->carts, w);
		if (j->carts[i] != NULL && (w->is_web || j->web == NULL))
			j->web = j->carts[i];
	}
	j->gear.dir = xstrdup(in->gear->dir);
	j->gear.spec.uuid = xstrdup(in->gear->spec.uuid);
	wire_storage_list_copy(&j->gear.spec.storage, &in->gear->spec.storage);
	list_before(in, j);
	list_archive(in, j);
	j->is_hot = in->order->hot_deploy;
	j->deployment = xstrdup_null(in->order->deployment_id);
	j->ref = xstrdup_null(in->order->ref);
	j->sha1 = xstrdup_null(in->order->sha1);
	str_list_copy(&j->actions, &in->plan->actions);
	c->job = worker_submit(in->o->worker, run_prepare, on_prepared, prepare_free, j);
	return c;
}

void
build_container_pause(struct build_container *c, bool paused)
{
	c->is_paused = paused;
	if (c->run != NULL)
		cart_run_pause(c->run, paused);
}

void
build_container_abort(struct build_container *c, const struct err *why)
{
	if (c->is_aborted)
		return;
	c->is_aborted = true;
	c->why = *why;
	if (c->run != NULL)
		cart_run_abort(c->run, why);
}

void
build_container_free(struct build_container *take_c)
{
	if (take_c == NULL)
		return;
	cart_run_free(take_c->run);
	container_end(take_c);
}
