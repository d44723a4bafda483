/* broker/snapshot_gears.h: whose data a snapshot of an application holds beside those of its head
 * gear: of each service in a gear of its own, the first such gear (as OpenShift v2 did), whose
 * snapshot lies within the head's as app-root/data/CARTRIDGE.tar.gz. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

struct app_view_app;
struct app_view_gear;
struct broker;

struct snapshot_gear {
	char *cart, *uuid;
};
struct snapshot_gears {
	struct snapshot_gear *v; /* owned, with all in it */
	size_t n;
};
/* out: zeroed. */
void snapshot_gears_list(const struct app_view_app *v, struct snapshot_gears *out);
void snapshot_gears_fini(struct snapshot_gears *l);

/* NULL: it is not there any more. Borrowed from the view. */
const struct app_view_gear *snapshot_gears_find(const struct app_view_app *v, const char *uuid);
/* Is that service of the gear ready? */
bool snapshot_gears_runs(const struct app_view_app *v, const char *uuid, const char *cart);

/* Saves them, one after the other, into a scratch directory: UUID-OF-HEAD/app-root/data/…, for the
 * archive of the head gear. */
struct snapshot_save;
/* Once, later. dir NULL: there is none, or e says why. Borrowed until snapshot_save_free. */
typedef void snapshot_save_fn(const char *dir, const struct err *e, void *arg);
struct snapshot_save *snapshot_save_start(
    struct broker *b, const char *app_id, const char *app_name, snapshot_save_fn *fn, void *arg);
void snapshot_save_free(struct snapshot_save *take_s); /* the directory goes; NULL is fine */
