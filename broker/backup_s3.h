/* broker/backup_s3.h: archives as objects of an S3-compatible store, each call signed with AWS
 * Signature Version 4. What is larger than a part (--backup-s3-part) goes up in parts while it is
 * made; an upload that does not come to its end is aborted, one of a broker that died by the next
 * backup of the same application. Loop thread. */
#pragma once

#include "broker/backup_store.h"

struct backup_s3;

/* dir: "BUCKET/PREFIX/APP"; name: of the object in it. Copied. Callbacks as of backup_store; never
 * inside a call. */
struct backup_s3 *backup_s3_put(struct broker *b, const char *dir, const char *name,
    backup_store_room_fn *on_room, backup_store_done_fn *done, void *arg);
bool backup_s3_add(struct backup_s3 *s, const void *p, size_t n);
void backup_s3_end(struct backup_s3 *s);

struct backup_s3 *backup_s3_get(struct broker *b, const char *dir, const char *name,
    backup_store_data_fn *on_data, backup_store_done_fn *done, void *arg);
void backup_s3_resume(struct backup_s3 *s);

struct backup_s3 *backup_s3_delete(
    struct broker *b, const char *dir, const char *name, backup_store_done_fn *done, void *arg);

void backup_s3_free(struct backup_s3 *take_s); /* ends it; NULL is fine */
