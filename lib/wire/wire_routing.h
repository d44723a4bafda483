/* lib/wire/wire_routing.h: what the owner of an application has set about its routes. The
 * application's record has it as JSON, its routes the same text, with hosts for names:
 * a router takes a text that it knows already without reading it again. Absent is off. */
#pragma once

#include "lib/base/err.h"
#include "lib/codec/codec.h"

enum {
	WIRE_ROUTING_MAX = 128 * 1024,     /* bytes of all of it */
	WIRE_ROUTING_PAGE_MAX = 16 * 1024, /* of a page */
	WIRE_ROUTING_PATHS_MAX = 32,
	WIRE_ROUTING_WEIGHTS_MAX = 16,
	WIRE_ROUTING_PAGES_MAX = 8,
	WIRE_ROUTING_USERS_MAX = 100,
	WIRE_ROUTING_NETWORKS_MAX = 200,
	WIRE_ROUTING_HEADERS_MAX = 50,
	WIRE_ROUTING_REDIRECTS_MAX = 100,
	WIRE_ROUTING_PATH_MAX = 128,
	WIRE_ROUTING_PASSWORD_MAX = 256,
	WIRE_ROUTING_RETRY_NEVER = -1, /* as retry_percent */
};

/* What lies below a path is another application's. */
struct wire_routing_path {
	char *path;  /* "/shop" */
	char *app;   /* NAME, or DOMAIN/NAME, as its owner wrote it */
	char *host;  /* set by the broker: that application's */
	bool strips; /* the application does not see the path */
};
DECLARE_CODEC(wire_routing_path, struct wire_routing_path)
struct wire_routing_path_list {
	struct wire_routing_path *v;
	size_t n;
};

/* A share of the clients is another application's. (Of deployments of one application:
 * wire_route.canary_percent.) */
struct wire_routing_weight {
	char *app;
	char *host;     /* as in wire_routing_path */
	int64_t weight; /* in hundred clients */
};
DECLARE_CODEC(wire_routing_weight, struct wire_routing_weight)
struct wire_routing_weight_list {
	struct wire_routing_weight *v;
	size_t n;
};

struct wire_routing_page {
	int64_t status; /* 502, 503, 504, or with error_pages_for_app any from 400 */
	char *body;     /* HTML; {request_id} and {status} are filled in */
};
DECLARE_CODEC(wire_routing_page, struct wire_routing_page)
struct wire_routing_page_list {
	struct wire_routing_page *v;
	size_t n;
};

struct wire_routing_user {
	char *name;
	char *password; /* on its way in only, never kept */
	char *hash;     /* pbkdf2-sha256$ROUNDS$SALT$KEY, both hex */
};
DECLARE_CODEC(wire_routing_user, struct wire_routing_user)
struct wire_routing_user_list {
	struct wire_routing_user *v;
	size_t n;
};

enum wire_routing_header_op { WIRE_ROUTING_ADD, WIRE_ROUTING_SET, WIRE_ROUTING_REMOVE };
struct wire_routing_header {
	bool response; /* else of the request */
	int op;        /* enum wire_routing_header_op */
	char *name;
	char *value;
};
DECLARE_CODEC(wire_routing_header, struct wire_routing_header)
struct wire_routing_header_list {
	struct wire_routing_header *v;
	size_t n;
};

/* The first that fits counts. */
struct wire_routing_redirect {
	char *host;     /* NULL: any of the application's */
	char *path;     /* "/old", or "/old/" and a star at the end for all below it */
	char *to;       /* "/new" or a URL; a star at its end is what the other star stood for */
	int64_t status; /* 301, 302, 303, 307, 308; 0: 302 */
};
DECLARE_CODEC(wire_routing_redirect, struct wire_routing_redirect)
struct wire_routing_redirect_list {
	struct wire_routing_redirect *v;
	size_t n;
};

enum wire_routing_https {
	WIRE_ROUTING_HTTPS_ALLOW,
	WIRE_ROUTING_HTTPS_REDIRECT, /* http is sent there */
	WIRE_ROUTING_HTTPS_REQUIRE,  /* http is refused */
	WIRE_ROUTING_HTTPS_OFF,      /* https is refused */
};
extern const struct codec_name wire_routing_https_names[]; /* allow redirect require off */

enum wire_routing_protocol { WIRE_ROUTING_HTTP1, WIRE_ROUTING_H2C };
extern const struct codec_name wire_routing_protocol_names[]; /* http1 h2c */

struct wire_routing {
	struct wire_routing_path_list paths;
	struct wire_routing_weight_list weights;
	char *sticky_cookie; /* its name (v2's is GEAR); NULL: requests go anywhere */
	int64_t sticky_s;    /* the cookie's life; 0: the browser's session */
	bool maintenance;
	char *maintenance_page;            /* HTML; NULL: the router's own */
	int64_t maintenance_retry_s;       /* Retry-After; 0: 60 */
	struct str_list maintenance_allow; /* networks that the application serves all the same */
	struct wire_routing_page_list error_pages;
	bool error_pages_for_app; /* also in place of the application's own pages */
	struct wire_routing_user_list auth_users;
	char *auth_realm;
	bool auth_hides;       /* the application does not get the Authorization field */
	struct str_list allow; /* networks; empty: all */
	int64_t rate;          /* requests of an address in rate_s; 0: any */
	int64_t rate_s;        /* 0: 1 */
	int64_t rate_burst;    /* 0: rate */
	int64_t body_max;      /* bytes of a request's body; 0: the router's */
	int64_t body_s;        /* until a request's body is there: 408 */
	int64_t answer_s;      /* until the head of the answer: 504 */
	struct wire_routing_header_list headers;
	struct wire_routing_redirect_list redirects;
	bool compress;
	int64_t slow_start_s;  /* until a new instance has its whole share; 0: at once */
	int64_t concurrency;   /* requests of an instance at once; 0: any */
	int64_t queue;         /* that wait when all instances have so many */
	int64_t queue_s;       /* so long; 0: the router's */
	int64_t retry_percent; /* of the requests may be tried again; 0: the router's */
	int64_t hedge_ms;      /* until a second instance is asked, too; 0: never */
	int https;             /* enum wire_routing_https */
	int64_t hsts_s;        /* Strict-Transport-Security; 0: not said */
	bool hsts_subdomains;
	bool hsts_preload;
	int protocol; /* enum wire_routing_protocol: of its instances */
};
DECLARE_CODEC(wire_routing, struct wire_routing)

/* What the tables do not say: names the field (rate_burst, headers[2].name) and the fix. */
int wire_routing_check(const struct wire_routing *r, struct err *e) MUST_CHECK;
bool wire_routing_is_empty(const struct wire_routing *r);
