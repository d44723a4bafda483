/* node/layer_fetch.h: layers of a deployment that this node does not have, from one that does, by
 * way of the broker. What comes is believed only if its digest is right. Loop thread. */
#pragma once

#include "lib/base/err.h"

struct http_client;
struct layer_fetch;
struct layer_store;
struct loop;
struct node_dirs;
struct wire_layers;
struct worker;

struct layer_fetch_opts { /* all borrowed for life */
	struct loop *loop;
	struct worker *worker;
	struct http_client *http;
	struct layer_store *layers;
	const struct node_dirs *dirs;
	const char *broker, *token, *node; /* URL; what we show; our id */
};

/* Once, later, not after layer_fetch_cancel; the handle is gone then. e NULL: all are here. */
typedef void layer_fetch_fn(const struct err *e, void *arg);
/* NULL: nothing is missing. */
struct layer_fetch *layer_fetch_start(const struct layer_fetch_opts *o,
    const struct wire_layers *layers, layer_fetch_fn *fn, void *arg) MUST_CHECK;
void layer_fetch_cancel(struct layer_fetch *take_f); /* NULL is fine */
