/* node/whiteout.h: what an overlay's layer takes away from the layers below it. Block shortly. */
#pragma once

#include <stdbool.h>

struct stat;

bool whiteout_is(const struct stat *st);
/* A directory: what is below it in other layers does not show. */
bool whiteout_is_opaque(int fd);
/* Nothing of rel shows from layers below this one (an open directory): rel or a directory above it
 * is taken away, or is opaque. No link is followed. */
bool whiteout_hides(int layer, const char *rel);
