/* node/cart_find.h: the cartridges of a gear as this node has them. */
#pragma once

#include <stddef.h>

#include "lib/base/err.h"
#include "lib/wire/wire_gear.h"

struct cart_dir_entry;
struct cart_store;

/* All of the gear, in configure order; the caller frees the array. NULL: one is missing. */
const struct cart_dir_entry **cart_find_all(
    struct cart_store *s, const struct wire_gear_cart_list *l, struct err *e) MUST_CHECK;
