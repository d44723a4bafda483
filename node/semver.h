/* node/semver.h: does a version lie in a range as package.json writes them? Pure. */
#pragma once

#include <stdbool.h>

/* version "20.1.2"; range ">=18 <21", "^18.2", "~3.11", "18.x || 20", "1 - 2", "*". A range that
 * cannot be read is satisfied: it is only used for warnings. */
bool semver_satisfies(const char *version, const char *range);
