/* broker/node_link.h: the nodes: hello and reports that come in, whose feed is connected, and how
 * to call a node's stream endpoint (doc/protocol.md). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/wire/wire_node.h"

struct broker;
struct http_call_opts;
struct http_req;
struct node_link;

/* Reads the tokens of nodes and routers (blocks: at start) and the node records. */
struct node_link *node_link_new(struct broker *b, struct err *e);
void node_link_free(struct node_link *take_nl);
DEFINE_AUTO(struct node_link *, node_link_free)

/* Does the request carry this token? Else it was answered 401. */
bool node_link_admits(const char *token, struct http_req *r);

/* POST /internal/node/hello, /internal/node/report. Takes the request. */
void node_link_handle(struct node_link *nl, struct http_req *r);
const char *node_link_token(const struct node_link *nl); /* what nodes show; borrowed */

/* A feed of the node was connected (+1) or ended (-1). */
void node_link_attach(struct node_link *nl, const char *node, int by);
/* Calls fn once, later: when a node that is known is connected, or after ms. Not after
 * node_link_free. */
typedef void node_link_wait_fn(void *arg);
void node_link_when_alive(struct node_link *nl, int64_t ms, node_link_wait_fn *fn, void *arg);
bool node_link_is_alive(const struct node_link *nl, const char *node);

/* Newest facts, or NULL: never heard of; borrowed until the next hello. */
const struct wire_node_facts *node_link_facts(const struct node_link *nl, const char *node);
typedef bool node_link_visit_fn(const struct wire_node_facts *f, bool is_alive, void *arg);
void node_link_each(const struct node_link *nl, node_link_visit_fn *fn, void *arg);

/* Sets url (which the caller frees) and bearer in o for PATH on the node's stream endpoint.
 * ERR_BUSY: the node is unknown or not connected. */
int node_link_call(const struct node_link *nl, const char *node, const char *path,
    struct http_call_opts *o, char **out_url, struct err *e) MUST_CHECK;
