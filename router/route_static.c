#include "router/route_static.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "router/fleet.h"
#include "router/host_table.h"
#include "router/route_file.h"
#include "router/route_sum.h"

enum {
	TAIL = 4096,             /* bytes before an end that must stand there still */
	GROWTH_MAX = 256 * 1024, /* lines at the end, taken in at once */
	VERIFY_MS = 1000,
};

/* What of the file is in force. */
struct taken {
	struct stat st;
	size_t n;
	uint64_t sum;
	char tail[TAIL]; /* the last bytes of n */
	size_t tail_n;
};

struct route_static {
	struct loop *loop;        /* borrowed */
	struct worker *worker;    /* borrowed */
	struct fleet *fleet;      /* borrowed */
	char *path;               /* owned */
	int watch_fd;             /* owned; -1: only told by route_static_refresh */
	struct loop_io *io;       /* owned */
	struct loop_timer *later; /* owned: the file is read as a whole */
	struct worker_job *job;   /* reads it; NULL: none */
	bool is_again;            /* it is another since the job began */
	bool has_grown;           /* lines were taken in since then */
	bool is_late;             /* later is set */
	struct taken taken;
	int64_t revision; /* counts what took effect */
};

/* A file read as a whole, in a worker. */
struct reading {
	struct route_static *asker; /* borrowed; detached when that goes */
	char *path;                 /* owned */
	struct stat st;
	struct buf text;
	uint64_t sum;
	struct err e;
	bool failed;
};

/* --- what is in force --- */

static void
keep_tail(struct taken *t, const char *p, size_t n)
{
	size_t keep;

	if (n >= TAIL) {
		memcpy(t->tail, p + n - TAIL, TAIL);
		t->tail_n = TAIL;
		return;
	}
	keep = t->tail_n + n > TAIL ? TAIL - n : t->tail_n;
	memmove(t->tail, t->tail + t->tail_n - keep, keep);
	if (n != 0)
		memcpy(t->tail + keep, p, n);
	t->tail_n = keep + n;
}

static void
publish(struct route_static *s)
{
	fleet_publish(s->fleet, ++s->revision);
}

static void
tell_read(const struct route_static *s)
{
	log_info("routes_read", LOG_INT("routes", host_table_count(fleet_table(s->fleet))));
}

static void
read_whole(struct reading *r)
{
	int rc = stat(r->path, &r->st) == 0
	             ? route_file_read(r->path, &r->text, &r->e)
	             : err_set(&r->e, ERR_NOT_FOUND, NULL, "there is no %s", r->path);

	r->failed = rc < 0;
	r->sum = route_sum(ROUTE_SUM_START, r->text.p, r->text.n);
}

static int
take_whole(struct route_static *s, const struct reading *r, struct err *e)
{
	const char *p = r->text.n == 0 ? "" : r->text.p;

	if (route_file_apply(fleet_table(s->fleet), p, r->text.n, e) < 0)
		return err_wrap(e, "%s", r->path);
	s->taken = (struct taken){ .st = r->st, .n = r->text.n, .sum = r->sum };
	keep_tail(&s->taken, p, r->text.n);
	publish(s);
	return 0;
}

static void
reading_fini(struct reading *r)
{
	buf_fini(&r->text);
	free(r->path);
}

/* --- lines that came at the end --- */

static bool
has_grown(const struct taken *t, const struct stat *now)
{
	return now->st_dev == t->st.st_dev && now->st_ino == t->st.st_ino &&
	       (size_t)now->st_size > t->n && (size_t)now->st_size - t->n <= GROWTH_MAX &&
	       t->tail_n != 0 && t->tail[t->tail_n - 1] == '\n';
}

/* The tail that is known, and what came behind it, into b. */
static bool
read_growth(const struct route_static *s, struct stat *now, struct buf *b)
{
	const struct taken *t = &s->taken;
	int fd = open(s->path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t got = -1;

	if (fd >= 0 && fstat(fd, now) == 0 && has_grown(t, now)) {
		n = t->tail_n + (size_t)now->st_size - t->n;
		buf_reserve(b, n);
		got = pread(fd, b->p, n, (off_t)(t->n - t->tail_n));
	}
	file_close(fd);
	if (got < 0 || (size_t)got != n || n == 0)
		return false;
	b->n = n;
	b->p[n] = '\0';
	return memcmp(b->p, t->tail, t->tail_n) == 0 && b->p[n - 1] == '\n';
}

/* The last line of a host counts: so these do, whatever stands before them. That nothing else
 * changed is looked at later. */
static bool
take_growth(struct route_static *s)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	struct stat now;
	const char *p;
	size_t n;

	if (!read_growth(s, &now, &b))
		return false;
	p = b.p + s->taken.tail_n;
	n = b.n - s->taken.tail_n;
	if (route_file_add(fleet_table(s->fleet), p, n, &e) < 0)
		return false; /* read as a whole, the error has the line's number */
	s->taken.n += n;
	s->taken.sum = route_sum(s->taken.sum, p, n);
	s->taken.st = now;
	keep_tail(&s->taken, p, n);
	publish(s);
	return true;
}

/* --- the whole file, later --- */

static void read_later(struct route_static *s);
static void start_reading(struct route_static *s);

static void
run_reading(void *arg)
{
	read_whole(arg);
}

static void
free_reading(void *arg)
{
	reading_fini(arg);
	free(arg);
}

static void
on_read(void *arg)
{
	struct reading *r = arg;
	struct route_static *s = r->asker;
	struct err e = r->e;

	s->job = NULL;
	if (s->is_again) {
		start_reading(s);
	} else if (s->has_grown) {
		read_later(s);
	} else if (r->failed) {
		log_warn("routes_kept", LOG_ERR(&e));
	} else if (r->text.n == s->taken.n && r->sum == s->taken.sum) {
		s->taken.st = r->st;
	} else if (take_whole(s, r, &e) < 0) {
		log_warn("routes_kept", LOG_ERR(&e));
	} else {
		tell_read(s);
		buf_fini(&r->text);
		(void)malloc_trim(0); /* a large table leaves much behind */
	}
	free_reading(r);
}

static void
start_reading(struct route_static *s)
{
	struct reading *r;

	s->is_again = s->job != NULL;
	if (s->is_again)
		return;
	s->has_grown = false;
	r = xcalloc(1, sizeof *r);
	r->asker = s;
	r->path = xstrdup(s->path);
	s->job = worker_submit(s->worker, run_reading, on_read, free_reading, r);
}

static void
on_later(void *arg)
{
	struct route_static *s = arg;

	s->is_late = false;
	start_reading(s);
}

static void
read_later(struct route_static *s)
{
	if (!s->is_late)
		loop_timer_again(s->later, VERIFY_MS);
	s->is_late = true;
}

static bool
is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void
route_static_refresh(struct route_static *s)
{
	struct stat now;

	if (stat(s->path, &now) == 0 && is_same_file(&now, &s->taken.st)) {
		read_later(s); /* within the clock's grain it may differ all the same */
	} else if (take_growth(s)) {
		tell_read(s);
		s->has_grown = true;
		read_later(s);
	} else {
		start_reading(s);
	}
}

static void
on_event(int fd, int what, void *arg)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct route_static *s = arg;
	struct stat now;

	(void)what;
	while (read(fd, events, sizeof events) > 0)
		;
	/* Others lie in the directory too. */
	if (stat(s->path, &now) == 0 && !is_same_file(&now, &s->taken.st))
		route_static_refresh(s);
}

/* The directory, since the file may be replaced. */
static void
watch(struct route_static *s)
{
	const char *slash = strrchr(s->path, '/');
	AUTO(free)
	char *dir = slash == NULL ? xstrdup(".") : xstrndup(s->path, (size_t)(slash - s->path) + 1);

	s->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (s->watch_fd < 0 ||
	    inotify_add_watch(s->watch_fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO) < 0) {
		log_warn("routes_not_watched", LOG_STR("path", s->path),
		    LOG_STR("why", "no inotify: changes are read on SIGHUP only"));
		return;
	}
	s->io = loop_io_start(s->loop, s->watch_fd, LOOP_READ, on_event, s);
}

struct route_static *
route_static_new(struct loop *l, struct worker *w, struct fleet *f, const char *path, struct err *e)
{
	struct route_static *s = xcalloc(1, sizeof *s);
	AUTO_FINI(reading_fini) struct reading r = { .path = xstrdup(path) };

	*s = (struct route_static){ .loop = l, .worker = w, .fleet = f, .path = xstrdup(path) };
	s->later = loop_timer_start(l, VERIFY_MS, false, on_later, s);
	s->is_late = true;
	watch(s); /* before it is read */
	read_whole(&r);
	if (r.failed)
		*e = r.e;
	if (r.failed || take_whole(s, &r, e) < 0) {
		route_static_free(s);
		return NULL;
	}
	buf_fini(&r.text);
	(void)malloc_trim(0);
	return s;
}

void
route_static_free(struct route_static *take_s)
{
	if (take_s == NULL)
		return;
	worker_detach(take_s->job);
	loop_timer_cancel(take_s->later);
	loop_io_cancel(take_s->io);
	file_close(take_s->watch_fd);
	free(take_s->path);
	free(take_s);
}
