#include "node/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "node/net_mnl.h"
#include "node/net_ns.h"
#include "node/net_rules.h"
#include "node/net_state.h"

void
net_address_text(const struct net *n, int i, char out[NET_ADDRESS_MAX])
{
	uint32_t a = net_block_address(&n->block, i);

	if (inet_ntop(AF_INET, &a, out, NET_ADDRESS_MAX) == NULL)
		abort();
}

void
net_veth_name(const struct net *n, int i, char out[16])
{
	(void)snprintf(out, 16, "pn%s%03x", n->tag, (unsigned)i & 0xfffU);
}

/* -1: none of ours. */
int
net_veth_index(const struct net *n, const char *name)
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

bool
net_is_name(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 60 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

void
net_member_of(const struct net *n, int i, const struct net_slot *s, char veth[16],
    char address[NET_ADDRESS_MAX], struct net_rules_member *out)
{
	net_veth_name(n, i, veth);
	net_address_text(n, i, address);
	*out = (struct net_rules_member){ veth, address, s->group };
}

/* With the lock. */
int
net_find_slot(const struct net *n, const char *instance)
{
	int i;

	for (i = NET_FIRST_INDEX; i <= NET_LAST_INDEX; i++) {
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
	for (i = NET_FIRST_INDEX; i <= NET_LAST_INDEX; i++) {
		if (n->slots[i] != NULL && strcmp(n->slots[i]->app, app) == 0)
			return n->slots[i]->group;
	}
	for (const struct net_peers *p = n->peers; p != NULL; p = p->next) {
		if (strcmp(p->app, app) == 0)
			return p->group;
	}
	return ++n->last_group;
}

struct net_slot *
net_put_slot(struct net *n, int i, const char *instance, const char *app)
{
	struct net_slot *s = xcalloc(1, sizeof *s);

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

	for (k = NET_FIRST_INDEX; k <= NET_LAST_INDEX; k++) {
		int i = n->cursor;

		n->cursor = i == NET_LAST_INDEX ? NET_FIRST_INDEX : i + 1;
		net_veth_name(n, i, veth);
		if (n->slots[i] != NULL || net_mnl_index(n->mnl, veth) != 0)
			continue;
		(void)net_put_slot(n, i, instance, app);
		return i;
	}
	return err_set(e, ERR_LIMIT, NULL, "all %d addresses of this node are in use",
	    NET_LAST_INDEX - NET_FIRST_INDEX + 1);
}

static void
fill_link(const struct net *n, int i, struct net_link *out)
{
	const struct net_slot *s = n->slots[i];

	*out = (struct net_link){ .has_ns = true, .has_veth = true };
	memcpy(out->instance, s->instance, sizeof out->instance);
	memcpy(out->app, s->app, sizeof out->app);
	out->kbit = s->kbit;
	net_address_text(n, i, out->address);
	net_veth_name(n, i, out->veth);
}

/* 1: there already (out filled), 0: *out_i is reserved. */
static int
begin_attach(struct net *n, const char *instance, const char *app, int64_t kbit,
    struct net_link *out, int *out_i, struct err *e)
{
	int i, rc = 0;

	pthread_mutex_lock(&n->lock);
	i = net_find_slot(n, instance);
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

	if (!net_is_name(instance) || (*group_name != '\0' && !net_is_name(group_name)))
		return err_set(e, ERR_INVALID, "instance", "must be 1..60 of [a-z0-9-]");
	rc = begin_attach(n, instance, group_name, kbit, out, &i, e);
	if (rc != 0)
		return rc < 0 ? -1 : net_set_rate(n, instance, kbit, e);
	rc = net_ns_unbind(path, e);
	if (rc == 0) {
		rc = net_build(n, i, n->slots[i], path, e);
		if (rc < 0)
			net_undo(n, i, n->slots[i], path);
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
	i = net_find_slot(n, instance);
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
	AUTO(free_ptr) struct net_slot *s = NULL;
	char veth[16], address[NET_ADDRESS_MAX];
	struct net_rules_member m;
	int i;

	if (!net_is_name(instance))
		return err_set(e, ERR_INVALID, "instance", "must be 1..60 of [a-z0-9-]");
	pthread_mutex_lock(&n->lock);
	i = net_find_slot(n, instance);
	if (i >= 0 && n->slots[i]->is_ready)
		s = STEAL(n->slots[i]);
	pthread_mutex_unlock(&n->lock);
	if (s == NULL && i >= 0)
		return err_set(e, ERR_BUSY, NULL, "the network of %s is being made", instance);
	if (net_ns_unbind(path, e) < 0)
		return -1;
	if (s == NULL)
		return 0;
	net_member_of(n, i, s, veth, address, &m);
	return net_rules_remove(n->rules, &m, e);
}

/* --- other nodes --- */

/* Made when first asked for; it keeps its group. */
static struct net_peers *
peers_of(struct net *n, const char *app)
{
	struct net_peers *p;

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
	struct net_peers *p;

	if (!net_is_name(app))
		return err_set(e, ERR_INVALID, "app", "must be 1..60 of [a-z0-9-]");
	p = peers_of(n, app);
	if (net_rules_peers(n->rules, p->group, addresses, &p->addresses, e) < 0)
		return -1;
	str_list_fini(&p->addresses);
	str_list_copy(&p->addresses, addresses);
	return 0;
}

/* --- marks --- */

uint64_t
net_mark(struct net *n, const char *instance)
{
	uint64_t mark = 0;
	int i;

	pthread_mutex_lock(&n->lock);
	i = net_find_slot(n, instance);
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
	struct net_slot s = { 0 };
	int i;

	pthread_mutex_lock(&n->lock);
	i = net_find_slot(n, instance);
	if (i >= 0 && n->slots[i]->is_ready) {
		n->slots[i]->mark = mark;
		s = *n->slots[i];
	}
	pthread_mutex_unlock(&n->lock);
	if (s.instance[0] == '\0')
		return err_set(e, ERR_NOT_FOUND, NULL, "%s has no network", instance);
	net_member_of(n, i, &s, veth, address, &m);
	return net_write_alias(n, &s, &m, e);
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
	i = net_find_slot(n, instance);
	if (i >= 0) {
		net_address_text(n, i, address);
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
