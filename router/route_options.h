/* router/route_options.h: what an application's owner has set, ready for use. Immutable, but for
 * its gate; all routes with the same text share one. A route without any has NULL. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/cidr.h"
#include "lib/base/err.h"
#include "lib/wire/wire_routing.h"

struct map;

/* Of its instances, where they take so many requests at once: see router/gate.h. */
struct route_gate {
	_Atomic uint64_t lanes; /* a bit for each where requests wait */
	atomic_uint queued;     /* in all of them */
};

struct route_options {
	atomic_uint refs; /* the table's one, and exchanges that need it to their end */
	uint32_t routes;  /* control thread: that have it */
	uint64_t id;      /* of the application: names its counters in a lane */
	char *text;       /* owned: "APP-ID JSON" */
	char *hsts;       /* owned: the value of Strict-Transport-Security; NULL: not said */
	struct wire_routing set;
	struct cidr_list allow, maintenance_allow;
	struct route_gate gate;
	struct route_options *next; /* in a list of retired ones */
};

/* All of a table, by text. Control thread. */
struct map *route_options_all(void);
/* Whether text (NULL: none) can be put. */
int route_options_check(const char *text, struct err *e) MUST_CHECK;
/* That of a text which was checked, for one route more. NULL: nothing is set. */
struct route_options *route_options_get(struct map *all, const char *app_id, const char *text);
const char *route_options_text(const struct route_options *o); /* the JSON, borrowed */
/* For one route less. true: it was the last, o is not in `all` any more; when no lane can find it,
 * route_options_unref. NULL is fine. */
bool route_options_drop(struct map *all, struct route_options *o);

/* Whether its instances speak HTTP/2 (h2c). NULL is fine. */
static inline bool
route_options_h2c(const struct route_options *o)
{
	return o != NULL && o->set.protocol == WIRE_ROUTING_H2C;
}

/* Any thread. */
const struct route_options *route_options_ref(const struct route_options *o);
void route_options_unref(const struct route_options *take_o); /* NULL is fine */
