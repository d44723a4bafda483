/* broker/restore_artifact.h: the deployment that a node has unpacked from a snapshot, which came as
 * an archive, fetched into a file of the broker for a build. Loop thread. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"

struct broker;
struct restore_artifact;

/* Once, later. path: a file that the receiver removes; NULL: e says why. ERR_BUSY: the node broke
 * off. */
typedef void restore_artifact_fn(const char *path, const struct err *e, void *arg);
struct restore_artifact *restore_artifact_start(struct broker *b, const char *node,
    const char *gear, int64_t bytes_max, restore_artifact_fn *fn, void *arg,
    struct err *e) MUST_CHECK;
void restore_artifact_free(struct restore_artifact *take_a); /* NULL is fine */
