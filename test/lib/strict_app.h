/* test/lib/strict_app.h: an instance that reads requests as strictly as RFC 9112 says, and aborts
 * when the router sends one that is not, or is for another host. */
#pragma once

#include "test/lib/router_lane.h"

/* A router_lane_fn. What the first letter of the path asks for: c: an answer in chunks, with a
 * trailer; e: one before the body; n: none; u: what an upgrade asks for. */
void strict_app(struct router_lane_app *a, void *arg);
