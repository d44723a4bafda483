/* broker/app_cart.h: changes of an application's cartridges: one transaction of its record and all
 * its gears' records. The nodes configure; the rollout controller waits for them, rolls the
 * application where that is needed, and puts an addition that failed back (rollout_cart.c). */
#pragma once

#include <stdbool.h>

#include "broker/app.h"
#include "lib/base/err.h"
#include "lib/wire/wire_app.h"

struct broker;
struct store_txn;

/* What becomes of the cartridges. */
struct app_cart_change {
	struct wire_gear_cart_list cartridges; /* all of them, in configure order */
	bool rolls;      /* new web instances are made for it (else only the nodes act) */
	bool is_one_way; /* a removal: what it took away cannot be put back */
};

/* Computes the change from a fresh copy of the record, for each try; -1 refuses. */
typedef int app_cart_plan_fn(
    const struct wire_app *a, struct app_cart_change *out, void *arg, struct err *e);
/* ERR_BUSY with the field "cartridges": an earlier change is not yet complete; wait for it
 * (rollout_wait) and try again. plan_arg must live until done. done: the change is recorded, not
 * yet made. */
void app_cart_change(struct broker *b, const char *app_id, app_cart_plan_fn *plan, void *plan_arg,
    app_done_fn *done, void *arg);

/* Is a change of cartridges under way? */
bool app_cart_is_pending(const struct wire_app *a);
/* A gear's list for an application's: without what only the broker needs. */
void app_cart_copy_to_gear(struct wire_gear_cart_list *to, const struct wire_gear_cart_list *from);
void app_cart_list_copy(struct wire_gear_cart_list *to, const struct wire_gear_cart_list *from);
void app_cart_list_fini(struct wire_gear_cart_list *l);

/* In the transaction that gives a rollout up: what was before the pending change comes back into
 * the record (which the caller puts) and the gears. */
void app_cart_put_back(struct broker *b, struct store_txn *t, struct wire_app *a);
