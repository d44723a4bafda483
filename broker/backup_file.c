#include "broker/backup_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/worker.h"

enum { PIECE = 256 * 1024, QUEUE_MAX = 1024 * 1024 };

/* What the worker has; it goes from job to job. */
struct work {
	struct backup_file *owner; /* done only */
	char *path, *part;         /* owned; part NULL: reading */
	int fd;
	struct buf data;
	struct secret_sha256 *hash;
	int64_t size;
	bool ends, is_done;
	char hex[65];
	struct err e;
};

struct backup_file {
	struct worker *worker;
	struct work *work; /* owned; NULL: it is with the worker */
	struct worker_job *job;
	struct buf queue;
	bool ends, wants;
	backup_file_room_fn *on_room;
	backup_file_done_fn *done;
	backup_file_data_fn *on_data;
	void *arg;
};

static void
work_free(void *p)
{
	struct work *w = p;

	if (w == NULL)
		return;
	file_close(w->fd);
	if (w->part != NULL && !w->is_done && w->size >= 0)
		(void)unlink(w->part);
	buf_fini(&w->data);
	secret_sha256_free(w->hash);
	free(w->path);
	free(w->part);
	free(w);
}

void
backup_file_free(struct backup_file *take_f)
{
	if (take_f == NULL)
		return;
	worker_detach(take_f->job);
	work_free(take_f->work);
	buf_fini(&take_f->queue);
	free(take_f);
}

static struct backup_file *
new_file(struct worker *w, const char *path, bool writes, void *arg)
{
	struct backup_file *f = xcalloc(1, sizeof *f);

	f->worker = w;
	f->arg = arg;
	f->work = xcalloc(1, sizeof *f->work);
	f->work->fd = -1;
	f->work->path = xstrdup(path);
	if (writes) {
		f->work->part = xasprintf("%s.part", path);
		f->work->hash = secret_sha256_new();
	}
	return f;
}

/* --- writing --- */

static int
open_part(struct work *w)
{
	char *slash = strrchr(w->path, '/');
	AUTO(free) char *dir = xstrndup(w->path, (size_t)(slash - w->path));

	if (file_mkdirs(dir, 0700, &w->e) < 0)
		return -1;
	w->fd = open(w->part, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	return w->fd < 0 ? err_set(&w->e, ERR_SYSTEM, NULL, "write %s", w->part) : 0;
}

static int
finish_part(struct work *w)
{
	char *slash = strrchr(w->path, '/');
	AUTO(free) char *dir = xstrndup(w->path, (size_t)(slash - w->path));
	AUTO(file_close) int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fsync(w->fd) < 0 || rename(w->part, w->path) < 0 || at < 0 || fsync(at) < 0)
		return err_set(&w->e, ERR_SYSTEM, NULL, "write %s", w->path);
	w->is_done = true;
	secret_sha256_end(w->hash, w->hex);
	return 0;
}

static void
write_run(void *p)
{
	struct work *w = p;

	if (w->e.code != ERR_NONE || (w->fd < 0 && open_part(w) < 0))
		return;
	if (w->data.n > 0) {
		if (file_write_all(w->fd, w->data.p, w->data.n, &w->e) < 0)
			return;
		secret_sha256_add(w->hash, w->data.p, w->data.n);
		w->size += (int64_t)w->data.n;
	}
	buf_clear(&w->data);
	if (w->ends)
		(void)finish_part(w);
}

static void write_next(struct backup_file *f);

static void
write_done(void *p)
{
	struct work *w = p;
	struct backup_file *f = w->owner;

	f->job = NULL;
	f->work = w;
	if (w->ends) {
		f->done(w->size, w->hex, w->is_done ? NULL : &w->e, f->arg);
		return;
	}
	if (f->queue.n > 0 || f->ends)
		write_next(f);
	else if (f->wants) {
		f->wants = false;
		f->on_room(f->arg);
	}
}

static void
write_next(struct backup_file *f)
{
	struct work *w = STEAL(f->work);
	struct buf empty = w->data;

	w->owner = f;
	w->data = f->queue;
	f->queue = empty;
	w->ends = f->ends;
	f->job = worker_submit(f->worker, write_run, write_done, work_free, w);
}

struct backup_file *
backup_file_write_start(struct worker *w, const char *path, backup_file_room_fn *on_room,
    backup_file_done_fn *done, void *arg)
{
	struct backup_file *f = new_file(w, path, true, arg);

	f->on_room = on_room;
	f->done = done;
	return f;
}

bool
backup_file_add(struct backup_file *f, const void *p, size_t n)
{
	buf_add(&f->queue, p, n);
	if (f->work != NULL && f->queue.n >= PIECE)
		write_next(f);
	f->wants = f->work == NULL && f->queue.n > QUEUE_MAX;
	return !f->wants;
}

void
backup_file_end(struct backup_file *f)
{
	f->ends = true;
	if (f->work != NULL)
		write_next(f);
}

/* --- reading --- */

static void
read_run(void *p)
{
	struct work *w = p;
	ssize_t n;

	if (w->fd < 0)
		w->fd = open(w->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	buf_reserve(&w->data, PIECE);
	n = w->fd < 0 ? -1 : read(w->fd, w->data.p, PIECE);
	if (n < 0)
		(void)err_set(
		    &w->e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, NULL, "read %s", w->path);
	w->data.n = n < 0 ? 0 : (size_t)n;
}

static void
read_done(void *p)
{
	struct work *w = p;
	struct backup_file *f = w->owner;

	f->job = NULL;
	f->work = w;
	f->on_data(w->data.p, w->data.n, w->e.code == ERR_NONE ? NULL : &w->e, f->arg);
}

void
backup_file_next(struct backup_file *f)
{
	struct work *w;

	if (f->work == NULL)
		return;
	w = STEAL(f->work);
	w->owner = f;
	f->job = worker_submit(f->worker, read_run, read_done, work_free, w);
}

struct backup_file *
backup_file_read_start(struct worker *w, const char *path, backup_file_data_fn *on_data, void *arg)
{
	struct backup_file *f = new_file(w, path, false, arg);

	f->on_data = on_data;
	backup_file_next(f);
	return f;
}
