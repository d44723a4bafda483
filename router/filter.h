/* router/filter.h: what an owner's options do to an exchange (struct route_options). A route
 * without options has none of this: x->filter is NULL. Order: allow list, rate, https, maintenance,
 * redirects, password, size; then where the request goes, and its fields. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/http/http_body.h"
#include "lib/http/http_head.h"
#include "router/affinity.h"

struct compress;
struct host_root;
struct host_route;
struct proxy;
struct proxy_page;
struct proxy_relay;
struct route_options;

struct filter {
	const struct route_options *opts; /* a reference */
	struct affinity affinity;         /* who the client is, for shares and sticky sessions */
	const char *below;   /* in opts: the path that led to another application; NULL: none did */
	char *via;           /* owned: host of the application that serves it; NULL: its own */
	struct compress *z;  /* owned: the answer is compressed; NULL: it is not */
	int64_t body_seen;   /* of the request */
	int64_t body_end_ms; /* when it must be there; 0: any time */
	int64_t answer_end_ms;
	int coding; /* enum compress_coding that the client takes */
};

/* First thing of an exchange whose host's route r has options; lane->head tells how the
 * body is framed, x->head the fields.
 * false: it was answered, x is gone. */
bool filter_request(struct proxy *x, const struct host_route *r);
/* The route that serves it, of each attempt; NULL: it went away. */
const struct host_route *filter_route(
    const struct proxy *x, const struct host_root *root, const struct host_route *r);
void filter_free(struct filter *take_f); /* NULL is fine */

/* --- for x->filter != NULL --- */

/* The next n bytes of the request's body. false: they are too many, it was answered. */
bool filter_body(struct proxy *x, size_t n);
/* The next deadline is ms from now, or earlier. */
int64_t filter_deadline(struct proxy *x, int64_t ms);
/* A page of the owner's own, in place of the router's. */
void filter_page(const struct proxy *x, struct proxy_page *p);
/* A final head of an answer came. true: it was answered by a page of the owner's, x is gone. */
bool filter_replaces(struct proxy *x, const struct http_head *h);
/* Before that head is made anew: is the body compressed? Then it goes out in chunks. */
void filter_answer(struct proxy *x, const struct http_head *h);
/* After: the head is at the end of lane->out, from `from`. */
void filter_answer_head(struct proxy *x, const struct http_head *h, size_t from);
