#include "lib/http/http_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_conn.h"
#include "lib/loop/loop.h"

enum { ACCEPTS_A_TURN = 64, ACCEPT_RETRY_MS = 100, SHED_IDLE_MS = 1000 };

static void
set_accepting(struct http_server *s, bool on)
{
	if (s->is_accepting == on)
		return;
	s->is_accepting = on;
	for (struct http_listener *l = s->listeners; l != NULL; l = l->next) {
		if (on)
			event_add(&l->ev, NULL);
		else
			event_del(&l->ev);
	}
}

static void
retry_accept(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;

	(void)fd;
	(void)what;
	if (!s->is_draining)
		set_accepting(s, true);
}

static void
pause_accepting(struct http_server *s)
{
	const struct timeval pause = { .tv_usec = ACCEPT_RETRY_MS * 1000 };

	set_accepting(s, false);
	event_add(&s->retry, &pause);
}

/* Makes room when all places are taken: closes those that are idle longest, an eighth of the span
 * at once, so that the walk over all pays. false: none is idle long enough. */
static bool
shed_idle(struct http_server *s)
{
	int64_t now = loop_now_ms(), oldest = now, limit;
	struct http_conn *next;

	for (struct http_conn *c = s->conns; c != NULL; c = c->next)
		if (http_conn_is_idle(c) && c->since_ms < oldest)
			oldest = c->since_ms;
	if (now - oldest < SHED_IDLE_MS)
		return false;
	limit = oldest + (now - oldest) / 8;
	for (struct http_conn *c = s->conns; c != NULL; c = next) {
		next = c->next;
		if (http_conn_is_idle(c) && c->since_ms <= limit)
			http_conn_close(c);
	}
	return true;
}

/* false: no more now. */
static bool
accept_one(struct http_server *s, int listen_fd)
{
	struct sockaddr_storage peer = { 0 };
	socklen_t n = sizeof peer;
	int fd;

	if (s->conn_n >= s->opts.connections_max && !shed_idle(s)) {
		pause_accepting(s);
		return false;
	}
	fd = accept4(listen_fd, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		http_conn_new(s, fd, (struct sockaddr *)&peer);
		return true;
	}
	if (errno == EINTR || errno == ECONNABORTED)
		return true;
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		log_warn("http_accept_short", LOG_STR("error", strerror(errno)),
		    LOG_INT("connections", s->conn_n));
		pause_accepting(s);
	}
	return false;
}

static void
on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct http_listener *l = arg;

	(void)what;
	for (int i = 0; i < ACCEPTS_A_TURN && accept_one(l->server, fd); i++)
		;
}

struct http_server *
http_server_new(
    struct loop *l, const struct http_server_opts *opts, http_handler_fn *handler, void *arg)
{
	struct http_server *s = xcalloc(1, sizeof *s);

	s->loop = l;
	s->handler = handler;
	s->arg = arg;
	s->is_accepting = true;
	if (opts != NULL)
		s->opts = *opts;
	s->server_name = xstrdup_null(s->opts.server_name);
	s->opts.server_name = NULL;
	if (s->opts.head_max == 0)
		s->opts.head_max = 32 * 1024;
	if (s->opts.idle_timeout_ms == 0)
		s->opts.idle_timeout_ms = 75 * 1000;
	if (s->opts.head_timeout_ms == 0)
		s->opts.head_timeout_ms = 20 * 1000;
	if (s->opts.body_timeout_ms == 0)
		s->opts.body_timeout_ms = 120 * 1000;
	if (s->opts.write_max == 0)
		s->opts.write_max = 256 * 1024;
	if (s->opts.connections_max == 0)
		s->opts.connections_max = 10 * 1000;
	event_assign(&s->retry, loop_base(l), -1, EV_TIMEOUT, retry_accept, s);
	return s;
}

static void
add_listener(struct http_server *s, int take_fd, const char *path)
{
	struct http_listener *l = xcalloc(1, sizeof *l);
	struct stat st;

	l->server = s;
	l->fd = take_fd;
	l->path = xstrdup_null(path);
	if (path != NULL && stat(path, &st) == 0) {
		l->dev = (uint64_t)st.st_dev;
		l->ino = (uint64_t)st.st_ino;
	}
	l->next = s->listeners;
	s->listeners = l;
	event_assign(&l->ev, loop_base(s->loop), take_fd, EV_READ | EV_PERSIST, on_acceptable, l);
	if (s->is_accepting)
		event_add(&l->ev, NULL);
}

static void
close_listeners(struct http_server *s)
{
	while (s->listeners != NULL) {
		struct http_listener *l = s->listeners;
		struct stat st;

		s->listeners = l->next;
		event_del(&l->ev);
		close(l->fd);
		if (l->path != NULL && stat(l->path, &st) == 0 && (uint64_t)st.st_dev == l->dev &&
		    (uint64_t)st.st_ino == l->ino)
			unlink(l->path);
		free(l->path);
		free(l);
	}
}

/* 0 if path may be replaced: absent, or a socket that nobody serves. */
static int
check_unix_path(const struct sockaddr_un *a, struct err *e)
{
	struct stat st;
	int fd, rc;

	if (lstat(a->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_CONFLICT, "listen",
		    "%s exists and is not a socket: remove it", a->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, "listen", "socket");
	rc = connect(fd, (const struct sockaddr *)a, sizeof *a);
	if (rc < 0 && errno != EAGAIN)
		rc = 0;
	else
		rc = err_set(e, ERR_CONFLICT, "listen", "another process serves %s: stop it first",
		    a->sun_path);
	close(fd);
	return rc;
}

/* Binds beside the path and renames, so that nobody sees a socket with a wrong mode or one that
 * does not listen yet. */
static int
listen_unix(struct http_server *s, const char *path, mode_t mode, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX }, made = { .sun_family = AF_UNIX };
	int fd;

	if (path[0] == '\0' || strlen(path) + 5 > sizeof a.sun_path)
		return err_set(e, ERR_INVALID, "listen",
		    "socket path must have 1 to %zu bytes, has %zu: %s", sizeof a.sun_path - 5,
		    strlen(path), path);
	(void)snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	(void)snprintf(made.sun_path, sizeof made.sun_path, "%s.new", path);
	if (check_unix_path(&a, e) < 0)
		return -1;
	(void)unlink(made.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, "listen", "socket");
	if (bind(fd, (struct sockaddr *)&made, sizeof made) < 0 || chmod(made.sun_path, mode) < 0 ||
	    listen(fd, SOMAXCONN) < 0 || rename(made.sun_path, path) < 0) {
		(void)err_set(e, ERR_SYSTEM, "listen", "cannot listen at %s", path);
		(void)unlink(made.sun_path);
		close(fd);
		return -1;
	}
	add_listener(s, fd, path);
	return 0;
}

static int
listen_addrinfo(const struct addrinfo *ai, const char *address, struct err *e)
{
	const int on = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, "listen", "socket for %s", address);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0) {
		(void)err_set(e, ERR_SYSTEM, "listen", "cannot listen at %s", address);
		close(fd);
		return -1;
	}
	return fd;
}

static int
listen_tcp(struct http_server *s, const char *address, struct err *e)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	const char *colon = strrchr(address, ':');
	struct addrinfo *found = NULL;
	AUTO(free) char *host = NULL;
	int64_t port;
	int fd, rc;

	if (colon == NULL)
		return err_set(
		    e, ERR_INVALID, "listen", "must be ADDRESS:PORT or unix:PATH, is %s", address);
	if (str_to_i64(str_of(colon + 1), 0, 65535, "listen", &port, e) < 0)
		return err_wrap(e, "port of %s", address);
	host = xstrndup(address, (size_t)(colon - address));
	if (host[0] == '[' && str_has_suffix(host, "]")) {
		host[strlen(host) - 1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	rc = getaddrinfo(host[0] == '\0' ? NULL : host, colon + 1, &hints, &found);
	if (rc != 0)
		return err_set(e, ERR_INVALID, "listen", "%s: %s", address, gai_strerror(rc));
	fd = listen_addrinfo(found, address, e);
	freeaddrinfo(found);
	if (fd < 0)
		return -1;
	add_listener(s, fd, NULL);
	return 0;
}

int
http_server_listen(struct http_server *s, const char *address, mode_t mode, struct err *e)
{
	if (str_has_prefix(address, "unix:"))
		return listen_unix(s, address + 5, mode, e);
	return listen_tcp(s, address, e);
}

int
http_server_port(const struct http_server *s)
{
	for (const struct http_listener *l = s->listeners; l != NULL; l = l->next) {
		struct sockaddr_storage a = { 0 };
		socklen_t n = sizeof a;

		if (getsockname(l->fd, (struct sockaddr *)&a, &n) < 0)
			continue;
		if (a.ss_family == AF_INET)
			return ntohs(((struct sockaddr_in *)&a)->sin_port);
		if (a.ss_family == AF_INET6)
			return ntohs(((struct sockaddr_in6 *)&a)->sin6_port);
	}
	return 0;
}

void
http_server_drain(struct http_server *s)
{
	struct http_conn *next;

	if (s->is_draining)
		return;
	/* Who waits in the backlog was promised an answer. */
	for (struct http_listener *l = s->listeners; l != NULL; l = l->next)
		while (accept_one(s, l->fd))
			;
	s->is_draining = true;
	event_del(&s->retry);
	close_listeners(s);
	for (struct http_conn *c = s->conns; c != NULL; c = next) {
		next = c->next;
		if (http_conn_try(c))
			http_conn_close(c);
	}
}

size_t
http_server_active(const struct http_server *s)
{
	return s->active;
}

static void
free_server(void *p)
{
	struct http_server *s = p;

	buf_fini(&s->spare);
	free(s->server_name);
	free(s);
}

void
http_server_free(struct http_server *take_s)
{
	struct http_server *s = take_s;

	if (s == NULL)
		return;
	s->is_draining = true;
	event_del(&s->retry);
	close_listeners(s);
	while (s->conns != NULL)
		http_conn_close(s->conns);
	loop_free_later(s->loop, free_server, s);
}

void
http_server_conn_closed(struct http_server *s, struct http_conn *c)
{
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		s->conns = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	s->conn_n--;
	if (!s->is_draining)
		set_accepting(s, true);
}

const char *
http_server_date(struct http_server *s)
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
		"Sep", "Oct", "Nov", "Dec" };
	time_t now = time(NULL);
	struct tm t;

	if (now != s->date_s) {
		s->date_s = now;
		gmtime_r(&now, &t);
		(void)snprintf(s->date, sizeof s->date, "%s, %02u %s %04u %02u:%02u:%02u GMT",
		    days[t.tm_wday % 7], (unsigned)t.tm_mday % 100u, months[t.tm_mon % 12],
		    ((unsigned)t.tm_year + 1900u) % 10000u, (unsigned)t.tm_hour % 100u,
		    (unsigned)t.tm_min % 100u, (unsigned)t.tm_sec % 100u);
	}
	return s->date;
}
