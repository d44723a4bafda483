/* node/net_mnl.h: the few rtnetlink requests that instances' networks need, on one socket. */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"

struct net_mnl; /* one netlink socket, of the namespace that the thread was in at open */

struct net_mnl *net_mnl_open(struct err *e) MUST_CHECK;
void net_mnl_close(struct net_mnl *take_m);
DEFINE_AUTO(struct net_mnl *, net_mnl_close)

/* A veth pair: one side in this namespace, the peer named eth0, made in ns_fd. Both down. */
struct net_mnl_veth {
	const char *name;
	uint8_t mac[6], peer_mac[6];
	uint32_t group; /* for net_mnl_delete_group */
	int ns_fd;
};
int net_mnl_add_veth(struct net_mnl *m, const struct net_mnl_veth *v, struct err *e) MUST_CHECK;
/* Name for people and for adoption: survives as long as the link. */
int net_mnl_set_alias(struct net_mnl *m, int index, const char *alias, struct err *e) MUST_CHECK;
/* While it is down: no IPv6 address makes itself (the rules drop IPv6, and looking for duplicates
 * costs time); route_localnet: translation to 127.x is allowed. By netlink and not by sysctl, whose
 * look-ups grow with the number of namespaces. */
int net_mnl_set_families(
    struct net_mnl *m, int index, bool route_localnet, struct err *e) MUST_CHECK;
int net_mnl_set_up(struct net_mnl *m, int index, struct err *e) MUST_CHECK;
/* Deletes a link, or all links of a group at once; absent is fine. */
int net_mnl_delete(struct net_mnl *m, int index, struct err *e) MUST_CHECK;
int net_mnl_delete_group(struct net_mnl *m, uint32_t group, struct err *e) MUST_CHECK;

/* What leaves by the link passes a token bucket of so many kbit/s; 0: nothing holds it up. On a
 * link that is up it takes an RCU period. ERR_NOT_FOUND: this kernel has no tbf. */
int net_mnl_set_rate(struct net_mnl *m, int index, int64_t kbit, struct err *e) MUST_CHECK;

/* Addresses are in network byte order. Existing entries are replaced. */
int net_mnl_add_address(struct net_mnl *m, int index, uint32_t address, struct err *e) MUST_CHECK;
int net_mnl_delete_address(
    struct net_mnl *m, int index, uint32_t address, struct err *e) MUST_CHECK;
int net_mnl_add_neighbour(
    struct net_mnl *m, int index, uint32_t address, const uint8_t mac[6], struct err *e) MUST_CHECK;
/* To one host on the link, from the source address. */
int net_mnl_add_host_route(
    struct net_mnl *m, int index, uint32_t to, uint32_t source, struct err *e) MUST_CHECK;
/* Default by a gateway that need not be on a network of the link. */
int net_mnl_add_default_route(
    struct net_mnl *m, int index, uint32_t gateway, struct err *e) MUST_CHECK;

/* Index of a link in the socket's namespace; 0: there is none. */
int net_mnl_index(const struct net_mnl *m, const char *name);
struct net_mnl_link {
	int index;
	const char *name;  /* borrowed for the call */
	const char *alias; /* or NULL */
};
typedef void net_mnl_link_fn(const struct net_mnl_link *l, void *arg);
int net_mnl_each_link(struct net_mnl *m, net_mnl_link_fn *fn, void *arg, struct err *e) MUST_CHECK;
