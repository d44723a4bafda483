#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/gear_log.h"
#include "node/gear_log_reader.h"

enum {
	POLL_MS = 500,    /* where inotify does not tell (no instance left, no root yet) */
	COALESCE_MS = 10, /* an application that writes line by line costs one look */
};

/* A look on a worker. It owns the reader meanwhile, and what was read. */
struct look {
	struct gear_log_follow *f; /* borrowed; only touched on the loop */
	struct gear_log_reader *reader;
	struct gear_log_lines lines;
	bool more, has_failed;
	struct err e;
};

struct gear_log_follow {
	struct loop *loop;              /* borrowed */
	struct worker *worker;          /* borrowed */
	struct gear_log_reader *reader; /* owned, unless a look has it */
	struct worker_job *job;         /* a look under way */
	struct loop_io *io;
	struct loop_timer *timer; /* when to look next */
	gear_log_fn *fn;
	void *arg;
	bool is_paused, is_dirty, is_over;
};

static void
free_look(void *take_job)
{
	struct look *k = take_job;

	gear_log_reader_free(k->reader);
	gear_log_lines_fini(&k->lines);
	free(k);
}

static void
run_look(void *job)
{
	struct look *k = job;

	k->has_failed = gear_log_reader_next(k->reader, &k->lines, &k->more, &k->e) < 0;
}

static void
done_look(void *job)
{
	struct look *k = job;
	struct gear_log_follow *f = k->f;
	bool goes_on = true;

	f->job = NULL;
	f->reader = STEAL(k->reader);
	if (k->more)
		f->is_dirty = true;
	if (k->has_failed)
		f->is_over = true;
	if (f->is_dirty)
		loop_timer_again(f->timer, k->lines.n > 0 ? 0 : COALESCE_MS);
	else if (!gear_log_reader_is_watching(f->reader))
		loop_timer_again(f->timer, POLL_MS);
	if (k->has_failed || k->lines.n > 0) {
		f->is_paused = true; /* until it says otherwise */
		goes_on =
		    f->fn(k->has_failed ? NULL : &k->lines, k->has_failed ? &k->e : NULL, f->arg);
		if (goes_on)
			f->is_paused = false;
	}
	free_look(k);
}

static void
submit(struct gear_log_follow *f)
{
	struct look *k;

	if (f->job != NULL || f->is_paused || f->is_over)
		return;
	f->is_dirty = false;
	k = xcalloc(1, sizeof *k);
	k->f = f;
	k->reader = STEAL(f->reader);
	f->job = worker_submit(f->worker, run_look, done_look, free_look, k);
}

static void
on_timer(void *arg)
{
	submit(arg);
}

static void
on_notify(int fd, int what, void *arg)
{
	struct gear_log_follow *f = arg;
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	(void)what;
	while (read(fd, events, sizeof events) > 0)
		;
	if (!f->is_dirty && !f->is_paused)
		loop_timer_again(f->timer, COALESCE_MS);
	f->is_dirty = true;
}

struct gear_log_follow *
gear_log_follow_start(struct loop *l, struct worker *w, const char *root, const char *gear,
    size_t lines, gear_log_fn *fn, void *arg)
{
	struct gear_log_follow *f = xcalloc(1, sizeof *f);
	int fd;

	f->loop = l;
	f->worker = w;
	f->fn = fn;
	f->arg = arg;
	f->reader = gear_log_reader_new(root, gear, lines);
	fd = gear_log_reader_fd(f->reader);
	if (fd >= 0)
		f->io = loop_io_start(l, fd, LOOP_READ, on_notify, f);
	f->timer = loop_timer_start(l, 0, false, on_timer, f);
	return f;
}

void
gear_log_follow_resume(struct gear_log_follow *f)
{
	if (!f->is_paused)
		return;
	f->is_paused = false;
	loop_timer_again(f->timer, 0);
}

void
gear_log_follow_cancel(struct gear_log_follow *take_f)
{
	if (take_f == NULL)
		return;
	take_f->is_over = true;
	loop_io_cancel(take_f->io);
	loop_timer_cancel(take_f->timer);
	if (take_f->job != NULL)
		worker_detach(take_f->job);
	gear_log_reader_free(take_f->reader);
	/* It may be its own callback that cancels. */
	loop_free_later(take_f->loop, free, take_f);
}
