/* broker/watch_feed.h: what nodes and routers follow: their records as JSON lines, from a snapshot
 * or a revision on, without end (doc/protocol.md, "Feeds"). */
#pragma once

struct broker;
struct http_req;
struct watch_feed;

struct watch_feed *watch_feed_new(struct broker *b);
void watch_feed_free(struct watch_feed *take_w); /* ends all feeds */

/* GET /internal/node/feed, /internal/router/feed, already admitted. Takes the request. */
void watch_feed_node(struct watch_feed *w, struct http_req *r);
void watch_feed_router(struct watch_feed *w, struct http_req *r);
