#include "node/resolver_host.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/cart/gear_ports.h"
#include "node/gear_table.h"
#include "node/instance.h"
#include "node/net.h"
#include "node/net_ns.h"
#include "node/node_dirs.h"
#include "node/peer_table.h"
#include "node/resolver_link.h"

enum { SOON_MS = 50, LOOK_MS = 10000, RETRY_MS = 1000, PID_MAX = 32 };

DEFINE_AUTO(struct map *, map_free)

struct resolver_host {
	struct resolver_host_opts o;
	char *dir, *names_file, *pid_file; /* owned; dir: what the resolver's user may read */
	struct loop_timer *timer;
	struct worker_job *job;
	struct child *child; /* started by us, or NULL */
	bool is_poked;       /* while a job was under way */
	bool has_ended;
};

/* An instance: where its words begin in the job's text. */
struct member {
	size_t id, app, host, own;
};

/* Who should have sockets there, and the names. */
struct tend_job {
	struct resolver_host *owner; /* done only */
	struct net *net;
	char *path, *names_file;
	struct buf text;        /* words of the members, each with its NUL */
	struct member *members; /* owned */
	size_t n;
	struct buf names;
	bool needs_start;
	struct err e;
};

static void
free_tend(void *take_job)
{
	struct tend_job *j = take_job;

	free(j->path);
	free(j->names_file);
	buf_fini(&j->text);
	buf_fini(&j->names);
	free(j->members);
	free(j);
}

static void
add_name(struct tend_job *j, const char *app, const char *name, const char *address)
{
	if (name != NULL && name[0] != '\0' && address[0] != '\0')
		resolver_link_add_name(&j->names, &(struct resolver_name){ app, name, address });
}

static size_t
add_word(struct tend_job *j, const char *word)
{
	size_t at = j->text.n;

	buf_add(&j->text, word, strlen(word) + 1);
	return at;
}

/* Every instance, at each change of one: the rows grow by doubling. */
static void
add_member(struct tend_job *j, const struct instances_host *i, const char *host)
{
	if ((j->n & (j->n - 1)) == 0)
		j->members =
		    xreallocarray(j->members, j->n == 0 ? 1 : 2 * j->n, sizeof *j->members);
	j->members[j->n++] = (struct member){
		.id = add_word(j, i->id),
		.app = add_word(j, i->app),
		.host = add_word(j, host),
		.own = add_word(j, i->address),
	};
}

struct collecting {
	struct resolver_host *host;
	struct tend_job *job;
};

static void
collect(const struct instances_host *i, void *arg)
{
	struct collecting *c = arg;
	const struct gear *g = gear_table_find(c->host->o.gears, i->gear);

	add_member(c->job, i, g == NULL || g->spec.gear_name == NULL ? "" : g->spec.gear_name);
	if (!i->is_ready || !i->is_web || g == NULL)
		return;
	add_name(c->job, i->app, g->spec.app_dns, i->address);
	add_name(c->job, i->app, g->spec.gear_name, i->address);
	if (g->spec.gear_dns != NULL && g->spec.app_dns != NULL &&
	    strcmp(g->spec.gear_dns, g->spec.app_dns) != 0)
		add_name(c->job, i->app, g->spec.gear_dns, i->address);
	if (g->spec.gear_name == NULL || strcmp(g->spec.uuid, g->spec.gear_name) != 0)
		add_name(c->job, i->app, g->spec.uuid, i->address);
}

/* A gear with services alone has an address that each of the application's namespaces translates
 * (node/instance_links.c): it stays, whatever runs. */
static void
collect_gear(struct gear *g, void *arg)
{
	struct collecting *c = arg;
	char ip[16];

	if (wire_gear_web(&g->spec.cartridges) != NULL || !g->spec.is_scalable ||
	    g->spec.want == WIRE_WANT_GONE)
		return;
	gear_ports_gear_ip(g->record.uid_base, ip);
	add_name(c->job, g->spec.app_id, g->spec.gear_dns, ip);
	add_name(c->job, g->spec.app_id, g->spec.uuid, ip);
}

/* Gears on other nodes. */
static void
collect_peers(const struct wire_peers *p, void *arg)
{
	struct collecting *c = arg;
	char ip[16];

	for (size_t k = 0; k < p->gears.n; k++) {
		const struct wire_peer *g = &p->gears.v[k];

		gear_ports_peer_ip(g->gear, ip);
		for (size_t n = 0; n < g->names.n; n++) {
			if (!g->is_web)
				add_name(c->job, p->app_id, g->names.v[n], ip);
			for (size_t m = 0; g->is_web && m < g->addresses.n; m++)
				add_name(c->job, p->app_id, g->names.v[n], g->addresses.v[m]);
		}
	}
}

static void
give_sockets(const struct tend_job *j, const struct member *m)
{
	const struct resolver_who who = { .instance = j->text.p + m->id,
		.app = j->text.p + m->app,
		.host = j->text.p + m->host,
		.address = j->text.p + m->own };
	AUTO(file_close) int udp = -1;
	AUTO(file_close) int tcp = -1;
	struct err e = { 0 };

	udp = net_socket(j->net, who.instance, SOCK_DGRAM, RESOLVER_ADDRESS, RESOLVER_PORT, &e);
	if (udp >= 0)
		tcp = net_socket(
		    j->net, who.instance, SOCK_STREAM, RESOLVER_ADDRESS, RESOLVER_PORT, &e);
	if (tcp < 0 || resolver_link_add(j->path, &who, udp, tcp, &e) < 0)
		log_debug("resolver_give", LOG_STR("instance", who.instance), LOG_ERR(&e));
}

/* A builder is no instance, but lives while its namespace is bound. */
static void
take_sockets(const struct tend_job *j, const char *id)
{
	AUTO(free) char *ns = net_ns_path(j->net, id);
	struct err e = { 0 };

	if (!net_ns_is_bound(ns) && resolver_link_remove(j->path, id, &e) < 0)
		log_debug("resolver_remove", LOG_STR("instance", id), LOG_ERR(&e));
}

static void
run_tend(void *job)
{
	struct tend_job *j = job;
	AUTO_FINI(str_list_fini) struct str_list held = { 0 };
	AUTO(map_free) struct map *wanted = map_new(NULL);
	AUTO(map_free) struct map *has = map_new(NULL);

	if (resolver_link_names(j->names_file, &j->names, &j->e) < 0)
		log_warn("resolver_names", LOG_ERR(&j->e));
	if (resolver_link_list(j->path, &held, &j->e) < 0) {
		j->needs_start = true;
		return;
	}
	for (size_t k = 0; k < held.n; k++)
		map_set(has, held.v[k], j);
	for (size_t k = 0; k < j->n; k++) {
		const char *id = j->text.p + j->members[k].id;

		map_set(wanted, id, j);
		if (map_get(has, id) == NULL)
			give_sockets(j, &j->members[k]);
	}
	for (size_t k = 0; k < held.n; k++) {
		if (map_get(wanted, held.v[k]) == NULL)
			take_sockets(j, held.v[k]);
	}
}

static void
on_child_end(struct child *c, const struct child_end *end, void *arg)
{
	struct resolver_host *h = arg;

	log_warn("resolver_ended", LOG_STR("why", end->why));
	child_free(c);
	h->child = NULL;
	loop_timer_again(h->timer, RETRY_MS);
}

static void
write_pid(const struct resolver_host *h)
{
	AUTO(free) char *text = xasprintf("%d\n", (int)child_pid(h->child));
	struct err e = { 0 };

	if (file_replace_fast(h->pid_file, text, strlen(text), 0600, &e) < 0)
		log_warn("resolver_pid", LOG_ERR(&e));
}

/* It gives up root by itself; its log is a file, for it lives longer than our stderr. */
static int
start_process(struct resolver_host *h, struct err *e)
{
	AUTO(free) char *program = file_join(h->o.dirs->libexec, "pinion-resolver");
	AUTO(free) char *log_path = file_join(h->o.dirs->run, "resolver.log");
	const char *const argv[] = { program, h->names_file, NULL };
	AUTO(file_close) int control = resolver_link_listen(h->o.path, e);
	AUTO(file_close)
	int log = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	const struct child_opts o = {
		.argv = argv,
		.new_session = true,
		.keep_on_exit = true,
		.out_fd = log,
		.err_fd = log,
		.pass_fds = &control,
		.pass_n = 1,
	};

	if (control < 0)
		return -1;
	h->child = child_start(h->o.loop, &o, NULL, on_child_end, h, e);
	if (h->child == NULL)
		return -1;
	write_pid(h);
	log_info("resolver_started", LOG_INT("pid", child_pid(h->child)));
	return 0;
}

static void
done_tend(void *job)
{
	struct tend_job *j = job;
	struct resolver_host *h = j->owner;
	bool needs_start = j->needs_start;
	struct err e = { 0 };

	h->job = NULL;
	free_tend(j);
	if (needs_start && h->child == NULL && !h->has_ended) {
		if (start_process(h, &e) < 0)
			log_error("resolver_not_started", LOG_ERR(&e));
		loop_timer_again(h->timer, e.code == ERR_NONE ? SOON_MS : RETRY_MS);
	} else {
		loop_timer_again(h->timer, h->is_poked   ? SOON_MS
		                           : needs_start ? RETRY_MS
		                                         : LOOK_MS);
	}
	h->is_poked = false;
}

static void
on_timer(void *arg)
{
	struct resolver_host *h = arg;
	struct tend_job *j;
	struct collecting c;

	if (h->job != NULL || h->has_ended)
		return;
	j = xcalloc(1, sizeof *j);
	*j = (struct tend_job){
		.owner = h,
		.net = h->o.net,
		.path = xstrdup(h->o.path),
		.names_file = xstrdup(h->names_file),
	};
	c = (struct collecting){ h, j };
	instances_hosts(h->o.instances, collect, &c);
	gear_table_each(h->o.gears, collect_gear, &c);
	peer_table_each(h->o.peers, collect_peers, &c);
	h->job = worker_submit(h->o.worker, run_tend, done_tend, free_tend, j);
}

void
resolver_host_poke(struct resolver_host *h)
{
	if (h->job != NULL)
		h->is_poked = true;
	else
		loop_timer_again(h->timer, SOON_MS);
}

struct resolver_host *
resolver_host_new(const struct resolver_host_opts *o)
{
	struct resolver_host *h = xcalloc(1, sizeof *h);
	struct err e = { 0 };

	h->o = *o;
	h->dir = xasprintf("/run/pinion/resolver-%s", o->dirs->tag);
	h->names_file = file_join(h->dir, "names");
	h->pid_file = file_join(o->dirs->run, "resolver.pid");
	if (file_mkdirs(h->dir, 0755, &e) < 0)
		log_warn("resolver_names", LOG_ERR(&e));
	h->timer = loop_timer_start(o->loop, 0, false, on_timer, h);
	return h;
}

void
resolver_host_free(struct resolver_host *take_h)
{
	if (take_h == NULL)
		return;
	worker_detach(take_h->job);
	loop_timer_cancel(take_h->timer);
	child_leave(take_h->child);
	free(take_h->dir);
	free(take_h->names_file);
	free(take_h->pid_file);
	free(take_h);
}

/* The pid of the file, if it is still that program. */
static pid_t
read_pid(const struct resolver_host *h)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	char path[64], exe[4096];
	struct err e = { 0 };
	long pid;
	ssize_t n;

	if (file_read(h->pid_file, PID_MAX, &text, &e) < 0)
		return 0;
	pid = strtol(text.p, NULL, 10);
	if (pid <= 1)
		return 0;
	(void)snprintf(path, sizeof path, "/proc/%ld/exe", pid);
	n = readlink(path, exe, sizeof exe - 1);
	if (n < 0)
		return 0;
	exe[n] = '\0';
	return strstr(exe, "/pinion-resolver") == NULL ? 0 : (pid_t)pid;
}

void
resolver_host_end(struct resolver_host *h)
{
	struct err e = { 0 };
	pid_t pid = h->child != NULL ? child_pid(h->child) : read_pid(h);

	h->has_ended = true;
	if (pid > 1)
		(void)kill(pid, SIGTERM);
	(void)unlink(h->pid_file);
	if (file_remove_tree(h->dir, &e) < 0)
		log_warn("resolver_left", LOG_ERR(&e));
}
