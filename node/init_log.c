#include "node/init_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { STAMP_LEN = 25, CHUNK = 32 * 1024, STACK = 64 * 1024, NAME_MAX_LEN = 96 };

struct init_log {
	int dir_fd; /* borrowed */
	char name[NAME_MAX_LEN];
	int64_t size, count;

	/* main thread */
	char line[STAMP_LEN + INIT_LOG_LINE_MAX + 1];
	size_t line_n; /* 0: none begun; the stamp included */

	/* writer thread */
	int fd;
	int64_t written; /* bytes in the file */
	int64_t told;    /* dropped lines that the file speaks of */
	char chunk[CHUNK];

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t more, less;
	char ring[INIT_LOG_RING];
	size_t head, used; /* of whole lines */
	bool is_writing;
	int64_t dropped;
};

static struct init_log the_log; /* static: pages are only taken when used */

/* --- files: writer thread --- */

static void
file_name(const struct init_log *l, int64_t i, char out[NAME_MAX_LEN + 24])
{
	if (i == 0)
		(void)snprintf(out, NAME_MAX_LEN + 24, "%s", l->name);
	else
		(void)snprintf(out, NAME_MAX_LEN + 24, "%s.%lld", l->name, (long long)i);
}

static void
rotate(struct init_log *l)
{
	char from[NAME_MAX_LEN + 24], to[NAME_MAX_LEN + 24];
	int64_t i;

	(void)close(l->fd);
	l->fd = -1;
	for (i = l->count - 1; i > 0; i--) {
		file_name(l, i - 1, from);
		file_name(l, i, to);
		(void)renameat(l->dir_fd, from, l->dir_fd, to);
	}
}

static bool
open_file(struct init_log *l)
{
	struct stat st;

	l->fd = openat(l->dir_fd, l->name,
	    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
	if (l->fd < 0)
		return false;
	if (fstat(l->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)close(l->fd);
		l->fd = -1;
		return false;
	}
	l->written = st.st_size;
	return true;
}

/* All or nothing, so that the file consists of whole lines. */
static bool
append(struct init_log *l, const char *p, size_t n)
{
	size_t done = 0;

	if (l->fd >= 0 && l->written > 0 && l->written + (int64_t)n > l->size)
		rotate(l);
	if (l->fd < 0 && !open_file(l))
		return false;
	while (done < n) {
		ssize_t w = write(l->fd, p + done, n - done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			if (done > 0 && ftruncate(l->fd, l->written) < 0)
				(void)!write(l->fd, "\n", 1);
			return false;
		}
		done += (size_t)w;
	}
	l->written += (int64_t)n;
	return true;
}

static void
put_stamp(char out[STAMP_LEN + 1])
{
	struct timespec now;
	struct tm tm;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	(void)snprintf(out, STAMP_LEN + 1, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ ",
	    (tm.tm_year + 1900) % 10000, (tm.tm_mon + 1) % 100, tm.tm_mday % 100, tm.tm_hour % 100,
	    tm.tm_min % 100, tm.tm_sec % 100, (int)(now.tv_nsec / 1000000) % 1000);
}

/* Says in the file that lines are missing. */
static void
tell_dropped(struct init_log *l, int64_t dropped)
{
	char text[160];
	int n;

	put_stamp(text);
	n = snprintf(text + STAMP_LEN, sizeof text - STAMP_LEN,
	    "[pinion] %lld lines of output are missing here: the disk was full or slow\n",
	    (long long)(dropped - l->told));
	if (append(l, text, (size_t)n + STAMP_LEN))
		l->told = dropped;
}

static int64_t
count_lines(const char *p, size_t n)
{
	int64_t lines = 0;
	size_t i;

	for (i = 0; i < n; i++)
		lines += p[i] == '\n';
	return lines;
}

/* With the lock: whole lines from the ring into the chunk. */
static size_t
take_chunk(struct init_log *l)
{
	size_t n = l->used < CHUNK ? l->used : CHUNK, first, i;

	first = INIT_LOG_RING - l->head < n ? INIT_LOG_RING - l->head : n;
	memcpy(l->chunk, l->ring + l->head, first);
	memcpy(l->chunk + first, l->ring, n - first);
	for (i = n; i > 0 && l->chunk[i - 1] != '\n'; i--)
		;
	l->head = (l->head + i) % INIT_LOG_RING;
	l->used -= i;
	return i;
}

static void *
run_writer(void *arg)
{
	struct init_log *l = arg;

	(void)pthread_mutex_lock(&l->lock);
	for (;;) {
		int64_t dropped;
		size_t n;
		bool is_good;

		while (l->used == 0) {
			l->is_writing = false;
			(void)pthread_cond_broadcast(&l->less);
			(void)pthread_cond_wait(&l->more, &l->lock);
		}
		l->is_writing = true;
		n = take_chunk(l);
		dropped = l->dropped;
		(void)pthread_mutex_unlock(&l->lock);
		if (dropped > l->told)
			tell_dropped(l, dropped);
		is_good = append(l, l->chunk, n);
		(void)pthread_mutex_lock(&l->lock);
		if (!is_good)
			l->dropped += count_lines(l->chunk, n);
	}
	return NULL;
}

/* --- lines: main thread --- */

static void
queue_line(struct init_log *l)
{
	size_t at, first;

	l->line[l->line_n++] = '\n';
	(void)pthread_mutex_lock(&l->lock);
	if (INIT_LOG_RING - l->used < l->line_n) {
		l->dropped++;
	} else {
		at = (l->head + l->used) % INIT_LOG_RING;
		first = INIT_LOG_RING - at < l->line_n ? INIT_LOG_RING - at : l->line_n;
		memcpy(l->ring + at, l->line, first);
		memcpy(l->ring, l->line + first, l->line_n - first);
		l->used += l->line_n;
		(void)pthread_cond_signal(&l->more);
	}
	(void)pthread_mutex_unlock(&l->lock);
	l->line_n = 0;
}

void
init_log_write(struct init_log *l, const char *p, size_t n)
{
	while (n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t part = end == NULL ? n : (size_t)(end - p), room;

		if (l->line_n == 0) {
			put_stamp(l->line);
			l->line_n = STAMP_LEN;
		}
		room = STAMP_LEN + INIT_LOG_LINE_MAX - l->line_n;
		if (part > room) {
			memcpy(l->line + l->line_n, p, room);
			l->line_n += room;
			queue_line(l);
			p += room;
			n -= room;
			continue;
		}
		memcpy(l->line + l->line_n, p, part);
		l->line_n += part;
		if (end != NULL) {
			queue_line(l);
			part++;
		}
		p += part;
		n -= part;
	}
}

int64_t
init_log_dropped(struct init_log *l)
{
	int64_t n;

	(void)pthread_mutex_lock(&l->lock);
	n = l->dropped;
	(void)pthread_mutex_unlock(&l->lock);
	return n;
}

void
init_log_flush(struct init_log *l, int64_t timeout_ms)
{
	struct timespec end;
	int rc = 0;

	if (l->line_n > 0)
		queue_line(l);
	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += timeout_ms / 1000;
	(void)pthread_mutex_lock(&l->lock);
	while (rc == 0 && (l->used > 0 || l->is_writing))
		rc = pthread_cond_timedwait(&l->less, &l->lock, &end);
	(void)pthread_mutex_unlock(&l->lock);
}

struct init_log *
init_log_start(int dir_fd, const char *source, int64_t size, int64_t count)
{
	struct init_log *l = &the_log;
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	l->dir_fd = dir_fd;
	l->fd = -1;
	l->size = size;
	l->count = count;
	(void)snprintf(l->name, sizeof l->name, "%s.log", source);
	(void)pthread_mutex_init(&l->lock, NULL);
	(void)pthread_cond_init(&l->more, NULL);
	(void)pthread_cond_init(&l->less, NULL);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, run_writer, l);
	(void)pthread_attr_destroy(&attr);
	return rc == 0 ? l : NULL;
}
