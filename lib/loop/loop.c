#include "lib/loop/loop.h"

#include <assert.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/mem.h"

struct post {
	struct post *next;
	loop_fn *fn;
	void *arg;
};

struct loop {
	struct event_base *base; /* owned */
	int wake_fd;             /* owned; written by loop_post */
	struct event *wake;      /* owned */
	pthread_mutex_t lock;    /* guards first, last, awake */
	struct post *first, *last;
	bool awake; /* wake_fd was written and not read yet */
	bool is_stopped;
};

struct loop_timer {
	struct event *ev; /* owned */
	loop_fn *fn;
	void *arg;
};

struct loop_io {
	struct loop *loop;
	struct event *ev; /* owned */
	int fd;
	loop_io_fn *fn;
	void *arg;
};

struct loop_signal {
	struct event *ev; /* owned */
	loop_fn *fn;
	void *arg;
};

static struct post *
take_posts(struct loop *l)
{
	(void)pthread_mutex_lock(&l->lock);
	struct post *p = l->first;
	l->first = l->last = NULL;
	l->awake = false;
	(void)pthread_mutex_unlock(&l->lock);
	return p;
}

static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	uint64_t n;

	(void)what;
	(void)!read(fd, &n, sizeof n);
	for (struct post *p = take_posts(l), *next; p != NULL; p = next) {
		next = p->next;
		p->fn(p->arg);
		free(p);
	}
}

struct loop *
loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof *l);
	struct event_config *config = event_config_new();

	assert(config != NULL);
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
	l->base = event_base_new_with_config(config);
	event_config_free(config);
	assert(l->base != NULL);
	(void)pthread_mutex_init(&l->lock, NULL);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(l->wake_fd >= 0);
	l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
	(void)event_add(l->wake, NULL);
	return l;
}

void
loop_free(struct loop *take_l)
{
	if (take_l == NULL)
		return;
	/* What was posted still runs, so that nothing it owns leaks. */
	for (struct post *p; (p = take_posts(take_l)) != NULL;) {
		for (struct post *next; p != NULL; p = next) {
			next = p->next;
			p->fn(p->arg);
			free(p);
		}
	}
	event_free(take_l->wake);
	(void)close(take_l->wake_fd);
	event_base_free(take_l->base);
	(void)pthread_mutex_destroy(&take_l->lock);
	free(take_l);
}

void
loop_run(struct loop *l)
{
	l->is_stopped = false;
	while (!l->is_stopped)
		(void)event_base_loop(l->base, EVLOOP_ONCE);
}

bool
loop_run_until(struct loop *l, const bool *done, int64_t timeout_ms)
{
	int64_t end = loop_now_ms() + timeout_ms;

	while (!*done) {
		int64_t left = end - loop_now_ms();

		if (left <= 0)
			return false;
		struct timeval tv = { left / 1000, left % 1000 * 1000 };
		(void)event_base_loopexit(l->base, &tv);
		(void)event_base_loop(l->base, EVLOOP_ONCE);
	}
	return true;
}

void
loop_stop(struct loop *l)
{
	l->is_stopped = true;
	(void)event_base_loopbreak(l->base);
}

struct event_base *
loop_base(struct loop *l)
{
	return l->base;
}

int64_t
loop_now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
loop_now_ms(void)
{
	return loop_now_us() / 1000;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	t->fn(t->arg);
}

struct loop_timer *
loop_timer_start(struct loop *l, int64_t ms, bool repeat, loop_fn *fn, void *arg)
{
	struct loop_timer *t = xcalloc(1, sizeof *t);

	t->fn = fn;
	t->arg = arg;
	t->ev = event_new(l->base, -1, repeat ? EV_PERSIST : 0, on_timer, t);
	assert(t->ev != NULL);
	loop_timer_again(t, ms);
	return t;
}

void
loop_timer_again(struct loop_timer *t, int64_t ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	(void)event_add(t->ev, &tv);
}

void
loop_timer_cancel(struct loop_timer *take_t)
{
	if (take_t == NULL)
		return;
	event_free(take_t->ev);
	free(take_t);
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	struct loop_io *io = arg;

	io->fn(fd,
	    ((what & EV_READ) != 0 ? LOOP_READ : 0) | ((what & EV_WRITE) != 0 ? LOOP_WRITE : 0),
	    io->arg);
}

static short
events_of(int what)
{
	return (short)(EV_PERSIST | ((what & LOOP_READ) != 0 ? EV_READ : 0) |
	               ((what & LOOP_WRITE) != 0 ? EV_WRITE : 0));
}

struct loop_io *
loop_io_start(struct loop *l, int fd, int what, loop_io_fn *fn, void *arg)
{
	struct loop_io *io = xcalloc(1, sizeof *io);

	*io = (struct loop_io){ .loop = l, .fd = fd, .fn = fn, .arg = arg };
	io->ev = event_new(l->base, fd, events_of(what), on_io, io);
	assert(io->ev != NULL);
	if (what != 0)
		(void)event_add(io->ev, NULL);
	return io;
}

void
loop_io_set(struct loop_io *io, int what)
{
	(void)event_del(io->ev);
	if (what == 0)
		return;
	(void)event_assign(io->ev, io->loop->base, io->fd, events_of(what), on_io, io);
	(void)event_add(io->ev, NULL);
}

void
loop_io_cancel(struct loop_io *take_io)
{
	if (take_io == NULL)
		return;
	event_free(take_io->ev);
	free(take_io);
}

static void
on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct loop_signal *s = arg;

	(void)fd;
	(void)what;
	s->fn(s->arg);
}

struct loop_signal *
loop_signal_start(struct loop *l, int signo, loop_fn *fn, void *arg)
{
	struct loop_signal *s = xcalloc(1, sizeof *s);

	s->fn = fn;
	s->arg = arg;
	s->ev = evsignal_new(l->base, signo, on_signal, s);
	assert(s->ev != NULL);
	(void)event_add(s->ev, NULL);
	return s;
}

void
loop_signal_cancel(struct loop_signal *take_s)
{
	if (take_s == NULL)
		return;
	event_free(take_s->ev);
	free(take_s);
}

void
loop_post(struct loop *l, loop_fn *fn, void *arg)
{
	struct post *p = xcalloc(1, sizeof *p);
	uint64_t one = 1;

	p->fn = fn;
	p->arg = arg;
	(void)pthread_mutex_lock(&l->lock);
	if (l->last == NULL)
		l->first = p;
	else
		l->last->next = p;
	l->last = p;
	bool wake = !l->awake;
	l->awake = true;
	(void)pthread_mutex_unlock(&l->lock);
	if (wake)
		(void)!write(l->wake_fd, &one, sizeof one);
}

void
loop_free_later(struct loop *l, loop_fn *fn, void *take_p)
{
	loop_post(l, fn, take_p);
}
