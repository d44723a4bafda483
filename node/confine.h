/* node/confine.h: a helper process that handles what others made gives up all that it can. */
#pragma once

#include "lib/base/err.h"

/* The directory dir_fd becomes the root; user 1000, no capability, no new privileges, bounded
 * memory. Without root (tests) only what is left to it. Descriptors that are open stay so. */
int confine_to(int dir_fd, struct err *e) MUST_CHECK;
