#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/loop/worker.h"
#include "node/cart_action.h"
#include "node/cart_code.h"
#include "node/cart_find.h"
#include "node/container.h"
#include "node/deployment_tree.h"
#include "node/gear.h"
#include "node/gear_env.h"
#include "node/gear_home.h"
#include "node/gear_hooks.h"
#include "node/gear_log.h"
#include "node/gear_repo.h"
#include "node/gear_socket.h"
#include "node/gear_storage.h"
#include "node/instance_env.h"
#include "node/instance_state.h"
#include "node/limits.h"
#include "node/node_dirs.h"
#include "node/resolver_link.h"

enum {
	LOG_LINES = 20,
	LOG_SIZE_MAX = 10 * 1024 * 1024,
	LOG_SHARE = 50, /* of the disk, for one file */
	LOG_COUNT = 5,
	LOG_SHARE_ALL = 5, /* of the disk, for all logs: then those of dead instances go */
	HOST_NAME_LEN = 63,
};

/* A copy of all that the worker needs. */
struct prepare_job {
	struct instance *owner;  /* done only */
	struct instances_opts o; /* of these only what is thread-safe or constant */
	struct wire_instance spec;
	struct gear gear; /* spec, record, dir */
	bool is_releasing, was_ready;
	bool is_changed; /* it ran with another deployment before */
	char *deployed;  /* owned: of a rejoin: the one it runs */
	struct net_link link;
	struct net_nat nat; /* the way to services */
	bool has_nat;       /* it is set */
	struct container_spec container;
	struct str_list env;
	struct str_list post, installs; /* as of struct instance */
	struct err e;
};

static void
free_prepare(void *take_job)
{
	struct prepare_job *j = take_job;

	codec_fini(&wire_instance_codec, &j->spec);
	codec_fini(&wire_gear_codec, &j->gear.spec);
	codec_fini(&gear_record_codec, &j->gear.record);
	free(j->gear.dir);
	free(j->deployed);
	net_nat_fini(&j->nat);
	container_spec_fini(&j->container);
	str_list_fini(&j->env);
	str_list_fini(&j->post);
	str_list_fini(&j->installs);
	free(j);
}

static int
add_layer(const struct prepare_job *j, const char *digest, struct container_spec *s, struct err *e)
{
	AUTO(free) char *path = NULL;

	if (digest == NULL || digest[0] == '\0')
		return 0;
	path = node_dirs_layer(j->o.dirs, digest);
	if (!file_exists(path))
		return err_set(e, ERR_NOT_FOUND, "layers", "layer %s is not on this node", digest);
	str_list_take(&s->lowers, STEAL(path));
	return 0;
}

/* The logs' directory is the user's: nothing in it is followed. */
static int
make_log_dir(const struct prepare_job *j, struct err *e)
{
	AUTO(free) char *logs = file_join(j->gear.dir, "logs");
	AUTO(file_close) int at = open(logs, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO(file_close) int fd = -1;

	if (at < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", logs);
	if (mkdirat(at, j->spec.id, 0750) < 0 && errno != EEXIST)
		return err_set(e, ERR_SYSTEM, NULL, "make a directory in %s", logs);
	fd = openat(at, j->spec.id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, CONTAINER_UID, CONTAINER_UID) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s/%s", logs, j->spec.id);
	return 0;
}

/* DNS in the namespace; without it the application still runs. */
static void
give_resolver(const struct prepare_job *j)
{
	AUTO(file_close) int udp = -1;
	AUTO(file_close) int tcp = -1;
	struct err e = { 0 };

	if (j->o.resolver == NULL)
		return;
	udp = net_socket(j->o.net, j->spec.id, SOCK_DGRAM, RESOLVER_ADDRESS, RESOLVER_PORT, &e);
	if (udp >= 0)
		tcp = net_socket(
		    j->o.net, j->spec.id, SOCK_STREAM, RESOLVER_ADDRESS, RESOLVER_PORT, &e);
	if (tcp < 0 && e.sys == EADDRINUSE) /* adopted: the resolver has them */
		return;
	const struct resolver_who who = { .instance = j->spec.id,
		.app = j->spec.app_id,
		.host = j->gear.spec.gear_name,
		.address = j->link.address };

	if (tcp < 0 || resolver_link_add(j->o.resolver, &who, udp, tcp, &e) < 0)
		log_warn("instance_without_dns", LOG_STR("instance", j->spec.id), LOG_ERR(&e));
}

static int
check_disk(const struct prepare_job *j, struct err *e)
{
	if (j->gear.is_frozen)
		return err_set(e, ERR_LIMIT, "disk",
		    "the gear is frozen until the node's disk has room: the administrator is asked "
		    "for it");
	if (j->gear.is_over_quota && j->spec.kind != WIRE_INSTANCE_RUN)
		return err_set(e, ERR_LIMIT, "disk",
		    "the gear uses more than 110 %% of its disk: remove files in ~/app-root/data");
	return gear_check_room(&j->gear, e);
}

/* Code layers of the cartridges, in configure order. */
static int
find_code(struct prepare_job *j, const struct cart_dir_entry *const *carts, struct str_list *code,
    struct err *e)
{
	for (size_t i = 0; i < j->gear.spec.cartridges.n; i++) {
		char *dir = cart_code_layer(j->o.dirs, carts[i], e);

		if (dir == NULL)
			return -1;
		str_list_take(code, dir);
	}
	return 0;
}

static const char *
primary_name(const struct wire_gear *g)
{
	const struct wire_gear_cart *web = wire_gear_web(&g->cartridges);

	if (web != NULL)
		return web->name;
	return g->cartridges.n > 0 ? g->cartridges.v[0].name : "app";
}

static bool
is_service(const struct prepare_job *j)
{
	return j->spec.kind == WIRE_INSTANCE_SERVICE;
}

static bool
is_worker(const struct prepare_job *j)
{
	return j->spec.kind == WIRE_INSTANCE_WORKER;
}

static const char *
acting_name(const struct prepare_job *j)
{
	return is_service(j) ? j->spec.cart : primary_name(&j->gear.spec);
}

/* Those whose processes live in this instance: the service alone, or all but the services. Returns
 * how many. */
static size_t
acting_carts(const struct prepare_job *j, const struct cart_dir_entry *const *carts,
    const struct cart_dir_entry **out)
{
	size_t n = 0;

	for (size_t i = 0; i < j->gear.spec.cartridges.n; i++) {
		const struct wire_gear_cart *c = &j->gear.spec.cartridges.v[i];

		if (is_service(j) ? strcmp(c->name, j->spec.cart) == 0 : !c->is_service)
			out[n++] = carts[i];
	}
	return n;
}

/* What PID 1 is to do. */
static int
write_settings(struct prepare_job *j, const struct cart_dir_entry *const *carts, const char *ctl,
    struct err *e)
{
	AUTO(free)
	char *log_dir =
	    xasprintf("/var/lib/openshift/%s/app-root/logs/%s", j->spec.gear, j->spec.id);
	AUTO(free) char *home = xasprintf("/var/lib/openshift/%s", j->spec.gear);
	AUTO_FINI(str_list_fini) struct str_list start = { 0 };
	AUTO_FINI(str_list_fini) struct str_list stop = { 0 };
	AUTO(free)
	char *process = xasprintf("%s.%lld", j->spec.process == NULL ? "" : j->spec.process,
	    (long long)j->spec.process_index);
	int64_t size = j->gear.record.disk_mb * 1024 * 1024 / LOG_SHARE;
	struct init_settings s = {
		.start = &start,
		.stop = &stop,
		.env = &j->env,
		.cwd = home,
		.log_dir = log_dir,
		.source = is_worker(j) ? process : acting_name(j),
		.log_size = size > LOG_SIZE_MAX ? LOG_SIZE_MAX : size,
		.log_count = LOG_COUNT,
		.stop_timeout_ms = j->spec.stop_timeout_s * 1000,
	};

	AUTO(free_ptr)
	const struct cart_dir_entry **acting =
	    xcalloc(j->gear.spec.cartridges.n + 1, sizeof *acting);
	size_t n = acting_carts(j, carts, acting);

	if (instance_env_compose(&j->o, &j->gear, &j->spec, acting_name(j), &j->env, e) < 0)
		return -1;
	if (is_worker(j)) {
		cart_action_release_argv(j->spec.start.command, &start);
	} else if (!j->is_releasing && j->spec.kind != WIRE_INSTANCE_RUN) {
		if (is_service(j) && n > 0) {
			cart_action_service_argv(acting[0], &start);
			s.stays = !acting[0]->cart.pinion.is_given;
		} else
			cart_action_start_argv(acting, n, &j->spec, &start);
		cart_action_stop_argv(acting, n, &stop);
	}
	return init_control_write(ctl, &s, e);
}

static void
add_note(struct container_spec *s, const char *key, const char *value)
{
	if (value != NULL && value[0] != '\0')
		str_list_take(&s->notes, xasprintf("%s=%s", key, value));
}

static int
fill_container(struct prepare_job *j, const struct str_list *code, const char *dir, const char *ctl,
    struct err *e)
{
	struct container_spec *s = &j->container;

	s->id = xstrdup(j->spec.id);
	s->gear = xstrdup(j->spec.gear);
	s->uid_base = j->gear.record.uid_base;
	s->upper = file_join(dir, "up");
	s->work = file_join(dir, "work");
	s->tmp = file_join(dir, "tmp");
	s->netns = net_ns_path(j->o.net, j->spec.id);
	s->hostname = xstrndup(
	    j->gear.spec.gear_name == NULL ? j->spec.id : j->gear.spec.gear_name, HOST_NAME_LEN);
	codec_copy(&wire_limits_codec, &s->limits, &j->gear.spec.limits);
	if (add_layer(j, j->spec.layers.app, s, e) < 0 ||
	    add_layer(j, j->spec.layers.deps, s, e) < 0 ||
	    add_layer(j, j->spec.layers.rest, s, e) < 0)
		return -1;
	gear_add_lowers(&j->gear, code, NULL, s);
	gear_add_binds(&j->gear, s);
	gear_bind_services(&j->gear, is_service(j) ? j->spec.cart : NULL, NULL, s);
	if (is_service(j))
		gear_hooks_bind(&j->gear, s);
	if ((j->spec.kind == WIRE_INSTANCE_WEB &&
	        gear_storage_take_over(&j->gear, s->upper, &s->lowers, e) < 0) ||
	    (!is_service(j) && gear_storage_bind(&j->gear, s->upper, &s->lowers, false, s, e) < 0))
		return -1;
	container_spec_bind(s, ctl, "/run/pinion/ctl", false, true);
	if (gear_socket_bind(j->o.dirs, j->spec.gear, s, e) < 0 ||
	    gear_repo_bind(j->o.dirs, j->spec.gear, s, e) < 0)
		return -1;
	container_spec_env(s, "PATH", "/usr/bin:/bin");
	str_list_add(&s->args, "/run/pinion/init");
	str_list_add(&s->args, "/run/pinion/ctl");
	str_list_take(&s->notes,
	    xasprintf("deployment=%s", j->spec.deployment_id == NULL ? "" : j->spec.deployment_id));
	add_note(s, "app", j->spec.layers.app);
	add_note(s, "deps", j->spec.layers.deps);
	add_note(s, "rest", j->spec.layers.rest);
	if (j->is_releasing)
		str_list_add(&s->notes, "release=1");
	/* A build wrote the head gear's home into paths. */
	if (j->spec.app_id != NULL && strcmp(j->spec.app_id, j->spec.gear) != 0 &&
	    strchr(j->spec.app_id, '/') == NULL)
		str_list_add(&s->home_links, j->spec.app_id);
	return 0;
}

/* Before it first serves: post-deploy, once for a deployment in an instance, and post_install of
 * cartridges that were configured since. */
static void
list_post(struct prepare_job *j, const struct cart_dir_entry *const *carts)
{
	AUTO(free_ptr)
	const struct cart_dir_entry **own = xcalloc(j->gear.spec.cartridges.n + 1, sizeof *own);
	size_t n = acting_carts(j, carts, own);
	AUTO(free) char *app = NULL;

	if ((j->was_ready && !j->is_changed) || j->is_releasing ||
	    (j->spec.kind != WIRE_INSTANCE_WEB && !is_service(j)))
		return;
	if (j->spec.layers.app != NULL && j->spec.layers.app[0] != '\0')
		app = node_dirs_layer(j->o.dirs, j->spec.layers.app);
	for (size_t i = 0; i < n; i++) {
		if (wire_cart_is_web(&own[i]->cart) &&
		    !cart_action_only_starts(own[i], j->spec.is_template) &&
		    cart_action_is_needed(own[i], app, "post-deploy"))
			cart_action_post_deploy_argv(own[i], &j->post);
	}
	for (size_t i = 0; i < n; i++) {
		const struct gear_cart *c = gear_cart_find(&j->gear, own[i]->cart.name);

		if (c == NULL || c->is_installed)
			continue;
		cart_action_post_install_argv(own[i], &j->post);
		str_list_add(&j->installs, c->name);
	}
}

/* Before the first process runs. */
static int
link_services(struct prepare_job *j)
{
	for (size_t i = 0; i < j->nat.in_n; i++) {
		if (j->nat.in[i].from[0] == '\0')
			memcpy(j->nat.in[i].from, j->link.address, sizeof j->nat.in[i].from);
	}
	if (j->nat.in_n + j->nat.out_n == 0)
		return 0;
	j->has_nat = net_nat_set(j->o.net, j->spec.id, &j->nat, &j->e) == 0;
	return j->has_nat ? 0 : -1;
}

static void
write_deployment(const struct prepare_job *j, const char *dir)
{
	AUTO(free) char *up = file_join(dir, "up");
	const struct deployment_tree d = { .id = j->spec.deployment_id,
		.ref = j->spec.ref,
		.sha1 = j->spec.sha1,
		.created = j->spec.deployed_at,
		.hot_deploy = j->spec.hot_deploy,
		.force_clean_build = j->spec.force_clean_build };
	struct err e = { 0 };

	if (deployment_tree_write(up, &d, &e) < 0)
		log_warn("deployment_untold", LOG_STR("instance", j->spec.id), LOG_ERR(&e));
}

/* It ended while another deployment was put into it, or is to begin with another: what it wrote
 * over the tree goes. */
static int
drop_other(struct prepare_job *j, const char *dir, const char *ready, struct err *e)
{
	static const char *const parts[] = { "repo", "dependencies", "build-dependencies" };
	AUTO(free) char *before = instance_marked(ready);

	if (before == NULL || before[0] == '\0' || strcmp(before, j->spec.deployment_id) == 0)
		return 0;
	j->is_changed = true;
	for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
		AUTO(free) char *path = xasprintf("%s/up/app-root/runtime/%s", dir, parts[k]);

		if (file_remove_tree(path, e) < 0)
			return -1;
	}
	return 0;
}

static int
prepare_all(struct prepare_job *j)
{
	AUTO(free) char *dir = gear_instance_dir(&j->gear, j->spec.id);
	AUTO(free) char *ctl = file_join(dir, "ctl");
	AUTO(free) char *ready = file_join(dir, "ready");
	AUTO(free_ptr)
	const struct cart_dir_entry **carts =
	    cart_find_all(j->o.carts, &j->gear.spec.cartridges, &j->e);
	AUTO_FINI(str_list_fini) struct str_list code = { 0 };

	if (carts == NULL || check_disk(j, &j->e) < 0 ||
	    gear_make_instance_dir(&j->gear, j->spec.id, &j->e) < 0 || make_log_dir(j, &j->e) < 0)
		return -1;
	fault_point("instance_directory");
	j->was_ready = file_exists(ready);
	if (drop_other(j, dir, ready, &j->e) < 0)
		return -1;
	if (net_attach(j->o.net, j->spec.id, j->spec.app_id, j->gear.spec.limits.net_kbit, &j->link,
	        &j->e) < 0)
		return -1;
	fault_point("instance_network");
	give_resolver(j);
	if (link_services(j) < 0)
		return -1;
	if (find_code(j, carts, &code, &j->e) < 0 || fill_container(j, &code, dir, ctl, &j->e) < 0)
		return -1;
	write_deployment(j, dir);
	list_post(j, carts);
	return write_settings(j, carts, ctl, &j->e);
}

static void
run_prepare(void *job)
{
	struct prepare_job *j = job;

	if (prepare_all(j) == 0)
		fault_point("instance_prepared");
}

static void
done_prepare(void *job)
{
	struct prepare_job *j = job;
	struct instance *i = j->owner;
	bool is_ok = j->e.code == ERR_NONE;

	i->job = NULL;
	i->link = j->link;
	i->has_nat = j->has_nat;
	net_nat_copy(&i->nat, &j->nat);
	i->limits = j->container.limits;
	if (i->was_ready && !j->is_changed) /* once was enough */
		str_list_fini(&j->post);
	i->was_ready = i->was_ready || j->was_ready;
	mem_set_str(&i->deployed, j->spec.deployment_id);
	str_list_fini(&i->post);
	str_list_fini(&i->installs);
	i->post = j->post;
	i->installs = j->installs;
	j->post = j->installs = (struct str_list){ 0 };
	str_list_fini(&i->env);
	if (i->post.n > 0 || j->is_releasing) {
		i->env = j->env;
		j->env = (struct str_list){ 0 };
	}
	instance_prepared(i, is_ok ? NULL : &j->e, is_ok ? &j->container : NULL);
	free_prepare(j);
}

/* With copies of the gear and the wish. */
static struct prepare_job *
prepare_job_of(struct instance *i)
{
	struct prepare_job *j = xcalloc(1, sizeof *j);

	j->owner = i;
	j->o = i->table->o;
	j->is_releasing = i->is_releasing;
	j->gear.dir = xstrdup(i->gear->dir);
	j->gear.is_over_quota = i->gear->is_over_quota;
	j->gear.is_frozen = i->gear->is_frozen;
	codec_copy(&wire_instance_codec, &j->spec, &i->spec);
	codec_copy(&wire_gear_codec, &j->gear.spec, &i->gear->spec);
	codec_copy(&gear_record_codec, &j->gear.record, &i->gear->record);
	gear_keep_configured(&j->gear);
	return j;
}

void
instance_prepare(struct instance *i)
{
	struct prepare_job *j = prepare_job_of(i);

	instance_links_want(i, &j->nat);
	i->job = worker_submit(i->table->o.worker, run_prepare, done_prepare, free_prepare, j);
}

/* --- again with what an earlier daemon left running --- */

static void
run_rejoin(void *job)
{
	struct prepare_job *j = job;
	AUTO(free) char *dir = gear_instance_dir(&j->gear, j->spec.id);
	AUTO(free) char *ready = file_join(dir, "ready");

	j->was_ready = file_exists(ready);
	j->deployed = instance_marked(ready);
	if (net_find(j->o.net, j->spec.id, &j->link, &j->e) == 0)
		give_resolver(j);
}

static void
done_rejoin(void *job)
{
	struct prepare_job *j = job;
	struct instance *i = j->owner;

	i->job = NULL;
	i->link = j->link;
	i->was_ready = j->was_ready;
	mem_set_str(&i->deployed,
	    j->deployed != NULL && j->deployed[0] != '\0' ? j->deployed : j->spec.deployment_id);
	instance_rejoined(i, j->e.code == ERR_NONE ? NULL : &j->e);
	free_prepare(j);
}

void
instance_rejoin(struct instance *i)
{
	struct prepare_job *j = xcalloc(1, sizeof *j);

	j->owner = i;
	j->o = i->table->o;
	j->gear.dir = node_dirs_gear(i->table->o.dirs, i->spec.gear);
	codec_copy(&wire_instance_codec, &j->spec, &i->spec);
	i->job = worker_submit(i->table->o.worker, run_rejoin, done_rejoin, free_prepare, j);
}

/* --- the end --- */

struct remove_job {
	struct instance *owner; /* done only */
	struct instances_opts o;
	char *id, *gear_dir; /* owned */
	bool all;
	struct prepare_job *storage; /* owned: of a gear with persistent paths; else NULL */
	struct err e;
};

static void
free_remove(void *take_job)
{
	struct remove_job *j = take_job;

	free(j->id);
	free(j->gear_dir);
	if (j->storage != NULL)
		free_prepare(j->storage);
	free(j);
}

/* A path that became persistent: what this instance wrote there, the last one to do so, is taken
 * over before its upper goes. */
static void
keep_storage(struct prepare_job *j, const char *dir)
{
	AUTO(free_ptr)
	const struct cart_dir_entry **carts = NULL;
	AUTO_FINI(str_list_fini) struct str_list code = { 0 };
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };
	AUTO(free) char *upper = file_join(dir, "up");
	struct err e = { 0 };

	carts = cart_find_all(j->o.carts, &j->gear.spec.cartridges, &e);
	if (carts != NULL && find_code(j, carts, &code, &e) == 0 &&
	    add_layer(j, j->spec.layers.app, &s, &e) == 0 &&
	    add_layer(j, j->spec.layers.deps, &s, &e) == 0 &&
	    add_layer(j, j->spec.layers.rest, &s, &e) == 0) {
		gear_add_lowers(&j->gear, &code, NULL, &s);
		if (gear_storage_take_over(&j->gear, upper, &s.lowers, &e) == 0)
			return;
	}
	log_warn("storage_not_taken_over", LOG_STR("instance", j->spec.id), LOG_ERR(&e));
	if (gear_storage_rescue(&j->gear, upper, &e) < 0)
		log_error("storage_not_rescued", LOG_STR("instance", j->spec.id), LOG_ERR(&e));
}

/* Logs outlive their instance, in bounds: those of dead ones go when all take too much. */
static void
prune_logs(const char *gear_dir)
{
	AUTO(free) char *logs = file_join(gear_dir, "logs");
	AUTO(free) char *inst = file_join(gear_dir, "inst");
	AUTO_FINI(str_list_fini) struct str_list live = { 0 };
	DIR *d = opendir(inst);
	struct statvfs fs;
	struct dirent *de;
	struct err e = { 0 };

	while (d != NULL && (de = readdir(d)) != NULL)
		str_list_add(&live, de->d_name);
	if (d != NULL)
		(void)closedir(d);
	if (statvfs(gear_dir, &fs) < 0)
		return;
	/* what the gear may use: its file system is larger */
	if (gear_log_prune(logs, &live,
	        (int64_t)((fs.f_blocks - fs.f_bfree + fs.f_bavail) * fs.f_frsize) / LOG_SHARE_ALL,
	        &e) < 0)
		log_warn("instance_logs_kept", LOG_STR("gear_dir", gear_dir), LOG_ERR(&e));
}

static void
run_remove(void *job)
{
	struct remove_job *j = job;
	AUTO(free) char *dir = xasprintf("%s/inst/%s", j->gear_dir, j->id);
	struct err e = { 0 };

	if (j->o.resolver != NULL && resolver_link_remove(j->o.resolver, j->id, &e) < 0)
		log_debug("resolver_remove", LOG_STR("instance", j->id), LOG_ERR(&e));
	if (net_detach(j->o.net, j->id, &j->e) < 0)
		return;
	fault_point("instance_detached");
	if (!j->all || !file_exists(dir))
		return;
	if (j->storage != NULL)
		keep_storage(j->storage, dir);
	if (file_remove_tree(dir, &j->e) < 0)
		return;
	fault_point("instance_removed");
	prune_logs(j->gear_dir);
	if (gear_home_make_spare(j->gear_dir, &e) < 0)
		log_warn("gear_without_spare", LOG_STR("instance", j->id), LOG_ERR(&e));
}

static void
done_remove(void *job)
{
	struct remove_job *j = job;
	struct instance *i = j->owner;
	struct err e = j->e;

	i->job = NULL;
	free_remove(j);
	instance_removed(i, e.code == ERR_NONE ? NULL : &e);
}

void
instance_remove(struct instance *i, bool all)
{
	struct remove_job *j = xcalloc(1, sizeof *j);

	*j = (struct remove_job){
		.owner = i,
		.o = i->table->o,
		.id = xstrdup(i->spec.id),
		.gear_dir = node_dirs_gear(i->table->o.dirs, i->spec.gear),
		.all = all,
	};
	if (all && i->gear != NULL && i->gear->spec.storage.n > 0 &&
	    i->gear->spec.want != WIRE_WANT_GONE && i->spec.kind == WIRE_INSTANCE_WEB)
		j->storage = prepare_job_of(i);
	i->job = worker_submit(i->table->o.worker, run_remove, done_remove, free_remove, j);
}

/* --- why it ended --- */

struct log_job {
	struct instance *owner;     /* done only */
	char *id, *gear, *gear_dir; /* owned */
	const struct limits *limits;
	struct init_status init;
	bool has_init, ran_out_of_memory;
	struct str_list lines;
};

static void
free_log(void *take_job)
{
	struct log_job *j = take_job;

	codec_fini(&init_status_codec, &j->init);
	str_list_fini(&j->lines);
	free(j->id);
	free(j->gear);
	free(j->gear_dir);
	free(j);
}

static void
run_log(void *job)
{
	struct log_job *j = job;
	AUTO(free) char *ctl = xasprintf("%s/inst/%s/ctl", j->gear_dir, j->id);
	AUTO(free) char *logs = file_join(j->gear_dir, "logs");
	AUTO_FINI(gear_log_lines_fini) struct gear_log_lines lines = { 0 };
	const struct limits_group group = { j->gear, j->id };
	struct limits_usage used = { 0 };
	struct err e = { 0 };

	/* The cgroup goes with the container, later. */
	if (limits_usage(j->limits, group, &used, &e) < 0)
		log_debug("instance_usage_unread", LOG_STR("instance", j->id), LOG_ERR(&e));
	j->ran_out_of_memory = used.oom_kills > 0;
	j->has_init = init_control_status(ctl, &j->init, &e) == 0;
	if (gear_log_tail(logs, j->gear, j->id, LOG_LINES, &lines, &e) < 0)
		log_warn("instance_log_unread", LOG_STR("instance", j->id), LOG_ERR(&e));
	for (size_t i = 0; i < lines.n; i++)
		str_list_add(&j->lines, lines.v[i].line);
}

static void
done_log(void *job)
{
	struct log_job *j = job;
	struct instance *i = j->owner;

	i->job = NULL;
	instance_log_collected(i, j->has_init ? &j->init : NULL, j->ran_out_of_memory, &j->lines);
	free_log(j);
}

void
instance_collect_log(struct instance *i)
{
	struct log_job *j = xcalloc(1, sizeof *j);

	*j = (struct log_job){
		.owner = i,
		.id = xstrdup(i->spec.id),
		.gear = xstrdup(i->spec.gear),
		.gear_dir = node_dirs_gear(i->table->o.dirs, i->spec.gear),
		.limits = i->table->o.limits,
	};
	i->job = worker_submit(i->table->o.worker, run_log, done_log, free_log, j);
}
