#include "node/net.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "node/net_block.h"
#include "node/net_mnl.h"
#include "node/net_ns.h"
#include "node/net_rules.h"
#include "node/proc_own.h"

enum {
	FIRST_INDEX = 2,
	LAST_INDEX = NET_BLOCK_SIZE - 2,
	GROUP_BASE = 0x70000000,
	CONNECTIONS = 4096
};

static const uint32_t gateway = 0xa9fe0101; /* 169.254.1.1 */

/* One instance; its place in net.slots is its address and its interface's name. */
struct slot {
	char instance[NET_NAME_MAX], app[NET_NAME_MAX];
	uint32_t group; /* of the rules */
	bool is_ready;  /* complete; else an attach is under way */
	int64_t kbit;   /* rate in force */
	uint64_t mark;
	char to[NET_ADDRESS_MAX];
	int port; /* translation in force; -1: not known (adopted) */
};

/* An application with gears on other nodes, too. */
struct peers {
	struct peers *next;
	char app[NET_NAME_MAX];
	uint32_t group;
	struct str_list addresses; /* admitted */
};

struct net {
	char *tag;       /* owned */
	char *netns_dir; /* owned */
	char *state_dir; /* owned */
	char host_address[NET_ADDRESS_MAX];
	struct net_block block;
	struct net_rules *rules;            /* owned */
	pthread_mutex_t lock;               /* guards what follows */
	struct net_mnl *mnl;                /* owned; host's namespace */
	struct slot *slots[NET_BLOCK_SIZE]; /* owned */
	int cursor;                         /* addresses are used in turn, not again at once */
	uint32_t last_group;
	struct peers *peers; /* owned */
	bool is_destroyed;
	atomic_bool has_no_rates; /* the kernel has no token bucket */
};

void
net_link_list_fini(struct net_link_list *l)
{
	free(l->v);
	*l = (struct net_link_list){ 0 };
}

static void
address_text(const struct net *n, int i, char out[NET_ADDRESS_MAX])
{
	uint32_t a = net_block_address(&n->block, i);

	if (inet_ntop(AF_INET, &a, out, NET_ADDRESS_MAX) == NULL)
		abort();
}

static void
veth_name(const struct net *n, int i, char out[16])
{
	(void)snprintf(out, 16, "pn%s%03x", n->tag, (unsigned)i & 0xfffU);
}

/* -1: none of ours. */
static int
veth_index(const struct net *n, const char *name)
{
	size_t t = strlen(n->tag);
	char *end;
	long i;

	if (strncmp(name, "pn", 2) != 0 || strncmp(name + 2, n->tag, t) != 0 ||
	    strlen(name) != t + 5)
		return -1;
	i = strtol(name + 2 + t, &end, 16);
	return *end == '\0' && i >= 0 && i < NET_BLOCK_SIZE ? (int)i : -1;
}

static bool
is_name(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 60 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static int
write_sysctl(int proc, const char *path, const char *value, struct err *e)
{
	AUTO(file_close) int fd = openat(proc, path, O_RDWR | O_CLOEXEC);
	char now[16] = "";

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open /proc/%s", path);
	if (read(fd, now, sizeof now - 1) > 0 && now[0] == value[0] && now[1] == '\n')
		return 0;
	if (pwrite(fd, value, strlen(value), 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot write %s to /proc/%s", value, path);
	return 0;
}

/* --- one instance --- */

struct inner {
	struct net_mnl *mnl; /* owned; of the new namespace */
};

/* In the new namespace. */
static int
make_inner(void *arg, struct err *e)
{
	struct inner *in = arg;
	AUTO(net_mnl_close) struct net_mnl *mnl = net_mnl_open(e);
	AUTO(file_close) int proc = proc_own_open();

	if (mnl == NULL || net_mnl_set_up(mnl, 1, e) < 0 ||
	    write_sysctl(proc, "sys/net/ipv4/ip_unprivileged_port_start", "0", e) < 0)
		return -1;
	in->mnl = STEAL(mnl);
	return 0;
}

static void
make_macs(const struct net *n, int i, struct net_mnl_veth *v)
{
	uint32_t b = (uint32_t)n->block.number;
	uint8_t mac[6] = { 0x02, 0x50, (uint8_t)(b >> 8), (uint8_t)b, (uint8_t)(i >> 8),
		(uint8_t)i };

	memcpy(v->mac, mac, 6);
	memcpy(v->peer_mac, mac, 6);
	v->peer_mac[0] = 0x06;
}

/* One side's rate; a kernel that cannot is none of the instance's faults. */
static int
limit_side(struct net *n, struct net_mnl *mnl, int index, int64_t kbit, struct err *e)
{
	struct err why = { 0 };

	if (n->has_no_rates || net_mnl_set_rate(mnl, index, kbit, &why) == 0)
		return 0;
	if (why.code != ERR_NOT_FOUND) {
		*e = why;
		return -1;
	}
	n->has_no_rates = true;
	log_warn("net_rates_unlimited", LOG_STR("reason", "this kernel has no sch_tbf"));
	return 0;
}

/* The host's side; with the lock. */
static int
link_host(struct net *n, int i, int64_t kbit, struct net_mnl_veth *v, struct err *e)
{
	uint32_t address = net_block_address(&n->block, i);
	uint32_t source = net_block_address(&n->block, 1);
	int index;

	if (net_mnl_add_veth(n->mnl, v, e) < 0)
		return -1;
	index = net_mnl_index(n->mnl, v->name);
	if (index == 0)
		return err_set(e, ERR_BUG, NULL, "no link %s after making it", v->name);
	/* The rate while it is down: on a link that is up it takes milliseconds. */
	if (net_mnl_set_families(n->mnl, index, false, e) < 0 ||
	    (kbit > 0 && limit_side(n, n->mnl, index, kbit, e) < 0) ||
	    net_mnl_set_up(n->mnl, index, e) < 0 ||
	    net_mnl_add_neighbour(n->mnl, index, address, v->peer_mac, e) < 0 ||
	    net_mnl_add_host_route(n->mnl, index, address, source, e) < 0)
		return -1;
	return 0;
}

static int
link_inner(struct net *n, int i, int64_t kbit, struct net_mnl *mnl, const struct net_mnl_veth *v,
    struct err *e)
{
	int index = net_mnl_index(mnl, "eth0");

	if (index == 0)
		return err_set(e, ERR_BUG, NULL, "no eth0 in the new namespace");
	if (net_mnl_add_address(mnl, index, net_block_address(&n->block, i), e) < 0 ||
	    net_mnl_set_families(mnl, index, true, e) < 0 ||
	    (kbit > 0 && limit_side(n, mnl, index, kbit, e) < 0) ||
	    net_mnl_set_up(mnl, index, e) < 0 ||
	    net_mnl_add_neighbour(mnl, index, htonl(gateway), v->mac, e) < 0 ||
	    net_mnl_add_default_route(mnl, index, htonl(gateway), e) < 0)
		return -1;
	return 0;
}

static void
member_of(const struct net *n, int i, const struct slot *s, char veth[16],
    char address[NET_ADDRESS_MAX], struct net_rules_member *out)
{
	veth_name(n, i, veth);
	address_text(n, i, address);
	*out = (struct net_rules_member){ veth, address, s->group };
}

static int
set_alias(struct net *n, const struct slot *s, const struct net_rules_member *m, struct err *e)
{
	char alias[256];
	int rc, index;

	(void)snprintf(alias, sizeof alias, "%s %s %s %" PRId64 " %" PRIx64, s->instance,
	    s->app[0] == '\0' ? "-" : s->app, m->address, s->kbit, s->mark);
	pthread_mutex_lock(&n->lock);
	index = net_mnl_index(n->mnl, m->veth);
	rc = net_mnl_set_alias(n->mnl, index, alias, e);
	pthread_mutex_unlock(&n->lock);
	return rc;
}

/* Namespace, links, rules; the link's alias last, which says that all is there. */
static int
build(struct net *n, int i, const struct slot *s, const char *path, struct err *e)
{
	struct inner in = { 0 };
	AUTO(net_mnl_close) struct net_mnl *mnl = NULL;
	AUTO(file_close) int ns = -1;
	char veth[16], address[NET_ADDRESS_MAX];
	struct net_rules_member m;
	struct net_mnl_veth v;
	int rc;

	member_of(n, i, s, veth, address, &m);
	ns = net_ns_make(path, make_inner, &in, e);
	mnl = in.mnl;
	if (ns < 0)
		return -1;
	v = (struct net_mnl_veth){
		.name = veth, .group = (uint32_t)GROUP_BASE | (uint32_t)n->block.number, .ns_fd = ns
	};
	make_macs(n, i, &v);
	pthread_mutex_lock(&n->lock);
	rc = link_host(n, i, s->kbit, &v, e);
	pthread_mutex_unlock(&n->lock);
	if (rc < 0 || link_inner(n, i, s->kbit, mnl, &v, e) < 0 ||
	    net_rules_add(n->rules, &m, e) < 0)
		return -1;
	return set_alias(n, s, &m, e);
}

static void
delete_veth(struct net *n, const char *veth)
{
	struct err e = { 0 };
	int index = net_mnl_index(n->mnl, veth);

	if (index != 0 && net_mnl_delete(n->mnl, index, &e) < 0)
		log_warn("net_link_kept", LOG_STR("link", veth), LOG_ERR(&e));
}

/* What build left when it failed. */
static void
undo(struct net *n, int i, const struct slot *s, const char *path)
{
	char veth[16], address[NET_ADDRESS_MAX];
	struct net_rules_member m;
	struct err e = { 0 };

	member_of(n, i, s, veth, address, &m);
	if (net_ns_unbind(path, &e) < 0)
		log_warn("net_namespace_kept", LOG_STR("instance", s->instance), LOG_ERR(&e));
	e = (struct err){ 0 };
	if (net_rules_remove(n->rules, &m, &e) < 0)
		log_warn("net_rules_kept", LOG_STR("instance", s->instance), LOG_ERR(&e));
	pthread_mutex_lock(&n->lock);
	delete_veth(n, veth);
	pthread_mutex_unlock(&n->lock);
}

/* With the lock. */
static int
find_slot(const struct net *n, const char *instance)
{
	int i;

	for (i = FIRST_INDEX; i <= LAST_INDEX; i++) {
		if (n->slots[i] != NULL && strcmp(n->slots[i]->instance, instance) == 0)
			return i;
	}
	return -1;
}

static uint32_t
find_group(struct net *n, const char *app)
{
	int i;

	if (app[0] == '\0')
		return 0;
	for (i = FIRST_INDEX; i <= LAST_INDEX; i++) {
		if (n->slots[i] != NULL && strcmp(n->slots[i]->app, app) == 0)
			return n->slots[i]->group;
	}
	for (const struct peers *p = n->peers; p != NULL; p = p->next) {
		if (strcmp(p->app, app) == 0)
			return p->group;
	}
	return ++n->last_group;
}

static struct slot *
put_slot(struct net *n, int i, const char *instance, const char *app)
{
	struct slot *s = xcalloc(1, sizeof *s);

	(void)snprintf(s->instance, sizeof s->instance, "%s", instance);
	(void)snprintf(s->app, sizeof s->app, "%s", app);
	s->group = find_group(n, s->app);
	s->port = -1;
	n->slots[i] = s;
	return s;
}

/* With the lock. A link that is still there belongs to a namespace that has not ended yet. */
static int
reserve(struct net *n, const char *instance, const char *app, struct err *e)
{
	char veth[16];
	int k;

	for (k = FIRST_INDEX; k <= LAST_INDEX; k++) {
		int i = n->cursor;

		n->cursor = i == LAST_INDEX ? FIRST_INDEX : i + 1;
		veth_name(n, i, veth);
		if (n->slots[i] != NULL || net_mnl_index(n->mnl, veth) != 0)
			continue;
		(void)put_slot(n, i, instance, app);
		return i;
	}
	return err_set(e, ERR_LIMIT, NULL, "all %d addresses of this node are in use",
	    LAST_INDEX - FIRST_INDEX + 1);
}

static void
fill_link(const struct net *n, int i, struct net_link *out)
{
	const struct slot *s = n->slots[i];

	*out = (struct net_link){ .has_ns = true, .has_veth = true };
	memcpy(out->instance, s->instance, sizeof out->instance);
	memcpy(out->app, s->app, sizeof out->app);
	out->kbit = s->kbit;
	address_text(n, i, out->address);
	veth_name(n, i, out->veth);
}

/* 1: there already (out filled), 0: *out_i is reserved. */
static int
begin_attach(struct net *n, const char *instance, const char *app, int64_t kbit,
    struct net_link *out, int *out_i, struct err *e)
{
	int i, rc = 0;

	pthread_mutex_lock(&n->lock);
	i = find_slot(n, instance);
	if (i >= 0 && n->slots[i]->is_ready) {
		fill_link(n, i, out);
		rc = 1;
	} else if (i >= 0) {
		rc = err_set(e, ERR_BUSY, NULL, "the network of %s is being made", instance);
	} else {
		*out_i = reserve(n, instance, app, e);
		rc = *out_i < 0 ? -1 : 0;
		if (rc == 0)
			n->slots[*out_i]->kbit = kbit;
	}
	pthread_mutex_unlock(&n->lock);
	return rc;
}

int
net_attach(struct net *n, const char *instance, const char *app, int64_t kbit, struct net_link *out,
    struct err *e)
{
	AUTO(free) char *path = net_ns_path(n, instance);
	const char *group_name = app == NULL ? "" : app;
	int i = -1, rc;

	if (!is_name(instance) || (*group_name != '\0' && !is_name(group_name)))
		return err_set(e, ERR_INVALID, "instance", "must be 1..60 of [a-z0-9-]");
	rc = begin_attach(n, instance, group_name, kbit, out, &i, e);
	if (rc != 0)
		return rc < 0 ? -1 : net_set_rate(n, instance, kbit, e);
	rc = net_ns_unbind(path, e);
	if (rc == 0) {
		rc = build(n, i, n->slots[i], path, e);
		if (rc < 0)
			undo(n, i, n->slots[i], path);
	}
	pthread_mutex_lock(&n->lock);
	if (rc == 0) {
		n->slots[i]->is_ready = true;
		n->slots[i]->port = NET_PORT;
		fill_link(n, i, out);
	} else {
		free(n->slots[i]);
		n->slots[i] = NULL;
	}
	pthread_mutex_unlock(&n->lock);
	return rc < 0 ? err_wrap(e, "network of %s", instance) : 0;
}

int
net_find(struct net *n, const char *instance, struct net_link *out, struct err *e)
{
	int i, rc = -1;

	pthread_mutex_lock(&n->lock);
	i = find_slot(n, instance);
	if (i >= 0 && n->slots[i]->is_ready) {
		fill_link(n, i, out);
		rc = 0;
	}
	pthread_mutex_unlock(&n->lock);
	return rc == 0 ? 0 : err_set(e, ERR_NOT_FOUND, NULL, "%s has no network", instance);
}

int
net_detach(struct net *n, const char *instance, struct err *e)
{
	AUTO(free) char *path = net_ns_path(n, instance);
	AUTO(free_ptr) struct slot *s = NULL;
	char veth[16], address[NET_ADDRESS_MAX];
	struct net_rules_member m;
	int i;

	if (!is_name(instance))
		return err_set(e, ERR_INVALID, "instance", "must be 1..60 of [a-z0-9-]");
	pthread_mutex_lock(&n->lock);
	i = find_slot(n, instance);
	if (i >= 0 && n->slots[i]->is_ready)
		s = STEAL(n->slots[i]);
	pthread_mutex_unlock(&n->lock);
	if (s == NULL && i >= 0)
		return err_set(e, ERR_BUSY, NULL, "the network of %s is being made", instance);
	if (net_ns_unbind(path, e) < 0)
		return -1;
	if (s == NULL)
		return 0;
	member_of(n, i, s, veth, address, &m);
	return net_rules_remove(n->rules, &m, e);
}

/* --- other nodes --- */

/* Made when first asked for; it keeps its group. */
static struct peers *
peers_of(struct net *n, const char *app)
{
	struct peers *p;

	pthread_mutex_lock(&n->lock);
	for (p = n->peers; p != NULL && strcmp(p->app, app) != 0; p = p->next)
		;
	if (p == NULL) {
		p = xcalloc(1, sizeof *p);
		(void)snprintf(p->app, sizeof p->app, "%s", app);
		p->group = find_group(n, p->app);
		p->next = n->peers;
		n->peers = p;
	}
	pthread_mutex_unlock(&n->lock);
	return p;
}

int
net_set_peers(struct net *n, const char *app, const struct str_list *addresses, struct err *e)
{
	struct peers *p;

	if (!is_name(app))
		return err_set(e, ERR_INVALID, "app", "must be 1..60 of [a-z0-9-]");
	p = peers_of(n, app);
	if (net_rules_peers(n->rules, p->group, addresses, &p->addresses, e) < 0)
		return -1;
	str_list_fini(&p->addresses);
	str_list_copy(&p->addresses, addresses);
	return 0;
}

/* --- rate --- */

struct rate_job {
	struct net *n;
	int64_t kbit;
};

static int
run_rate(void *arg, struct err *e)
{
	struct rate_job *j = arg;
	AUTO(net_mnl_close) struct net_mnl *mnl = net_mnl_open(e);
	int index = mnl == NULL ? 0 : net_mnl_index(mnl, "eth0");

	if (index == 0)
		return mnl == NULL ? -1 : err_set(e, ERR_SYSTEM, NULL, "it has no eth0");
	return limit_side(j->n, mnl, index, j->kbit, e);
}

/* The host's side. 1: it has that rate already. s: a copy of what is there. */
static int
rate_host(
    struct net *n, const char *instance, int64_t kbit, struct slot *s, int *out_i, struct err *e)
{
	char veth[16];
	int i, rc = 1;

	pthread_mutex_lock(&n->lock);
	i = find_slot(n, instance);
	if (i < 0 || !n->slots[i]->is_ready) {
		rc = err_set(e, ERR_NOT_FOUND, NULL, "%s has no network", instance);
	} else if (n->slots[i]->kbit != kbit) {
		veth_name(n, i, veth);
		rc = limit_side(n, n->mnl, net_mnl_index(n->mnl, veth), kbit, e);
		*s = *n->slots[i];
		s->kbit = kbit;
	}
	pthread_mutex_unlock(&n->lock);
	*out_i = i;
	return rc;
}

int
net_set_rate(struct net *n, const char *instance, int64_t kbit, struct err *e)
{
	AUTO(free) char *path = net_ns_path(n, instance);
	AUTO(file_close) int ns = -1;
	struct rate_job j = { n, kbit };
	struct net_rules_member m;
	char veth[16], address[NET_ADDRESS_MAX];
	struct slot s;
	int i, rc;

	rc = rate_host(n, instance, kbit, &s, &i, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	ns = net_ns_open(path, e);
	if (ns < 0 || net_ns_run(ns, run_rate, &j, e) < 0)
		return err_wrap(e, "rate of %s", instance);
	member_of(n, i, &s, veth, address, &m);
	if (set_alias(n, &s, &m, e) < 0)
		return -1;
	pthread_mutex_lock(&n->lock);
	if (n->slots[i] != NULL && strcmp(n->slots[i]->instance, instance) == 0)
		n->slots[i]->kbit = kbit;
	pthread_mutex_unlock(&n->lock);
	return 0;
}

uint64_t
net_mark(struct net *n, const char *instance)
{
	uint64_t mark = 0;
	int i;

	pthread_mutex_lock(&n->lock);
	i = find_slot(n, instance);
	if (i >= 0)
		mark = n->slots[i]->mark;
	pthread_mutex_unlock(&n->lock);
	return mark;
}

int
net_set_mark(struct net *n, const char *instance, uint64_t mark, struct err *e)
{
	struct net_rules_member m;
	char veth[16], address[NET_ADDRESS_MAX];
	struct slot s = { 0 };
	int i;

	pthread_mutex_lock(&n->lock);
	i = find_slot(n, instance);
	if (i >= 0 && n->slots[i]->is_ready) {
		n->slots[i]->mark = mark;
		s = *n->slots[i];
	}
	pthread_mutex_unlock(&n->lock);
	if (s.instance[0] == '\0')
		return err_set(e, ERR_NOT_FOUND, NULL, "%s has no network", instance);
	member_of(n, i, &s, veth, address, &m);
	return set_alias(n, &s, &m, e);
}

char *
net_ns_path(const struct net *n, const char *instance)
{
	return file_join(n->netns_dir, instance);
}

const char *
net_host_address(const struct net *n)
{
	return n->host_address;
}

/* --- inside a namespace --- */

static int
run_forward(void *arg, struct err *e)
{
	return net_rules_set_forward(arg, e);
}

/* Address of a ready instance; -1: there is none. is_set: that translation is in force. */
static int
look_up(struct net *n, const char *instance, const char *to, int port,
    char address[NET_ADDRESS_MAX], bool *is_set, struct err *e)
{
	int i;

	pthread_mutex_lock(&n->lock);
	i = find_slot(n, instance);
	if (i >= 0) {
		address_text(n, i, address);
		*is_set = n->slots[i]->port == port && strcmp(n->slots[i]->to, to) == 0;
	}
	pthread_mutex_unlock(&n->lock);
	return i >= 0 ? i : err_set(e, ERR_NOT_FOUND, NULL, "%s has no network", instance);
}

int
net_forward(struct net *n, const char *instance, const char *loopback, int port, struct err *e)
{
	AUTO(free) char *path = net_ns_path(n, instance);
	AUTO(file_close) int ns = -1;
	const char *to = loopback == NULL ? "" : loopback;
	char address[NET_ADDRESS_MAX];
	struct net_rules_forward f = { address, loopback, NET_PORT, port };
	struct in_addr a;
	bool is_set = false;
	int i;

	if (port < 1 || port > 65535)
		return err_set(e, ERR_INVALID, "port", "must be 1..65535, is %d", port);
	if (loopback != NULL && inet_pton(AF_INET, loopback, &a) != 1)
		return err_set(e, ERR_INVALID, "loopback", "is no IPv4 address: %.40s", loopback);
	i = look_up(n, instance, to, port, address, &is_set, e);
	if (i < 0)
		return -1;
	if (is_set)
		return 0;
	ns = net_ns_open(path, e);
	if (ns < 0 || net_ns_run(ns, run_forward, &f, e) < 0)
		return err_wrap(e, "port of %s", instance);
	pthread_mutex_lock(&n->lock);
	if (n->slots[i] != NULL && strcmp(n->slots[i]->instance, instance) == 0) {
		n->slots[i]->port = port;
		(void)snprintf(n->slots[i]->to, sizeof n->slots[i]->to, "%s", to);
	}
	pthread_mutex_unlock(&n->lock);
	return 0;
}

/* --- what is there --- */

struct scan {
	struct net *n;
	const char *prefix;
	struct net_link_list list;
};

/* "INSTANCE APP ADDRESS KBIT"; false: half made. */
static bool
parse_alias(const char *alias, struct net_link *l)
{
	char app[NET_NAME_MAX];

	if (alias == NULL ||
	    sscanf(alias, "%63s %63s %15s %" SCNd64 " %" SCNx64, l->instance, app, l->address,
	        &l->kbit, &l->mark) < 3 ||
	    !is_name(l->instance)) {
		l->instance[0] = l->address[0] = '\0';
		return false;
	}
	(void)snprintf(l->app, sizeof l->app, "%s", strcmp(app, "-") == 0 ? "" : app);
	return true;
}

static struct net_link *
add_link(struct net_link_list *list)
{
	list->v = xreallocarray(list->v, list->n + 1, sizeof *list->v);
	list->v[list->n] = (struct net_link){ 0 };
	return &list->v[list->n++];
}

static void
scan_link(const struct net_mnl_link *m, void *arg)
{
	struct scan *sc = arg;
	struct net_link *l;

	if (!str_has_prefix(m->name, sc->prefix) || veth_index(sc->n, m->name) < 0)
		return;
	l = add_link(&sc->list);
	l->has_veth = true;
	(void)snprintf(l->veth, sizeof l->veth, "%s", m->name);
	if (parse_alias(m->alias, l)) {
		AUTO(free) char *path = net_ns_path(sc->n, l->instance);

		l->has_ns = net_ns_is_bound(path);
	}
}

static bool
has_instance(const struct net_link_list *l, const char *instance)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].instance, instance) == 0)
			return true;
	}
	return false;
}

/* Namespaces without a link. */
static int
scan_dir(struct net *n, struct net_link_list *list, struct err *e)
{
	DIR *d = opendir(n->netns_dir);
	struct dirent *de;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "cannot list %s", n->netns_dir);
	while ((de = readdir(d)) != NULL) {
		if (is_name(de->d_name) && !has_instance(list, de->d_name)) {
			struct net_link *l = add_link(list);

			(void)snprintf(l->instance, sizeof l->instance, "%s", de->d_name);
			l->has_ns = true;
		}
	}
	(void)closedir(d);
	return 0;
}

int
net_list(struct net *n, struct net_link_list *out, struct err *e)
{
	AUTO(free) char *prefix = xasprintf("pn%s", n->tag);
	AUTO_FINI(net_link_list_fini) struct net_link_list done = { 0 };
	struct scan sc = { .n = n, .prefix = prefix };
	int rc;

	pthread_mutex_lock(&n->lock);
	rc = net_mnl_each_link(n->mnl, scan_link, &sc, e);
	pthread_mutex_unlock(&n->lock);
	done = sc.list;
	if (rc < 0 || scan_dir(n, &done, e) < 0)
		return -1;
	*out = done;
	done = (struct net_link_list){ 0 };
	return 0;
}

/* --- start and end --- */

/* Takes over what is complete and in our block, removes the rest. */
static int
adopt(struct net *n, struct err *e)
{
	AUTO_FINI(net_link_list_fini) struct net_link_list list = { 0 };
	size_t k;

	if (net_list(n, &list, e) < 0)
		return -1;
	for (k = 0; k < list.n; k++) {
		const struct net_link *l = &list.v[k];
		AUTO(free) char *path = net_ns_path(n, l->instance);
		int i = l->has_veth ? veth_index(n, l->veth) : -1;
		char address[NET_ADDRESS_MAX] = "";

		if (i >= FIRST_INDEX && i <= LAST_INDEX)
			address_text(n, i, address);
		if (l->has_veth && l->has_ns && strcmp(address, l->address) == 0) {
			struct slot *s = put_slot(n, i, l->instance, l->app);

			s->is_ready = true;
			s->kbit = l->kbit;
			s->mark = l->mark;
			continue;
		}
		log_info("net_remains_removed", LOG_STR("instance", l->instance),
		    LOG_STR("link", l->veth));
		if (l->has_veth)
			delete_veth(n, l->veth);
		if (l->instance[0] != '\0' && net_ns_unbind(path, e) < 0)
			return -1;
	}
	return 0;
}

static int
load_rules(struct net *n, const struct net_opts *o, struct err *e)
{
	struct member_text {
		char veth[16], address[NET_ADDRESS_MAX];
	};
	AUTO(free_ptr) struct net_rules_member *v = xcalloc(NET_BLOCK_SIZE, sizeof *v);
	AUTO(free_ptr) struct member_text *text = xcalloc(NET_BLOCK_SIZE, sizeof *text);
	const struct net_rules_opts rules = {
		.tag = n->tag,
		.allow = o->allow,
		.connections = o->connections > 0 ? o->connections : CONNECTIONS,
	};
	size_t count = 0;
	int i;

	for (i = FIRST_INDEX; i <= LAST_INDEX; i++) {
		if (n->slots[i] == NULL)
			continue;
		member_of(n, i, n->slots[i], text[count].veth, text[count].address, &v[count]);
		count++;
	}
	n->rules = net_rules_open(&rules, v, count, e);
	if (n->rules == NULL)
		return -1;
	if (net_rules_is_forward_dropped(n->rules))
		log_warn("net_egress_is_blocked",
		    LOG_STR("reason", "chain FORWARD of table filter drops what it does not know"),
		    LOG_STR("fix", "iptables -I FORWARD -i pn+ -j ACCEPT; iptables -I FORWARD -o "
		                   "pn+ -j ACCEPT"));
	return 0;
}

/* Remains of a node whose state is gone. */
static void
clean_stale(int number, const char *tag, void *arg)
{
	struct net *n = arg;
	const struct net_block b = { .number = number };
	struct err e = { 0 };

	log_info("net_stale_node_removed", LOG_STR("tag", tag), LOG_INT("block", number));
	if ((tag != NULL && net_rules_delete_table(tag, &e) < 0) ||
	    net_mnl_delete_group(n->mnl, (uint32_t)GROUP_BASE | (uint32_t)number, &e) < 0 ||
	    net_mnl_delete_address(n->mnl, 1, net_block_address(&b, 1), &e) < 0)
		log_warn("net_stale_node_kept", LOG_STR("tag", tag), LOG_ERR(&e));
}

static int
start(struct net *n, const struct net_opts *o, struct err *e)
{
	struct net_block_opts block = {
		.lock_dir = o->lock_dir != NULL ? o->lock_dir : "/run/pinion/blocks",
		.state_dir = o->state_dir,
		.tag = o->tag,
		.on_stale = clean_stale,
		.arg = n,
	};
	AUTO(file_close) int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	n->mnl = net_mnl_open(e);
	if (n->mnl == NULL || file_mkdirs(n->netns_dir, 0700, e) < 0 ||
	    net_block_claim(&block, &n->block, e) < 0)
		return -1;
	address_text(n, 1, n->host_address);
	if (write_sysctl(proc, "sys/net/ipv4/ip_forward", "1", e) < 0 ||
	    net_mnl_add_address(n->mnl, 1, net_block_address(&n->block, 1), e) < 0 ||
	    adopt(n, e) < 0)
		return -1;
	return load_rules(n, o, e);
}

struct net *
net_open(const struct net_opts *o, struct err *e)
{
	AUTO(net_close) struct net *n = NULL;

	if (!str_is_hex(o->tag, strlen(o->tag)) || strlen(o->tag) < 1 || strlen(o->tag) > 8) {
		(void)err_set(e, ERR_INVALID, "tag", "must be 1..8 hex digits, is %.20s", o->tag);
		return NULL;
	}
	n = xcalloc(1, sizeof *n);
	n->tag = xstrdup(o->tag);
	n->netns_dir = file_join(o->run_dir, "netns");
	n->state_dir = xstrdup(o->state_dir);
	n->block.lock_fd = -1;
	/* A router that lags behind may still know an address: a restart does not begin anew. */
	n->cursor = FIRST_INDEX + (int)(time(NULL) % (LAST_INDEX - FIRST_INDEX + 1));
	(void)pthread_mutex_init(&n->lock, NULL);
	return start(n, o, e) < 0 ? NULL : STEAL(n);
}

void
net_close(struct net *take_n)
{
	int i;

	if (take_n == NULL)
		return;
	for (i = 0; i < NET_BLOCK_SIZE; i++)
		free(take_n->slots[i]);
	while (take_n->peers != NULL) {
		struct peers *p = take_n->peers;

		take_n->peers = p->next;
		str_list_fini(&p->addresses);
		free(p);
	}
	net_rules_close(take_n->rules);
	net_mnl_close(take_n->mnl);
	net_block_fini(&take_n->block);
	(void)pthread_mutex_destroy(&take_n->lock);
	free(take_n->tag);
	free(take_n->netns_dir);
	free(take_n->state_dir);
	free(take_n);
}

static int
unbind_all(struct net *n, const struct net_link_list *list, struct err *e)
{
	size_t k;

	for (k = 0; k < list->n; k++) {
		AUTO(free) char *path = net_ns_path(n, list->v[k].instance);

		if (list->v[k].instance[0] != '\0' && net_ns_unbind(path, e) < 0)
			return -1;
	}
	return 0;
}

int
net_destroy_all(struct net *n, struct err *e)
{
	AUTO_FINI(net_link_list_fini) struct net_link_list list = { 0 };
	uint32_t group = (uint32_t)GROUP_BASE | (uint32_t)n->block.number;
	int rc, i;

	if (n->is_destroyed)
		return 0;
	if (net_list(n, &list, e) < 0 || unbind_all(n, &list, e) < 0)
		return -1;
	pthread_mutex_lock(&n->lock);
	rc = net_mnl_delete_group(n->mnl, group, e);
	for (i = 0; rc == 0 && i < NET_BLOCK_SIZE; i++) {
		free(n->slots[i]);
		n->slots[i] = NULL;
	}
	if (rc == 0)
		rc = net_mnl_delete_address(n->mnl, 1, net_block_address(&n->block, 1), e);
	pthread_mutex_unlock(&n->lock);
	if (rc < 0 || net_rules_delete_table(n->tag, e) < 0)
		return -1;
	(void)rmdir(n->netns_dir);
	net_block_release(&n->block, n->state_dir);
	n->is_destroyed = true;
	return 0;
}
