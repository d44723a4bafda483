/* lib/wire/wire_route.h: host name -> instances, as the broker tells a router. */
#pragma once

#include "lib/codec/codec.h"

struct wire_endpoint {
	char *id; /* instance id */
	char *address;
	int64_t port;
};
DECLARE_CODEC(wire_endpoint, struct wire_endpoint)
struct wire_endpoint_list {
	struct wire_endpoint *v;
	size_t n;
};

enum wire_route_state {
	WIRE_ROUTE_LIVE,
	WIRE_ROUTE_STOPPED, /* stopped by its owner: 503 */
	WIRE_ROUTE_EMPTY,   /* nothing deployed or nothing ready: 503 */
	WIRE_ROUTE_PARKED,  /* being handed over: requests wait, in bounds */
};
extern const struct codec_name wire_route_state_names[]; /* live stopped empty parked */

/* kind "route"; key = host. */
struct wire_route {
	char *host; /* lower case, no port; "*.example.com" is a wildcard */
	char *app_id;
	char *app;
	char *domain;
	int state;
	struct wire_endpoint_list endpoints;
	int64_t timeout_s; /* of a request; 0 = the router's default */
};
DECLARE_CODEC(wire_route, struct wire_route)

/* POST /internal/router/report, after each applied revision (coalesced) and when draining changes.
 */
struct wire_router_report {
	char *router;
	int64_t revision;         /* all of the feed up to here is in force */
	struct str_list draining; /* instances off every route that still have requests under way */
};
DECLARE_CODEC(wire_router_report, struct wire_router_report)
