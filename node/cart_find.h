/* node/cart_find.h: the cartridges of a gear as this node has them. */
#pragma once

#include <stddef.h>

#include "lib/base/err.h"
#include "lib/wire/wire_gear.h"

struct cart_dir;
struct cart_dir_entry;

/* The release that the gear names; one that is gone from here: the newest of that software version.
 * NULL: there is none. */
const struct cart_dir_entry *cart_find(const struct cart_dir *d, const struct wire_gear_cart *c);
/* All of the gear, in configure order; the caller frees the array. NULL: one is missing. */
const struct cart_dir_entry **cart_find_all(
    const struct cart_dir *d, const struct wire_gear_cart_list *l, struct err *e) MUST_CHECK;
