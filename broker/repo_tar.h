/* broker/repo_tar.h: an application's bare repository as a tar stream, for snapshots, and back.
 * Both work on copies below DATA/scratch, which go with the handle. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

struct repo_store;
struct repo_tar;
struct wire_app;

/* The bytes of the stream. Return false to be paused until repo_tar_resume. */
typedef bool repo_tar_data_fn(const char *p, size_t n, void *arg);
/* Once, later. git_dir (repo_tar_load): what came, checked, with no configuration of its own;
 * borrowed until repo_tar_free. The handle lives on. */
typedef void repo_tar_done_fn(const char *git_dir, const struct err *e, void *arg);

/* Members GEAR/git/APP.git/…; of an application without a history of its own: its template's. with
 * (may be NULL; borrowed until done): a directory, whose GEAR/… follows. */
struct repo_tar *repo_tar_save(struct repo_store *rs, const struct wire_app *a, const char *with,
    repo_tar_data_fn *on_data, repo_tar_done_fn *done, void *arg);
void repo_tar_resume(struct repo_tar *t);

/* Takes the members of a bare repository (HEAD, packed-refs, refs/…, objects/…; nothing else may be
 * in it) by repo_tar_write, which returns the bytes queued; on_room when there is room again. */
typedef void repo_tar_room_fn(void *arg);
struct repo_tar *repo_tar_load(
    struct repo_store *rs, repo_tar_room_fn *on_room, repo_tar_done_fn *done, void *arg);
size_t repo_tar_write(struct repo_tar *t, const void *p, size_t n);
void repo_tar_close(struct repo_tar *t); /* no more comes */

void repo_tar_free(struct repo_tar *take_t); /* also before done; NULL is fine */
