#include "router/fleet.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "router/access_log.h"
#include "router/challenge_table.h"
#include "router/client_conn.h"
#include "router/crowd.h"
#include "router/gate.h"
#include "router/hold.h"
#include "router/host_table.h"
#include "router/lane.h"
#include "router/listener.h"
#include "router/origin.h"
#include "router/proxy.h"
#include "router/proxy_try.h"
#include "router/router_conf.h"
#include "router/takeover.h"
#include "router/tls_ctx.h"
#include "router/upstream.h"

enum { ENTRIES_MAX = 16 };
enum { FLUSH_MS = 10000, FILES_OURS = 56, FILES_LANE = 8, FILES_MOST = 10000000 };

struct member {
	struct lane *lane;          /* owned */
	struct listener *listeners; /* owned; the lane's own while it runs */
	pthread_t thread;
	bool runs;
};

struct fleet {
	struct loop *loop;                  /* borrowed */
	struct host_table *table;           /* owned */
	struct host_publication *under_way; /* owned; NULL: none */
	struct host_gone *draining;         /* still used; owned */
	fleet_fn *on_change;
	fleet_fn *on_drained;
	void *arg; /* borrowed, handed to both */
	int64_t wanted, applied;
	bool is_stale; /* more was changed while a publication was under way */
	struct entry entry[ENTRIES_MAX];
	int entry_n;
	struct tls_ctx *tls;                /* owned; NULL: no HTTPS */
	struct challenge_table *challenges; /* owned */
	struct origin_rules origin;
	bool is_handed_over; /* another process has the sockets */
	int undrained;       /* lanes with clients */
	int n;
	struct member member[];
};

/* --- publication --- */

static void
on_endpoint_gone(void *arg)
{
	struct host_gone *g = arg;
	struct fleet *f = g->fleet;

	*g->prev = g->after;
	if (g->after != NULL)
		g->after->prev = g->prev;
	host_gone_free(g);
	if (f->on_change != NULL)
		f->on_change(f->arg);
}

/* A lane has nothing of the endpoint any more. Any lane's thread. */
static void
drop_holder(struct host_gone *g)
{
	if (atomic_fetch_sub(&g->holders, 1) == 1)
		loop_post(g->fleet->loop, on_endpoint_gone, g);
}

static void
on_gone(struct lane *l, struct host_endpoint *ep)
{
	(void)l;
	drop_holder(ep->gone);
}

static void
on_published(void *arg)
{
	struct host_publication *p = arg;
	struct fleet *f = p->fleet;

	f->applied = p->revision;
	f->under_way = NULL;
	host_publication_free(p);
	if (f->on_change == NULL)
		return;
	if (f->wanted != f->applied || f->is_stale)
		fleet_publish(f, f->wanted);
	else
		f->on_change(f->arg);
}

static void
apply(struct lane *l, void *arg)
{
	struct host_publication *p = arg;
	struct host_gone *next;

	l->root = p->root;
	hold_changed(l->hold);
	hold_changed(l->queue);
	for (struct host_gone *g = p->gone; g != NULL; g = next) {
		next = g->next; /* it may be freed once we let go */
		if (upstream_retire(l, g->ep))
			drop_holder(g);
	}
	if (atomic_fetch_sub(&p->left, 1) == 1)
		loop_post(p->fleet->loop, on_published, p);
}

void
fleet_publish(struct fleet *f, int64_t revision)
{
	struct host_publication *p;

	f->wanted = revision;
	f->is_stale = f->under_way != NULL;
	if (f->is_stale) {
		host_table_show(f->table);
		return;
	}
	p = host_table_publish(f->table);
	if (p == NULL) {
		f->applied = revision;
		f->on_change(f->arg);
		return;
	}
	for (struct host_gone *g = p->gone; g != NULL; g = g->next) {
		atomic_init(&g->holders, f->n);
		g->fleet = f;
		g->after = f->draining;
		if (g->after != NULL)
			g->after->prev = &g->after;
		g->prev = &f->draining;
		f->draining = g;
	}
	p->revision = revision;
	p->fleet = f;
	atomic_init(&p->left, f->n);
	f->under_way = p;
	for (int i = 0; i < f->n; i++)
		lane_post(f->member[i].lane, apply, p);
}

void
fleet_publish_own(struct fleet *f)
{
	fleet_publish(f, f->wanted);
}

void
fleet_each_lane(struct fleet *f, void (*fn)(struct lane *l, void *arg), void *arg)
{
	for (int i = 0; i < f->n; i++)
		lane_post(f->member[i].lane, fn, arg);
}

struct lane *
fleet_lane(struct fleet *f, int i)
{
	return f->member[i].lane;
}

int
fleet_lanes(const struct fleet *f)
{
	return f->n;
}

void
fleet_on_sleep(struct fleet *f, void (*fn)(struct lane *l, const struct host_route *r), void *arg)
{
	for (int i = 0; i < f->n; i++) {
		f->member[i].lane->on_sleep = fn;
		f->member[i].lane->sleep_arg = arg;
	}
}

int64_t
fleet_applied(const struct fleet *f)
{
	return f->applied;
}

bool
fleet_is_settled(const struct fleet *f)
{
	return f->under_way == NULL;
}

void
fleet_draining(const struct fleet *f, struct str_list *out)
{
	for (const struct host_gone *g = f->draining; g != NULL; g = g->after) {
		const char *id = host_endpoint_id(g->ep);

		if (*id != '\0' && !host_table_has_instance(f->table, g->ep) &&
		    !str_list_has(out, id))
			str_list_add(out, id);
	}
}

struct host_table *
fleet_table(struct fleet *f)
{
	return f->table;
}

int
fleet_port(const struct fleet *f, const char *proto)
{
	for (int i = 0; i < f->entry_n; i++) {
		if (strcmp(f->entry[i].proto, proto) == 0)
			return f->entry[i].port;
	}
	return 0;
}

/* --- the end --- */

static void
on_lane_drained_here(void *arg)
{
	struct fleet *f = arg;

	if (--f->undrained == 0 && f->on_drained != NULL)
		f->on_drained(f->arg);
}

static void
on_lane_drained(struct lane *l)
{
	loop_post(l->fleet->loop, on_lane_drained_here, l->fleet);
}

static void
drain(struct lane *l, void *arg)
{
	struct fleet *f = arg;
	struct member *m = &f->member[l->index];

	listener_close_all(&m->listeners, f->is_handed_over);
	l->on_drained = on_lane_drained;
	client_conn_drain(l, !f->is_handed_over);
}

static void
drain_idle(struct lane *l, void *arg)
{
	(void)arg;
	client_conn_drain(l, true);
}

void
fleet_drain(struct fleet *f, bool is_handed_over, fleet_fn *done)
{
	f->is_handed_over = is_handed_over;
	f->on_drained = done;
	f->undrained = f->n;
	for (int i = 0; i < f->n; i++)
		lane_post(f->member[i].lane, drain, f);
}

void
fleet_drain_idle(struct fleet *f)
{
	fleet_each_lane(f, drain_idle, NULL);
}

void
fleet_each_socket(struct fleet *f, listener_fn *fn, void *arg)
{
	for (int i = 0; i < f->n; i++)
		listener_each(f->member[i].listeners, fn, arg);
}

static void
stop(struct lane *l, void *arg)
{
	(void)arg;
	lane_stop(l);
}

static void
close_lane(struct lane *l)
{
	lane_begin(l);
	while (l->clients != NULL)
		client_conn_close(l->clients);
	upstream_free_all(l);
	lane_end(l);
	proxy_drop_spares(l);
	hold_free(l->hold);
	hold_free(l->queue);
	lane_free(l);
}

static void
set_flag(void *arg)
{
	*(bool *)arg = true;
}

void
fleet_free(struct fleet *take_f)
{
	struct fleet *f = take_f;
	bool flushed = false;

	if (f == NULL)
		return;
	f->on_change = f->on_drained = NULL;
	for (int i = 0; i < f->n; i++) {
		if (f->member[i].runs)
			lane_post(f->member[i].lane, stop, NULL);
	}
	for (int i = 0; i < f->n; i++) {
		struct member *m = &f->member[i];

		if (m->runs)
			pthread_join(m->thread, NULL);
		if (m->lane != NULL) {
			listener_close_all(&m->listeners, f->is_handed_over);
			close_lane(m->lane);
		}
	}
	/* What lanes posted may still lie on the loop. */
	loop_post(f->loop, set_flag, &flushed);
	(void)loop_run_until(f->loop, &flushed, FLUSH_MS);
	host_publication_free(f->under_way);
	while (f->draining != NULL) {
		struct host_gone *g = f->draining;

		f->draining = g->after;
		host_gone_free(g);
	}
	host_table_free(f->table);
	for (int i = 0; i < f->entry_n; i++)
		free(f->entry[i].address);
	tls_ctx_free(f->tls);
	challenge_table_free(f->challenges);
	origin_rules_fini(&f->origin);
	free(f);
}
DEFINE_AUTO(struct fleet *, fleet_free)

/* --- the start --- */

/* Descriptors for connections. */
static int64_t
file_max(int lanes)
{
	struct rlimit r;
	rlim_t ours = FILES_OURS + (rlim_t)lanes * FILES_LANE;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == RLIM_INFINITY ||
	    r.rlim_cur > FILES_MOST)
		return FILES_MOST;
	return (int64_t)(r.rlim_cur > 2 * ours ? r.rlim_cur - ours : ours);
}

static int
add_member(struct fleet *f, const struct router_conf *conf, int lanes, struct access_log *log,
    struct err *e)
{
	struct member *m = &f->member[f->n];
	struct lane *l = lane_new(f->n, conf, e);

	if (l == NULL)
		return -1;
	m->lane = l;
	f->n++;
	l->fleet = f;
	l->challenges = f->challenges;
	l->hold = hold_new(l, conf, lanes, &hold_asleep, proxy_unhold);
	l->queue = hold_new(l, conf, lanes, &gate_kind, proxy_unqueue);
	l->fd_max = file_max(lanes) / lanes;
	l->client_max = l->fd_max / 2; /* each may need one to an instance */
	l->crowd = crowd_new(conf, lanes);
	l->on_gone = on_gone;
	l->trim = proxy_trim_spares;
	l->log = log == NULL ? NULL : access_log_ring(log, l->index);
	return 0;
}

/* list: addresses with commas between them; NULL: none */
static int
add_entries(struct fleet *f, const struct router_conf *conf, const char *proto, const char *list,
    struct err *e)
{
	for (struct str rest = str_of(list == NULL ? "" : list), word; rest.n > 0;) {
		rest = str_cut(rest, ',', &word);
		word = str_trim(word);
		if (word.n == 0)
			continue;
		if (f->entry_n == ENTRIES_MAX)
			return err_set(
			    e, ERR_INVALID, proto, "at most %d addresses in all", ENTRIES_MAX);
		f->entry[f->entry_n++] = (struct entry){
			.proto = proto,
			.address = xstrndup(word.p, word.n),
			.tls = strcmp(proto, "https") == 0 ? f->tls : NULL,
			.origin = &f->origin,
			.greets = origin_greets(conf, proto),
		};
	}
	return 0;
}

static void
point_to_https(struct fleet *f)
{
	const struct entry *https = NULL;

	for (int i = f->entry_n; i-- > 0;) {
		if (f->entry[i].tls != NULL)
			https = &f->entry[i];
	}
	for (int i = 0; i < f->entry_n; i++)
		f->entry[i].https = https;
}

/* One for each lane, and all that were passed on: who waits in their queues is served. */
static int
open_sockets(
    struct fleet *f, struct entry *entry, struct takeover_sockets *inherited, struct err *e)
{
	for (int i = 0;; i++) {
		int fd = takeover_sockets_take(inherited, entry);
		struct listener *ls;

		if (fd < 0 && i >= f->n)
			break;
		ls = listener_open(entry, fd, e);
		if (ls == NULL)
			return -1;
		listener_add(&f->member[i % f->n].listeners, ls);
	}
	return 0;
}

struct fleet *
fleet_new(struct loop *l, const struct router_conf *conf, int lanes, struct access_log *log,
    struct takeover_sockets *inherited, fleet_fn *on_change, void *arg, struct err *e)
{
	AUTO(fleet_free) struct fleet *f = NULL;

	f = xcalloc(1, sizeof *f + (size_t)lanes * sizeof f->member[0]);
	f->loop = l;
	f->on_change = on_change;
	f->arg = arg;
	f->table = host_table_new(lanes);
	f->challenges = challenge_table_new();
	if (conf->https != NULL &&
	    (f->tls = tls_ctx_new(&conf->cert, conf->tls_profile, e)) == NULL)
		return NULL;
	if (origin_rules_init(&f->origin, conf, e) < 0 ||
	    add_entries(f, conf, "http", conf->http, e) < 0 ||
	    add_entries(f, conf, "https", conf->https, e) < 0)
		return NULL;
	point_to_https(f);
	for (int i = 0; i < lanes; i++) {
		if (add_member(f, conf, lanes, log, e) < 0)
			return NULL;
	}
	for (int i = 0; i < f->entry_n; i++) {
		if (open_sockets(f, &f->entry[i], inherited, e) < 0)
			return NULL;
	}
	return STEAL(f);
}

struct challenge_table *
fleet_challenges(struct fleet *f)
{
	return f->challenges;
}

struct tls_ctx *
fleet_tls(struct fleet *f)
{
	return f->tls;
}

static void *
serve(void *arg)
{
	struct member *m = arg;
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	lane_take_mail(m->lane); /* the table, before the first request */
	listener_start_all(m->listeners, m->lane);
	lane_run(m->lane);
	return NULL;
}

int
fleet_start(struct fleet *f, struct err *e)
{
	for (int i = 0; i < f->n; i++) {
		struct member *m = &f->member[i];

		if (pthread_create(&m->thread, NULL, serve, m) != 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot start thread %d", i);
		m->runs = true;
	}
	return 0;
}
