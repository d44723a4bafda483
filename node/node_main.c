#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "config.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/where.h"
#include "lib/cart/cart_dir.h"
#include "lib/cart/cart_needs.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_node.h"
#include "node/builder.h"
#include "node/cart_store.h"
#include "node/cron.h"
#include "node/disk_guard.h"
#include "node/container.h"
#include "node/gear_repo.h"
#include "node/block_claim.h"
#include "node/gear_socket.h"
#include "node/gear_table.h"
#include "node/instance.h"
#include "node/layer_fetch.h"
#include "node/layer_store.h"
#include "node/limits.h"
#include "node/net.h"
#include "node/node_conf.h"
#include "node/node_dirs.h"
#include "node/node_stream.h"
#include "node/node_sync.h"
#include "node/node_wake.h"
#include "node/peer_table.h"
#include "node/resolver_host.h"
#include "node/stack.h"
#include "node/volume.h"

enum {
	WORKERS = 8,
	COLLECT_MS = 600000,
	GRACE_S = 3600, /* a layer that nobody keeps yet */
	REPLY_MS = 100, /* for the last answer to leave */
	REMOVE_MS = 10000,
};

struct daemon {
	struct node_conf conf;
	char *broker_url; /* base of the calls */
	char *cron_state;
	struct node_dirs dirs;
	int lock; /* of the data directory */
	struct loop *loop;
	struct worker *worker;
	struct http_client *http;
	struct limits *limits;
	struct net *net;
	struct volumes *volumes;
	struct container_host *containers;
	struct cart_dir *carts;
	struct cart_store *code; /* theirs, and that of archives */
	struct layer_store *layers;
	struct layer_fetch_opts fetch;
	struct gear_table *gears;
	struct peer_table *peers;
	struct gear_sockets *sockets;
	struct gear_repos *repos;
	struct instances *instances;
	struct resolver_host *resolver;
	char *resolver_path;
	struct builder *builder;
	struct cron *cron;
	struct disk_guard *guard;
	struct node_sync *sync;
	struct node_stream *stream;
	struct node_wake *wake; /* NULL: nobody may */
	struct loop_signal *term, *interrupt;
	struct loop_timer *collect, *end;
	void (*stopped)(void *arg); /* of the shutdown under way */
	void *stopped_arg;
};

/* --- facts --- */

/* Where others reach what is served at an address. */
static void
tell_address(char **out, const char *served, const char *url)
{
	free(*out);
	*out = url != NULL                        ? xstrdup(url)
	       : str_has_prefix(served, "unix:/") ? xstrdup(served)
	                                          : xasprintf("http://%s", served);
}

static void
fill_facts(struct wire_node_facts *out, void *arg)
{
	const struct daemon *d = arg;
	struct statvfs fs = { 0 };
	struct sysinfo si = { 0 };
	struct utsname u = { 0 };

	(void)statvfs(d->dirs.data, &fs);
	(void)sysinfo(&si);
	(void)uname(&u);
	mem_set_str(&out->id, d->conf.id);
	mem_set_str(&out->version, PACKAGE_VERSION);
	tell_address(&out->stream, d->conf.stream, d->conf.stream_url);
	if (d->conf.wake_token != NULL)
		tell_address(&out->wake, d->conf.wake, d->conf.wake_url);
	mem_set_str(&out->addresses, net_range(d->net));
	mem_set_str(&out->arch, u.machine);
	out->cores = sysconf(_SC_NPROCESSORS_ONLN);
	out->memory_mb = (int64_t)(si.totalram / 1024 * si.mem_unit / 1024);
	out->disk_free_mb = (int64_t)(fs.f_bavail * fs.f_frsize / 1024 / 1024);
	out->disk_total_mb = (int64_t)(fs.f_blocks * fs.f_frsize / 1024 / 1024);
	out->disk_low_percent = d->conf.disk_low_percent;
	mem_set_str(
	    &out->quota, strcmp(volumes_kind(d->volumes), "plain") == 0 ? "advisory" : "enforced");
	mem_set_str(&out->reclaim, si.totalswap > 0 ? "swap" : "no swap");
	for (size_t i = 0; i < cart_dir_count(d->carts); i++) {
		const struct cart_dir_entry *c = cart_dir_at(d->carts, i);

		AUTO(free) char *name = xasprintf("%s-%s", c->cart.name, c->cart.version);
		struct err e = { 0 };

		if (cart_needs_check(&c->cart, &e) == 0)
			str_list_take(&out->cartridges, STEAL(name));
		else
			str_list_take(&out->lacks, xasprintf("%s: %s", name, e.text));
	}
}

/* --- between the parts --- */

static struct gear *
find_gear(const char *uuid, void *arg)
{
	const struct daemon *d = arg;

	return gear_table_find(d->gears, uuid);
}

static void
hold_gear(struct gear *g, bool held, void *arg)
{
	const struct daemon *d = arg;

	if (held)
		gear_table_hold(d->gears, g);
	else
		gear_table_release(d->gears, g);
}

static bool
is_served(const struct gear *g, const char *cart, void *arg)
{
	const struct daemon *d = arg;

	return instances_serve(d->instances, g->record.uuid, cart);
}

static void
on_gear_changed(struct gear *g, void *arg)
{
	struct daemon *d = arg;

	if (g->state == GEAR_READY)
		gear_sockets_open(d->sockets, g);
	if (g->state == GEAR_GONE) {
		gear_sockets_close(d->sockets, g->record.uuid);
		gear_repos_forget(d->repos, g->record.uuid);
	}
	node_sync_gear_changed(d->sync, g);
	instances_gear_changed(d->instances, g);
}

static void
on_instance_changed(const struct wire_instance_status *st, void *arg)
{
	struct daemon *d = arg;

	node_sync_instance_changed(d->sync, st);
	resolver_host_poke(d->resolver);
}

static void
on_peers_changed(const char *app_id, void *arg)
{
	struct daemon *d = arg;

	instances_peers_changed(d->instances, app_id);
	resolver_host_poke(d->resolver);
}

struct collect_job {
	struct layer_store *layers;
	struct str_list in_use;
};

static void
free_collect(void *take_job)
{
	struct collect_job *j = take_job;

	str_list_fini(&j->in_use);
	free(j);
}

static void
run_collect(void *job)
{
	struct collect_job *j = job;
	struct err e = { 0 };
	int n = layer_store_collect(j->layers, &j->in_use, GRACE_S, &e);

	if (n < 0)
		log_warn("layers_not_collected", LOG_ERR(&e));
	else if (n > 0)
		log_info("layers_collected", LOG_INT("removed", n));
}

static void
add_code(struct gear *g, void *arg)
{
	struct str_list *l = arg;

	for (size_t i = 0; i < g->spec.cartridges.n; i++) {
		const char *digest = g->spec.cartridges.v[i].digest;

		if (digest != NULL && digest[0] != '\0' && !str_list_has(l, digest))
			str_list_add(l, digest);
	}
}

static void
on_collect(void *arg)
{
	AUTO_FINI(str_list_fini) struct str_list code = { 0 };
	struct daemon *d = arg;
	struct collect_job *j = xcalloc(1, sizeof *j);

	j->layers = d->layers;
	gear_table_each(d->gears, add_code, &code);
	cart_store_collect(d->code, &code, GRACE_S);
	if (!instances_are_known(d->instances)) {
		free_collect(j);
		return;
	}
	instances_layers(d->instances, &j->in_use);
	worker_submit(d->worker, run_collect, free_collect, free_collect, j);
}

/* --- the end --- */

static void
on_term(void *arg)
{
	struct daemon *d = arg;

	log_info("stopping");
	loop_stop(d->loop); /* gears run on */
}

static void
on_end(void *arg)
{
	struct daemon *d = arg;

	loop_stop(d->loop);
}

/* Nothing of this node runs any more: takes down what the kernel still has of it. */
static void
take_down(struct daemon *d)
{
	const struct limits_group all = { 0 };
	struct err e = { 0 };

	if (limits_kill(d->limits, all, &e) < 0 || limits_remove(d->limits, all, REMOVE_MS, &e) < 0)
		log_warn("cgroups_left", LOG_ERR(&e));
	e = (struct err){ 0 };
	if (net_destroy_all(d->net, &e) < 0)
		log_warn("networks_left", LOG_ERR(&e));
	e = (struct err){ 0 };
	if (gear_table_unmount_all(d->gears, &e) < 0)
		log_warn("volumes_left", LOG_ERR(&e));
	stack_unmount(&d->dirs);
	node_dirs_unshare(&d->dirs);
}

static void
on_gears_stopped(void *arg)
{
	struct daemon *d = arg;

	resolver_host_end(d->resolver);
	take_down(d);
	log_info("gears_stopped");
	d->stopped(d->stopped_arg);
	d->end = loop_timer_start(d->loop, REPLY_MS, false, on_end, d);
}

static void
on_shutdown(bool stops, void (*done)(void *), void *done_arg, void *arg)
{
	struct daemon *d = arg;

	if (d->stopped != NULL) { /* already */
		done(done_arg);
		return;
	}
	d->stopped = done;
	d->stopped_arg = done_arg;
	node_sync_mute(d->sync);
	if (!stops) {
		done(done_arg);
		d->end = loop_timer_start(d->loop, REPLY_MS, false, on_end, d);
		return;
	}
	builder_free(STEAL(d->builder));
	node_stream_no_builds(d->stream);
	instances_stop_all(d->instances, on_gears_stopped, d);
}

/* --- start --- */

/* Counted for the whole machine, or for root, who made the gears' user namespaces: a gear must not
 * use up what the others need. Each is charged to the memory of who takes it, and most are bounded
 * in the gear itself (spawn_start.c, bundle.c). */
static const struct machine_limit {
	const char *path;
	long at_least;
} machine_limits[] = {
	{ "/proc/sys/fs/inotify/max_user_instances", 1048576 },
	{ "/proc/sys/fs/inotify/max_user_watches", 67108864 },
	{ "/proc/sys/fs/aio-max-nr", 1073741824 },
	{ "/proc/sys/fs/file-max", 1073741824 },
	{ "/proc/sys/kernel/pid_max", 4194304 },
	{ "/proc/sys/kernel/threads-max", 4194304 },
	{ "/proc/sys/kernel/pty/max", 65536 },
};

static void
raise_limit(const struct machine_limit *m)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	bool is_set = false;
	FILE *f;

	if (file_read(m->path, 64, &b, &e) < 0 || strtol(b.p, NULL, 10) >= m->at_least)
		return;
	f = fopen(m->path, "we");
	if (f != NULL) {
		is_set = fprintf(f, "%ld\n", m->at_least) > 0;
		is_set = fclose(f) == 0 && is_set;
	}
	if (!is_set)
		log_info("machine_limit_kept", LOG_STR("file", m->path), LOG_STR("value", b.p));
}

static void
raise_limits(void)
{
	/* The last two bound all gears together: their namespaces are made by us. */
	static const int resources[] = { RLIMIT_NOFILE, RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE };
	struct rlimit r;

	for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
		if (getrlimit(resources[i], &r) < 0)
			continue;
		if (i > 0) {
			r.rlim_cur = r.rlim_max = RLIM_INFINITY;
			if (setrlimit(resources[i], &r) == 0 || getrlimit(resources[i], &r) < 0)
				continue;
		}
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(resources[i], &r);
	}
	for (size_t i = 0; i < ARRAY_LEN(machine_limits); i++)
		raise_limit(&machine_limits[i]);
}

static int
open_dirs(struct daemon *d, struct err *e)
{
	AUTO(free) char *spawn = where_program("pinion-spawn", e);
	AUTO(free) char *lock = NULL;

	if (spawn == NULL)
		return -1;
	*strrchr(spawn, '/') = '\0';
	if (node_dirs_init(&d->dirs, d->conf.data, d->conf.run, d->conf.cartridges, d->conf.stack,
	        spawn, e) < 0)
		return -1;
	lock = file_join(d->dirs.data, "lock");
	d->lock = file_lock(lock, e);
	return d->lock < 0 ? -1 : node_dirs_share(&d->dirs, e);
}

static int
open_kernel(struct daemon *d, struct err *e)
{
	AUTO(free) char *state = file_join(d->dirs.data, "net");
	struct block_claim claim = {
		.broker = d->broker_url,
		.token = d->conf.token,
		.node = d->conf.id,
		.ca_file = d->conf.broker_ca,
		.cert_file = d->conf.broker_cert,
		.key_file = d->conf.broker_key,
	};
	const struct net_opts net = {
		.tag = d->dirs.tag,
		.run_dir = d->dirs.run,
		.state_dir = state,
		.allow = &d->conf.allow_net,
		.admits = block_claim_admits,
		.admits_arg = &claim,
	};
	const struct container_host_opts host = {
		.dirs = &d->dirs,
		.runtime = d->conf.runtime,
		.seccomp =
		    d->conf.seccomp == NULL || d->conf.seccomp[0] == '\0' ? NULL : d->conf.seccomp,
	};
	struct container_host_opts o = host;
	struct err why;

	if (file_mkdirs(state, 0700, e) < 0)
		return -1;
	d->limits = limits_open(d->dirs.tag, NULL, e);
	if (d->limits == NULL)
		return -1;
	do {
		why = (struct err){ 0 };
		d->net = net_open(&net, &why);
	} while (d->net == NULL && block_claim_waits(&claim, &why));
	if (d->net == NULL)
		return *e = why, -1;
	d->volumes = volumes_open(&d->dirs, d->conf.volumes, e);
	o.limits = d->limits;
	d->containers = d->volumes == NULL ? NULL : container_host_new(d->loop, d->worker, &o, e);
	return d->containers == NULL ? -1 : 0;
}

static int
open_tables(struct daemon *d, struct err *e)
{
	struct gear_table_opts gears = {
		.loop = d->loop,
		.worker = d->worker,
		.volumes = d->volumes,
		.containers = d->containers,
		.limits = d->limits,
		.dirs = &d->dirs,
		.carts = d->code,
		.net = d->net,
		.fetch = &d->fetch,
		.disk_low_percent = d->conf.disk_low_percent,
		.is_served = is_served,
		.on_change = on_gear_changed,
		.arg = d,
	};
	struct instances_opts instances = {
		.loop = d->loop,
		.worker = d->worker,
		.containers = d->containers,
		.dirs = &d->dirs,
		.limits = d->limits,
		.carts = d->code,
		.net = d->net,
		.http = d->http,
		.fetch = &d->fetch,
		.on_change = on_instance_changed,
		.arg = d,
	};

	d->repos = instances.repos = gear_repos_new(&d->fetch);
	d->resolver_path = file_join(d->dirs.run, "resolver.sock");
	instances.resolver = gears.resolver = d->resolver_path;
	d->sockets = gear_sockets_new(&(const struct gear_sockets_opts){
	    .loop = d->loop,
	    .dirs = &d->dirs,
	    .broker = d->broker_url,
	    .ca_file = d->conf.broker_ca,
	    .cert_file = d->conf.broker_cert,
	    .key_file = d->conf.broker_key,
	    .token = d->conf.token,
	    .node = d->conf.id,
	    .worker = d->worker,
	});
	d->gears = gear_table_open(&gears, e);
	if (d->gears == NULL)
		return -1;
	d->peers = peer_table_new(&(const struct peer_table_opts){
	    .worker = d->worker, .net = d->net, .on_change = on_peers_changed, .arg = d });
	instances.gears = d->gears;
	instances.peers = d->peers;
	d->instances = instances_open(&instances, e);
	if (d->instances == NULL)
		return -1;
	const struct resolver_host_opts resolver = {
		.loop = d->loop,
		.worker = d->worker,
		.net = d->net,
		.dirs = &d->dirs,
		.instances = d->instances,
		.gears = d->gears,
		.peers = d->peers,
		.path = d->resolver_path,
	};
	d->resolver = resolver_host_new(&resolver);
	return 0;
}

/* The broker knows us: gears can be placed here. */
static void
tell_ready(void *arg)
{
	const struct daemon *d = arg;
	AUTO_FINI(buf_fini) struct buf line = { 0 };
	struct err e = { 0 };

	log_info("ready", LOG_STR("node", d->conf.id), LOG_STR("stream", d->conf.stream));
	if (d->conf.ready_fd < 0)
		return;
	buf_adds(&line, "{\"stream\":");
	buf_add_json_str(&line, d->conf.stream);
	buf_adds(&line, "}\n");
	if (file_write_all((int)d->conf.ready_fd, line.p, line.n, &e) < 0)
		log_warn("ready_not_told", LOG_ERR(&e));
	file_close((int)d->conf.ready_fd);
}

static int
open_edges(struct daemon *d, struct err *e)
{
	const struct builder_opts builder = {
		.disk_low_percent = d->conf.disk_low_percent,
		.loop = d->loop,
		.worker = d->worker,
		.containers = d->containers,
		.dirs = &d->dirs,
		.carts = d->code,
		.layers = d->layers,
		.net = d->net,
		.resolver = d->resolver_path,
		.find_gear = find_gear,
		.hold_gear = hold_gear,
		.arg = d,
	};
	struct node_sync_opts sync = {
		.loop = d->loop,
		.worker = d->worker,
		.http = d->http,
		.gears = d->gears,
		.instances = d->instances,
		.layers = d->layers,
		.peers = d->peers,
		.node = d->conf.id,
		.token = d->conf.token,
		.data = d->dirs.data,
		.fill_facts = fill_facts,
		.on_known = tell_ready,
		.arg = d,
	};

	sync.broker = d->broker_url;
	d->fetch = (struct layer_fetch_opts){
		.loop = d->loop,
		.worker = d->worker,
		.http = d->http,
		.layers = d->layers,
		.dirs = &d->dirs,
		.broker = d->broker_url,
		.token = d->conf.token,
		.node = d->conf.id,
	};
	d->builder = builder_new(&builder, e);
	if (d->builder == NULL)
		return -1;
	d->sync = node_sync_new(&sync);
	d->guard = disk_guard_new(&(const struct disk_guard_opts){
	    .loop = d->loop,
	    .worker = d->worker,
	    .gears = d->gears,
	    .limits = d->limits,
	    .dirs = &d->dirs,
	    .critical_percent = d->conf.disk_critical_percent,
	    .on_change = on_gear_changed,
	    .arg = d,
	});
	d->cron_state = file_join(d->dirs.data, "cron-minute");
	d->cron = cron_new(&(const struct cron_opts){
	    .loop = d->loop,
	    .gears = d->gears,
	    .instances = d->instances,
	    .worker = d->worker,
	    .state = d->cron_state,
	});
	const struct node_stream_opts stream = {
		.cron = d->cron,
		.loop = d->loop,
		.worker = d->worker,
		.builder = d->builder,
		.carts = d->code,
		.gears = d->gears,
		.instances = d->instances,
		.sync = d->sync,
		.net = d->net,
		.layers = d->layers,
		.limits = d->limits,
		.dirs = &d->dirs,
		.token = d->conf.broker_token,
		.fill_facts = fill_facts,
		.shutdown = on_shutdown,
		.arg = d,
	};
	d->stream = node_stream_open(&stream, d->conf.stream, e);
	if (d->stream == NULL)
		return -1;
	if (d->conf.wake_token != NULL) {
		d->wake =
		    node_wake_open(d->loop, d->instances, d->conf.wake, d->conf.wake_token, e);
		if (d->wake == NULL)
			return -1;
	}
	return node_sync_start(d->sync, e);
}

static int
open_cartridges(struct daemon *d, struct err *e)
{
	const struct cart_store_opts o = {
		.loop = d->loop,
		.worker = d->worker,
		.http = d->http,
		.dirs = &d->dirs,
		.carts = d->carts = cart_dir_open(d->dirs.cartridges, e),
		.broker = d->broker_url,
		.token = d->conf.token,
	};

	d->code = d->carts == NULL ? NULL : cart_store_open(&o, e);
	return d->code == NULL ? -1 : 0;
}

static int
open_all(struct daemon *d, struct err *e)
{
	if (geteuid() != 0)
		return err_set(e, ERR_DENIED, NULL, "pinion-node must run as root");
	raise_limits();
	if (open_dirs(d, e) < 0)
		return -1;
	d->loop = loop_new();
	d->worker = worker_new(d->loop, WORKERS);
	d->http = http_client_new(d->loop);
	http_client_trust(d->http, d->conf.broker_ca, d->conf.broker_cert, d->conf.broker_key);
	d->broker_url =
	    xasprintf("%s%s", d->conf.broker, str_has_prefix(d->conf.broker, "unix:") ? ":" : "");
	if (open_kernel(d, e) < 0)
		return -1;
	if (open_cartridges(d, e) < 0 || (d->layers = layer_store_open(&d->dirs, e)) == NULL ||
	    open_tables(d, e) < 0 || open_edges(d, e) < 0)
		return -1;
	d->term = loop_signal_start(d->loop, SIGTERM, on_term, d);
	d->interrupt = loop_signal_start(d->loop, SIGINT, on_term, d);
	d->collect = loop_timer_start(d->loop, COLLECT_MS, true, on_collect, d);
	return 0;
}

/* Edges first; then what worker jobs use outlives the workers. */
static void
close_all(struct daemon *d)
{
	loop_signal_cancel(d->term);
	loop_signal_cancel(d->interrupt);
	loop_timer_cancel(d->collect);
	loop_timer_cancel(d->end);
	node_wake_close(d->wake);
	node_stream_close(d->stream);
	builder_free(d->builder);
	disk_guard_free(d->guard);
	cron_free(d->cron);
	resolver_host_free(d->resolver);
	instances_close(d->instances);
	peer_table_free(d->peers);
	gear_table_close(d->gears);
	gear_sockets_free(d->sockets);
	gear_repos_free(d->repos);
	node_sync_free(d->sync);
	cart_store_close(d->code);
	if (d->containers != NULL)
		container_host_stop(d->containers);
	http_client_free(d->http);
	worker_free(d->worker);
	container_host_free(d->containers);
	layer_store_close(d->layers);
	cart_dir_close(d->carts);
	volumes_close(d->volumes);
	net_close(d->net);
	limits_close(d->limits);
	loop_free(d->loop);
	file_close(d->lock);
	free(d->broker_url);
	free(d->cron_state);
	free(d->resolver_path);
	node_dirs_fini(&d->dirs);
	node_conf_fini(&d->conf);
}

int
main(int argc, char **argv)
{
	static struct daemon d = { .lock = -1 };
	enum log_level level;
	struct err e = { 0 };
	int rc;

	(void)signal(SIGPIPE, SIG_IGN);
	umask(022);
	mem_setup();
	log_setup("pinion-node", LOG_INFO, false);
	rc = node_conf_load(argc, argv, &d.conf, &e);
	if (rc == 0 && log_level_parse(d.conf.log_level, &level) < 0)
		rc = err_set(&e, ERR_INVALID, "log-level", "must be debug, info, warn or error");
	if (rc != 0) {
		if (rc < 0)
			(void)fprintf(stderr, "pinion-node: %s\n", e.text);
		return rc < 0 ? err_exit_code(e.code) : 0;
	}
	log_setup("pinion-node", level, d.conf.log_json);
	if (open_all(&d, &e) < 0) {
		log_error("cannot_start", LOG_ERR(&e));
		close_all(&d);
		return err_exit_code(e.code);
	}
	loop_run(d.loop);
	close_all(&d);
	return 0;
}
