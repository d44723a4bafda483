/* router/host_endpoint.h: one instance's address, and what each lane has of it. Made and freed by
 * the control thread; lanes find it in routes. */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/base/err.h"

struct fleet;
struct upstream_pool;
struct wire_endpoint;

enum { HOST_ENDPOINT_TEXT = INET6_ADDRSTRLEN + 10 };

/* A lane's part of an endpoint; written by that lane only, so that it has a cache line of its
 * own. */
struct host_use {
	_Alignas(64) struct upstream_pool *pool; /* its alone */
	atomic_uint active;                      /* its exchanges; other lanes read it to balance */
	uint64_t digest;                         /* of its id, for cookies; 0: was not needed yet */
};

/* Off every route: kept until no lane has anything of it. */
struct host_gone {
	struct host_gone *next;          /* in a publication */
	struct host_gone *after, **prev; /* its taker's list */
	struct host_endpoint *ep;        /* owned */
	struct fleet *fleet;             /* borrowed: its taker */
	atomic_int holders;              /* lanes that may still use it */
};

struct host_endpoint {
	_Atomic(struct host_use *) use; /* owned, of each lane; NULL: it never had a request */
	union {
		struct host_endpoint *next; /* in its bucket */
		struct host_gone *gone;     /* once retired */
	};
	uint32_t refs;     /* control thread: routes that name it */
	uint32_t born_ds;  /* monotonic: since when some route does, in tenths of a second */
	atomic_uint taken; /* places, where there is a limit: see router/gate.h */
	in_port_t port;
	uint8_t address_n : 7; /* 4 or 16 */
	bool is_tls : 1;       /* it speaks TLS */
	uint8_t lanes;
	char data[]; /* the address, then the instance's id: "" in a static table */
};

const char *host_endpoint_id(const struct host_endpoint *ep);
socklen_t host_endpoint_address(const struct host_endpoint *ep, struct sockaddr_storage *out);
/* "address:port"; returns out. */
char *host_endpoint_text(const struct host_endpoint *ep, char out[HOST_ENDPOINT_TEXT]);
/* Whether w, with or without TLS, is this one. */
bool host_endpoint_is(const struct host_endpoint *ep, const struct wire_endpoint *w, bool is_tls);
int host_endpoint_check(const struct wire_endpoint *w, struct err *e) MUST_CHECK;

/* How long it has been routed. now_ms: monotonic. */
static inline int64_t
host_endpoint_age_ms(const struct host_endpoint *ep, int64_t now_ms)
{
	return (int64_t)((uint32_t)(now_ms / 100) - ep->born_ds) * 100;
}

/* What lane has of it, made when needed. In a lane. */
struct host_use *host_endpoint_use(struct host_endpoint *ep, int lane);
/* NULL: no request yet. Any lane. */
static inline struct host_use *
host_endpoint_used(const struct host_endpoint *ep, int lane)
{
	struct host_use *u = atomic_load_explicit(&ep->use, memory_order_acquire);

	return u == NULL ? NULL : &u[lane];
}

/* All that are routed; control thread. */
struct host_endpoint_set;
struct host_endpoint_set *host_endpoint_set_new(int lanes);
void host_endpoint_set_free(struct host_endpoint_set *take_s); /* with those in it */
/* w was checked. Counts a reference. */
struct host_endpoint *host_endpoint_ref(
    struct host_endpoint_set *s, const struct wire_endpoint *w, bool is_tls);
/* NULL: others name it; else it was retired and is the caller's. */
struct host_gone *host_endpoint_unref(struct host_endpoint_set *s, struct host_endpoint *ep);
/* Whether the same instance at the same address is in the set. */
bool host_endpoint_is_routed(const struct host_endpoint_set *s, const struct host_endpoint *ep);
void host_gone_free(struct host_gone *take_g); /* with the endpoint */
