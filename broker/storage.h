/* broker/storage.h: persistent paths of applications: added and removed in one transaction of the
 * application and its gears, and rolled out. */
#pragma once

#include "lib/base/err.h"
#include "lib/wire/wire_app.h"

struct broker;
struct store_txn;

/* As app_done_fn. */
typedef void storage_done_fn(const struct err *e, void *arg);

/* Adds s, or changes whether it is exclusive. The instances are handed over once, so that the last
 * of the old ones leaves its files to the volume whole. */
void storage_put(struct broker *b, const char *app_id, const struct wire_storage *s,
    storage_done_fn *done, void *arg);
/* Has an addition or a removal ended that is not written down yet? */
bool storage_is_pending(const struct wire_app *a);
/* Whether a's instances may run at the same time: its owner's wish, or that of an exclusive path.
 */
void storage_set_replace(struct wire_app *a);
/* In a transaction that puts a and its gears: additions and removals that were rolled out become
 * final, those whose rollout failed are undone. */
void storage_settle(struct broker *b, struct store_txn *t, struct wire_app *a);
/* Its files move to app-root/data/removed-storage. ERR_NOT_FOUND: there is no such path. */
void storage_remove(struct broker *b, const char *app_id, const struct wire_storage *s,
    storage_done_fn *done, void *arg);
