/* node/net_block.h: a /20 of 100.64.0.0/10 for this node, by a lock file that all nodes of the
 * machine know. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"

enum { NET_BLOCK_COUNT = 1024, NET_BLOCK_SIZE = 4096 };

struct net_block {
	int number;
	int lock_fd; /* owned; held while the daemon lives */
	char *path;  /* owned; of the lock file */
};

/* A block whose owner is dead and has forgotten it: its links and address are to be removed. tag:
 * its rules too, because nobody goes by that tag now; or NULL. */
typedef void net_block_stale_fn(int number, const char *tag, void *arg);

/* May this node have the range "100.64.16.0/20"? 1; 0: it is that of a node on another machine;
 * -1: nobody answers. */
typedef int net_block_admits_fn(const char *range, void *arg, struct err *e);

struct net_block_opts {
	const char *lock_dir, *state_dir, *tag;
	net_block_stale_fn *on_stale; /* called for a few at most */
	void *arg;
	net_block_admits_fn *admits; /* asked before one is taken that is not remembered; or NULL */
	void *admits_arg;
};

/* The block that STATE/net-block remembers if it is still ours, else a free one, which is then
 * remembered. A block is another's while that one's state says so, alive or not (its instances may
 * be). ERR_BUSY: a living process has this state directory; ERR_LIMIT: none is free. */
int net_block_claim(
    const struct net_block_opts *o, struct net_block *out, struct err *e) MUST_CHECK;
/* Gives it back for others. */
void net_block_release(struct net_block *b, const char *state_dir);
void net_block_fini(struct net_block *b); /* closes; the block stays ours */

enum { NET_BLOCK_RANGE_MAX = 20 };
/* "100.64.16.0/20" */
void net_block_range(const struct net_block *b, char out[NET_BLOCK_RANGE_MAX]);
/* i-th address of the block, network byte order. */
uint32_t net_block_address(const struct net_block *b, int i);
