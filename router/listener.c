#include "router/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "router/client_conn.h"
#include "router/lane.h"
#include "router/shed.h"

enum {
	BACKLOG = 4096,
	ACCEPTS = 64,
	DEFER_S = 5,
	PAUSE_MS = 100,
	PATIENCE_MS = 1000,
	TELL_MS = 10000,
	PROBE_AFTER_S = 120,
	PROBE_EVERY_S = 20
};

struct listener {
	struct listener *next; /* of the same lane */
	struct event ev;
	struct lane_timer pause;   /* no descriptors left */
	int64_t tell_ms;           /* the next warning not before */
	int64_t waits_since_ms;    /* for room for who is in the queue; 0: nobody waits */
	struct lane *lane;         /* borrowed; NULL: not started */
	const struct entry *entry; /* borrowed */
	int fd;                    /* owned */
};

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int
parse(const struct entry *entry, union address *out, socklen_t *out_n, int *port, struct err *e)
{
	const char *text = entry->address, *field = entry->proto;
	const char *colon = strrchr(text, ':');
	AUTO(free) char *host = NULL;
	int64_t p;

	*out = (union address){ 0 };
	if (colon == NULL)
		return err_set(e, ERR_INVALID, field, "must be ADDRESS:PORT, is \"%s\"", text);
	if (str_to_i64(str_of(colon + 1), 0, 65535, field, &p, e) < 0)
		return -1;
	if (*port == 0)
		*port = (int)p;
	host = xstrndup(text, (size_t)(colon - text));
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	if (inet_pton(AF_INET, host, &out->in.sin_addr) == 1) {
		out->in.sin_family = AF_INET;
		out->in.sin_port = htons((uint16_t)*port);
		*out_n = sizeof out->in;
	} else if (inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1) {
		out->in6.sin6_family = AF_INET6;
		out->in6.sin6_port = htons((uint16_t)*port);
		*out_n = sizeof out->in6;
	} else {
		return err_set(
		    e, ERR_INVALID, field, "must be an address and not a name: \"%s\"", host);
	}
	return 0;
}

static int
bound_port(int fd)
{
	union address a = { 0 };
	socklen_t n = sizeof a;

	if (getsockname(fd, &a.sa, &n) < 0)
		return -1;
	return ntohs(a.sa.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
}

static int
bind_new(const struct entry *entry, struct err *e)
{
	union address a;
	socklen_t n = 0;
	int one = 1, off = 0, fd, port = entry->port;

	if (parse(entry, &a, &n, &port, e) < 0)
		return -1;
	fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (a.sa.sa_family == AF_INET6) /* [::] is any address, of IPv4 too */
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(fd, &a.sa, n) < 0) {
		(void)err_set(e, ERR_SYSTEM, entry->proto, "cannot listen on %s", entry->address);
		close(fd);
		return -1;
	}
	return fd;
}

struct listener *
listener_open(struct entry *entry, int take_fd, struct err *e)
{
	int one = 1, defer = DEFER_S, probe_after = PROBE_AFTER_S, probe_every = PROBE_EVERY_S;
	int fd = take_fd >= 0 ? take_fd : bind_new(entry, e), port;
	struct listener *ls;

	if (fd < 0)
		return NULL;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof defer);
	/* What follows the accepted sockets inherit. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &probe_after, sizeof probe_after);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe_every, sizeof probe_every);
	if (listen(fd, BACKLOG) < 0 || (port = bound_port(fd)) <= 0) {
		(void)err_set(e, ERR_SYSTEM, entry->proto, "cannot listen on %s", entry->address);
		close(fd);
		return NULL;
	}
	entry->port = port;
	(void)snprintf(entry->port_text, sizeof entry->port_text, "%d", port);
	ls = xcalloc(1, sizeof *ls);
	ls->fd = fd;
	ls->entry = entry;
	return ls;
}

/* Who waits for longer than that is refused. */
static void
pause_accepting(struct listener *ls, const char *why)
{
	struct lane *l = ls->lane;

	if (l->now_ms >= ls->tell_ms) {
		log_warn("accept_paused", LOG_STR("why", why), LOG_INT("clients", l->client_n));
		ls->tell_ms = l->now_ms + TELL_MS;
	}
	if (ls->waits_since_ms == 0)
		ls->waits_since_ms = l->now_ms;
	if (l->now_ms - ls->waits_since_ms >= PATIENCE_MS) {
		for (int i = 0; i < ACCEPTS; i++) {
			if (!shed_refuse_next(l, ls->fd, ls->entry->tls != NULL))
				break;
		}
	}
	event_del(&ls->ev);
	wheel_set(&l->wheel, &ls->pause.timer, l->now_ms + PAUSE_MS);
}

/* true: there may be more. */
static bool
accept_one(struct listener *ls)
{
	union address a = { 0 };
	socklen_t n = sizeof a;
	struct peer peer;
	int fd;

	if (!shed_room(ls->lane)) {
		pause_accepting(ls, "no room for more clients");
		return false;
	}
	fd = accept4(ls->fd, &a.sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && shed_retry(ls->lane, errno))
		return true;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		pause_accepting(ls, strerror(errno));
		return false;
	}
	ls->waits_since_ms = 0;
	if (fd < 0)
		return errno == EINTR || errno == ECONNABORTED;
	peer = peer_of(&a.sa);
	client_conn_start(ls->lane, ls->entry, fd, &peer);
	return true;
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct listener *ls = arg;

	(void)fd;
	(void)what;
	lane_begin(ls->lane);
	for (int i = 0; i < ACCEPTS && accept_one(ls); i++)
		continue;
	lane_end(ls->lane);
}

static void
on_pause_end(struct lane_timer *t)
{
	struct listener *ls = CONTAINER_OF(t, struct listener, pause);

	(void)event_add(&ls->ev, NULL);
}

static void
start(struct listener *ls, struct lane *l)
{
	ls->lane = l;
	ls->pause.fn = on_pause_end;
	if (event_assign(&ls->ev, l->base, ls->fd, EV_READ | EV_PERSIST, on_accept, ls) < 0 ||
	    event_add(&ls->ev, NULL) < 0)
		log_error("listen_failed", LOG_INT("lane", l->index));
}

void
listener_add(struct listener **list, struct listener *take_ls)
{
	take_ls->next = *list;
	*list = take_ls;
}

void
listener_start_all(struct listener *list, struct lane *l)
{
	for (struct listener *ls = list; ls != NULL; ls = ls->next)
		start(ls, l);
}

void
listener_each(struct listener *list, listener_fn *fn, void *arg)
{
	for (const struct listener *ls = list; ls != NULL; ls = ls->next)
		fn(ls->entry, ls->fd, arg);
}

static void
close_one(struct listener *take_ls, bool is_handed_over)
{
	struct listener *ls = take_ls;

	if (ls->lane != NULL) {
		int off = 0;

		/* who is in the queue got its handshake */
		if (!is_handed_over) {
			(void)setsockopt(ls->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &off, sizeof off);
			while (accept_one(ls))
				continue;
		}
		event_del(&ls->ev);
		wheel_clear(&ls->lane->wheel, &ls->pause.timer);
	}
	close(ls->fd);
	free(ls);
}

void
listener_close_all(struct listener **list, bool is_handed_over)
{
	while (*list != NULL) {
		struct listener *ls = *list;

		*list = ls->next;
		close_one(ls, is_handed_over);
	}
}
