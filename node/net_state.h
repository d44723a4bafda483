/* node/net_state.h: inside of the network modules: net.c (which instance has which address),
 * net_link.c (an instance's namespace and links), net_scan.c (what is there), net_open.c (start and
 * end of the node), net_socket.c. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "node/net.h"
#include "node/net_block.h"

struct net_mnl;
struct net_rules;
struct net_rules_member;

enum {
	NET_FIRST_INDEX = 2,
	NET_LAST_INDEX = NET_BLOCK_SIZE - 2,
	NET_GROUP_BASE = 0x70000000,
};

/* One instance; its place in net.slots is its address and its interface's name. */
struct net_slot {
	char instance[NET_NAME_MAX], app[NET_NAME_MAX];
	uint32_t group; /* of the rules */
	bool is_ready;  /* complete; else an attach is under way */
	int64_t kbit;   /* rate in force */
	uint64_t mark;
	char to[NET_ADDRESS_MAX];
	int port; /* translation in force; -1: not known (adopted) */
};

/* An application with gears on other nodes, too. */
struct net_peers {
	struct net_peers *next;
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
	char range[NET_BLOCK_RANGE_MAX];
	struct net_rules *rules;                /* owned */
	pthread_mutex_t lock;                   /* guards what follows */
	struct net_mnl *mnl;                    /* owned; host's namespace */
	struct net_slot *slots[NET_BLOCK_SIZE]; /* owned */
	int cursor;                             /* addresses are used in turn, not again at once */
	uint32_t last_group;
	struct net_peers *peers; /* owned */
	bool is_destroyed;
	atomic_bool has_no_rates; /* the kernel has no token bucket */
};

bool net_is_name(const char *s); /* 1..60 of [a-z0-9-] */
void net_address_text(const struct net *n, int i, char out[NET_ADDRESS_MAX]);
void net_veth_name(const struct net *n, int i, char out[16]);
int net_veth_index(const struct net *n, const char *name); /* -1: none of ours */
/* What the rules say of s; veth and address hold the texts. */
void net_member_of(const struct net *n, int i, const struct net_slot *s, char veth[16],
    char address[NET_ADDRESS_MAX], struct net_rules_member *out);
/* With the lock. Its index, or -1. */
int net_find_slot(const struct net *n, const char *instance);
struct net_slot *net_put_slot(struct net *n, int i, const char *instance, const char *app);

/* proc: of a /proc; nothing is written where the value is there. */
int net_write_sysctl(int proc, const char *path, const char *value, struct err *e) MUST_CHECK;
/* Namespace, links, rules; the link's alias last, which says that all is there. */
int net_build(
    struct net *n, int i, const struct net_slot *s, const char *path, struct err *e) MUST_CHECK;
/* Takes away what net_build left when it failed. */
void net_undo(struct net *n, int i, const struct net_slot *s, const char *path);
/* What the link says of its instance, for net_list. */
int net_write_alias(struct net *n, const struct net_slot *s, const struct net_rules_member *m,
    struct err *e) MUST_CHECK;
void net_delete_veth(struct net *n, const char *veth); /* with the lock */
