/* broker/app_snapshot.h: a snapshot of an application, as OpenShift v2 made it: the archive of its
 * head gear, made by the gear's node, with the repository that the broker has. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

struct broker;
struct app_snapshot;

/* The bytes of the archive. Return false to be paused until app_snapshot_resume (the bytes are
 * taken all the same). */
typedef bool app_snapshot_data_fn(const char *p, size_t n, void *arg);
/* Once, later: e NULL: the archive is whole. ERR_CONFLICT: the gear's state does not allow it;
 * ERR_BUSY: the node is away. The handle is gone when this returns. */
typedef void app_snapshot_done_fn(const struct err *e, void *arg);

struct app_snapshot *app_snapshot_start(struct broker *b, const char *app_id,
    app_snapshot_data_fn *on_data, app_snapshot_done_fn *done, void *arg, struct err *e) MUST_CHECK;
/* One deployment alone, as `gear binary-deploy` takes it. NULL: ERR_NOT_FOUND: there is no such. */
struct app_snapshot *app_snapshot_deployment(struct broker *b, const char *app_id,
    const char *deployment, app_snapshot_data_fn *on_data, app_snapshot_done_fn *done, void *arg,
    struct err *e) MUST_CHECK;
void app_snapshot_resume(struct app_snapshot *s);
void app_snapshot_cancel(struct app_snapshot *take_s); /* no callback after it; NULL is fine */
