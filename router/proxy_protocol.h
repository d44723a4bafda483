/* router/proxy_protocol.h: what a balancer in front puts before the bytes of a connection: the
 * PROXY protocol of haproxy, versions 1 and 2. It tells who the client is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "router/peer.h"

enum { PROXY_PROTOCOL_MAX = 4096 }; /* bytes, with all TLVs */

enum proxy_protocol_result { PROXY_PROTOCOL_OK, PROXY_PROTOCOL_MORE, PROXY_PROTOCOL_BAD };

struct proxy_protocol {
	size_t size;     /* of the header */
	bool has_client; /* else the connection is the balancer's own (LOCAL, UNKNOWN, UNIX) */
	struct peer client;
};

enum proxy_protocol_result proxy_protocol_parse(
    const void *p, size_t n, struct proxy_protocol *out);
