/* broker/node_act.h: asks a node to run a control action, or a hook, of a gear's cartridges
 * (node/gear_act.h). On the loop. */
#pragma once

#include <stddef.h>

#include "lib/base/err.h"
#include "lib/wire/wire_act.h"

struct broker;
struct node_act;

/* Output as it comes, may be NULL; borrowed for the call. */
typedef void node_act_out_fn(const char *cart, int fd, const char *text, void *arg);
/* Once. result, which may tell of a failure of the cartridge, or NULL and why there is none: e has
 * ERR_NOT_FOUND (nothing runs), ERR_BUSY (no such node connected), ERR_SYSTEM … Borrowed; the
 * handle is gone when this returns. */
typedef void node_act_done_fn(const struct wire_act_result *result, const struct err *e, void *arg);

/* node: its id; gear: uuid. The order is copied. NULL: ERR_BUSY. */
struct node_act *node_act_start(struct broker *b, const char *node, const char *gear,
    const struct wire_act_order *order, node_act_out_fn *on_out, node_act_done_fn *done, void *arg,
    struct err *e) MUST_CHECK;
/* The action is ended on the node; no callback after it. NULL is fine. */
void node_act_cancel(struct node_act *take_a);
