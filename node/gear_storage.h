/* node/gear_storage.h: the persistent paths of a gear (lib/wire/wire_storage): directories
 * STORAGE/<name> of its volume, bound over the tree in its instances and builds. */
#pragma once

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "node/gear.h"

struct container_spec;

/* Blocks: makes those that the volume does not have yet, each at once and for good, with what the
 * tree has there: layers (top first) below upper, as the overlay shows them; upper NULL: none.
 * ERR_INVALID: the tree has a file there; ERR_LIMIT: the disk is full. */
int gear_storage_take_over(const struct gear *g, const char *upper, const struct str_list *layers,
    struct err *e) MUST_CHECK;

/* Blocks: binds those that are there. upper: gets the directories on the way that layers lack, the
 * user's. for_build: exclusive ones stay out, another instance has them. */
int gear_storage_bind(const struct gear *g, const char *upper, const struct str_list *layers,
    bool for_build, struct container_spec *s, struct err *e) MUST_CHECK;

/* Blocks: what the gear's spec does not name any more goes to data/removed-storage, where its
 * user finds it. */
int gear_storage_retire(const struct gear *g, struct err *e) MUST_CHECK;

/* Blocks: where taking over failed, for want of room: what the instance wrote there goes to
 * data/removed-storage as it is, by renames, before its upper goes. */
int gear_storage_rescue(const struct gear *g, const char *upper, struct err *e) MUST_CHECK;
