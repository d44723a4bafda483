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
	s->shuts = false;
	s->is_reset = false;
	s->layer = NULL;
	(void)event_assign(&s->ev, l->base, take_fd,
	    EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_event, s);
}

void
sock_lay(struct sock *s, const struct sock_layer *layer, void *take_over)
{
	s->layer = layer;
	s->over = take_over;
}

void
sock_start_layer(
    struct sock *s, struct lane *l, const struct sock_layer *layer, void *over, sock_fn *fn)
{
	sock_start(s, l, -1, true, fn);
	sock_lay(s, layer, over);
}

/* A stream without a descriptor is open as long as its layer is there. */
bool
sock_is_open(const struct sock *s)
{
	return s->fd >= 0 || s->layer != NULL;
}

void
sock_watch(struct sock *s)
{
	if (s->watched || s->fd < 0)
		return;
	s->watched = event_add(&s->ev, NULL) == 0; /* no memory: its deadline ends it */
}

static void
drop_spill(struct sock *s)
{
	s->lane->kept -= s->spill_cap;
	free(s->spill);
	s->spill = NULL;
	s->spill_off = s->spill_n = s->spill_cap = 0;
}

void
sock_close(struct sock *s)
{
	if (!sock_is_open(s))
		return;
	if (s->watched || s->fd < 0)
		event_del(&s->ev);
	if (s->layer != NULL)
		s->layer->drop(s, s->is_reset);
	s->layer = NULL;
	s->over = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->can_read = s->can_write = false;
	drop_spill(s);
}

void
sock_reset(struct sock *s)
{
	struct linger hard = { .l_onoff = 1 };

	s->is_reset = true;
	if (s->fd >= 0)
		(void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
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
		s->lane->kept += (int64_t)cap - s->spill_cap;
		s->spill_cap = (uint32_t)cap;
	}
	memcpy(s->spill + s->spill_off + s->spill_n, p, n);
	s->spill_n += (uint32_t)n;
}

/* To the socket itself, or a layer that has none. */
static ssize_t
put(struct sock *s, const struct iovec *v, int n)
{
	bool direct = s->layer == NULL || s->layer->seal != NULL;
	ssize_t done;

	do
		done = direct ? send_some(s->fd, v, n) : s->layer->send(s, v, n);
	while (done < 0 && errno == EINTR);
	if (done >= 0)
		return done;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		return -1;
	s->can_write = false;
	sock_watch(s);
	return 0;
}

/* Keeps what lies behind the first done bytes. */
static void
keep_rest(struct sock *s, const struct iovec *v, int n, size_t done)
{
	for (int i = 0; i < n; i++) {
		size_t len = v[i].iov_len;

		if (done >= len) {
			done -= len;
			continue;
		}
		keep(s, (const char *)v[i].iov_base + done, len - done);
		done = 0;
	}
}

static size_t
count_bytes(const struct iovec *v, int n)
{
	size_t all = 0;

	for (int i = 0; i < n; i++)
		all += v[i].iov_len;
	return all;
}

/* Sends what a layer has sealed: in order, so that all of it must go. 0, or -1 when it is broken.
 */
static int
put_sealed(struct sock *s)
{
	struct buf *sealed = &s->lane->sealed;
	struct iovec v = { sealed->p, sealed->n };
	ssize_t done = 0;

	if (sealed->n == 0)
		return 0;
	if (s->spill_n == 0)
		done = put(s, &v, 1);
	if (done >= 0)
		keep_rest(s, &v, 1, (size_t)done);
	buf_clear(sealed);
	return done < 0 ? -1 : 0;
}

static ssize_t
recv_some(struct sock *s, void *p, size_t n)
{
	ssize_t got;
	bool more = true;

	if (s->layer != NULL) {
		got = s->layer->recv(s, p, n, &more);
		if (s->lane->sealed.n != 0) { /* handshakes and alerts */
			int sys = errno;

			if (put_sealed(s) < 0)
				return -1;
			errno = sys;
		}
		/* A short read empties the socket; only a FIN may lie behind it. */
		s->unsure = got > 0 && !more && !s->half_closed;
	} else {
		do
			got = recv(s->fd, p, n, 0);
		while (got < 0 && errno == EINTR);
		s->unsure = got > 0 && (size_t)got < n && !s->half_closed;
	}
	return got;
}

ssize_t
sock_read(struct sock *s, void *p, size_t n)
{
	ssize_t got;

	if (!sock_is_open(s))
		return -1;
	if (!s->can_read || s->eof)
		return 0;
	got = recv_some(s, p, n);
	if (got > 0) {
		s->can_read = !s->unsure;
		return got;
	}
	s->can_read = false;
	if (got == 0) {
		s->eof = true;
		return 0;
	}
	return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
}

ssize_t
sock_read_on(struct sock *s, void *p, size_t n)
{
	s->can_read |= s->unsure;
	s->unsure = false;
	return sock_read(s, p, n);
}

ssize_t
sock_try(struct sock *s, const struct iovec *v, int n)
{
	int rc;

	if (!sock_is_open(s))
		return -1;
	if (s->layer == NULL || s->layer->seal == NULL)
		return put(s, v, n);
	rc = s->layer->seal(s, v, n);
	if (put_sealed(s) < 0 || rc < 0)
		return -1;
	return rc == 0 ? (ssize_t)count_bytes(v, n) : 0;
}

int
sock_write(struct sock *s, const struct iovec *v, int n)
{
	ssize_t done = 0;
	bool seals = s->layer != NULL && s->layer->seal != NULL;

	if (!sock_is_open(s))
		return -1;
	if ((s->spill_n == 0 || seals) && (done = sock_try(s, v, n)) < 0)
		return -1;
	if (seals && done == 0)
		return count_bytes(v, n) == 0 ? 0 : -1;
	keep_rest(s, v, n, (size_t)done);
	return 0;
}

static void
end_output(struct sock *s)
{
	if (s->fd >= 0)
		(void)shutdown(s->fd, SHUT_WR);
}

int
sock_flush(struct sock *s)
{
	if (!sock_is_open(s))
		return -1;
	while (s->spill_n != 0) {
		struct iovec v = { s->spill + s->spill_off, s->spill_n };
		ssize_t done = put(s, &v, 1);

		if (done < 0)
			return -1;
		if (done == 0)
			return 0;
		s->spill_off += (uint32_t)done;
		s->spill_n -= (uint32_t)done;
	}
	drop_spill(s);
	if (s->shuts)
		end_output(s);
	return 0;
}

bool
sock_is_unsent(const struct sock *s)
{
	return sock_pending(s) ||
	       (s->layer != NULL && s->layer->pending != NULL && s->layer->pending(s));
}

void
sock_shut(struct sock *s)
{
	if (!sock_is_open(s) || s->shuts)
		return;
	if (s->layer != NULL)
		s->layer->shut(s);
	if (put_sealed(s) < 0)
		return;
	s->shuts = true;
	if (s->spill_n == 0)
		end_output(s);
}

void
sock_again(struct sock *s)
{
	sock_watch(s);
	if (sock_is_open(s))
		event_active(&s->ev, EV_TIMEOUT, 1);
}
