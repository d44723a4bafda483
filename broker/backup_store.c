#include "broker/backup_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/backup_file.h"
#include "broker/backup_s3.h"
#include "broker/broker.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/loop/worker.h"

static const char s3_prefix[] = "s3://";
struct backup_op {
	struct broker *b;     /* borrowed */
	struct backup_s3 *s3; /* owned; or: */
	char *path;           /* owned: the file */
	struct backup_file *file;
	struct worker_job *job;
	int64_t size;
	char sha256[65];
	struct secret_sha256 *hash;
	backup_store_room_fn *on_room;
	backup_store_data_fn *on_data;
	backup_store_done_fn *done;
	void *arg;
};

/* --- targets --- */

static bool
is_within(const char *path, const char *root)
{
	size_t n = strlen(root);

	while (n > 0 && root[n - 1] == '/')
		n--;
	return strncmp(path, root, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

/* Letters that need no encoding, no "." or "..". */
static bool
is_plain(const char *path)
{
	struct str rest = str_of(path), part;

	for (const char *p = path; *p != '\0'; p++) {
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./",
		        *p) == NULL)
			return false;
	}
	while (rest.p != NULL) {
		rest = str_cut(rest, '/', &part);
		if (str_eq(part, ".") || str_eq(part, ".."))
			return false;
	}
	return true;
}

char *
backup_store_target(const struct broker *b, const char *to, struct err *e)
{
	const char *dir = b->conf.backup_dir, *s3 = b->conf.backup_s3;
	AUTO(free) char *path = NULL;
	size_t n;

	if (to == NULL || *to == '\0')
		to = dir;
	path = to[0] == '/' || str_has_prefix(to, s3_prefix) ? xstrdup(to) : file_join(dir, to);
	for (n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	if (!is_plain(str_has_prefix(path, s3_prefix) ? path + strlen(s3_prefix) : path)) {
		(void)err_set(e, ERR_INVALID, "to",
		    "'%.100s' may have letters, digits and . _ - / only, and no '..'", to);
		return NULL;
	}
	if (path[0] == '/' && is_within(path, dir)) {
		const char *below = path + strlen(dir);

		return xstrdup(*below == '/' ? below + 1 : ".");
	}
	if (path[0] == '/')
		(void)err_set(e, ERR_INVALID, "to",
		    "Backups go below the broker's directory for them (--backup-dir): give the "
		    "name of a directory there.");
	else if (s3 == NULL || *s3 == '\0')
		(void)err_set(e, ERR_INVALID, "to",
		    "No S3 store is set up: the administrator does that by --backup-s3 and "
		    "--backup-s3-endpoint of the broker.");
	else if (is_within(path, s3))
		return STEAL(path);
	else
		(void)err_set(e, ERR_INVALID, "to", "Backups in S3 go below %s here.", s3);
	return NULL;
}

/* --- all --- */

void
backup_op_free(struct backup_op *take_op)
{
	struct backup_op *op = take_op;

	if (op == NULL)
		return;
	backup_s3_free(op->s3);
	backup_file_free(op->file);
	worker_detach(op->job);
	free(op->path);
	secret_sha256_free(op->hash);
	free(op);
}

static struct backup_op *
new_op(struct broker *b, backup_store_done_fn *done, void *arg)
{
	struct backup_op *op = xcalloc(1, sizeof *op);

	op->b = b;
	op->done = done;
	op->arg = arg;
	return op;
}

/* Where an object or a file lies. Caller owns. */
static char *
s3_dir(const char *to, const char *app_id)
{
	if (!str_has_prefix(to, s3_prefix))
		return NULL;
	return file_join(to + strlen(s3_prefix), app_id);
}

static char *
file_path(const struct broker *b, const char *to, const char *app_id, const char *name)
{
	return xasprintf("%s/%s/%s/%s", b->conf.backup_dir, to, app_id, name);
}

static void
finish(struct backup_op *op, const struct err *e)
{
	op->done(op->size, op->sha256, e, op->arg);
}

static void
on_end(int64_t size, const char *sha256, const struct err *e, void *arg)
{
	struct backup_op *op = arg;

	op->done(size, sha256, e, op->arg);
}

static void
on_room(void *arg)
{
	struct backup_op *op = arg;

	op->on_room(op->arg);
}

/* --- put --- */

struct backup_op *
backup_store_put(struct broker *b, const char *to, const char *app_id, const char *name,
    backup_store_room_fn *room, backup_store_done_fn *done, void *arg)
{
	struct backup_op *op = new_op(b, done, arg);
	AUTO(free) char *dir = s3_dir(to, app_id);

	op->on_room = room;
	if (dir != NULL) {
		op->s3 = backup_s3_put(b, dir, name, on_room, on_end, op);
		return op;
	}
	op->path = file_path(b, to, app_id, name);
	op->file = backup_file_write_start(b->worker, op->path, on_room, on_end, op);
	return op;
}

bool
backup_store_add(struct backup_op *op, const void *p, size_t n)
{
	return op->s3 != NULL ? backup_s3_add(op->s3, p, n) : backup_file_add(op->file, p, n);
}

void
backup_store_end(struct backup_op *op)
{
	if (op->s3 != NULL)
		backup_s3_end(op->s3);
	else
		backup_file_end(op->file);
}

/* --- get --- */

static void
on_file_data(const char *p, size_t n, const struct err *e, void *arg)
{
	struct backup_op *op = arg;

	if (e != NULL || n == 0) {
		secret_sha256_end(op->hash, op->sha256);
		finish(op, e);
		return;
	}
	secret_sha256_add(op->hash, p, n);
	op->size += (int64_t)n;
	if (op->on_data(p, n, op->arg))
		backup_file_next(op->file);
}

static bool
on_object_data(const char *p, size_t n, void *arg)
{
	struct backup_op *op = arg;

	return op->on_data(p, n, op->arg);
}

struct backup_op *
backup_store_get(struct broker *b, const char *to, const char *app_id, const char *name,
    backup_store_data_fn *on_data, backup_store_done_fn *done, void *arg)
{
	struct backup_op *op = new_op(b, done, arg);
	AUTO(free) char *dir = s3_dir(to, app_id);

	op->on_data = on_data;
	if (dir != NULL) {
		op->s3 = backup_s3_get(b, dir, name, on_object_data, on_end, op);
		return op;
	}
	op->hash = secret_sha256_new();
	op->path = file_path(b, to, app_id, name);
	op->file = backup_file_read_start(b->worker, op->path, on_file_data, op);
	return op;
}

void
backup_store_resume(struct backup_op *op)
{
	if (op->s3 != NULL)
		backup_s3_resume(op->s3);
	else
		backup_file_next(op->file);
}

/* --- delete --- */

struct removal {
	struct backup_op *op;
	char *path;
	struct err e;
};

static void
removal_free(void *p)
{
	struct removal *r = p;

	free(r->path);
	free(r);
}

static void
removal_run(void *p)
{
	struct removal *r = p;

	if (unlink(r->path) < 0 && errno != ENOENT)
		(void)err_set(&r->e, ERR_SYSTEM, NULL, "remove %s", r->path);
}

static void
removal_done(void *p)
{
	struct removal *r = p;
	struct backup_op *op = r->op;
	struct err e = r->e;

	op->job = NULL;
	removal_free(r);
	finish(op, e.code == ERR_NONE ? NULL : &e);
}

struct backup_op *
backup_store_delete(struct broker *b, const char *to, const char *app_id, const char *name,
    backup_store_done_fn *done, void *arg)
{
	struct backup_op *op = new_op(b, done, arg);
	AUTO(free) char *dir = s3_dir(to, app_id);
	struct removal *r;

	if (dir != NULL) {
		op->s3 = backup_s3_delete(b, dir, name, on_end, op);
		return op;
	}
	r = xcalloc(1, sizeof *r);
	*r = (struct removal){ .op = op, .path = file_path(b, to, app_id, name) };
	op->job = worker_submit(b->worker, removal_run, removal_done, removal_free, r);
	return op;
}
