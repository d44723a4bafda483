/* node/gear_act.h: runs one control action of cartridges (start, status, pre-snapshot …), or one of
 * their hooks, in the living instances of a gear: web and plugin cartridges in the newest web
 * instance, a service cartridge in its own. In OpenShift v2's order, with the application's action
 * hooks around it, each cartridge with its own environment. On the loop. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/wire/wire_act.h"

struct cart_store;
struct gear_act;
struct gear_table;
struct instances;
struct loop;

struct gear_act_opts { /* all borrowed for the action's life */
	struct loop *loop;
	struct gear_table *gears;
	struct instances *instances;
	struct cart_store *carts;
	const char *instance; /* borrowed for gear_act_start: the one to run in; NULL: the newest */
};

/* Output of the scripts as it comes; fd 1 or 2; borrowed for the call. */
typedef void gear_act_out_fn(const char *cart, int fd, const char *p, size_t n, void *arg);
/* Once, at the end; borrowed for the call; the handle is gone when this returns. */
typedef void gear_act_done_fn(const struct wire_act_result *result, void *arg);

/* The order is copied. With no cartridge named, those that run act: `start`, `restart` add-ons
 * first, the web framework last, and end at the first failure; `stop` the other way round; others
 * in configure order, all of them. A cartridge that does not run is left out, unless it is named.
 * NULL: ERR_NOT_FOUND (gear, cartridge; nothing runs), ERR_INVALID (order). */
struct gear_act *gear_act_start(const struct gear_act_opts *o, const char *gear,
    const struct wire_act_order *order, gear_act_out_fn *on_out, gear_act_done_fn *done, void *arg,
    struct err *e) MUST_CHECK;
void gear_act_pause(struct gear_act *a, bool paused); /* its output waits: backpressure */
/* Kills what runs; no callback after it. NULL is fine. */
void gear_act_cancel(struct gear_act *take_a);
