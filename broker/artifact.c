#include "broker/artifact.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "broker/blob.h"
#include "broker/broker.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/worker.h"

enum { QUEUE_MAX = 1 << 20, BLOCK = 256 * 1024 };
static const int64_t DISK_FLOOR = 256LL << 20; /* that is left to the broker */

/* --- into a file --- */

struct artifact_sink {
	struct broker *b; /* borrowed */
	char *path;       /* owned; NULL: given away */
	int fd;
	int64_t left;    /* bytes that may still come */
	char *too_large; /* owned */
	struct buf buf;
	struct worker_job *job;
	bool is_closed;
	struct err e;
	struct artifact_sink_opts o;
};

/* What a worker writes, by a descriptor of its own. */
struct piece {
	struct artifact_sink *s; /* for done only */
	struct buf buf;
	int fd;
	struct err e;
};

static void
piece_free(void *p)
{
	struct piece *x = p;

	buf_fini(&x->buf);
	file_close(x->fd);
	free(x);
}

void
artifact_sink_cancel(struct artifact_sink *take_s)
{
	if (take_s == NULL)
		return;
	worker_detach(take_s->job);
	file_close(take_s->fd);
	if (take_s->path != NULL)
		(void)unlink(take_s->path);
	free(take_s->path);
	free(take_s->too_large);
	buf_fini(&take_s->buf);
	free(take_s);
}

static void
piece_run(void *p)
{
	struct piece *x = p;
	struct statvfs v;

	if (fstatvfs(x->fd, &v) == 0 && (int64_t)v.f_bavail * (int64_t)v.f_frsize < DISK_FLOOR)
		(void)err_set(&x->e, ERR_LIMIT, NULL, "the disk of the broker is full");
	else
		(void)!file_write_all(x->fd, x->buf.p, x->buf.n, &x->e);
}

static void
sink_end(struct artifact_sink *s)
{
	AUTO(free) char *path = NULL;

	if (s->e.code == ERR_NONE)
		path = STEAL(s->path);
	s->o.done(path, path == NULL ? &s->e : NULL, s->o.arg);
	artifact_sink_cancel(s);
}

static void write_piece(struct artifact_sink *s);

static void
on_piece(void *p)
{
	struct piece *x = p;
	struct artifact_sink *s = x->s;

	s->job = NULL;
	if (s->e.code == ERR_NONE)
		s->e = x->e;
	piece_free(x);
	if (s->e.code != ERR_NONE || (s->is_closed && s->buf.n == 0)) {
		sink_end(s);
		return;
	}
	if (s->buf.n > 0)
		write_piece(s);
	s->o.on_room(s->o.arg);
}

static void
write_piece(struct artifact_sink *s)
{
	struct piece *x = xcalloc(1, sizeof *x);

	*x = (struct piece){ .s = s, .buf = s->buf, .fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3) };
	s->buf = (struct buf){ 0 };
	s->job = worker_submit(s->b->worker, piece_run, on_piece, piece_free, x);
}

bool
artifact_sink_write(struct artifact_sink *s, const char *p, size_t n)
{
	s->left -= (int64_t)n;
	if (s->left < 0 && s->e.code == ERR_NONE)
		(void)err_set(&s->e, ERR_LIMIT, s->o.field, "%s", s->too_large);
	if (s->e.code == ERR_NONE)
		buf_add(&s->buf, p, n);
	if (s->job == NULL)
		write_piece(s);
	return s->buf.n < QUEUE_MAX;
}

void
artifact_sink_close(struct artifact_sink *s)
{
	s->is_closed = true;
	if (s->job == NULL)
		write_piece(s);
}

struct artifact_sink *
artifact_sink_start(struct broker *b, const struct artifact_sink_opts *o, struct err *e)
{
	struct artifact_sink *s = xcalloc(1, sizeof *s);

	*s = (struct artifact_sink){
		.b = b,
		.path = blob_store_tmp(b->blobs),
		.left = o->bytes_max,
		.too_large = xstrdup(o->too_large),
		.o = *o,
	};
	s->fd = open(s->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->fd >= 0)
		return s;
	(void)err_set(e, ERR_SYSTEM, NULL, "cannot make a file for the archive");
	artifact_sink_cancel(s);
	return NULL;
}

/* --- from it --- */

/* The job of its worker too. */
struct artifact_reader {
	struct broker *b; /* borrowed */
	int fd;
	char *block; /* owned */
	ssize_t n;
	struct worker_job *job; /* loop only */
	artifact_data_fn *on_data;
	artifact_end_fn *on_end;
	void *arg;
};

static void
reader_free(void *p)
{
	struct artifact_reader *r = p;

	file_close(r->fd);
	free(r->block);
	free(r);
}

static void
reader_run(void *p)
{
	struct artifact_reader *r = p;

	r->n = read(r->fd, r->block, BLOCK);
}

static void
reader_done(void *p)
{
	struct artifact_reader *r = p;
	struct err e = { 0 };

	r->job = NULL;
	if (r->n > 0) {
		if (r->on_data(r->block, (size_t)r->n, r->arg))
			artifact_reader_resume(r);
		return;
	}
	if (r->n < 0)
		(void)err_set(&e, ERR_SYSTEM, NULL, "cannot read the archive");
	r->on_end(r->n < 0 ? &e : NULL, r->arg);
	reader_free(r);
}

void
artifact_reader_resume(struct artifact_reader *r)
{
	if (r->job == NULL)
		r->job = worker_submit(r->b->worker, reader_run, reader_done, reader_free, r);
}

void
artifact_reader_cancel(struct artifact_reader *take_r)
{
	if (take_r != NULL && take_r->job != NULL)
		worker_detach(take_r->job);
	else if (take_r != NULL)
		reader_free(take_r);
}

struct artifact_reader *
artifact_reader_start(struct broker *b, const char *path, artifact_data_fn *on_data,
    artifact_end_fn *on_end, void *arg, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct artifact_reader *r;

	if (fd < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot open the archive");
		return NULL;
	}
	r = xcalloc(1, sizeof *r);
	*r = (struct artifact_reader){ .b = b,
		.fd = fd,
		.block = xmalloc(BLOCK),
		.on_data = on_data,
		.on_end = on_end,
		.arg = arg };
	artifact_reader_resume(r);
	return r;
}
