/* router/feed_post.h: what the router tells the broker beside its feed: JSON, one call at a time,
 * with the router's token. Control thread only. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/http/http_client.h"

struct loop;
struct router_conf;

struct feed_post {
	struct http_client *http; /* owned */
	struct http_call *call;   /* under way; NULL: none */
	char *token, *url;        /* owned */
	bool is_stopped;
};

/* path: "/internal/…" of the broker that the feed comes from. */
int feed_post_init(struct feed_post *p, struct loop *l, const struct router_conf *conf,
    const char *path, struct err *e) MUST_CHECK;
/* Sends, unless a call is under way or it is stopped; cb ends the call by feed_post_ended. */
void feed_post_send(struct feed_post *p, const char *json, http_call_end_fn *cb, void *arg);
/* At the begin of cb. false: the broker did not take it. */
bool feed_post_ended(struct feed_post *p, int status, const struct err *e);
void feed_post_stop(struct feed_post *p);
void feed_post_fini(struct feed_post *p);
