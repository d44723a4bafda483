/* broker/backup_file.h: files that are larger than memory, written and read on workers while the
 * loop goes on. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct backup_file;
struct worker;

typedef void backup_file_room_fn(void *arg);
/* Once, after backup_file_end: e NULL: it is durable as `path`. sha256: hex. */
typedef void backup_file_done_fn(int64_t size, const char *sha256, const struct err *e, void *arg);

/* Writes path.part beside it (its directories are made), at the end renames it. */
struct backup_file *backup_file_write_start(struct worker *w, const char *path,
    backup_file_room_fn *on_room, backup_file_done_fn *done, void *arg);
/* false: wait for on_room (they are taken all the same). */
bool backup_file_add(struct backup_file *f, const void *p, size_t n);
void backup_file_end(struct backup_file *f);

/* Reads path in pieces: each is borrowed for the call. n 0: the end; e: it broke off. After a piece
 * comes the next with backup_file_next. */
typedef void backup_file_data_fn(const char *p, size_t n, const struct err *e, void *arg);
struct backup_file *backup_file_read_start(
    struct worker *w, const char *path, backup_file_data_fn *on_data, void *arg);
void backup_file_next(struct backup_file *f);

void backup_file_free(struct backup_file *take_f); /* an unfinished .part goes; NULL is fine */
