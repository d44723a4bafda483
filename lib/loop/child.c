#include "lib/loop/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum {
	OUT_MAX_DEFAULT = 64 * 1024,
	READ_SIZE = 64 * 1024,
	LINGER_MS = 1000,
	FDS_MAX = 16,
	STACK_SIZE = 64 * 1024, /* of the child until it is another program */
	FD_LOW = 1024           /* file_raise keeps what stays open from here on */
};

struct pipe_out {
	struct child *child;
	int fd; /* owned; -1 = closed */
	int number;
	struct loop_io *io; /* owned */
	struct buf captured;
};

struct child {
	struct loop *loop;
	pid_t pid;
	int pidfd; /* owned; -1 = reaped */
	struct loop_io *pid_io;
	struct pipe_out out[2];
	int in_fd; /* owned; -1 = none or closed */
	struct loop_io *in_io;
	struct buf in;
	bool closes_in;
	bool is_paused;
	bool is_timed_out, has_ended, is_lingering;
	int status;
	size_t out_max;
	int64_t timeout_ms;
	struct loop_timer *timer; /* time limit, then the linger after the end */
	child_out_fn *on_out;
	child_end_fn *on_end;
	child_drain_fn *on_drain;
	void *arg;
};

struct spawn {
	const struct child_opts *o;
	const char *const *env;
	int fds[FDS_MAX]; /* to be 0, 1, 2, 3 … in the child */
	size_t n;
	int low[FDS_MAX]; /* owned */
	size_t low_n;
	unsigned first_gone; /* the child needs none from here on */
	pid_t parent;
	/* errno of what failed, shared with the child: volatile, or the compiler drops a store that
	 * is followed by _exit. */
	volatile int failed;
};

/* --- in the child: only system calls, for its memory is the parent's; no marks of a sanitizer are
 * to stay on a stack that it never returns from --- */

#define IN_CHILD __attribute__((no_sanitize_address))

/* A table of its own, of what it needs only: what each of many instances keeps open is neither
 * copied nor closed. */
static IN_CHILD bool
child_fds(const struct spawn *s)
{
	int tmp[FDS_MAX];

	if (syscall(SYS_close_range, s->first_gone, ~0U, CLOSE_RANGE_UNSHARE) < 0 &&
	    unshare(CLONE_FILES) < 0)
		return false;
	for (size_t i = 0; i < s->n; i++) {
		tmp[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, 3 + FDS_MAX);
		if (tmp[i] < 0)
			return false;
	}
	for (size_t i = 0; i < s->n; i++)
		if (dup2(tmp[i], (int)i) < 0)
			return false;
	(void)syscall(SYS_close_range, (unsigned)s->n, ~0U, 0U);
	return true;
}

static IN_CHILD bool
child_ids(const struct child_opts *o)
{
	if (!o->set_ids)
		return true;
	return syscall(SYS_setgroups, 0, NULL) == 0 &&
	       syscall(SYS_setresgid, o->gid, o->gid, o->gid) == 0 &&
	       syscall(SYS_setresuid, o->uid, o->uid, o->uid) == 0;
}

static IN_CHILD int
child_run(void *arg)
{
	struct spawn *s = arg;
	const struct child_opts *o = s->o;
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	(void)sigemptyset(&none);
	for (int i = 1; i < 32; i++)
		if (i != SIGKILL && i != SIGSTOP)
			(void)sigaction(i, &dfl, NULL);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (o->new_session)
		(void)setsid();
	if (chdir(o->cwd == NULL ? "/" : o->cwd) < 0 || !child_fds(s) || !child_ids(o))
		s->failed = errno;
	else if (!o->keep_on_exit &&
	         (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || (getppid() != s->parent)))
		s->failed = ESRCH;
	else if (execve(o->argv[0], (char *const *)o->argv, (char *const *)s->env) < 0)
		s->failed = errno;
	return 127; /* clone: _exit */
}

/* As vfork, but that the table of files is the parent's, too, until the child has its own. */
static pid_t
spawn(struct spawn *s)
{
	_Alignas(16) char stack[STACK_SIZE];

	return clone(
	    child_run, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | SIGCHLD, s);
}

/* --- the parent --- */

static void
close_out(struct pipe_out *p)
{
	loop_io_cancel(STEAL(p->io));
	file_close(p->fd);
	p->fd = -1;
}

static void
close_in(struct child *c)
{
	loop_io_cancel(STEAL(c->in_io));
	file_close(c->in_fd);
	c->in_fd = -1;
	buf_clear(&c->in);
}

static void
describe(const struct child *c, char *text, size_t size)
{
	int code = WEXITSTATUS(c->status);

	if (c->is_timed_out)
		(void)snprintf(text, size, "timed out after %g s", (double)c->timeout_ms / 1000);
	else if (WIFSIGNALED(c->status))
		(void)snprintf(text, size, "killed by signal %d (%s)", WTERMSIG(c->status),
		    sigabbrev_np(WTERMSIG(c->status)));
	else
		(void)snprintf(text, size, "exit %d", code);
}

static void
finish(struct child *c)
{
	char why[64];
	struct child_end end = {
		.status =
		    WIFSIGNALED(c->status) ? 128 + WTERMSIG(c->status) : WEXITSTATUS(c->status),
		.timed_out = c->is_timed_out,
		.why = why,
		.out = buf_str(&c->out[0].captured).p,
		.out_len = c->out[0].captured.n,
		.err = buf_str(&c->out[1].captured).p,
		.err_len = c->out[1].captured.n,
	};

	describe(c, why, sizeof why);
	loop_timer_cancel(STEAL(c->timer));
	close_out(&c->out[0]);
	close_out(&c->out[1]);
	close_in(c);
	c->on_end(c, &end, c->arg); /* c may be gone now */
}

static void
on_linger(void *arg)
{
	finish(arg);
}

static void
finish_when_done(struct child *c)
{
	if (!c->has_ended)
		return;
	if (c->out[0].fd < 0 && c->out[1].fd < 0) {
		finish(c);
	} else if (!c->is_lingering && !c->is_paused) {
		c->is_lingering = true;
		loop_timer_cancel(c->timer);
		c->timer = loop_timer_start(c->loop, LINGER_MS, false, on_linger, c);
	}
}

static void
on_exit_of(int fd, int what, void *arg)
{
	struct child *c = arg;
	pid_t got;

	(void)fd;
	(void)what;
	do
		got = waitpid(c->pid, &c->status, 0);
	while (got < 0 && errno == EINTR);
	loop_io_cancel(STEAL(c->pid_io));
	file_close(c->pidfd);
	c->pidfd = -1;
	c->has_ended = true;
	finish_when_done(c);
}

static void
on_readable(int fd, int what, void *arg)
{
	struct pipe_out *p = arg;
	struct child *c = p->child;
	char chunk[READ_SIZE];
	ssize_t got = read(fd, chunk, sizeof chunk);

	(void)what;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		close_out(p);
		finish_when_done(c);
		return;
	}
	if (c->on_out != NULL) {
		c->on_out(c, p->number, chunk, (size_t)got, c->arg); /* c may be gone now */
		return;
	}
	size_t room = c->out_max - p->captured.n;
	buf_add(&p->captured, chunk, (size_t)got < room ? (size_t)got : room);
}

static void
on_writable(int fd, int what, void *arg)
{
	struct child *c = arg;
	ssize_t put = write(fd, c->in.p, c->in.n);

	(void)what;
	if (put < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (put < 0) { /* it closed its end: what is queued is lost, its exit says why */
		close_in(c);
	} else {
		buf_drop(&c->in, (size_t)put);
		if (c->in.n > 0)
			return;
		loop_io_set(c->in_io, 0);
		if (c->closes_in)
			close_in(c);
	}
	if (c->on_drain != NULL)
		c->on_drain(c, c->arg);
}

static void
on_timeout(void *arg)
{
	struct child *c = arg;

	c->is_timed_out = true;
	child_kill(c, SIGKILL);
}

struct fds {
	int child[3];     /* ends of the child, owned */
	int in, out, err; /* our ends, owned */
};

static void
fds_fini(struct fds *f)
{
	for (int i = 0; i < 3; i++)
		file_close(f->child[i]);
	file_close(f->in);
	file_close(f->out);
	file_close(f->err);
}

static int
open_pipe(int *ours, int *theirs, bool is_input)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	*ours = p[is_input ? 1 : 0];
	*theirs = p[is_input ? 0 : 1];
	return fcntl(*ours, F_SETFL, O_NONBLOCK);
}

static int
open_fds(const struct child_opts *o, struct fds *f)
{
	if (o->in_fd > 0)
		f->child[0] = fcntl(o->in_fd, F_DUPFD_CLOEXEC, 3);
	else if (o->has_stdin)
		(void)open_pipe(&f->in, &f->child[0], true);
	else
		f->child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (o->out_fd > 0)
		f->child[1] = fcntl(o->out_fd, F_DUPFD_CLOEXEC, 3);
	else
		(void)open_pipe(&f->out, &f->child[1], false);
	if (o->err_fd > 0)
		f->child[2] = fcntl(o->err_fd, F_DUPFD_CLOEXEC, 3);
	else if (o->merge_stderr)
		f->child[2] = fcntl(f->child[1], F_DUPFD_CLOEXEC, 3);
	else
		(void)open_pipe(&f->err, &f->child[2], false);
	return f->child[0] < 0 || f->child[1] < 0 || f->child[2] < 0 ? -1 : 0;
}

static void
watch_out(struct child *c, int i, int take_fd)
{
	c->out[i] = (struct pipe_out){ .child = c, .fd = take_fd, .number = i + 1 };
	if (take_fd >= 0)
		c->out[i].io = loop_io_start(c->loop, take_fd, LOOP_READ, on_readable, &c->out[i]);
}

static void
spawn_fini(struct spawn *s)
{
	for (size_t i = 0; i < s->low_n; i++)
		(void)close(s->low[i]);
}

/* What is kept high up goes along by a low number, so that the child's table is short. */
static void
put_fd(struct spawn *s, int fd)
{
	if (fd >= FD_LOW) {
		int low = fcntl(fd, F_DUPFD_CLOEXEC, 3);

		if (low >= 0)
			fd = s->low[s->low_n++] = low;
	}
	s->fds[s->n++] = fd;
	if ((unsigned)fd >= s->first_gone)
		s->first_gone = (unsigned)fd + 1;
}

struct child *
child_start(struct loop *l, const struct child_opts *o, child_out_fn *on_out, child_end_fn *on_end,
    void *arg, struct err *e)
{
	static const char *const default_env[] = {
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
		NULL
	};
	AUTO_FINI(fds_fini) struct fds f = { { -1, -1, -1 }, -1, -1, -1 };

	assert(o->pass_n <= FDS_MAX - 3);
	if (open_fds(o, &f) < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot make pipes for %s", o->argv[0]);
		return NULL;
	}
	AUTO_FINI(spawn_fini)
	struct spawn s = {
		.o = o, .env = o->env == NULL ? default_env : o->env, .parent = getpid()
	};
	for (size_t i = 0; i < 3; i++)
		put_fd(&s, f.child[i]);
	for (size_t i = 0; i < o->pass_n; i++)
		put_fd(&s, o->pass_fds[i]);
	pid_t pid = spawn(&s);
	if (pid < 0 || s.failed != 0) {
		if (pid > 0)
			(void)waitpid(pid, NULL, 0);
		errno = pid < 0 ? errno : s.failed;
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot run %s", o->argv[0]);
		return NULL;
	}
	struct child *c = xcalloc(1, sizeof *c);
	*c = (struct child){
		.loop = l,
		.pid = pid,
		.pidfd = (int)syscall(SYS_pidfd_open, pid, 0U),
		.in_fd = f.in,
		.out_max = o->out_max == 0 ? OUT_MAX_DEFAULT : o->out_max,
		.timeout_ms = o->timeout_ms,
		.on_out = on_out,
		.on_end = on_end,
		.arg = arg,
	};
	assert(c->pidfd >= 0);
	(void)fcntl(c->pidfd, F_SETFD, FD_CLOEXEC);
	c->pid_io = loop_io_start(l, c->pidfd, LOOP_READ, on_exit_of, c);
	watch_out(c, 0, f.out);
	watch_out(c, 1, f.err);
	f.in = f.out = f.err = -1;
	if (c->in_fd >= 0)
		c->in_io = loop_io_start(l, c->in_fd, 0, on_writable, c);
	if (o->timeout_ms > 0)
		c->timer = loop_timer_start(l, o->timeout_ms, false, on_timeout, c);
	return c;
}

size_t
child_write(struct child *c, const void *p, size_t n)
{
	if (c->in_fd < 0)
		return 0;
	if (n > 0) {
		buf_add(&c->in, p, n);
		loop_io_set(c->in_io, LOOP_WRITE);
	}
	return c->in.n;
}

void
child_on_drain(struct child *c, child_drain_fn *fn)
{
	c->on_drain = fn;
}

void
child_close_stdin(struct child *c)
{
	c->closes_in = true;
	if (c->in.n == 0)
		close_in(c);
}

void
child_pause(struct child *c, bool paused)
{
	c->is_paused = paused;
	for (int i = 0; i < 2; i++)
		if (c->out[i].io != NULL)
			loop_io_set(c->out[i].io, paused ? 0 : LOOP_READ);
	if (!paused)
		finish_when_done(c);
}

void
child_kill(struct child *c, int signo)
{
	if (c->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, c->pidfd, signo, NULL, 0U);
}

pid_t
child_pid(const struct child *c)
{
	return c->pid;
}

void
child_leave(struct child *take_c)
{
	if (take_c != NULL && take_c->pidfd >= 0) {
		loop_io_cancel(STEAL(take_c->pid_io));
		file_close(take_c->pidfd);
		take_c->pidfd = -1;
	}
	child_free(take_c);
}

void
child_free(struct child *take_c)
{
	if (take_c == NULL)
		return;
	if (take_c->pidfd >= 0) {
		child_kill(take_c, SIGKILL);
		while (waitpid(take_c->pid, NULL, 0) < 0 && errno == EINTR)
			continue;
		loop_io_cancel(take_c->pid_io);
		file_close(take_c->pidfd);
	}
	loop_timer_cancel(take_c->timer);
	close_out(&take_c->out[0]);
	close_out(&take_c->out[1]);
	close_in(take_c);
	buf_fini(&take_c->in);
	buf_fini(&take_c->out[0].captured);
	buf_fini(&take_c->out[1].captured);
	free(take_c);
}
