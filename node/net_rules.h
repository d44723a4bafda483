/* node/net_rules.h: the node's nftables table on the host and the translation inside an instance's
 * namespace, through libnftables in this process. An instance costs set elements, not rules. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct net_rules; /* the host side; made in the host's namespace; thread-safe */

/* An instance as the rules see it. group: instances with the same one reach each other; 0: alone.
 */
struct net_rules_member {
	const char *veth;
	const char *address;
	uint32_t group;
};

struct net_rules_opts {
	const char *tag;
	const struct str_list *allow; /* private ranges that may be reached; NULL: none */
	int64_t connections;          /* an instance may hold to others at once; 0: no limit */
};

/* Loads the whole table with its members in one transaction in place of what was there.
 * ERR_INVALID: a range that is none. A kernel that cannot count connections does without the limit.
 */
struct net_rules *net_rules_open(const struct net_rules_opts *o, const struct net_rules_member *v,
    size_t n, struct err *e) MUST_CHECK;
void net_rules_close(struct net_rules *take_r); /* the table stays */
DEFINE_AUTO(struct net_rules *, net_rules_close)

int net_rules_add(struct net_rules *r, const struct net_rules_member *m, struct err *e) MUST_CHECK;
/* The member as it was added. Absent is fine. */
int net_rules_remove(
    struct net_rules *r, const struct net_rules_member *m, struct err *e) MUST_CHECK;
/* Addresses on other nodes that the group's instances reach and are reached from, in place of those
 * before. */
int net_rules_peers(struct net_rules *r, uint32_t group, const struct str_list *now,
    const struct str_list *before, struct err *e) MUST_CHECK;
/* Removes a node's table, also another's that is dead. Absent is fine. */
int net_rules_delete_table(const char *tag, struct err *e) MUST_CHECK;

/* Does another firewall's chain drop what is forwarded (Docker's, say)? Then no instance reaches
 * the world, for a packet must pass all of them. */
bool net_rules_is_forward_dropped(struct net_rules *r);

/* Where address:from goes. Runs in the instance's namespace (net_ns_run). to NULL: any address;
 * to NULL and the same port: no rule. */
struct net_rules_forward {
	const char *address;
	const char *to;
	int from, port;
};
int net_rules_set_forward(const struct net_rules_forward *f, struct err *e) MUST_CHECK;

/* Runs commands in the calling thread's namespace; what: for the error. */
int net_rules_run(const char *text, const char *what, struct err *e) MUST_CHECK;

/* The text of the table; for its test. */
void net_rules_text(
    const struct net_rules_opts *o, const struct net_rules_member *v, size_t n, struct buf *out);
