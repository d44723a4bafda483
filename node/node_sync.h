/* node/node_sync.h: the wishes of the broker (feed) to gears, instances and layers; their states
 * back (reports). Level-triggered: a snapshot compares all, a change only itself. The last known
 * wishes are kept in DATA/feed, so that gears are tended while the broker is away. Loop thread. */
#pragma once

#include "lib/base/err.h"
#include "lib/wire/wire_gear.h"

struct gear;
struct gear_table;
struct http_client;
struct instances;
struct layer_store;
struct loop;
struct node_sync;
struct peer_table;
struct wire_node_facts;
struct worker;

struct node_sync_opts { /* all borrowed for its life */
	struct loop *loop;
	struct worker *worker;
	struct http_client *http;
	struct gear_table *gears;
	struct instances *instances;
	struct layer_store *layers;
	struct peer_table *peers;
	const char *node;   /* id */
	const char *broker; /* base of the URLs: "unix:/path:" or "https://host:port" */
	const char *token;
	const char *data; /* directory of the kept wishes */
	/* Fills what hello tells; the receiver frees. */
	void (*fill_facts)(struct wire_node_facts *out, void *arg);
	/* The broker knows this node (its first hello was answered). Once. */
	void (*on_known)(void *arg);
	void *arg;
};

struct node_sync *node_sync_new(const struct node_sync_opts *o);
void node_sync_free(struct node_sync *take_s);
/* Reads the kept wishes and applies them, then watches the feed. Blocks shortly. */
int node_sync_start(struct node_sync *s, struct err *e) MUST_CHECK;

/* What has changed is reported soon; ready and failed instances at once. */
void node_sync_gear_changed(struct node_sync *s, const struct gear *g);
void node_sync_instance_changed(struct node_sync *s, const struct wire_instance_status *st);
/* All there is, for inventory: appended to r (full). */
void node_sync_fill_report(const struct node_sync *s, struct wire_report *r);
/* No further reports: the node is about to stop its gears. */
void node_sync_mute(struct node_sync *s);
