/* lib/base/fault.h: named points between two steps, where a test build can be made to die at once
 * (SIGKILL), to prove that the next start finds its way. Compiled in with --enable-fault-points.
 *
 * PINION_FAULT=NAME[:N]       dies at the N-th passing of NAME (default 1);
 * PINION_FAULT_FILE=FILE      the same, with NAME[:N] read from FILE at each point; FILE is removed
 *                             just before the end, so that the process that follows lives. */
#pragma once

#include "config.h"

#ifdef ENABLE_FAULT_POINTS
void fault_hit(const char *name);
#define fault_point(name) fault_hit(name)
#else
#define fault_point(name) ((void)0)
#endif
