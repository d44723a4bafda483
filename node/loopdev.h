/* node/loopdev.h: loop devices by their backing file. Blocks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

enum { LOOPDEV_NAME_MAX = 32 };

/* The device that has path as its backing file, "/dev/loopN"; false: none. Two mounts must never
 * write one image through two devices. */
bool loopdev_find(const char *path, char out[LOOPDEV_NAME_MAX]);
/* Attaches path (or finds its device) and returns an open fd of the device, which goes away by
 * itself after the last user. */
int loopdev_open(const char *path, char out[LOOPDEV_NAME_MAX], struct err *e) MUST_CHECK;
