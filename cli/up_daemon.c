#include "cli/up_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"

enum {
	BACKOFF_FIRST_MS = 20,
	BACKOFF_MAX_MS = 5000,
	HEALTHY_MS = 1000,
	HOPELESS_MS = 10000, /* of failures before it ever was ready */
	EXIT_SETTINGS = 2,   /* err_exit_code(ERR_INVALID) */
	READY_LINE_MAX = 4096,
};

struct up_daemon {
	struct loop *loop;
	struct up_daemon_opts o;
	struct child *child;      /* owned; NULL between two lives */
	struct child *former;     /* owned; left beside it by up_daemon_renew; or NULL */
	struct loop_timer *timer; /* owned; the next start, or the SIGKILL of a stop */
	int ready_fd;             /* owned */
	struct loop_io *ready_io; /* owned */
	struct buf ready;
	int64_t started_ms, backoff_ms;
	int64_t first_ms; /* of the first start */
	bool was_ready;   /* once at least: from then on it is always started again */
	bool is_stopping;
};

static void start(void *arg);

static void
close_ready(struct up_daemon *d)
{
	loop_io_cancel(STEAL(d->ready_io));
	file_close(d->ready_fd);
	d->ready_fd = -1;
	buf_clear(&d->ready);
}

static void
on_ready_fd(int fd, int what, void *arg)
{
	struct up_daemon *d = arg;
	char chunk[512];
	ssize_t got = read(fd, chunk, sizeof chunk);

	(void)what;
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got > 0)
		buf_add(&d->ready, chunk, (size_t)got);
	char *end = d->ready.n > 0 ? memchr(d->ready.p, '\n', d->ready.n) : NULL;
	if (end == NULL && got > 0 && d->ready.n < READY_LINE_MAX)
		return;
	AUTO(free)
	char *line = end == NULL ? NULL : xstrndup(d->ready.p, (size_t)(end - d->ready.p));
	close_ready(d);
	d->was_ready = d->was_ready || line != NULL;
	if (line != NULL)
		d->o.on_ready(line, d->o.arg);
}

static void
again_later(struct up_daemon *d)
{
	bool was_healthy = loop_now_ms() - d->started_ms >= HEALTHY_MS;

	d->backoff_ms = was_healthy || d->backoff_ms == 0 ? BACKOFF_FIRST_MS : d->backoff_ms * 2;
	if (d->backoff_ms > BACKOFF_MAX_MS)
		d->backoff_ms = BACKOFF_MAX_MS;
	loop_timer_cancel(d->timer);
	d->timer = loop_timer_start(d->loop, d->backoff_ms, false, start, d);
}

static void
on_end(struct child *c, const struct child_end *end, void *arg)
{
	struct up_daemon *d = arg;

	if (c == d->former) {
		child_free(STEAL(d->former));
		return;
	}
	child_free(STEAL(d->child));
	close_ready(d);
	if (d->is_stopping) {
		loop_timer_cancel(STEAL(d->timer));
		d->o.on_gone(d->o.arg);
		return;
	}
	log_warn("daemon_died", LOG_STR("daemon", d->o.name), LOG_STR("why", end->why));
	if (!d->was_ready &&
	    (end->status == EXIT_SETTINGS || loop_now_ms() - d->first_ms >= HOPELESS_MS)) {
		d->is_stopping = true;
		d->o.on_lost(d->o.name, d->o.arg);
		return;
	}
	again_later(d);
}

/* A fresh environment; settings (PINION…) and the sanitizers' options are passed on. */
static void
fill_env(struct str_list *env)
{
	static const char *const prefixes[] = { "PINION",
		"ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=", "TSAN_OPTIONS=" };

	str_list_add(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	str_list_add(env, "LANG=C.UTF-8");
	str_list_add(env, "HOME=/nonexistent");
	for (char **v = environ; *v != NULL; v++)
		for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
			if (str_has_prefix(*v, prefixes[i]))
				str_list_add(env, *v);
}

/* As execve wants it: a NULL behind the last. Borrowed from l. */
static const char *const *
as_vector(struct str_list *l)
{
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n] = NULL;
	return (const char *const *)l->v;
}

static void
start(void *arg)
{
	struct up_daemon *d = arg;
	AUTO_FINI(str_list_fini) struct str_list env = { 0 };
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
	struct err e = { 0 };
	int ready[2];

	d->started_ms = loop_now_ms();
	if (pipe2(ready, O_CLOEXEC) < 0) {
		again_later(d);
		return;
	}
	d->o.argv(&argv, d->o.arg);
	fill_env(&env);
	struct child_opts o = {
		.argv = as_vector(&argv),
		.env = as_vector(&env),
		.out_fd = STDERR_FILENO,
		.err_fd = STDERR_FILENO,
		.pass_fds = &ready[1],
		.pass_n = 1,
	};
	d->child = child_start(d->loop, &o, NULL, on_end, d, &e);
	file_close(ready[1]);
	d->ready_fd = ready[0];
	if (d->child == NULL) {
		log_error("daemon_not_started", LOG_STR("daemon", d->o.name), LOG_ERR(&e));
		close_ready(d);
		again_later(d);
		return;
	}
	d->ready_io = loop_io_start(d->loop, d->ready_fd, LOOP_READ, on_ready_fd, d);
}

struct up_daemon *
up_daemon_start(struct loop *l, const struct up_daemon_opts *o)
{
	struct up_daemon *d = xcalloc(1, sizeof *d);

	d->loop = l;
	d->o = *o;
	d->ready_fd = -1;
	d->first_ms = loop_now_ms();
	start(d);
	return d;
}

static void
on_grace_end(void *arg)
{
	struct up_daemon *d = arg;

	log_warn("daemon_killed", LOG_STR("daemon", d->o.name));
	child_kill(d->child, SIGKILL);
}

static void
report_gone(void *arg)
{
	struct up_daemon *d = arg;

	d->o.on_gone(d->o.arg);
}

void
up_daemon_stop(struct up_daemon *d, bool is_leaving, int64_t grace_ms)
{
	d->is_stopping = true;
	loop_timer_cancel(STEAL(d->timer));
	if (d->child == NULL) {
		loop_post(d->loop, report_gone, d);
		return;
	}
	if (!is_leaving)
		child_kill(d->child, SIGTERM);
	d->timer = loop_timer_start(d->loop, grace_ms, false, on_grace_end, d);
}

void
up_daemon_renew(struct up_daemon *d)
{
	child_free(d->former);
	d->former = STEAL(d->child);
	close_ready(d);
	loop_timer_cancel(STEAL(d->timer));
	d->is_stopping = false;
	start(d);
}

bool
up_daemon_is_running(const struct up_daemon *d)
{
	return d->child != NULL;
}

bool
up_daemon_is_stopping(const struct up_daemon *d)
{
	return d->is_stopping;
}

void
up_daemon_free(struct up_daemon *take_d)
{
	if (take_d == NULL)
		return;
	child_free(take_d->child);
	child_free(take_d->former);
	loop_timer_cancel(take_d->timer);
	close_ready(take_d);
	buf_fini(&take_d->ready);
	free(take_d);
}
