/* node/stack.h: the host stack: the node's own /usr, read-only, with the stack's usr/ laid over it,
 * and a curated /etc. Made once at the daemon's start, bound into every container. */
#pragma once

#include "lib/base/err.h"

struct node_dirs;

struct stack {
	char *usr; /* RUN/stack/usr, mounted: STACK/usr over /usr */
	char *etc; /* RUN/stack/etc, in memory: what all gears may see of /etc */
};

/* Blocks. What an earlier daemon mounted and made is used again where it is still right. */
int stack_open(const struct node_dirs *d, struct stack *out, struct err *e) MUST_CHECK;
void stack_fini(struct stack *s); /* leaves the mounts: containers come and go with daemons */
/* Takes the mounts away, for the end of a node. */
void stack_unmount(const struct node_dirs *d);

/* Files of /etc that each container has of its own; empty ones stand in their place. */
extern const char *const stack_own_files[]; /* passwd group hosts hostname resolv.conf, NULL */
