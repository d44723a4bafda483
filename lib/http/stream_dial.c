#include "lib/http/stream_dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/http/http_head.h"
#include "lib/http/stream.h"
#include "lib/loop/loop.h"

enum { DIAL_MS = 20 * 1000, ANSWER_MAX = 64 * 1024, READ_SIZE = 16 * 1024 };

struct stream_dial {
	struct loop *loop; /* borrowed */
	int fd;            /* owned */
	struct loop_io *io;
	struct loop_timer *timer;
	struct buf out;
	size_t out_off;
	struct buf in;
	size_t seen;
	stream_dial_fn *fn;
	void *arg;
};

static void
release(void *p)
{
	struct stream_dial *d = p;

	buf_fini(&d->out);
	buf_fini(&d->in);
	free(d);
}

void
stream_dial_cancel(struct stream_dial *take_d)
{
	struct stream_dial *d = take_d;

	if (d == NULL)
		return;
	loop_io_cancel(STEAL(d->io));
	loop_timer_cancel(STEAL(d->timer));
	file_close(d->fd);
	d->fd = -1;
	loop_free_later(d->loop, release, d);
}
DEFINE_AUTO(struct stream_dial *, stream_dial_cancel)

static void
answer(struct stream_dial *d, int take_fd, struct str early, const struct err *e)
{
	stream_dial_fn *fn = d->fn;
	void *arg = d->arg;

	stream_dial_cancel(d); /* the memory lives until the end of the turn */
	fn(take_fd, early, e, arg);
}

static void
fail(struct stream_dial *d, enum err_code code, const char *why)
{
	struct err e = { 0 };

	(void)err_set(&e, code, NULL, "%s", why);
	e.sys = 0;
	answer(d, -1, (struct str){ 0 }, &e);
}

static enum err_code
code_of(int status)
{
	for (int code = ERR_INVALID; code <= ERR_BUG; code++) {
		if (err_http_status((enum err_code)code) == status)
			return (enum err_code)code;
	}
	return status >= 500 ? ERR_SYSTEM : ERR_INVALID;
}

/* The server says no: with its own words. */
static void
refused(struct stream_dial *d, const struct http_head *h)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };

	buf_add(&text, d->in.p + h->size, d->in.n - h->size);
	while (text.n > 0 && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
		buf_truncate(&text, text.n - 1);
	if (text.n == 0)
		buf_addf(&text, "the server answered %d", h->status);
	fail(d, code_of(h->status), text.p);
}

static bool
is_complete(const struct stream_dial *d, const struct http_head *h)
{
	return h->framing == HTTP_BODY_NONE || d->in.n >= ANSWER_MAX ||
	       (h->framing == HTTP_BODY_LENGTH && d->in.n - h->size >= (size_t)h->length);
}

static void
look(struct stream_dial *d, bool at_end)
{
	struct http_head h;
	enum http_head_result r;
	int fd;

	r = http_head_response(d->in.p == NULL ? "" : d->in.p, d->in.n, d->seen, STR("POST"), &h);
	d->seen = d->in.n;
	if (r == HTTP_HEAD_MORE && !at_end && d->in.n < ANSWER_MAX)
		return;
	if (r != HTTP_HEAD_OK) {
		fail(d, ERR_BUSY, "the server closed the connection without an answer");
		return;
	}
	d->seen = 0; /* of an answer whose body is still to come, the head is parsed again */
	if (h.status == 101) {
		fd = d->fd;
		d->fd = -1;
		loop_io_cancel(STEAL(d->io));
		answer(d, fd, (struct str){ d->in.p + h.size, d->in.n - h.size }, NULL);
	} else if (at_end || is_complete(d, &h)) {
		refused(d, &h);
	}
}

static void
on_readable(struct stream_dial *d)
{
	ssize_t n;

	buf_reserve(&d->in, READ_SIZE);
	n = read(d->fd, d->in.p + d->in.n, READ_SIZE);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		d->in.n += (size_t)n;
		d->in.p[d->in.n] = '\0';
	}
	look(d, n <= 0);
}

static void
on_writable(struct stream_dial *d)
{
	ssize_t n = send(d->fd, d->out.p + d->out_off, d->out.n - d->out_off, MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		AUTO(free) char *why = xasprintf("cannot connect: %s", strerror(errno));

		fail(d, ERR_BUSY, why);
		return;
	}
	d->out_off += (size_t)n;
	if (d->out_off == d->out.n)
		loop_io_set(d->io, LOOP_READ);
}

static void
on_io(int fd, int what, void *arg)
{
	struct stream_dial *d = arg;

	(void)fd;
	if ((what & LOOP_WRITE) != 0)
		on_writable(d);
	else
		on_readable(d);
}

static void
on_timer(void *arg)
{
	fail(arg, ERR_BUSY, "the server did not answer in time");
}

/* --- connecting --- */

static int
begin_connect(int fd, const struct sockaddr *a, socklen_t n)
{
	return connect(fd, a, n) < 0 && errno != EINPROGRESS ? -1 : 0;
}

static int
connect_unix(const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof a.sun_path)
		return err_set(e, ERR_INVALID, "url", "the path of the socket is too long");
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && begin_connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	(void)err_set(e, ERR_SYSTEM, NULL, "connect to %s", path);
	e->code = ERR_BUSY;
	file_close(fd);
	return -1;
}

static int
connect_tcp(const struct str_url *u, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	char port[16];
	int fd = -1, rc;

	(void)snprintf(port, sizeof port, "%d", u->port == 0 ? 80 : u->port);
	rc = getaddrinfo(u->host, port, &hints, &list);
	if (rc != 0)
		return err_set(e, ERR_BUSY, NULL, "%s: %s", u->host, gai_strerror(rc));
	for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd >= 0 && begin_connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
			file_close(fd);
			fd = -1;
		}
	}
	if (fd < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "connect to %s", u->host);
		e->code = ERR_BUSY;
	}
	freeaddrinfo(list);
	return fd;
}

/* Connects, and says what host and path the request names; host NULL: of a Unix socket. */
static int
open_target(const struct stream_dial_opts *o, char **host, char **path, struct err *e)
{
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };
	struct str sock, rest;

	if (str_has_prefix(o->url, "unix:/")) {
		rest = str_cut(str_of(o->url + strlen("unix:")), ':', &sock);
		AUTO(free) char *name = xstrndup(sock.p, sock.n);

		*path = rest.n == 0 ? xstrdup("/") : xstrndup(rest.p, rest.n);
		return o->fd > 0 ? o->fd : connect_unix(name, e);
	}
	if (str_url_parse(o->url, "url", &u, e) < 0)
		return -1;
	if (o->fd <= 0 && strcmp(u.scheme, "http") != 0)
		return err_set(e, ERR_INVALID, "url", "%s: only http and unix", o->url);
	*host = u.port == 0 ? xstrdup(u.host) : xasprintf("%s:%d", u.host, u.port);
	*path = xstrdup(u.path);
	return o->fd > 0 ? o->fd : connect_tcp(&u, e);
}

static void
write_request(struct buf *b, const struct stream_dial_opts *o, const char *host, const char *path)
{
	buf_addf(b,
	    "POST %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\n"
	    "Upgrade: " STREAM_PROTOCOL "\r\nContent-Length: 0\r\nAccept: application/json\r\n",
	    path, host == NULL ? "localhost" : host);
	if (o->authorization != NULL)
		buf_addf(b, "Authorization: %s\r\n", o->authorization);
	for (size_t i = 0; o->headers != NULL && o->headers[i] != NULL; i++)
		buf_addf(b, "%s\r\n", o->headers[i]);
	buf_adds(b, "\r\n");
}

struct stream_dial *
stream_dial_start(
    struct loop *l, const struct stream_dial_opts *o, stream_dial_fn *fn, void *arg, struct err *e)
{
	AUTO(stream_dial_cancel) struct stream_dial *d = xcalloc(1, sizeof *d);
	AUTO(free) char *host = NULL;
	AUTO(free) char *path = NULL;

	*d = (struct stream_dial){ .loop = l, .fd = -1, .fn = fn, .arg = arg };
	d->fd = open_target(o, &host, &path, e);
	if (d->fd < 0)
		return NULL;
	(void)fcntl(d->fd, F_SETFL, fcntl(d->fd, F_GETFL) | O_NONBLOCK);
	write_request(&d->out, o, host, path);
	d->io = loop_io_start(l, d->fd, LOOP_WRITE, on_io, d);
	d->timer = loop_timer_start(l, DIAL_MS, false, on_timer, d);
	return STEAL(d);
}
