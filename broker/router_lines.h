/* broker/router_lines.h: the routers' lines about requests, by application: the last ones are kept
 * in memory, those who follow are told of each. Bounded. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct broker;
struct http_req;
struct router_lines;
struct router_lines_watch;
struct wire_log_line;

enum { ROUTER_LINES_KEPT = 100 }; /* of an application */

struct router_lines *router_lines_new(struct broker *b);
void router_lines_free(struct router_lines *take_r);

/* POST /internal/router/lines. Takes the request. */
void router_lines_handle(struct router_lines *r, struct http_req *req);

/* A line, as the nodes' logs have them, with source "router"; borrowed for the call. */
typedef void router_lines_fn(const struct wire_log_line *line, void *arg);
/* Visits the newest n of those that are kept, oldest first. */
void router_lines_each(
    const struct router_lines *r, const char *app_id, size_t n, router_lines_fn *fn, void *arg);
struct router_lines_watch *router_lines_follow(
    struct router_lines *r, const char *app_id, router_lines_fn *fn, void *arg);
void router_lines_unfollow(struct router_lines_watch *take_w); /* NULL is fine */
