/* router/origin.h: who a request really comes from, when proxies that are trusted stand in front:
 * by the PROXY protocol before a connection, by X-Forwarded-For or Forwarded (RFC 7239) in a head.
 */
#pragma once

#include <stdbool.h>

#include "lib/base/buf.h"
#include "lib/base/cidr.h"
#include "lib/base/err.h"
#include "lib/base/str.h"
#include "router/peer.h"

struct http_head;
struct router_conf;

struct origin_rules {
	struct cidr_list trusted; /* whose fields are believed */
	struct cidr_list
	    greeters; /* who uses the PROXY protocol; none: all of an entry that does */
};

int origin_rules_init(struct origin_rules *r, const struct router_conf *conf, struct err *e);
void origin_rules_fini(struct origin_rules *r);
/* Whether connections to the port of proto begin with the PROXY protocol. */
bool origin_greets(const struct router_conf *conf, const char *proto);
/* Whether that of peer, to such a port, must. */
bool origin_must_greet(const struct origin_rules *r, const struct peer *peer);
bool origin_is_trusted(const struct origin_rules *r, const struct peer *peer);

/* What a trusted proxy says. */
struct origin {
	struct peer client;           /* the last one in the chain that is not trusted itself */
	struct str proto, host, port; /* as the client saw them; n = 0: not said */
	bool has_list, has_forwarded; /* X-Forwarded-For; Forwarded */
};
/* hop: who sent the head. */
void origin_read(const struct origin_rules *r, const struct peer *hop, const struct http_head *h,
    struct origin *out);
/* The chain, for the field that the proxy did not send: "192.0.2.1, " of each address in Forwarded,
 * "for=192.0.2.1, " of each in X-Forwarded-For. */
void origin_add_list(struct buf *out, const struct http_head *h);
void origin_add_forwarded(struct buf *out, const struct http_head *h);
