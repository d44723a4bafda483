/* broker/backup.h: backups of applications on a schedule: each a snapshot in a backup_store, kept
 * in a number. Level-triggered: the next time is in the record; one that was missed runs once. Only
 * what a record names is ever deleted. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_backup.h"

struct backups;
struct broker;
struct restore_opts;

struct backups *backups_new(struct broker *b);
void backups_free(struct backups *take_s); /* what is under way is thrown away */

typedef void backup_done_fn(const struct err *e, void *arg);

/* Schedule: to must be of backup_store_target. Runs the first at once. */
void backup_enable(struct broker *b, const char *app_id, int64_t every_s, int64_t keep,
    const char *to, backup_done_fn *done, void *arg);
/* Nothing more is made; what was stays, and can be restored. ERR_NOT_FOUND: it never was enabled.
 */
void backup_disable(struct broker *b, const char *app_id, backup_done_fn *done, void *arg);
/* One now, whatever the schedule; with one under way: done with that. ERR_NOT_FOUND: not enabled.
 */
void backup_run(struct broker *b, const char *app_id, backup_done_fn *done, void *arg);
/* out: zeroed; absent is empty. */
int backup_get(
    const struct broker *b, const char *app_id, struct wire_backup *out, struct err *e) MUST_CHECK;
/* name NULL: the newest. o: app_id, login …; its on_room is not used. ERR_NOT_FOUND. */
int backup_restore(
    struct broker *b, const char *name, const struct restore_opts *o, struct err *e) MUST_CHECK;
