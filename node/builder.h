/* node/builder.h: POST /v1/builds: order line and tar stream in, output lines and a result out
 * (doc/protocol.md, lib/wire/wire_node.h). Runs what must run in a builder instance, and no
 * container where nothing must. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

struct builder;
struct cart_store;
struct container_host;
struct gear;
struct http_req;
struct layer_store;
struct loop;
struct net;
struct node_dirs;
struct worker;

struct builder_opts { /* all borrowed for the builder's life */
	struct loop *loop;
	struct worker *worker;
	struct container_host *containers;
	const struct node_dirs *dirs;
	struct cart_store *carts;
	struct layer_store *layers;
	int64_t disk_low_percent; /* free of the node\'s disk: with less nothing is built */
	struct net *net;          /* builders' way out; NULL: none */
	const char *resolver;     /* socket of pinion-resolver; NULL: none */
	/* The gear, or NULL while it is unknown. A build that needs a container waits until it is
	 * GEAR_READY. */
	struct gear *(*find_gear)(const char *uuid, void *arg);
	/* The gear is in use (or no more): it may not be destroyed meanwhile. NULL: not called. */
	void (*hold_gear)(struct gear *g, bool held, void *arg);
	void *arg;
};

struct builder *builder_new(const struct builder_opts *o, struct err *e) MUST_CHECK;
/* Builds under way are cancelled. */
void builder_free(struct builder *take_b);
/* Handles one request from its head on. Several run side by side; two of one application do not:
 * ERR_BUSY as a result. */
void builder_handle(struct builder *b, struct http_req *r);
