/* lib/cart/cart_needs.h: does this machine's stack have what a cartridge runs (`Pinion: Needs`)?
 * Blocks shortly: asks the file system. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/wire/wire_cart.h"

/* ERR_NOT_FOUND: the first thing that is missing, with the package that brings it. */
int cart_needs_check(const struct wire_cart *c, struct err *e) MUST_CHECK;
