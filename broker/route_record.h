/* broker/route_record.h: routes in the store: one of a host with those of its paths. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_route.h"

struct broker;
struct store_txn;

/* The one of a host into out (zeroed); false: none. out_rev may be NULL. */
bool route_record_get(
    const struct broker *b, const char *host, struct wire_route *out, int64_t *out_rev);
/* The application's, as it is now, by one more name, which is free. */
int route_record_add(const struct broker *b, struct store_txn *t, const struct wire_app *a,
    const char *host, struct err *e) MUST_CHECK;
/* Puts what its owner set into the route of a host and those of its paths; NULL: nothing. */
void route_record_set_options(
    const struct broker *b, struct store_txn *t, const char *host, const char *options);
void route_record_remove(const struct broker *b, struct store_txn *t, const char *host);
/* Deletes those of old's paths that `but` (or NULL) has not. */
void route_record_drop_paths(
    struct store_txn *t, const struct wire_route *old, const struct str_list *but);
