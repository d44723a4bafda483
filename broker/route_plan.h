/* broker/route_plan.h: applications → wire_route records. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/wire/wire_app.h"
#include "lib/wire/wire_route.h"

struct app_view_instance;
struct broker;
struct store_txn;

/* Puts the application's route into t unless the store has just that; true: it was put. The
 * instances' addresses are those their nodes reported. With n 0 and state live: requests wait. */
bool route_plan_put(const struct broker *b, struct store_txn *t, const struct wire_app *a,
    enum wire_route_state state, const struct app_view_instance *const *v, size_t n);
/* The same while it sleeps (a->spec.sleep_order); wake: addresses of its nodes. */
bool route_plan_put_asleep(const struct broker *b, struct store_txn *t, const struct wire_app *a,
    enum wire_route_state state, const struct app_view_instance *const *v, size_t n,
    const struct str_list *wake);
void route_plan_delete(const struct broker *b, struct store_txn *t, const struct wire_app *a);

/* Revision of the route (0: none), and whether the instance is on it. */
int64_t route_plan_rev(const struct broker *b, const struct wire_app *a);
/* The present route into out (zeroed); false: none. */
bool route_plan_get(const struct broker *b, const struct wire_app *a, struct wire_route *out);
bool route_plan_has(const struct wire_route *r, const char *instance);
