/* router/crowd.h: how many connections an address has, and how fast it makes them: a client's IPv4
 * address, or the /64 of an IPv6 one. In a table of fixed size, a lane's own, so that a lane allows
 * its share of the limits. When a table is full of addresses with connections, more are not
 * counted. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "router/peer.h"
#include "router/shed.h"

struct crowd;
struct router_conf;

/* NULL: there are no limits. */
struct crowd *crowd_new(const struct router_conf *conf, int lanes);
void crowd_free(struct crowd *take_c); /* NULL is fine */
/* Whether limits hold for the client: not for the machine itself. */
bool crowd_holds(const struct peer *p);
/* One more connection. false: it may not be, *out_why; then it is not counted. */
bool crowd_enter(struct crowd *c, const struct peer *p, int64_t now_ms, enum shed_why *out_why);
/* One more stream of a connection of HTTP/2, which counts as one itself. false: it may not be. */
bool crowd_join(struct crowd *c, const struct peer *p);
/* A connection or stream that was counted is gone. */
void crowd_leave(struct crowd *c, const struct peer *p);
