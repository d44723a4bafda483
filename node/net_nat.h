/* node/net_nat.h: the translations of addresses inside an instance's namespace that connect it with
 * the application's services: by the kernel alone, so that they work while no daemon runs. Blocks;
 * thread-safe. (net_forward, which leads requests to the web port, has a table of its own.) */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "node/net.h"

struct net_nat_hop { /* TCP to from:from_port goes to to:to_port */
	char from[NET_ADDRESS_MAX], to[NET_ADDRESS_MAX];
	int from_port, to_port;
	bool from_loopback; /* of what comes in: the service sees 127.0.0.1 as its client */
};
struct net_nat {
	struct net_nat_hop *out; /* owned; of connections that begin here */
	size_t out_n;
	struct net_nat_hop *in; /* owned; of those that come from other instances */
	size_t in_n;
};
void net_nat_fini(struct net_nat *t);
void net_nat_copy(struct net_nat *to, const struct net_nat *from);
bool net_nat_equal(const struct net_nat *a, const struct net_nat *b);
void net_nat_out(struct net_nat *t, const char *from, int from_port, const char *to, int to_port);
void net_nat_in(struct net_nat *t, const char *from, int from_port, const char *to, int to_port,
    bool from_loopback);

/* Puts t in place of all that was there, at once. Connections that exist live on; a new one to an
 * address that is in no hop is refused at once. */
int net_nat_set(
    struct net *n, const char *instance, const struct net_nat *t, struct err *e) MUST_CHECK;
