/* node/snapshot_swap.h: the restored data of a gear takes the place of the old, all or nothing:
 * GEARS/UUID/restore/new beside it, a journal, renames on one file system. A node that dies at any
 * point goes on, or forgets it, at the gear's next mount. All calls block. */
#pragma once

#include "lib/base/err.h"

/* An empty restore/new for the unpacker; what an earlier one left goes. caller owns *out_dir. */
int snapshot_swap_begin(const char *gear_dir, char **out_dir, struct err *e) MUST_CHECK;
/* The old data is gone when this returns 0; on failure it is there. No web instance may run. */
int snapshot_swap_commit(const char *gear_dir, struct err *e) MUST_CHECK;
/* After a mount: a swap that was begun is finished; else what lies there is removed. */
int snapshot_swap_recover(const char *gear_dir, struct err *e) MUST_CHECK;
/* Throws away what was unpacked. */
int snapshot_swap_discard(const char *gear_dir, struct err *e) MUST_CHECK;
