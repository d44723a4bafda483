/* broker/backup_store.h: where backups lie: below a directory of the broker's, or in a bucket of an
 * S3-compatible store (signed with AWS Signature Version 4). Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct backup_op;
struct broker;

/* The target as it is kept: a directory relative to conf.backup_dir (NULL or "": that), or
 * s3://BUCKET/PREFIX within conf.backup_s3. Caller owns; NULL: ERR_INVALID, ERR_DENIED. */
char *backup_store_target(const struct broker *b, const char *to, struct err *e);

typedef void backup_store_done_fn(int64_t size, const char *sha256, const struct err *e, void *arg);
typedef void backup_store_room_fn(void *arg);
/* A new archive NAME of the application: whole and durable when done says so, or nothing of it. */
struct backup_op *backup_store_put(struct broker *b, const char *to, const char *app_id,
    const char *name, backup_store_room_fn *on_room, backup_store_done_fn *done, void *arg);
bool backup_store_add(struct backup_op *op, const void *p, size_t n); /* false: wait for on_room */
void backup_store_end(struct backup_op *op);

/* Its bytes: on_data false: wait for backup_store_resume (they are taken all the same). done: size
 * and hash are those of what came. */
typedef bool backup_store_data_fn(const char *p, size_t n, void *arg);
struct backup_op *backup_store_get(struct broker *b, const char *to, const char *app_id,
    const char *name, backup_store_data_fn *on_data, backup_store_done_fn *done, void *arg);
void backup_store_resume(struct backup_op *op);

/* Absent is fine. */
struct backup_op *backup_store_delete(struct broker *b, const char *to, const char *app_id,
    const char *name, backup_store_done_fn *done, void *arg);

void backup_op_free(struct backup_op *take_op); /* ends it; NULL is fine */
