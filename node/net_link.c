#include "node/net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "node/net_mnl.h"
#include "node/net_ns.h"
#include "node/net_rules.h"
#include "node/net_state.h"
#include "node/proc_own.h"

static const uint32_t gateway = 0xa9fe0101; /* 169.254.1.1 */

int
net_write_sysctl(int proc, const char *path, const char *value, struct err *e)
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
	    net_write_sysctl(proc, "sys/net/ipv4/ip_unprivileged_port_start", "0", e) < 0)
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

int
net_write_alias(
    struct net *n, const struct net_slot *s, const struct net_rules_member *m, struct err *e)
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
int
net_build(struct net *n, int i, const struct net_slot *s, const char *path, struct err *e)
{
	struct inner in = { 0 };
	AUTO(net_mnl_close) struct net_mnl *mnl = NULL;
	AUTO(file_close) int ns = -1;
	char veth[16], address[NET_ADDRESS_MAX];
	struct net_rules_member m;
	struct net_mnl_veth v;
	int rc;

	net_member_of(n, i, s, veth, address, &m);
	ns = net_ns_make(path, make_inner, &in, e);
	mnl = in.mnl;
	if (ns < 0)
		return -1;
	v = (struct net_mnl_veth){ .name = veth,
		.group = (uint32_t)NET_GROUP_BASE | (uint32_t)n->block.number,
		.ns_fd = ns };
	make_macs(n, i, &v);
	pthread_mutex_lock(&n->lock);
	rc = link_host(n, i, s->kbit, &v, e);
	pthread_mutex_unlock(&n->lock);
	if (rc < 0 || link_inner(n, i, s->kbit, mnl, &v, e) < 0 ||
	    net_rules_add(n->rules, &m, e) < 0)
		return -1;
	return net_write_alias(n, s, &m, e);
}

void
net_delete_veth(struct net *n, const char *veth)
{
	struct err e = { 0 };
	int index = net_mnl_index(n->mnl, veth);

	if (index != 0 && net_mnl_delete(n->mnl, index, &e) < 0)
		log_warn("net_link_kept", LOG_STR("link", veth), LOG_ERR(&e));
}

/* What net_build left when it failed. */
void
net_undo(struct net *n, int i, const struct net_slot *s, const char *path)
{
	char veth[16], address[NET_ADDRESS_MAX];
	struct net_rules_member m;
	struct err e = { 0 };

	net_member_of(n, i, s, veth, address, &m);
	if (net_ns_unbind(path, &e) < 0)
		log_warn("net_namespace_kept", LOG_STR("instance", s->instance), LOG_ERR(&e));
	e = (struct err){ 0 };
	if (net_rules_remove(n->rules, &m, &e) < 0)
		log_warn("net_rules_kept", LOG_STR("instance", s->instance), LOG_ERR(&e));
	pthread_mutex_lock(&n->lock);
	net_delete_veth(n, veth);
	pthread_mutex_unlock(&n->lock);
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
rate_host(struct net *n, const char *instance, int64_t kbit, struct net_slot *s, int *out_i,
    struct err *e)
{
	char veth[16];
	int i, rc = 1;

	pthread_mutex_lock(&n->lock);
	i = net_find_slot(n, instance);
	if (i < 0 || !n->slots[i]->is_ready) {
		rc = err_set(e, ERR_NOT_FOUND, NULL, "%s has no network", instance);
	} else if (n->slots[i]->kbit != kbit) {
		net_veth_name(n, i, veth);
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
	struct net_slot s;
	int i, rc;

	rc = rate_host(n, instance, kbit, &s, &i, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	ns = net_ns_open(path, e);
	if (ns < 0 || net_ns_run(ns, run_rate, &j, e) < 0)
		return err_wrap(e, "rate of %s", instance);
	net_member_of(n, i, &s, veth, address, &m);
	if (net_write_alias(n, &s, &m, e) < 0)
		return -1;
	pthread_mutex_lock(&n->lock);
	if (n->slots[i] != NULL && strcmp(n->slots[i]->instance, instance) == 0)
		n->slots[i]->kbit = kbit;
	pthread_mutex_unlock(&n->lock);
	return 0;
}
