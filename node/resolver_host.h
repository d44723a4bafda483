/* node/resolver_host.h: tends the node's resolver process: starts it where none answers, gives it
 * the DNS sockets of instances that it lacks, writes the names it answers. The process outlives the
 * daemon. Level-triggered; loop thread. */
#pragma once

struct gear_table;
struct instances;
struct loop;
struct net;
struct node_dirs;
struct peer_table;
struct resolver_host;
struct worker;

struct resolver_host_opts { /* borrowed for its life */
	struct loop *loop;
	struct worker *worker;
	struct net *net;
	const struct node_dirs *dirs;
	struct instances *instances;
	struct gear_table *gears;
	const struct peer_table *peers;
	const char *path; /* of its control socket */
};

/* Looks at once, then every few seconds. */
struct resolver_host *resolver_host_new(const struct resolver_host_opts *o);
void resolver_host_free(struct resolver_host *take_h); /* the process lives on */
/* Instances or names have changed: looks soon. */
void resolver_host_poke(struct resolver_host *h);
/* Ends the process, for the end of a node with its gears. */
void resolver_host_end(struct resolver_host *h);
