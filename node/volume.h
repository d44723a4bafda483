/* node/volume.h: the file system of a gear's own data under a disk limit: a sparse ext4 image on a
 * loop device (volume_size), copied from a prepared template; or, where there are no loop devices,
 * a plain directory without a limit. Mounted at GEARS/UUID. All calls block: for workers and the
 * start; thread-safe, but two calls for one gear must not overlap. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct node_dirs;
struct volumes;

/* kind: "auto", "image" or "plain"; dirs: borrowed for life. */
struct volumes *volumes_open(
    const struct node_dirs *dirs, const char *kind, struct err *e) MUST_CHECK;
void volumes_close(struct volumes *take_v); /* volumes stay mounted */
DEFINE_AUTO(struct volumes *, volumes_close)
const char *volumes_kind(const struct volumes *v); /* "image" or "plain" */

/* files: how many it can hold; 0: what suits the size. */
/* A new volume with the skeleton of a home in it (gear_home), mounted. One that is there, whole or
 * half made, is made anew: call only while no record says that it is complete. */
int volume_make(
    struct volumes *v, const char *uuid, int64_t disk_mb, int64_t files, struct err *e) MUST_CHECK;
/* Mounts what volume_make made, checking the file system first when it was not unmounted cleanly;
 * mounted already: nothing. ERR_NOT_FOUND: there is no volume. */
int volume_mount(struct volumes *v, const char *uuid, struct err *e) MUST_CHECK;
bool volume_is_mounted(const struct volumes *v, const char *uuid);
/* Unmounts (ERR_BUSY at the deadline) and waits until nobody holds the device any more; who still
 * does then is named in the log. Nothing of the gear may run. */
int volume_unmount(
    struct volumes *v, const char *uuid, int64_t timeout_ms, struct err *e) MUST_CHECK;
/* Unmounts and removes for good; absent is fine. */
int volume_remove(struct volumes *v, const char *uuid, struct err *e) MUST_CHECK;
/* Moves a volume that nobody claims to DATA/aside/UUID.<time>; older ones than 7 days are removed.
 */
int volume_set_aside(struct volumes *v, const char *uuid, struct err *e) MUST_CHECK;
int volume_purge_aside(struct volumes *v, int64_t max_age_s, struct err *e) MUST_CHECK;
/* Before it is mounted: grows (never shrinks) what is too small for the disk or the number of
 * files. Of a mounted or a plain one: nothing. */
int volume_grow(
    struct volumes *v, const char *uuid, int64_t disk_mb, int64_t files, struct err *e) MUST_CHECK;
/* Gives a mounted volume this disk, larger or smaller than before; what lies in it stays. *out_mb:
 * what it has, less where the file system cannot grow while it is mounted (it will before the next
 * mount). */
int volume_fit(struct volumes *v, const char *uuid, int64_t disk_mb, int64_t files, int64_t *out_mb,
    struct err *e) MUST_CHECK;
/* Used and free KiB of a mounted volume. */
int volume_usage(const struct volumes *v, const char *uuid, int64_t *out_used_kb,
    int64_t *out_free_kb, struct err *e) MUST_CHECK;
