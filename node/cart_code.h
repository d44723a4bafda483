/* node/cart_code.h: a cartridge's code as a layer of homes: copied once, exec bits repaired. */
#pragma once

#include "lib/base/err.h"

struct cart_dir_entry;
struct node_dirs;

/* Blocks. DATA/carts/<digest>, which holds <Name>/…; made when absent. Caller owns; NULL on
 * failure. */
char *cart_code_layer(
    const struct node_dirs *d, const struct cart_dir_entry *c, struct err *e) MUST_CHECK;
