/* node/net.h: network of the instances: a namespace each, a routed veth /32, one nftables table for
 * the node, NAT inside the namespace to the port an application really listens on.
 *
 * All that belongs to one node carries its tag (node_dirs.h): interfaces `pnTAG…`, table
 * `inet pinion_TAG`. Its addresses are a /20 of 100.64.0.0/10, locked machine-wide. So several
 * nodes share one machine, and what one left behind can be found and removed.
 *
 * All calls block (0.5 ms, nft a little more): for workers or the start. Thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { NET_PORT = 8080, NET_ADDRESS_MAX = 16, NET_NAME_MAX = 64 };

struct net;

struct net_opts {
	const char *tag;       /* 1..8 lower-case hex digits */
	const char *run_dir;   /* namespaces are bound at RUN/netns/<instance>; absolute */
	const char *state_dir; /* remembers the block in STATE/net-block over reboots; absolute */
	const char *lock_dir;  /* of the blocks, machine-wide; NULL: /run/pinion/blocks */
	/* Is a block that of no other machine's node? (net_block.h); NULL: not asked */
	int (*admits)(const char *range, void *arg, struct err *e);
	void *admits_arg;
	int64_t connections; /* that an instance may open and hold at once; 0: 4096 */
	const struct str_list
	    *allow; /* private ranges ("10.1.0.0/16") instances may reach; NULL: none */
};

/* One instance's network, as net_attach made it or net_list found it. */
struct net_link {
	char instance[NET_NAME_MAX]; /* "" when only an interface without a name was found */
	char app[NET_NAME_MAX];
	char address[NET_ADDRESS_MAX]; /* "100.64.0.7" */
	char veth[16];                 /* host side */
	int64_t kbit;                  /* rate, each way; 0: no limit */
	uint64_t mark;                 /* of net_set_mark */
	bool has_ns;                   /* RUN/netns/<instance> is a bound namespace */
	bool has_veth;
};
struct net_link_list {
	struct net_link *v; /* owned */
	size_t n;
};
void net_link_list_fini(struct net_link_list *l);

/* "100.64.16.0/20": the instances' addresses. Borrowed. */
const char *net_range(const struct net *n);
/* Takes a free block (or the one remembered), sets ip_forward, loads the rules in one transaction
 * with the instances found (adoption after a restart: nobody loses a packet). What is half there
 * (a namespace without a link or the reverse) is removed. ERR_BUSY: another process has state_dir;
 * ERR_LIMIT: no block is free. */
struct net *net_open(const struct net_opts *o, struct err *e) MUST_CHECK NONNULL(1, 2);
/* Leaves everything in place for the next start. */
void net_close(struct net *take_n);
DEFINE_AUTO(struct net *, net_close)
/* Takes down all of it: namespaces, links, rules, the block. For the end of `pinion up` without
 * --keep-gears, and for tests. Then still net_close. */
int net_destroy_all(struct net *n, struct err *e) MUST_CHECK;

/* First address of the block: what connections of this machine to instances come from; borrowed. */
const char *net_host_address(const struct net *n);

/* Makes the namespace with lo, eth0, address and default route, the host route, the rules'
 * elements. Instances of the same app reach one another; app "" or NULL: alone (builders).
 * Done already for this instance: returns what is there (idempotent).
 * instance, app: [a-z0-9-], at most 60 bytes. kbit: as net_set_rate; also when it was there. */
int net_attach(struct net *n, const char *instance, const char *app, int64_t kbit,
    struct net_link *out, struct err *e) MUST_CHECK;
/* What net_attach made; ERR_NOT_FOUND: nothing. Does not block. */
int net_find(struct net *n, const char *instance, struct net_link *out, struct err *e) MUST_CHECK;
/* Its rate from now on, each way, in kbit/s; 0: no limit. A kernel without the token bucket: a
 * warning once, no limit. */
int net_set_rate(struct net *n, const char *instance, int64_t kbit, struct err *e) MUST_CHECK;
/* Removes binding and rules now; the kernel removes the link when the last process in the namespace
 * is gone. Absent is fine. */
int net_detach(struct net *n, const char *instance, struct err *e) MUST_CHECK;

/* Addresses of instances on other nodes that those of the app reach, and are reached from, in place
 * of those before; lost when the daemon ends. One call at a time. */
int net_set_peers(
    struct net *n, const char *app, const struct str_list *addresses, struct err *e) MUST_CHECK;

/* RUN/netns/<instance>, for the runtime's config; caller owns. */
char *net_ns_path(const struct net *n, const char *instance);

/* Where <address>:8080 goes inside the namespace from now on. loopback: the address that the
 * application listens on ("127.0.0.1", "127.0.250.1"), or NULL when it takes any address.
 * Connections that exist live on. NULL and 8080: no translation. */
int net_forward(
    struct net *n, const char *instance, const char *loopback, int port, struct err *e) MUST_CHECK;

/* A socket (SOCK_STREAM, SOCK_DGRAM; close-on-exec, not blocking) made in the instance's
 * namespace and bound to address:port. Streams listen. Returns the fd or -1. */
int net_socket(struct net *n, const char *instance, int type, const char *address, int port,
    struct err *e) MUST_CHECK;

/* A TCP socket (as above) made there whose connect to address:port has begun: writable once it is
 * done. Returns the fd or -1. */
int net_connect(
    struct net *n, const char *instance, const char *address, int port, struct err *e) MUST_CHECK;

/* A number that its link carries as long as it lives, also for the next daemon; 0: none. Whose: see
 * net_nat.c. */
uint64_t net_mark(struct net *n, const char *instance);
int net_set_mark(struct net *n, const char *instance, uint64_t mark, struct err *e) MUST_CHECK;

/* All that exists under this node's tag, for adoption, inventory and the leftovers' check. */
int net_list(struct net *n, struct net_link_list *out, struct err *e) MUST_CHECK;
