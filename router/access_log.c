#include "router/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"

enum {
	RING = 256 * 1024, /* a power of two */
	GATHER_MS = 20,    /* lines of this time are written together */
};

/* One writer (the lane), one reader (the log's thread). */
struct access_ring {
	struct access_log *log;          /* borrowed */
	_Alignas(64) atomic_size_t head; /* written by the lane */
	_Alignas(64) atomic_size_t tail; /* written by the log's thread */
	atomic_uint_fast64_t lost;
	struct access_format_time time; /* the lane's */
	char bytes[RING];
};

struct access_log {
	char *path; /* owned; "-": standard output */
	enum access_format format;
	int fd;
	int64_t max_bytes, bytes; /* of the file */
	int wake_fd;              /* owned */
	atomic_bool sleeps, ends, reopens;
	pthread_t thread;
	int n;
	uint64_t lost; /* as told */
	time_t told_lost, told_failure;
	struct access_ring *ring; /* owned: n of them */
};

/* --- on the lane --- */

static void
wake(struct access_log *a)
{
	uint64_t one = 1;

	if (atomic_load_explicit(&a->sleeps, memory_order_relaxed) &&
	    atomic_exchange(&a->sleeps, false))
		(void)!write(a->wake_fd, &one, sizeof one);
}

void
access_log_put(struct access_ring *r, const struct access_line *line)
{
	size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	size_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	struct access_format_text l;
	size_t at, first;

	access_format_line(&l, r->log->format, &r->time, line);
	if (RING - (head - tail) < l.n) {
		atomic_fetch_add_explicit(&r->lost, 1, memory_order_relaxed);
		return;
	}
	at = head & (RING - 1);
	first = RING - at < l.n ? RING - at : l.n;
	memcpy(r->bytes + at, l.p, first);
	memcpy(r->bytes, l.p + first, l.n - first);
	/* in one order with `sleeps`: either the thread sees the line or we see it asleep */
	atomic_store(&r->head, head + l.n);
	wake(r->log);
}

/* --- the log's thread --- */

static int
open_file(struct access_log *a)
{
	struct stat st;
	int fd;

	if (strcmp(a->path, "-") == 0)
		return STDOUT_FILENO;
	fd = open(a->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	a->bytes = fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0;
	return fd;
}

static void
open_again(struct access_log *a)
{
	int fd = open_file(a);

	if (fd < 0) {
		log_warn(
		    "access_log_kept", LOG_STR("path", a->path), LOG_STR("why", strerror(errno)));
		return;
	}
	close(a->fd);
	a->fd = fd;
}

static void
reopen(struct access_log *a)
{
	if (atomic_exchange(&a->reopens, false) && a->fd != STDOUT_FILENO)
		open_again(a);
}

static void
rotate(struct access_log *a)
{
	AUTO(free) char *old = NULL;

	if (a->max_bytes == 0 || a->bytes < a->max_bytes || a->fd == STDOUT_FILENO)
		return;
	old = xasprintf("%s.1", a->path);
	if (rename(a->path, old) < 0) {
		log_warn("access_log_not_rotated", LOG_STR("path", a->path),
		    LOG_STR("why", strerror(errno)));
		a->bytes = 0; /* asks again after as much */
		return;
	}
	open_again(a);
}

/* At most once a second. */
static void
tell_failure(struct access_log *a, struct err *e)
{
	time_t now = time(NULL);

	if (now != a->told_failure)
		log_warn("access_log_write_failed", LOG_ERR(e));
	a->told_failure = now;
	*e = (struct err){ 0 };
}

/* Returns the bytes written. */
static size_t
write_ring(struct access_log *a, struct access_ring *r)
{
	size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	size_t n = atomic_load(&r->head) - tail, all = n;
	struct err e = { 0 };

	a->bytes += (int64_t)n;
	while (n > 0) {
		size_t at = tail & (RING - 1), part = RING - at < n ? RING - at : n;

		if (file_write_all(a->fd, r->bytes + at, part, &e) < 0)
			tell_failure(a, &e);
		tail += part;
		n -= part;
		atomic_store_explicit(&r->tail, tail, memory_order_release);
	}
	return all;
}

uint64_t
access_log_lost(const struct access_log *a)
{
	uint64_t lost = 0;

	for (int i = 0; i < a->n; i++)
		lost += atomic_load(&a->ring[i].lost);
	return lost;
}

static void
tell_lost(struct access_log *a)
{
	time_t now = time(NULL);
	uint64_t lost = access_log_lost(a);

	if (lost == a->lost || now == a->told_lost)
		return;
	log_warn("access_log_lost", LOG_INT("lines", lost - a->lost));
	a->lost = lost;
	a->told_lost = now;
}

/* Returns the bytes of the fullest ring. */
static size_t
write_all(struct access_log *a)
{
	size_t most = 0;

	for (int i = 0; i < a->n; i++) {
		size_t n = write_ring(a, &a->ring[i]);

		most = n > most ? n : most;
	}
	tell_lost(a);
	rotate(a);
	return most;
}

static void
wait_wake(struct access_log *a, int timeout_ms)
{
	struct pollfd p = { .fd = a->wake_fd, .events = POLLIN };
	uint64_t count;

	if (poll(&p, 1, timeout_ms) > 0)
		(void)!read(a->wake_fd, &count, sizeof count);
}

static void *
run(void *arg)
{
	struct access_log *a = arg;

	while (!atomic_load(&a->ends)) {
		size_t n;

		reopen(a);
		n = write_all(a);
		if (n > RING / 8)
			continue; /* busy: the rings fill sooner than we gather */
		if (n > 0) {
			wait_wake(a, GATHER_MS);
			continue;
		}
		atomic_store(&a->sleeps, true);
		if (write_all(a) > 0 || atomic_load(&a->ends)) {
			atomic_store(&a->sleeps, false);
			continue;
		}
		wait_wake(a, -1);
		wait_wake(a, GATHER_MS);
	}
	(void)write_all(a);
	return NULL;
}

struct access_log *
access_log_open(
    const char *path, enum access_format format, int64_t max_bytes, int rings, struct err *e)
{
	struct access_log *a = xcalloc(1, sizeof *a);

	a->path = xstrdup(path);
	a->format = format;
	a->max_bytes = max_bytes;
	a->fd = open_file(a);
	if (a->fd < 0) {
		(void)err_set(e, ERR_SYSTEM, "access-log", "cannot open %s", path);
		free(a->path);
		free(a);
		return NULL;
	}
	a->n = rings;
	a->ring = aligned_alloc(64, (size_t)rings * sizeof *a->ring);
	a->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->ring == NULL || a->wake_fd < 0)
		abort();
	for (int i = 0; i < rings; i++) {
		memset(&a->ring[i], 0, offsetof(struct access_ring, bytes));
		a->ring[i].log = a;
	}
	if (pthread_create(&a->thread, NULL, run, a) != 0)
		abort();
	return a;
}

struct access_ring *
access_log_ring(struct access_log *a, int i)
{
	return &a->ring[i];
}

static void
nudge(struct access_log *a)
{
	uint64_t one = 1;

	(void)!write(a->wake_fd, &one, sizeof one);
}

void
access_log_reopen(struct access_log *a)
{
	atomic_store(&a->reopens, true);
	nudge(a);
}

void
access_log_close(struct access_log *take_a)
{
	struct access_log *a = take_a;

	if (a == NULL)
		return;
	atomic_store(&a->ends, true);
	nudge(a);
	pthread_join(a->thread, NULL);
	if (a->fd != STDOUT_FILENO)
		close(a->fd);
	close(a->wake_fd);
	free(a->ring);
	free(a->path);
	free(a);
}
