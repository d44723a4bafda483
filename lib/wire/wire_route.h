/* lib/wire/wire_route.h: host name -> instances, as the broker tells a router. */
#pragma once

#include "lib/codec/codec.h"

struct wire_endpoint {
	char *id; /* instance id */
	char *address;
	int64_t port;
	int64_t weight; /* its share among those of the route; 0: as any other */
	bool canary;    /* of the deployment that is tried; these come last */
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

/* What a route does with a request. */
enum wire_route_answer {
	WIRE_ROUTE_PROXY,
	WIRE_ROUTE_HEALTH, /* 200 with "1", whatever the application does */
	WIRE_ROUTE_GONE,
	WIRE_ROUTE_FORBIDDEN,
	WIRE_ROUTE_REDIRECT, /* to backend */
	WIRE_ROUTE_NOTHING,  /* is kept from the application: 404 */
	WIRE_ROUTE_TO_HTTPS, /* proxy; what came by http is sent to https first */
};
extern const struct codec_name wire_route_answer_names[]; /* proxy, …, to_https */

/* kind "route"; key = host, or host/path for a path of it. */
struct wire_route {
	char *host; /* lower case, no port; "*.example.com" is a wildcard; "host/a/path" takes what
	               lies below that path, when the host's own route names it in paths */
	char *app_id;
	char *app;
	char *domain;
	int state;
	struct wire_endpoint_list endpoints;
	int64_t canary_percent; /* of the clients get an endpoint with canary */
	int64_t timeout_s;      /* of a request; 0 = the router's default */
	struct str_list
	    paths;     /* of a host: "/a/path", longest first: those with a route of their own */
	int answer;    /* enum wire_route_answer */
	char *backend; /* what takes the path's place on the way to the application */
	bool tls;      /* its instances speak TLS */
	int64_t sleep; /* 0: awake; else the order with which it was put to sleep: a request
	                  wakes it, see wake */
	char *options; /* a wire_routing, as JSON; NULL: nothing is set */
	struct str_list wake; /* while asleep: where its nodes are asked, "unix:/path" */
};
DECLARE_CODEC(wire_route, struct wire_route)

/* POST /v1/wake of a node: all that it has of an application, up to this order. */
struct wire_wake {
	char *app_id;
	int64_t order;
};
DECLARE_CODEC(wire_wake, struct wire_wake)
/* The answer, once all of it is awake: where its web instances answer. */
struct wire_woken {
	struct wire_endpoint_list endpoints;
};
DECLARE_CODEC(wire_woken, struct wire_woken)

/* An application that had requests. */
struct wire_traffic_app {
	char *id;
	int64_t ago_ms;   /* since one last got or left an instance; 0: some are under way; -1: none
	                     did, the router answered by itself */
	int64_t active;   /* under way now */
	int64_t requests; /* that ended since the last report, as the next ones */
	int64_t errors;   /* with 5xx */
	int64_t us;       /* of all together */
	int64_t bytes;    /* of bodies, both ways */
	char *took;       /* how many took how long: "PLACE:COUNT …", see lib/wire/wire_took */
};
DECLARE_CODEC(wire_traffic_app, struct wire_traffic_app)
struct wire_traffic_app_list {
	struct wire_traffic_app *v;
	size_t n;
};
/* POST /internal/router/traffic, every second: those with requests since the last one. */
struct wire_traffic {
	char *router;
	int64_t
	    revision; /* all requests by tables older than this are in it, or were told before */
	int64_t look; /* the same number: parts of one report */
	bool more;    /* another part follows; revision is not for this one */
	int64_t ms;   /* since the last report */
	struct wire_traffic_app_list apps;
};
DECLARE_CODEC(wire_traffic, struct wire_traffic)

/* In the name of a router whose place another takes: forgotten as soon as it is gone. */
#define WIRE_ROUTER_LEAVES "~"

/* POST /internal/router/report, after each applied revision (coalesced) and when draining changes.
 */
struct wire_router_report {
	char *router;
	int64_t revision;         /* all of the feed up to here is in force */
	struct str_list draining; /* instances off every route that still have requests under way */
};
DECLARE_CODEC(wire_router_report, struct wire_router_report)

/* A line of a router about one request, for the application's log. */
struct wire_app_line {
	char *app_id;
	int64_t at_ms; /* Unix time in ms */
	char *line;
};
DECLARE_CODEC(wire_app_line, struct wire_app_line)
struct wire_app_line_list {
	struct wire_app_line *v;
	size_t n;
};
/* POST /internal/router/lines, twice a second while there are any. */
struct wire_app_lines {
	char *router;
	struct wire_app_line_list lines;
	int64_t dropped; /* lines of this time that are left out */
};
DECLARE_CODEC(wire_app_lines, struct wire_app_lines)
