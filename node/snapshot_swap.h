/* node/snapshot_swap.h: the restored data of a gear takes the place of the old, all or nothing:
 * GEARS/UUID/restore/new beside it, a journal, renames on one file system. A node that dies within
 * a swap goes on with it at the gear's next mount; what is ready to be swapped, and that it was,
 * stays until it is discarded. All calls block. */
#pragma once

#include "lib/base/err.h"

/* An empty restore/new for the unpacker; what an earlier one left goes. caller owns *out_dir. */
int snapshot_swap_begin(const char *gear_dir, char **out_dir, struct err *e) MUST_CHECK;
/* It is filled and checked: from now on it outlives the daemon and the machine. */
int snapshot_swap_ready(const char *gear_dir, struct err *e) MUST_CHECK;
/* The old data is gone when this returns 0, also when it was already; on failure it is there.
 * ERR_NOT_FOUND: nothing is ready. No web instance may run. What is in restore/new/git stays. */
int snapshot_swap_commit(const char *gear_dir, struct err *e) MUST_CHECK;
/* After a mount: a swap that was begun is finished; what was not ready is removed. */
int snapshot_swap_recover(const char *gear_dir, struct err *e) MUST_CHECK;
/* Throws away what was unpacked, or what is left of it. */
int snapshot_swap_discard(const char *gear_dir, struct err *e) MUST_CHECK;
