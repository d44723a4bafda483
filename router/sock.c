#include "router/sock.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "router/lane.h"

enum { SMALL = 4096 };

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct sock *s = arg;
	struct lane *l = s->lane;

	(void)fd;
	lane_begin(l);
	if ((what & (EV_READ | EV_CLOSED)) != 0)
		s->can_read = true;
	if ((what & EV_CLOSED) != 0)
		s->half_closed = true;
	if ((what & EV_WRITE) != 0)
		s->can_write = true;
	s->fn(s);
	lane_end(l);
}

void
sock_start(struct sock *s, struct lane *l, int take_fd, bool can_write, sock_fn *fn)
{
	s->lane = l;
	s->fn = fn;
	s->fd = take_fd;
	s->can_read = false;
	s->can_write = can_write;
	s->half_closed = false;
	s->eof = false;
	s->watched = false;
	s->unsure = false;
	(void)event_assign(&s->ev, l->base, take_fd,
	    EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, s);
}

void
sock_watch(struct sock *s)
{
	if (s->watched || s->fd < 0)
		return;
	s->watched = true;
	if (event_add(&s->ev, NULL) < 0)
		abort(); /* epoll has no room: the kernel's limit is beyond that of descriptors */
}

void
sock_close(struct sock *s)
{
	if (s->fd < 0)
		return;
	if (s->watched)
		event_del(&s->ev);
	close(s->fd);
	s->fd = -1;
	s->can_read = s->can_write = false;
	free(s->spill);
	s->spill = NULL;
	s->spill_off = s->spill_n = s->spill_cap = 0;
}

void
sock_reset(struct sock *s)
{
	struct linger hard = { .l_onoff = 1 };

	if (s->fd >= 0)
		(void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

ssize_t
sock_read(struct sock *s, void *p, size_t n)
{
	ssize_t got;

	if (s->fd < 0)
		return -1;
	if (!s->can_read || s->eof)
		return 0;
	do
		got = recv(s->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		/* A short read empties the socket; only a FIN may lie behind it. */
		s->unsure = (size_t)got < n && !s->half_closed;
		s->can_read = !s->unsure;
		return got;
	}
	if (got == 0) {
		s->eof = true;
		s->can_read = false;
		return 0;
	}
	s->can_read = false;
	return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
}

ssize_t
sock_read_on(struct sock *s, void *p, size_t n)
{
	s->can_read |= s->unsure;
	s->unsure = false;
	return sock_read(s, p, n);
}

/* Little is sent in one piece: to copy it costs less than a vector does the kernel. */
static ssize_t
send_some(int fd, const struct iovec *v, int n)
{
	struct msghdr m = { .msg_iov = (struct iovec *)v, .msg_iovlen = (size_t)n };
	char small[SMALL];
	size_t all = 0;

	if (n == 1)
		return send(fd, v->iov_base, v->iov_len, MSG_NOSIGNAL);
	for (int i = 0; i < n; i++) {
		if (v[i].iov_len > sizeof small - all)
			return sendmsg(fd, &m, MSG_NOSIGNAL);
		if (v[i].iov_len != 0)
			memcpy(small + all, v[i].iov_base, v[i].iov_len);
		all += v[i].iov_len;
	}
	return send(fd, small, all, MSG_NOSIGNAL);
}

ssize_t
sock_try(struct sock *s, const struct iovec *v, int n)
{
	ssize_t put;

	if (s->fd < 0)
		return -1;
	do
		put = send_some(s->fd, v, n);
	while (put < 0 && errno == EINTR);
	if (put >= 0)
		return put;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		return -1;
	s->can_write = false;
	sock_watch(s);
	return 0;
}

static void
keep(struct sock *s, const char *p, size_t n)
{
	size_t need = s->spill_n + n;

	if (n == 0)
		return;
	if (s->spill_off != 0 && s->spill_off + need > s->spill_cap) {
		memmove(s->spill, s->spill + s->spill_off, s->spill_n);
		s->spill_off = 0;
	}
	if (s->spill_off + need > s->spill_cap) {
		size_t cap = s->spill_cap == 0 ? need : s->spill_cap * 2;

		if (cap < need)
			cap = need;
		s->spill = xreallocarray(s->spill, cap, 1);
		s->spill_cap = (uint32_t)cap;
	}
	memcpy(s->spill + s->spill_off + s->spill_n, p, n);
	s->spill_n += (uint32_t)n;
}

int
sock_write(struct sock *s, const struct iovec *v, int n)
{
	ssize_t put = 0;

	if (s->fd < 0)
		return -1;
	if (s->spill_n == 0) {
		put = sock_try(s, v, n);
		if (put < 0)
			return -1;
	}
	for (int i = 0; i < n; i++) {
		size_t len = v[i].iov_len;

		if ((size_t)put >= len) {
			put -= (ssize_t)len;
			continue;
		}
		keep(s, (const char *)v[i].iov_base + put, len - (size_t)put);
		put = 0;
	}
	return 0;
}

int
sock_flush(struct sock *s)
{
	if (s->fd < 0)
		return -1;
	while (s->spill_n != 0) {
		struct iovec v = { s->spill + s->spill_off, s->spill_n };
		ssize_t put = sock_try(s, &v, 1);

		if (put < 0)
			return -1;
		if (put == 0)
			return 0;
		s->spill_off += (uint32_t)put;
		s->spill_n -= (uint32_t)put;
	}
	free(s->spill);
	s->spill = NULL;
	s->spill_off = s->spill_cap = 0;
	return 0;
}

void
sock_again(struct sock *s)
{
	sock_watch(s);
	if (s->fd >= 0)
		event_active(&s->ev, EV_TIMEOUT, 1);
}
