#include "node/net.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "node/net_mnl.h"
#include "node/net_ns.h"
#include "node/net_rules.h"
#include "node/net_state.h"

enum { CONNECTIONS = 4096 };

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
		int i = l->has_veth ? net_veth_index(n, l->veth) : -1;
		char address[NET_ADDRESS_MAX] = "";

		if (i >= NET_FIRST_INDEX && i <= NET_LAST_INDEX)
			net_address_text(n, i, address);
		if (l->has_veth && l->has_ns && strcmp(address, l->address) == 0) {
			struct net_slot *s = net_put_slot(n, i, l->instance, l->app);

			s->is_ready = true;
			s->kbit = l->kbit;
			s->mark = l->mark;
			continue;
		}
		log_info("net_remains_removed", LOG_STR("instance", l->instance),
		    LOG_STR("link", l->veth));
		if (l->has_veth)
			net_delete_veth(n, l->veth);
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

	for (i = NET_FIRST_INDEX; i <= NET_LAST_INDEX; i++) {
		if (n->slots[i] == NULL)
			continue;
		net_member_of(n, i, n->slots[i], text[count].veth, text[count].address, &v[count]);
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
	    net_mnl_delete_group(n->mnl, (uint32_t)NET_GROUP_BASE | (uint32_t)number, &e) < 0 ||
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
		.admits = o->admits,
		.admits_arg = o->admits_arg,
	};
	AUTO(file_close) int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	n->mnl = net_mnl_open(e);
	if (n->mnl == NULL || file_mkdirs(n->netns_dir, 0700, e) < 0 ||
	    net_block_claim(&block, &n->block, e) < 0)
		return -1;
	net_block_range(&n->block, n->range);
	net_address_text(n, 1, n->host_address);
	if (net_write_sysctl(proc, "sys/net/ipv4/ip_forward", "1", e) < 0 ||
	    net_mnl_add_address(n->mnl, 1, net_block_address(&n->block, 1), e) < 0 ||
	    adopt(n, e) < 0)
		return -1;
	return load_rules(n, o, e);
}

const char *
net_range(const struct net *n)
{
	return n->range;
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
	n->cursor = NET_FIRST_INDEX + (int)(time(NULL) % (NET_LAST_INDEX - NET_FIRST_INDEX + 1));
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
		struct net_peers *p = take_n->peers;

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
	uint32_t group = (uint32_t)NET_GROUP_BASE | (uint32_t)n->block.number;
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
