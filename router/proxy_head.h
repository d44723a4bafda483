/* router/proxy_head.h: what becomes of heads on their way: hop-by-hop fields out, the router's in.
 * Fields that stay are copied as the bytes they are, in runs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/str.h"

struct http_head;
struct origin;

enum { PROXY_ID_MAX = 128 };

struct proxy_head_facts {
	const struct origin *origin; /* what the peer, a trusted proxy, says; NULL: nothing */
	const char *peer;            /* address of who sent it as text */
	const char *port;            /* that the client reached */
	const char *proto;
	struct str id;    /* of the request */
	struct str trace; /* the field of a trace that begins here, for a request without one */
	int64_t start_us;
	bool upgrade; /* request: pass the Upgrade on; response: it is a 101 */
};

/* Appends the request as the instance gets it. raw: the bytes that h was parsed from. Returns
 * whether the client takes trailers. */
bool proxy_head_request(
    struct buf *out, const char *raw, const struct http_head *h, const struct proxy_head_facts *f);

struct proxy_head_answer {
	struct str id;
	int minor;       /* of the client's HTTP */
	bool keep;       /* the client's connection stays */
	bool chunked;    /* the body goes out in chunks */
	bool upgrade;    /* a 101 */
	bool is_interim; /* 1xx: nothing of ours is added */
};
/* Appends the response as the client gets it. */
void proxy_head_response(
    struct buf *out, const char *raw, const struct http_head *h, const struct proxy_head_answer *a);

/* Whether the request may be passed on as an upgrade: never to HTTP/2, which would hide requests
 * from the router. */
/* Takes one from Max-Forwards of an OPTIONS, in place. false: none is left, who has it answers. */
bool proxy_head_take_hop(const struct http_head *h);
bool proxy_head_may_upgrade(const struct http_head *h);
/* Whether a field belongs to one hop, frames a message, or is the router's to set. */
bool proxy_head_is_own(struct str name);
/* A request id from outside: 1..128 of letters, digits and ._- */
bool proxy_head_id_is_valid(struct str id);
/* Whether the request carries one valid traceparent (W3C Trace Context): it is passed on, with its
 * tracestate; otherwise both are made anew. */
bool proxy_head_is_traced(const struct http_head *h);
/* Seconds that the instance keeps an idle connection ("Keep-Alive: timeout=5"); -1: it does not
 * say. */
int64_t proxy_head_keep_alive_s(const struct http_head *h);
