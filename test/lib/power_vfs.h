/* test/lib/power_vfs.h: a file system layer for SQLite that remembers what a power cut would leave
 * of the files below one directory, and that fails on demand. All calls from any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct power_vfs; /* opaque */

/* Becomes SQLite's default; files outside of dir pass through. dir: borrowed until free. */
struct power_vfs *power_vfs_new(const char *dir);
void power_vfs_free(struct power_vfs *take_v); /* after all files are closed */

enum power_vfs_loss {
	POWER_VFS_NONE,   /* nothing is lost: a crash of the process */
	POWER_VFS_ALL,    /* all that was not synced */
	POWER_VFS_WRITES, /* some of the writes that were not synced */
	POWER_VFS_TORN,   /* some sectors of them */
	POWER_VFS_LOSSES,
};
/* Writes what the disk would hold after a power cut now into the directory out, which exists. seed:
 * chooses what of the unsynced is lost. */
void power_vfs_image(struct power_vfs *v, const char *out, enum power_vfs_loss loss, uint64_t seed);

/* Called before and after each write, truncation and sync, on the thread that does it, with the
 * layer locked; may take an image with power_vfs_image. NULL: none. */
typedef void power_vfs_tick_fn(struct power_vfs *v, void *arg);
void power_vfs_on_tick(struct power_vfs *v, power_vfs_tick_fn *fn, void *arg);

enum power_vfs_fault {
	POWER_VFS_FULL,      /* writes that make a file longer: no room */
	POWER_VFS_WRITE,     /* writes: I/O error, half of it is written */
	POWER_VFS_SYNC,      /* syncs: I/O error; what they should have saved stays unsynced */
	POWER_VFS_SYNC_LOST, /* the same, and the kernel then takes the pages for clean: they never
	                        reach the disk unless written again */
	POWER_VFS_FAULTS,
};
/* The next n such operations fail; n < 0: all, until called with 0. */
void power_vfs_fail(struct power_vfs *v, enum power_vfs_fault fault, int n);
int power_vfs_failed(struct power_vfs *v); /* so many did, since the last call */
