#include "lib/http/stream_child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/http/stream_pump.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"

enum { KILL_MS = 5000, LINGER_MS = 1000, WHY_MAX = 64 };

struct stream_child {
	struct stream *stream; /* owned; NULL: the client is gone */
	struct loop *loop;     /* borrowed */
	const struct stream_child_calls *calls;
	void *arg;
	struct child *child; /* owned */
	struct stream_sink *in;
	struct stream_source *out, *err;
	int master;               /* of the terminal, borrowed from out; -1: none */
	struct loop_timer *timer; /* hanging up; lingering */
	bool has_ended;
	bool has_terminal, is_hanging_up;
	int status;
	char why[WHY_MAX];
};

static void on_source_end(struct stream_source *o, void *arg);

void
stream_child_free(struct stream_child *take_c)
{
	struct stream_child *c = take_c;

	if (c == NULL)
		return;
	loop_timer_cancel(STEAL(c->timer));
	stream_sink_free(STEAL(c->in));
	stream_source_free(STEAL(c->out));
	stream_source_free(STEAL(c->err));
	child_free(STEAL(c->child));
	stream_free(STEAL(c->stream));
	loop_free_later(c->loop, free, c);
}

/* --- the end --- */

static void
over(struct stream_child *c, const struct child_end *end)
{
	c->calls->on_over(c, end, c->arg);
}

/* All that was to be sent is: tells how it ended. */
static void
finish(struct stream_child *c)
{
	const struct child_end end = { .status = c->status, .why = c->why };
	bool was_killed = str_has_prefix(c->why, "killed by signal");

	if (c->stream != NULL) {
		stream_send_exit(
		    c->stream, c->status, was_killed ? sigabbrev_np(c->status - 128) : NULL);
		stream_finish(STEAL(c->stream));
	}
	over(c, &end);
}

/* Somebody else holds the output open: what is there goes, nobody waits for more. */
static void
on_linger(void *arg)
{
	struct stream_child *c = arg;

	if (stream_source_is_waiting(c->out) || stream_source_is_waiting(c->err)) {
		loop_timer_again(c->timer, LINGER_MS); /* the client is slow */
		return;
	}
	loop_timer_cancel(STEAL(c->timer));
	finish(c);
}

static void
look(struct stream_child *c)
{
	if (!c->has_ended)
		return;
	if (c->out == NULL && c->err == NULL) {
		finish(c);
	} else if (c->timer == NULL) {
		c->timer = loop_timer_start(c->loop, LINGER_MS, false, on_linger, c);
	}
}

static void
on_source_end(struct stream_source *o, void *arg)
{
	struct stream_child *c = arg;

	if (o == c->out)
		stream_source_free(STEAL(c->out));
	else
		stream_source_free(STEAL(c->err));
	look(c);
}

void
stream_child_ended(struct child *child, const struct child_end *end, void *arg)
{
	struct stream_child *c = arg;

	c->has_ended = true;
	c->status = end->status;
	(void)snprintf(c->why, sizeof c->why, "%s", end->why);
	child_free(child);
	c->child = NULL;
	loop_timer_cancel(STEAL(c->timer));
	look(c);
}

static void
on_kill(void *arg)
{
	struct stream_child *c = arg;

	loop_timer_cancel(STEAL(c->timer));
	if (c->calls->on_kill != NULL)
		c->calls->on_kill(c, c->arg);
	child_free(STEAL(c->child));
	over(c, NULL);
}

void
stream_child_hang_up(struct stream_child *c)
{
	if (c->is_hanging_up || c->child == NULL)
		return;
	c->is_hanging_up = true;
	if (c->has_terminal) /* closing it hangs up whoever has it */
		stream_source_free(STEAL(c->out));
	child_kill(c->child, SIGHUP);
	child_kill(c->child, SIGCONT);
	loop_timer_cancel(c->timer);
	c->timer = loop_timer_start(c->loop, KILL_MS, false, on_kill, c);
}

/* --- the stream --- */

static void
on_data(struct stream *s, int channel, const char *p, size_t n, void *arg)
{
	struct stream_child *c = arg;

	if (channel == STREAM_STDIN && c->in != NULL)
		stream_sink_data(c->in, p, n);
	else
		stream_used(s, channel, n);
}

static void
on_room(struct stream *s, void *arg)
{
	struct stream_child *c = arg;

	(void)s;
	stream_source_room(c->out);
	stream_source_room(c->err);
}

static void
resize(struct stream_child *c, struct stream_size size)
{
	const struct winsize w = {
		.ws_col = (unsigned short)size.columns,
		.ws_row = (unsigned short)size.rows,
	};

	if (c->master >= 0)
		(void)ioctl(c->master, TIOCSWINSZ, &w);
}

static void
pass_signal(struct stream_child *c, struct str name)
{
	static const int known[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGKILL,
		SIGCONT, SIGWINCH, SIGALRM };

	for (size_t i = 0; c->child != NULL && i < ARRAY_LEN(known); i++) {
		if (str_eq(name, sigabbrev_np(known[i])))
			child_kill(c->child, known[i]);
	}
}

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct stream_child *c = arg;

	(void)s;
	if (f->type == STREAM_RESIZE)
		resize(c, stream_frame_size(f));
	else if (f->type == STREAM_SIGNAL)
		pass_signal(c, f->data);
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	struct stream_child *c = arg;

	(void)e;
	c->stream = NULL;
	stream_sink_free(STEAL(c->in));
	if (c->out != NULL)
		stream_source_discard(c->out);
	if (c->err != NULL)
		stream_source_discard(c->err);
	c->master = -1;
	stream_free(s);
	if (c->child == NULL && !c->has_ended)
		over(c, NULL);
	else if (c->child == NULL)
		return; /* its output ends, or the timer does */
	else if (c->calls->on_lost != NULL)
		c->calls->on_lost(c, c->arg);
	else
		stream_child_hang_up(c);
}

static const struct stream_calls calls = { on_data, on_room, on_control, on_close };

struct stream_child *
stream_child_new(struct stream *take_s, const struct stream_child_calls *child_calls, void *arg)
{
	struct stream_child *c = xcalloc(1, sizeof *c);

	*c = (struct stream_child){
		.stream = take_s,
		.loop = stream_loop(take_s),
		.calls = child_calls,
		.arg = arg,
		.master = -1,
	};
	stream_set_calls(take_s, &calls, c);
	return c;
}

/* --- the start --- */

void
stream_ends_fini(struct stream_ends *f)
{
	for (int i = 0; i < 3; i++)
		file_close(f->fd[i]);
}

int
stream_child_pipes(struct stream_child *c, struct stream_ends *out_ends, struct err *e)
{
	int in[2], out[2], err[2];

	if (pipe2(in, O_CLOEXEC) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make a pipe");
	if (pipe2(out, O_CLOEXEC) < 0) {
		file_close(in[0]);
		file_close(in[1]);
		return err_set(e, ERR_SYSTEM, NULL, "make a pipe");
	}
	if (pipe2(err, O_CLOEXEC) < 0) {
		for (int i = 0; i < 2; i++) {
			file_close(in[i]);
			file_close(out[i]);
		}
		return err_set(e, ERR_SYSTEM, NULL, "make a pipe");
	}
	c->in = stream_sink_new(c->stream, STREAM_STDIN, in[1], false);
	c->out = stream_source_new(c->stream, STREAM_STDOUT, out[0], false, on_source_end, c);
	c->err = stream_source_new(c->stream, STREAM_STDERR, err[0], false, on_source_end, c);
	*out_ends = (struct stream_ends){ { in[0], out[1], err[1] } };
	return 0;
}

void
stream_child_terminal(struct stream_child *c, int take_master, struct stream_size size)
{
	int in = fcntl(take_master, F_DUPFD_CLOEXEC, 3);

	c->has_terminal = true;
	c->master = take_master;
	resize(c, size);
	if (in >= 0)
		c->in = stream_sink_new(c->stream, STREAM_STDIN, in, false);
	c->out = stream_source_new(c->stream, STREAM_STDOUT, take_master, false, on_source_end, c);
}

void
stream_child_started(struct stream_child *c, struct child *take_child)
{
	c->child = take_child;
	if (c->stream == NULL) {
		stream_child_hang_up(c);
		return;
	}
	stream_send(c->stream, STREAM_READY, NULL, 0);
}

void
stream_child_refuse(struct stream_child *take_c, const struct err *e)
{
	if (take_c->stream != NULL)
		stream_send_error(STEAL(take_c->stream), e);
	stream_child_free(take_c);
}

void
stream_child_tell(struct stream_child *c, const char *text)
{
	int channel = c->master >= 0 ? STREAM_STDOUT : STREAM_STDERR;
	size_t n = strlen(text);

	if (c->stream != NULL && stream_room(c->stream, channel) >= n)
		stream_data(c->stream, channel, text, n);
}

struct child *
stream_child_process(const struct stream_child *c)
{
	return c->child;
}
