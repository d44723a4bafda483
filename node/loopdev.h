/* node/loopdev.h: loop devices by their backing file. Blocks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

enum { LOOPDEV_NAME_MAX = 32 };

/* The device that has path as its backing file, "/dev/loopN"; false: none. Two mounts must never
 * write one image through two devices. */
bool loopdev_find(const char *path, char out[LOOPDEV_NAME_MAX]); /* asks all devices */
/* The device that is mounted on dir, if it is one of these; false: none. Has it that backing file?
 * Both ask one device, however many there are. */
bool loopdev_mounted(const char *dir, char out[LOOPDEV_NAME_MAX]);
bool loopdev_has(const char *device, const char *path);
/* Attaches path (or finds its device) and returns an open fd of the device, which goes away by
 * itself after the last user. is_new: the file was made just now, nothing can have it. */
int loopdev_open(
    const char *path, bool is_new, char out[LOOPDEV_NAME_MAX], struct err *e) MUST_CHECK;
/* Its backing file became larger. */
int loopdev_resized(const char *device, struct err *e) MUST_CHECK;
