#include "router/takeover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "router/fleet.h"

/* Packets: "SOCKET NAME" with its descriptor, for each; then "end". Back: "serving". */
static const char socket_word[] = "socket ", end_word[] = "end", serving_word[] = "serving";

enum { SOCKETS_MAX = 4096, ASK_S = 10, PACKET_MAX = TAKEOVER_NAME_MAX + 16, SEND_BUFFER = 4 << 20 };

struct takeover {
	struct loop *loop; /* borrowed */
	struct takeover_opts o;
	struct loop_io *listen_io, *peer_io; /* owned */
	int fd, peer;                        /* owned; -1: none */
	bool has_failed;
};

/* --- descriptors --- */

void
takeover_sockets_fini(struct takeover_sockets *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].fd >= 0)
			close(s->v[i].fd);
	}
	free(s->v);
	*s = (struct takeover_sockets){ 0 };
}

int
takeover_sockets_take(struct takeover_sockets *s, const char *proto, const char *address)
{
	char name[TAKEOVER_NAME_MAX];

	(void)snprintf(name, sizeof name, "%s %s", proto, address);
	for (size_t i = 0; s != NULL && i < s->n; i++) {
		int fd = s->v[i].fd;

		if (fd < 0 || strcmp(s->v[i].name, name) != 0)
			continue;
		s->v[i].fd = -1;
		return fd;
	}
	return -1;
}

static int
set_address(struct sockaddr_un *a, const char *dir, const char *name, struct err *e)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(dir) + 1 + strlen(name) >= sizeof a->sun_path)
		return err_set(e, ERR_INVALID, "state-dir",
		    "must be at most %zu bytes long, for the socket in it: %s",
		    sizeof a->sun_path - strlen(name) - 2, dir);
	(void)snprintf(a->sun_path, sizeof a->sun_path, "%s/%s", dir, name);
	return 0;
}

static int
new_socket(int flags, struct err *e)
{
	int size = SEND_BUFFER, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	return fd;
}

/* A packet with at most one descriptor, which is not closed. */
static bool
send_packet(int to, const char *text, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec v = { (char *)text, strlen(text) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (fd >= 0) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof control.room;
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
	}
	return sendmsg(to, &m, MSG_NOSIGNAL) == (ssize_t)v.iov_len;
}

/* Bytes of a packet, 0 at the end, -1 when it failed. *out_fd: the caller's; -1: none came. */
static ssize_t
recv_packet(int from, char text[PACKET_MAX], int *out_fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec v = { text, PACKET_MAX - 1 };
	struct msghdr m = { .msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof control.room };
	struct cmsghdr *h;
	ssize_t n;

	*out_fd = -1;
	do
		n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	h = CMSG_FIRSTHDR(&m);
	if (h != NULL && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS &&
	    h->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(out_fd, CMSG_DATA(h), sizeof *out_fd);
	text[n] = '\0';
	return n;
}

/* --- the new one --- */

/* false: the end, or no such packet. */
static bool
take_packet(struct takeover_sockets *out, const char *text, int fd)
{
	size_t word = sizeof socket_word - 1;
	struct takeover_socket *s;

	if (fd < 0 || strncmp(text, socket_word, word) != 0 || out->n == SOCKETS_MAX) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	out->v = xreallocarray(out->v, out->n + 1, sizeof *out->v);
	s = &out->v[out->n++];
	(void)snprintf(s->name, sizeof s->name, "%s", text + word);
	s->fd = fd;
	return true;
}

int
takeover_ask(const char *dir, struct takeover_sockets *out, struct err *e)
{
	struct timeval limit = { .tv_sec = ASK_S };
	struct sockaddr_un a;
	char text[PACKET_MAX];
	int passed, fd;
	ssize_t n;

	if (set_address(&a, dir, "takeover.sock", e) < 0 || (fd = new_socket(0, e)) < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
		if (errno != ENOENT && errno != ECONNREFUSED)
			(void)err_set(e, ERR_SYSTEM, "state-dir", "cannot reach %s", a.sun_path);
		close(fd);
		return -1;
	}
	while ((n = recv_packet(fd, text, &passed)) > 0 && take_packet(out, text, passed))
		continue;
	if (n > 0 && strcmp(text, end_word) == 0)
		return fd;
	close(fd);
	takeover_sockets_fini(out);
	return err_set(e, ERR_BUSY, "state-dir",
	    "the router that runs with %s did not pass its sockets on: is another one just taking "
	    "over? Try again",
	    dir);
}

void
takeover_done(int take_fd)
{
	if (!send_packet(take_fd, serving_word, -1))
		log_warn("takeover_not_told", LOG_STR("why", strerror(errno)));
	close(take_fd);
}

/* --- the one that runs --- */

static void on_peer(int fd, int what, void *arg);
static int open_path(struct takeover *t, struct err *e);

static void
drop_peer(struct takeover *t)
{
	loop_io_cancel(STEAL(t->peer_io));
	if (t->peer >= 0)
		close(t->peer);
	t->peer = -1;
}

static void
drop_path(struct takeover *t)
{
	loop_io_cancel(STEAL(t->listen_io));
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

static void
fail(struct takeover *t)
{
	struct err e = { 0 };

	drop_peer(t);
	log_warn("takeover_failed");
	/* It may have put its own socket there. */
	drop_path(t);
	if (open_path(t, &e) < 0)
		log_error("takeover_impossible", LOG_ERR(&e));
	t->o.on_failed(t->o.arg);
}

static void
give_one(const struct entry *entry, int fd, void *arg)
{
	struct takeover *t = arg;
	char text[PACKET_MAX];

	(void)snprintf(text, sizeof text, "%s%s %s", socket_word, entry->proto, entry->address);
	t->has_failed = t->has_failed || !send_packet(t->peer, text, fd);
}

void
takeover_give(struct takeover *t)
{
	if (t->peer < 0)
		return;
	t->has_failed = false;
	fleet_each_socket(t->o.fleet, give_one, t);
	if (t->has_failed || !send_packet(t->peer, end_word, -1))
		fail(t);
}

static void
on_peer(int fd, int what, void *arg)
{
	struct takeover *t = arg;
	char text[PACKET_MAX];
	int passed;
	ssize_t n = recv_packet(fd, text, &passed);

	(void)what;
	if (passed >= 0)
		close(passed);
	if (n <= 0 || strcmp(text, serving_word) != 0) {
		fail(t);
		return;
	}
	drop_peer(t);
	drop_path(t);
	t->o.on_done(t->o.arg);
}

static void
on_connect(int fd, int what, void *arg)
{
	struct takeover *t = arg;
	struct ucred who = { 0 };
	socklen_t n = sizeof who;
	int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (peer < 0)
		return;
	if (t->peer >= 0 || getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0 ||
	    (who.uid != 0 && who.uid != geteuid())) {
		close(peer); /* one at a time */
		return;
	}
	log_info("takeover_asked", LOG_INT("pid", who.pid));
	t->peer = peer;
	t->peer_io = loop_io_start(t->loop, peer, LOOP_READ, on_peer, t);
	t->o.on_ask(t->o.arg);
}

static int
open_path(struct takeover *t, struct err *e)
{
	struct sockaddr_un made, a;

	if (set_address(&made, t->o.dir, "takeover.new", e) < 0 ||
	    set_address(&a, t->o.dir, "takeover.sock", e) < 0 ||
	    (t->fd = new_socket(SOCK_NONBLOCK, e)) < 0)
		return -1;
	(void)unlink(made.sun_path);
	if (bind(t->fd, (struct sockaddr *)&made, sizeof made) < 0 ||
	    chmod(made.sun_path, 0600) < 0 || listen(t->fd, 1) < 0 ||
	    rename(made.sun_path, a.sun_path) < 0)
		return err_set(e, ERR_SYSTEM, "state-dir", "cannot listen on %s", a.sun_path);
	t->listen_io = loop_io_start(t->loop, t->fd, LOOP_READ, on_connect, t);
	return 0;
}

struct takeover *
takeover_new(struct loop *l, const struct takeover_opts *o, struct err *e)
{
	struct takeover *t = xcalloc(1, sizeof *t);

	t->loop = l;
	t->o = *o;
	t->fd = t->peer = -1;
	if (file_mkdirs(o->dir, 0700, e) < 0 || open_path(t, e) < 0) {
		takeover_free(t);
		return NULL;
	}
	return t;
}

void
takeover_free(struct takeover *take_t)
{
	if (take_t == NULL)
		return;
	drop_peer(take_t);
	drop_path(take_t);
	free(take_t);
}
