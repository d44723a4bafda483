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
	LINE_MAX_BYTES = 4096,
	PATH_MAX_BYTES = 2048,
	GATHER_MS = 20, /* lines of this time are written together */
};

/* One writer (the lane), one reader (the log's thread). */
struct access_ring {
	struct access_log *log;          /* borrowed */
	_Alignas(64) atomic_size_t head; /* written by the lane */
	_Alignas(64) atomic_size_t tail; /* written by the log's thread */
	atomic_uint_fast64_t lost;
	int64_t second; /* the lane's: that time_text shows */
	char time_text[32];
	char bytes[RING];
};

struct access_log {
	char *path; /* owned; "-": standard output */
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

/* --- lines, on the lane --- */

struct line {
	size_t n;
	char p[LINE_MAX_BYTES];
};

static void
add(struct line *l, const char *p, size_t n)
{
	size_t room = sizeof l->p - 1 - l->n; /* one byte stays for the line's end */

	if (n > room)
		n = room;
	memcpy(l->p + l->n, p, n);
	l->n += n;
}

#define ADD(l, literal) add(l, literal, sizeof(literal) - 1)

static void
add_number(struct line *l, int64_t v)
{
	char digits[24], *p = digits + sizeof digits;
	uint64_t u = v < 0 ? 0 : (uint64_t)v;

	do
		*--p = (char)('0' + u % 10);
	while ((u /= 10) != 0);
	add(l, p, (size_t)(digits + sizeof digits - p));
}

static bool
is_plain(char c)
{
	return (unsigned char)c > 0x20 && (unsigned char)c < 0x7f && c != '"' && c != '\\';
}

/* Text from outside: what could end a field or a line is written as \xNN. */
static void
add_text(struct line *l, struct str s, size_t max)
{
	size_t run = 0;

	if (s.n == 0) {
		ADD(l, "-");
		return;
	}
	for (size_t i = 0; i < s.n && i < max; i++) {
		char hex[5];

		if (is_plain(s.p[i])) {
			run++;
			continue;
		}
		add(l, s.p + i - run, run);
		run = 0;
		(void)snprintf(hex, sizeof hex, "\\x%02x", (unsigned char)s.p[i]);
		add(l, hex, 4);
	}
	add(l, s.p + (s.n < max ? s.n : max) - run, run);
	if (s.n > max)
		ADD(l, "...");
}

static void
add_time(struct line *l, struct access_ring *r, int64_t unix_us)
{
	int64_t second = unix_us / 1000000;
	int micro = (int)(unix_us % 1000000);
	char fraction[8];

	if (second != r->second) {
		struct tm tm;
		time_t t = (time_t)second;

		gmtime_r(&t, &tm);
		(void)strftime(r->time_text, sizeof r->time_text, "%Y-%m-%dT%H:%M:%S", &tm);
		r->second = second;
	}
	add(l, r->time_text, strlen(r->time_text));
	fraction[0] = '.';
	for (int i = 6; i > 0; i--, micro /= 10)
		fraction[i] = (char)('0' + micro % 10);
	add(l, fraction, 7);
	ADD(l, "Z");
}

static void
format(struct line *l, struct access_ring *r, const struct access_line *a)
{
	l->n = 0;
	add_time(l, r, a->unix_us);
	ADD(l, " peer=");
	add_text(l, a->peer, 64);
	ADD(l, " host=");
	add_text(l, a->host, 255);
	ADD(l, " method=");
	add_text(l, a->method, 32);
	ADD(l, " path=");
	add_text(l, a->path, PATH_MAX_BYTES / 4);
	ADD(l, " status=");
	add_number(l, a->status);
	ADD(l, " bytes=");
	add_number(l, a->bytes);
	ADD(l, " us=");
	add_number(l, a->took_us);
	ADD(l, " app=");
	add_text(l, a->app, 64);
	ADD(l, " instance=");
	add_text(l, a->instance, 80);
	ADD(l, " id=");
	add_text(l, a->id, 128);
	if (a->reason.n != 0) { /* our own words */
		ADD(l, " reason=\"");
		add(l, a->reason.p, a->reason.n);
		ADD(l, "\"");
	}
	l->p[l->n++] = '\n';
}

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
	struct line l;
	size_t at, first;

	format(&l, r, line);
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

static void
tell_lost(struct access_log *a)
{
	time_t now = time(NULL);
	uint64_t lost = 0;

	for (int i = 0; i < a->n; i++)
		lost += atomic_load(&a->ring[i].lost);
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
access_log_open(const char *path, int64_t max_bytes, int rings, struct err *e)
{
	struct access_log *a = xcalloc(1, sizeof *a);

	a->path = xstrdup(path);
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
