#include "lib/http/stream_pump.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/http/stream.h"
#include "lib/loop/loop.h"

struct stream_sink {
	struct stream *stream; /* borrowed */
	int channel;
	int fd; /* owned unless is_socket; -1: closed */
	bool is_socket;
	bool has_end;
	struct loop_io *io;
	struct buf out;
};

struct stream_source {
	struct stream *stream; /* borrowed; NULL: what comes is dropped */
	int channel;
	int fd; /* owned unless is_borrowed; -1: at its end */
	bool is_borrowed;
	bool is_waiting;          /* for room */
	struct loop_io *io;       /* NULL: a file, which is always readable */
	struct loop_timer *timer; /* a file's turns */
	stream_source_fn *on_end;
	void *arg;
};

/* --- sinks --- */

static void
close_sink(struct stream_sink *k)
{
	if (k->fd < 0)
		return;
	loop_io_cancel(STEAL(k->io));
	if (k->is_socket)
		(void)shutdown(k->fd, SHUT_WR);
	else
		file_close(k->fd);
	k->fd = -1;
}

/* Writes what the descriptor takes now; the rest stays. */
static void
write_sink(struct stream_sink *k)
{
	size_t done = 0;

	while (done < k->out.n && k->fd >= 0) {
		ssize_t n = write(k->fd, k->out.p + done, k->out.n - done);

		if (n > 0)
			done += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			break;
		else if (n >= 0 || errno != EINTR)
			close_sink(k);
	}
	if (k->fd < 0)
		done = k->out.n;
	buf_drop(&k->out, done);
	if (done > 0)
		stream_used(k->stream, k->channel, done);
	if (k->out.n == 0) {
		buf_fini(&k->out);
		k->out = (struct buf){ 0 };
	}
	if (k->out.n == 0 && k->has_end)
		close_sink(k);
	if (k->fd >= 0)
		loop_io_set(k->io, k->out.n > 0 ? LOOP_WRITE : 0);
}

static void
on_writable(int fd, int what, void *arg)
{
	(void)fd;
	(void)what;
	write_sink(arg);
}

struct stream_sink *
stream_sink_new(struct stream *s, int channel, int take_fd, bool is_socket)
{
	struct stream_sink *k = xcalloc(1, sizeof *k);

	*k = (struct stream_sink){
		.stream = s, .channel = channel, .fd = take_fd, .is_socket = is_socket
	};
	(void)fcntl(take_fd, F_SETFL, fcntl(take_fd, F_GETFL) | O_NONBLOCK);
	k->io = loop_io_start(stream_loop(s), take_fd, 0, on_writable, k);
	return k;
}

void
stream_sink_data(struct stream_sink *k, const char *p, size_t n)
{
	if (n == 0)
		k->has_end = true;
	else
		buf_add(&k->out, p, n);
	write_sink(k);
}

void
stream_sink_free(struct stream_sink *take_k)
{
	if (take_k == NULL)
		return;
	close_sink(take_k);
	buf_fini(&take_k->out);
	free(take_k);
}

/* --- sources --- */

static void
close_source(struct stream_source *o)
{
	loop_io_cancel(STEAL(o->io));
	loop_timer_cancel(STEAL(o->timer));
	if (!o->is_borrowed)
		file_close(o->fd);
	o->fd = -1;
}

static void
wait_source(struct stream_source *o)
{
	if (o->io != NULL)
		loop_io_set(o->io, o->is_waiting ? 0 : LOOP_READ);
	else if (!o->is_waiting)
		loop_timer_again(o->timer, 0);
}

enum turn { TURN_MORE, TURN_WAIT, TURN_END };

/* One read. After TURN_END the source may be gone. */
static enum turn
read_source(struct stream_source *o)
{
	char p[STREAM_FRAME_MAX];
	size_t room = o->stream == NULL ? sizeof p : stream_room(o->stream, o->channel);
	ssize_t n;

	o->is_waiting = room == 0;
	if (o->is_waiting)
		return TURN_WAIT;
	n = read(o->fd, p, room < sizeof p ? room : sizeof p);
	if (n > 0) {
		if (o->stream != NULL)
			stream_data(o->stream, o->channel, p, (size_t)n);
		return TURN_MORE;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return TURN_WAIT;
	close_source(o); /* a terminal whose last user is gone says EIO */
	if (o->stream != NULL)
		stream_end(o->stream, o->channel);
	o->on_end(o, o->arg);
	return TURN_END;
}

static void
turn_source(struct stream_source *o)
{
	if (read_source(o) != TURN_END)
		wait_source(o);
}

static void
on_readable(int fd, int what, void *arg)
{
	(void)fd;
	(void)what;
	turn_source(arg);
}

static void
on_turn(void *arg)
{
	turn_source(arg);
}

struct stream_source *
stream_source_new(
    struct stream *s, int channel, int fd, bool is_borrowed, stream_source_fn *on_end, void *arg)
{
	struct stream_source *o = xcalloc(1, sizeof *o);
	struct stat st;

	*o = (struct stream_source){
		.stream = s,
		.channel = channel,
		.fd = fd,
		.is_borrowed = is_borrowed,
		.on_end = on_end,
		.arg = arg,
	};
	if (fstat(fd, &st) == 0 &&
	    (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(fd))))
		o->timer = loop_timer_start(stream_loop(s), 0, false, on_turn, o);
	else
		o->io = loop_io_start(stream_loop(s), fd, LOOP_READ, on_readable, o);
	return o;
}

void
stream_source_room(struct stream_source *o)
{
	if (o == NULL || o->fd < 0 || !o->is_waiting)
		return;
	o->is_waiting = false;
	wait_source(o);
}

bool
stream_source_is_waiting(const struct stream_source *o)
{
	return o != NULL && o->fd >= 0 && o->is_waiting;
}

void
stream_source_discard(struct stream_source *o)
{
	o->stream = NULL;
	stream_source_room(o);
}

void
stream_source_free(struct stream_source *take_o)
{
	if (take_o == NULL)
		return;
	close_source(take_o);
	free(take_o);
}
