/* node/tree_stream.h: whole directory trees from one node to another, as they are on disk: owners,
 * modes, extended attributes, whiteouts of overlays, holes. The bytes come from a node of the same
 * cluster through the broker, so that tar may make devices of them; what lies in the tree is the
 * gears' and is never followed. Loop thread. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct http_client;
struct http_req;
struct loop;
struct tree_fetch;

/* Answers r with the tar stream of all below dir (is_volume: without its instances). Takes the
 * request. done (may be NULL): once, when it is over, whoever ended it. */
typedef void tree_stream_done_fn(void *arg);
void tree_stream_send(struct loop *l, struct http_req *r, const char *dir, bool is_volume,
    tree_stream_done_fn *done, void *arg);

/* Answers r with the bytes of the file (fd borrowed for the call). Takes the request. */
void tree_stream_send_file(struct loop *l, struct http_req *r, int fd);

struct tree_fetch_opts { /* borrowed for the call, loop and client for the fetch's life */
	struct loop *loop;
	struct http_client *http;
	const char *url; /* as http_call_opts */
	const char *bearer;
	const char *dir; /* there, empty: what the stream holds is made in it */
};
/* Once, later, not after tree_fetch_cancel; the handle is gone then. e: the directory holds what
 * came so far, for the caller to remove. ERR_NOT_FOUND: the other end has no such tree. */
typedef void tree_fetch_fn(const struct err *e, void *arg);
struct tree_fetch *tree_fetch_start(
    const struct tree_fetch_opts *o, tree_fetch_fn *fn, void *arg, struct err *e) MUST_CHECK;
void tree_fetch_cancel(struct tree_fetch *take_f); /* NULL is fine */
