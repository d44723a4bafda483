/* node/volume_size.h: how much of the file system in a gear's image the gear may use. The file
 * system is made larger than the gear's disk (the image is sparse: it costs nothing), and what is
 * over is held back by the kernel; so a disk becomes larger, or smaller, while it is in use. Beyond
 * that the file system itself must grow, which the kernel lets only CAP_SYS_RESOURCE do while it is
 * mounted. Blocks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

enum { VOLUME_SIZE_RESERVED_MB = 4 }; /* for the daemon: neither gear nor overlay may use it */

/* Of a new image. */
int64_t volume_size_image_mb(int64_t disk_mb);
/* Left without being unmounted, with errors, or unreadable: to be checked. */
bool volume_size_needs_check(const char *image);
/* Grows (never shrinks) image and file system where the disk or the number of files asks for it.
 * device: it is mounted from; NULL: it is not mounted. Nothing to do: 0. */
int volume_size_grow(const char *image, const char *device, int64_t disk_mb, int64_t files,
    struct err *e) MUST_CHECK;
/* The file system mounted from device lets its gear have so much; *out_mb: what it has, less when
 * the file system is too small. */
int volume_size_hold(
    const char *device, int64_t disk_mb, int64_t *out_mb, struct err *e) MUST_CHECK;
