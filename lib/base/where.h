/* lib/base/where.h: where Pinion's own programs and data lie: beside the running program (the build
 * tree), or where they were installed, also when the tree was moved as a whole. */
#pragma once

#include "lib/base/err.h"

/* Absolute path of one of our programs ("pinion-broker", "pinion-init"). Caller owns; NULL:
 * ERR_NOT_FOUND. */
char *where_program(const char *name, struct err *e) MUST_CHECK;
/* Absolute path of a data directory ("cartridges", "stacks"). Caller owns; NULL: ERR_NOT_FOUND. */
char *where_data(const char *name, struct err *e) MUST_CHECK;
