/* router/host_route.h: a route as lanes read it: immutable. What few routes
 * have lies apart. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_route.h"
#include "router/host_endpoint.h"

struct map;
struct route_options;

enum {
	HOST_ENDPOINTS_MAX = 10000, /* of a route */
	HOST_APP_ID_MAX = 255,
};

/* All of it empty in most routes. */
struct host_rare {
	int64_t sleep;              /* the order with which it sleeps; 0: awake */
	struct route_options *opts; /* what its owner set; NULL: nothing. Borrowed */
	const uint16_t *weights;    /* of ep, in this allocation; NULL: all alike */
	const char *wake;           /* where to wake it: URLs, a space between two */
	const char *paths;   /* those with routes of their own, longest first, a space after each */
	const char *backend; /* what takes the path's place; of one with a path */
	bool tls;            /* its instances speak it */
	struct host_route *canary; /* owned: like this one with the endpoints of the canary, which
	                              canary_percent of the clients get; NULL: there is none */
	uint8_t canary_percent;
	atomic_bool is_woken; /* asleep: a request has asked for its wake already */
};

struct host_route {
	struct host_rare *rare; /* owned; NULL: nothing. See host_route_rare */
	uint32_t timeout_s;     /* 0: the default */
	uint16_t host_n;
	uint16_t n;
	uint8_t app_id_n;
	uint8_t state;              /* enum wire_route_state */
	uint8_t answer;             /* enum wire_route_answer */
	uint8_t mark;               /* control thread: the last sweep that kept it */
	struct host_endpoint *ep[]; /* behind them: host, app_id, app, domain, each with its NUL */
};

static inline const char *
host_route_host(const struct host_route *r)
{
	return (const char *)(r->ep + r->n);
}

static inline const char *
host_route_app_id(const struct host_route *r)
{
	return host_route_host(r) + r->host_n + 1;
}

static inline const char *
host_route_app(const struct host_route *r)
{
	return host_route_app_id(r) + r->app_id_n + 1;
}

/* What its owner set; NULL: nothing. */
static inline struct route_options *
host_route_opts(const struct host_route *r)
{
	return r->rare == NULL ? NULL : r->rare->opts;
}

const char *host_route_domain(const struct host_route *r);
/* Never NULL: without any, all is empty. */
const struct host_rare *host_route_rare(const struct host_route *r);
/* As the feed has it; the caller's. */
void host_route_to_wire(const struct host_route *r, struct wire_route *out);

/* Whether host_route_new takes it. */
int host_route_check(const struct wire_route *w, struct err *e) MUST_CHECK;
/* w was checked. Its endpoints have a reference each, and so has what is set, of options. */
struct host_route *host_route_new(
    const struct wire_route *w, struct host_endpoint_set *s, struct map *options);
/* Whether it is as w says. */
bool host_route_is(const struct host_route *r, const struct wire_route *w);
void host_route_free(struct host_route *take_r); /* endpoints and options are not touched */
