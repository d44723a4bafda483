/* node/node_wake.h: the endpoint where routers wake what sleeps, and nothing else: its token is not
 * the broker's. Works without a broker. */
#pragma once

#include "lib/base/err.h"

struct instances;
struct loop;
struct node_wake;

/* address: "unix:/path" or "ADDRESS:PORT"; token: what routers show; all borrowed for its life. */
struct node_wake *node_wake_open(struct loop *l, struct instances *is, const char *address,
    const char *token, struct err *e) MUST_CHECK;
void node_wake_close(struct node_wake *take_w); /* before the instances; NULL is fine */
