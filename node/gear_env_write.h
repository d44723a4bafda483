/* node/gear_env_write.h: what the platform says to a gear, in its files: ~/.env, what others
 * publish, ~/.auth. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct cart_store;
struct gear;

/* Blocks. is_alive: its volume was mounted before; what is there as it is to be is not written
 * again. */
int gear_env_write(
    const struct gear *g, struct cart_store *s, bool is_alive, struct err *e) MUST_CHECK;
