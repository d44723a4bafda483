#include "test/unit/http_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/loop/loop.h"

enum { DEADLINE_MS = 10000, SLICE_MS = 2 };

static void
on_readable(int fd, int what, void *arg)
{
	struct http_peer *p = arg;
	char chunk[16384];
	ssize_t n;

	(void)what;
	n = read(fd, chunk, sizeof chunk);
	if (n > 0) {
		buf_add(&p->in, chunk, (size_t)n);
		return;
	}
	if (n < 0 && errno == EAGAIN)
		return;
	p->was_reset = n < 0;
	p->at_end = true;
	loop_io_set(p->io, 0);
}

void
http_peer_wrap(struct http_peer *p, struct loop *l, int take_fd)
{
	*p = (struct http_peer){ .loop = l, .fd = take_fd };
	assert_int_equal(fcntl(p->fd, F_SETFL, O_NONBLOCK), 0);
	p->io = loop_io_start(l, p->fd, LOOP_READ, on_readable, p);
}

void
http_peer_open(struct http_peer *p, struct loop *l, int port, const char *path)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(path == NULL ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (path != NULL) {
		(void)snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
		assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
	} else {
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
	}
	http_peer_wrap(p, l, fd);
}

void
http_peer_close(struct http_peer *p)
{
	if (p->io == NULL)
		return;
	loop_io_cancel(p->io);
	p->io = NULL;
	close(p->fd);
	buf_fini(&p->in);
}

void
http_peer_turn(struct loop *l, int64_t ms)
{
	const bool never = false;

	(void)loop_run_until(l, &never, ms);
}

static void
set_flag(void *arg)
{
	*(bool *)arg = true;
}

void
http_peer_step(struct loop *l)
{
	for (int i = 0; i < 3; i++) {
		bool done = false;

		loop_post(l, set_flag, &done);
		http_peer_wait(l, &done);
	}
}

void
http_peer_wait(struct loop *l, const bool *done)
{
	if (!loop_run_until(l, done, DEADLINE_MS))
		fail_msg("nothing happened in %d ms", DEADLINE_MS);
}

void
http_peer_send(struct http_peer *p, const char *s, size_t n)
{
	int64_t end = loop_now_ms() + DEADLINE_MS;

	while (n > 0) {
		ssize_t k = send(p->fd, s, n, MSG_NOSIGNAL);

		if (k < 0 && errno != EAGAIN)
			fail_msg("send: %s", strerror(errno));
		if (k > 0) {
			s += k;
			n -= (size_t)k;
			continue;
		}
		if (loop_now_ms() > end)
			fail_msg("the other side does not read");
		http_peer_turn(p->loop, SLICE_MS);
	}
}

void
http_peer_puts(struct http_peer *p, const char *s)
{
	http_peer_send(p, s, strlen(s));
}

void
http_peer_stop_reading(struct http_peer *p, bool stopped)
{
	loop_io_set(p->io, stopped ? 0 : LOOP_READ);
}

void
http_peer_expect(struct http_peer *p, const char *text)
{
	int64_t end = loop_now_ms() + DEADLINE_MS;

	while (p->in.p == NULL || strstr(p->in.p, text) == NULL) {
		if (loop_now_ms() > end || p->at_end)
			fail_msg("no \"%s\" in \"%s\"%s", text, p->in.p == NULL ? "" : p->in.p,
			    p->at_end ? " (closed)" : "");
		http_peer_turn(p->loop, SLICE_MS);
	}
}

void
http_peer_expect_n(struct http_peer *p, size_t n)
{
	int64_t end = loop_now_ms() + DEADLINE_MS;

	while (p->in.n < n) {
		if (loop_now_ms() > end || p->at_end)
			fail_msg(
			    "%zu of %zu bytes came%s", p->in.n, n, p->at_end ? " (closed)" : "");
		http_peer_turn(p->loop, SLICE_MS);
	}
}

void
http_peer_expect_end(struct http_peer *p)
{
	http_peer_wait(p->loop, &p->at_end);
}

int
http_peer_count(const struct http_peer *p, const char *text)
{
	int n = 0;

	for (const char *s = p->in.p; s != NULL && (s = strstr(s, text)) != NULL; s++)
		n++;
	return n;
}

void
http_peer_forget(struct http_peer *p)
{
	buf_clear(&p->in);
}

void
http_peer_wait_n(struct loop *l, const size_t *n, size_t want)
{
	int64_t end = loop_now_ms() + DEADLINE_MS;

	while (*n < want) {
		if (loop_now_ms() > end)
			fail_msg("%zu of %zu in %d ms", *n, want, DEADLINE_MS);
		http_peer_turn(l, 1);
	}
}
