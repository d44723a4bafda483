/* node/node_stream.h: what the node serves to the broker: builds, logs, status, inventory, shutdown
 * (doc/protocol.md). Every call shows the broker's token. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct builder;
struct cart_store;
struct cron;
struct gear_table;
struct instances;
struct layer_store;
struct limits;
struct loop;
struct net;
struct node_dirs;
struct node_stream;
struct node_sync;
struct wire_node_facts;
struct worker;

struct node_stream_opts { /* all borrowed for its life */
	struct loop *loop;
	struct worker *worker;
	struct builder *builder;
	struct cron *cron;
	struct gear_table *gears;
	struct cart_store *carts;
	struct instances *instances;
	struct node_sync *sync;
	struct net *net;
	const struct layer_store *layers;
	const struct limits *limits;
	const struct node_dirs *dirs;
	const char *token; /* the broker's */
	void (*fill_facts)(struct wire_node_facts *out, void *arg);
	/* POST /v1/shutdown: answer with done when all gears (stops) are stopped. */
	void (*shutdown)(bool stops, void (*done)(void *done_arg), void *done_arg, void *arg);
	void *arg;
};

/* address: "unix:/path" or "ADDRESS:PORT". */
struct node_stream *node_stream_open(
    const struct node_stream_opts *o, const char *address, struct err *e) MUST_CHECK;
void node_stream_close(struct node_stream *take_s);
/* The builder is gone: further builds are refused. */
void node_stream_no_builds(struct node_stream *s);
