#include "lib/wire/wire_route.h"

#include "lib/wire/wire_routing.h"
#include "lib/wire/wire_took.h"

enum {
	ID_MAX = 64,
	HOST_MAX = 255,
	ENDPOINTS_MAX = 10000,
	DRAINING_MAX = 100000,
	SECONDS_MAX = 86400,
	WAKE_MAX = 64, /* nodes of one application */
	PATH_LEN_MAX = 128,
	PATHS_MAX = 64,
	APP_LINE_MAX = 4096,
	APP_LINES_MAX = 10000,
	TRAFFIC_MAX = 100000, /* applications in one report */
};

const struct codec_name wire_route_state_names[] = {
	{ "live", WIRE_ROUTE_LIVE },
	{ "stopped", WIRE_ROUTE_STOPPED },
	{ "empty", WIRE_ROUTE_EMPTY },
	{ "parked", WIRE_ROUTE_PARKED },
	{ NULL, 0 },
};

const struct codec_name wire_route_answer_names[] = {
	{ "proxy", WIRE_ROUTE_PROXY },
	{ "health", WIRE_ROUTE_HEALTH },
	{ "gone", WIRE_ROUTE_GONE },
	{ "forbidden", WIRE_ROUTE_FORBIDDEN },
	{ "redirect", WIRE_ROUTE_REDIRECT },
	{ "nothing", WIRE_ROUTE_NOTHING },
	{ "to_https", WIRE_ROUTE_TO_HTTPS },
	{ NULL, 0 },
};

static const struct codec_field endpoint_fields[] = {
	CODEC_STR(struct wire_endpoint, id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_endpoint, address, 64, CODEC_REQUIRED),
	CODEC_INT(struct wire_endpoint, port, 1, 65535, CODEC_REQUIRED),
	CODEC_INT(struct wire_endpoint, weight, 0, 10000, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_endpoint, canary, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_endpoint, struct wire_endpoint, endpoint_fields)

static const struct codec_field route_fields[] = {
	CODEC_STR(struct wire_route, host, HOST_MAX + PATH_LEN_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_route, app_id, ID_MAX, 0),
	CODEC_STR(struct wire_route, app, 32, 0),
	CODEC_STR(struct wire_route, domain, 16, 0),
	CODEC_ENUM(struct wire_route, state, wire_route_state_names, CODEC_REQUIRED),
	CODEC_LIST(struct wire_route, endpoints, &wire_endpoint_codec, ENDPOINTS_MAX, 0),
	CODEC_INT(struct wire_route, canary_percent, 0, 100, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_route, timeout_s, 0, SECONDS_MAX, 0),
	CODEC_STRS(struct wire_route, paths, PATHS_MAX, CODEC_OMIT_NULL),
	CODEC_ENUM(struct wire_route, answer, wire_route_answer_names, 0),
	CODEC_STR(struct wire_route, backend, HOST_MAX, CODEC_OMIT_NULL),
	CODEC_BOOL(struct wire_route, tls, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_route, sleep, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_RAW(struct wire_route, options, WIRE_ROUTING_MAX, CODEC_OMIT_NULL),
	CODEC_STRS(struct wire_route, wake, WAKE_MAX, CODEC_OMIT_NULL),
	CODEC_END,
};
DEFINE_CODEC(wire_route, struct wire_route, route_fields)

static const struct codec_field wake_fields[] = {
	CODEC_STR(struct wire_wake, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_wake, order, 0, INT64_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_wake, struct wire_wake, wake_fields)

static const struct codec_field woken_fields[] = {
	CODEC_LIST(struct wire_woken, endpoints, &wire_endpoint_codec, ENDPOINTS_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_woken, struct wire_woken, woken_fields)

static const struct codec_field traffic_app_fields[] = {
	CODEC_STR(struct wire_traffic_app, id, ID_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_traffic_app, ago_ms, -1, INT64_MAX, 0),
	CODEC_INT(struct wire_traffic_app, active, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_traffic_app, requests, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_traffic_app, errors, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_traffic_app, us, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_traffic_app, bytes, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_traffic_app, took, WIRE_TOOK_TEXT_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_traffic_app, struct wire_traffic_app, traffic_app_fields)

static const struct codec_field traffic_fields[] = {
	CODEC_STR(struct wire_traffic, router, ID_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_traffic, revision, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_traffic, look, 0, INT64_MAX, 0),
	CODEC_BOOL(struct wire_traffic, more, 0),
	CODEC_INT(struct wire_traffic, ms, 0, INT64_MAX, 0),
	CODEC_LIST(struct wire_traffic, apps, &wire_traffic_app_codec, TRAFFIC_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_traffic, struct wire_traffic, traffic_fields)

static const struct codec_field router_report_fields[] = {
	CODEC_STR(struct wire_router_report, router, ID_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_router_report, revision, 0, INT64_MAX, 0),
	CODEC_STRS(struct wire_router_report, draining, DRAINING_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_router_report, struct wire_router_report, router_report_fields)

static const struct codec_field app_line_fields[] = {
	CODEC_STR(struct wire_app_line, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_app_line, at_ms, 0, INT64_MAX, 0),
	CODEC_STR(struct wire_app_line, line, APP_LINE_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_app_line, struct wire_app_line, app_line_fields)

static const struct codec_field app_lines_fields[] = {
	CODEC_STR(struct wire_app_lines, router, ID_MAX, CODEC_REQUIRED),
	CODEC_LIST(struct wire_app_lines, lines, &wire_app_line_codec, APP_LINES_MAX, 0),
	CODEC_INT(struct wire_app_lines, dropped, 0, INT64_MAX, 0),
	CODEC_END,
};
DEFINE_CODEC(wire_app_lines, struct wire_app_lines, app_lines_fields)
