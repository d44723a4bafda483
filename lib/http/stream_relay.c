#include "lib/http/stream_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum { PIECE = 64 * 1024, LINGER_MS = 10 * 1000, STALL_MS = 10 * 60 * 1000 };

struct side {
	struct stream_relay *relay;
	struct side *other;
	int fd;
	int interest;
	struct loop_io *io;
	struct buf in; /* read here, not yet written to the other */
	size_t off;
	bool has_ended; /* it sends nothing more */
	bool was_told;  /* that the other sends nothing more */
};

struct stream_relay {
	struct loop *loop; /* borrowed */
	struct side a, b;
	struct loop_timer *linger; /* since one side has ended */
	int64_t moved_ms;
	stream_relay_fn *on_end;
	void *arg;
};

static void
close_side(struct side *s)
{
	loop_io_cancel(STEAL(s->io));
	file_close(s->fd);
	s->fd = -1;
}

static void
release(void *p)
{
	struct stream_relay *r = p;

	buf_fini(&r->a.in);
	buf_fini(&r->b.in);
	free(r);
}

void
stream_relay_cancel(struct stream_relay *take_r)
{
	if (take_r == NULL)
		return;
	close_side(&take_r->a);
	close_side(&take_r->b);
	loop_timer_cancel(STEAL(take_r->linger));
	loop_free_later(take_r->loop, release, take_r);
}

static void
end(struct stream_relay *r)
{
	stream_relay_fn *fn = r->on_end;
	void *arg = r->arg;

	stream_relay_cancel(r);
	fn(arg);
}

static size_t
queued(const struct side *s)
{
	return s->in.n - s->off;
}

static void
on_linger(void *arg)
{
	struct stream_relay *r = arg;
	bool has_more = queued(&r->a) > 0 || queued(&r->b) > 0;

	if (has_more && loop_now_ms() - r->moved_ms < STALL_MS)
		loop_timer_again(r->linger, LINGER_MS);
	else
		end(r);
}

/* From s to the other; false: the other is broken. */
static bool
push(struct side *s)
{
	while (queued(s) > 0) {
		ssize_t n = send(s->other->fd, s->in.p + s->off, queued(s), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		s->off += (size_t)n;
		s->relay->moved_ms = loop_now_ms();
	}
	buf_fini(&s->in);
	s->in = (struct buf){ 0 };
	s->off = 0;
	return true;
}

static bool
pull(struct side *s)
{
	ssize_t n;

	if (queued(s) > 0 || s->has_ended)
		return true;
	buf_reserve(&s->in, PIECE);
	n = read(s->fd, s->in.p, PIECE);
	if (n > 0)
		s->in.n = (size_t)n;
	else if (n == 0)
		s->has_ended = true;
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static void
settle_side(struct side *s)
{
	int what = (queued(s) == 0 && !s->has_ended ? LOOP_READ : 0) |
	           (queued(s->other) > 0 ? LOOP_WRITE : 0);

	if (what == s->interest)
		return;
	s->interest = what;
	loop_io_set(s->io, what);
}

static void
settle(struct stream_relay *r)
{
	struct side *sides[] = { &r->a, &r->b };

	for (int i = 0; i < 2; i++) {
		struct side *s = sides[i];

		if (s->has_ended && queued(s) == 0 && !s->other->was_told) {
			s->other->was_told = true;
			(void)shutdown(s->other->fd, SHUT_WR);
		}
		if (s->has_ended && r->linger == NULL) {
			r->moved_ms = loop_now_ms();
			r->linger = loop_timer_start(r->loop, LINGER_MS, false, on_linger, r);
		}
	}
	if (r->a.was_told && r->b.was_told) {
		end(r);
		return;
	}
	settle_side(&r->a);
	settle_side(&r->b);
}

static void
on_io(int fd, int what, void *arg)
{
	struct side *s = arg;
	bool ok = true;

	(void)fd;
	if ((what & LOOP_READ) != 0)
		ok = pull(s) && push(s);
	if (ok && (what & LOOP_WRITE) != 0)
		ok = push(s->other);
	if (ok)
		settle(s->relay);
	else
		end(s->relay);
}

static void
init_side(struct side *s, struct stream_relay *r, struct side *other, int fd, struct str early)
{
	*s = (struct side){ .relay = r, .other = other, .fd = fd, .interest = LOOP_READ };
	buf_addstr(&s->in, early);
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	s->io = loop_io_start(r->loop, fd, LOOP_READ, on_io, s);
}

struct stream_relay *
stream_relay_start(struct loop *l, int take_a, struct str a_early, int take_b, struct str b_early,
    stream_relay_fn *on_end, void *arg)
{
	struct stream_relay *r = xcalloc(1, sizeof *r);

	*r = (struct stream_relay){ .loop = l, .on_end = on_end, .arg = arg };
	init_side(&r->a, r, &r->b, take_a, a_early);
	init_side(&r->b, r, &r->a, take_b, b_early);
	settle_side(&r->a);
	settle_side(&r->b);
	return r;
}
