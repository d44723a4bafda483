#include "node/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/loop/loop.h"
#include "node/resolver_link.h"
#include "node/resolver_tcp.h"
#include "node/resolver_udp.h"

enum { REQUEST_MAX = 512, LIST_PACKET = 32 * 1024, OTHER_FILES = 2048, LIST_ENTRY_MAX = 256 };

static void
free_instance(void *value)
{
	struct resolver_instance *in = value;

	resolver_udp_stop(in);
	resolver_tcp_stop(in);
	file_close(in->udp_fd);
	file_close(in->tcp_fd);
	free(in->name);
	free(in->app);
	free(in->host);
	free(in);
}

static size_t
instances_max(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur <= OTHER_FILES)
		return 16;
	return (r.rlim_cur - OTHER_FILES) / 2 < RESOLVER_INSTANCES_MAX
	           ? (size_t)(r.rlim_cur - OTHER_FILES) / 2
	           : RESOLVER_INSTANCES_MAX;
}

static bool
is_socket(int fd, int type)
{
	int t = 0, domain = 0;
	socklen_t n = sizeof t;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &t, &n) == 0 && t == type &&
	       getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_INET;
}

int
resolver_add(
    struct resolver *r, const struct resolver_who *who, int take_udp, int take_tcp, struct err *e)
{
	const char *name = who->instance;
	struct resolver_instance *in;
	struct in_addr own;
	int rc = 0;

	if (!is_socket(take_udp, SOCK_DGRAM) || !is_socket(take_tcp, SOCK_STREAM))
		rc = err_set(e, ERR_INVALID, NULL, "a UDP and a TCP socket are needed");
	else if (map_get(r->instances, name) == NULL && map_count(r->instances) >= instances_max())
		rc = err_set(e, ERR_LIMIT, NULL, "too many instances: raise RLIMIT_NOFILE");
	if (rc < 0) {
		file_close(take_udp);
		file_close(take_tcp);
		return -1;
	}
	in = xcalloc(1, sizeof *in);
	*in = (struct resolver_instance){ .r = r, .udp_fd = take_udp, .tcp_fd = take_tcp };
	in->name = xstrdup(name);
	in->app = xstrdup(who->app);
	if (inet_pton(AF_INET, who->address, &own) == 1) {
		in->host = xstrdup(who->host);
		in->address = own.s_addr;
		str_lower(in->host);
	}
	(void)map_remove(r->instances, name);
	map_set(r->instances, name, in);
	resolver_udp_start(in);
	resolver_tcp_start(in);
	return 0;
}

int
resolver_find(struct resolver_instance *in, const char *name, uint32_t out[RESOLVER_ADDRESSES_MAX])
{
	if (in->address != 0 && strcmp(in->host, name) == 0) {
		out[0] = in->address;
		return 1;
	}
	return resolver_names_find(in->r->names, in->app, name, out);
}

void
resolver_remove(struct resolver *r, const char *name)
{
	(void)map_remove(r->instances, name);
}

/* --- requests of the node: a packet each: add INSTANCE APP HOST ADDRESS (with two
 * sockets), remove INSTANCE,
 * list --- */

struct request {
	char text[REQUEST_MAX];
	int fd[2]; /* owned */
	int fd_n;
};

static void
request_fini(struct request *q)
{
	while (q->fd_n > 0)
		file_close(q->fd[--q->fd_n]);
}

static void
take_fds(struct msghdr *m, struct request *q)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		size_t i, n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (q->fd_n < 2)
				q->fd[q->fd_n++] = fd;
			else
				file_close(fd);
		}
	}
}

static int
receive(int fd, struct request *q, struct err *e)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { q->text, sizeof q->text - 1 };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control };
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return err_set(e, ERR_SYSTEM, NULL, "no request came");
	take_fds(&m, q);
	q->text[n] = '\0';
	if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
		return err_set(e, ERR_LIMIT, NULL, "the request is too long");
	return 0;
}

struct listing {
	int fd;
	struct buf text;
};

static void
list_one(const char *key, void *value, void *arg)
{
	struct listing *l = arg;

	(void)value;
	if (l->text.n + LIST_ENTRY_MAX > LIST_PACKET) {
		(void)send(l->fd, l->text.p, l->text.n, MSG_NOSIGNAL);
		buf_clear(&l->text);
	}
	buf_adds(&l->text, l->text.n == 0 ? "list " : " ");
	buf_adds(&l->text, key);
}

static void
list_all(struct resolver *r, int fd)
{
	struct listing l = { .fd = fd };

	map_each(r->instances, list_one, &l);
	if (l.text.n > 0)
		(void)send(fd, l.text.p, l.text.n, MSG_NOSIGNAL);
	buf_fini(&l.text);
}

static int
act(struct resolver *r, int fd, struct request *q, struct err *e)
{
	char verb[8] = "", name[128] = "", app[128] = "", host[256] = "-", address[64] = "-";
	int n = sscanf(q->text, "%7s %127s %127s %255s %63s", verb, name, app, host, address);
	const struct resolver_who who = {
		.instance = name, .app = app, .host = host, .address = address
	};

	if (n == 1 && strcmp(verb, "list") == 0) {
		list_all(r, fd);
		return 0;
	}
	if (n == 2 && strcmp(verb, "remove") == 0) {
		resolver_remove(r, name);
		return 0;
	}
	if (n >= 3 && strcmp(verb, "add") == 0 && q->fd_n == 2) {
		q->fd_n = 0;
		return resolver_add(r, &who, q->fd[0], q->fd[1], e);
	}
	return err_set(e, ERR_INVALID, NULL, "unknown request");
}

static bool
is_trusted(int fd)
{
	struct ucred c;
	socklen_t n = sizeof c;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) == 0 &&
	       (c.uid == 0 || c.uid == geteuid());
}

/* The node sends its request at once and waits; a peer that does not costs us a moment. */
static void
on_control(int listen_fd, int what, void *arg)
{
	AUTO(file_close) int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct timeval limit = { .tv_sec = 1 };
	AUTO_FINI(request_fini) struct request q = { .fd_n = 0 };
	struct err e = { 0 };
	char text[REQUEST_MAX];
	int n;

	(void)what;
	if (fd < 0 || !is_trusted(fd))
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (receive(fd, &q, &e) < 0 || act(arg, fd, &q, &e) < 0)
		n = snprintf(text, sizeof text, "error %.400s", e.text);
	else
		n = snprintf(text, sizeof text, "ok");
	(void)send(fd, text, (size_t)n, MSG_NOSIGNAL);
}

void
resolver_init(
    struct resolver *r, struct loop *l, int control_fd, const char *names, const char *servers)
{
	*r = (struct resolver){ .loop = l, .control_fd = control_fd };
	r->names = resolver_names_new(names, servers);
	r->instances = map_new(free_instance);
	r->control_io = loop_io_start(l, control_fd, LOOP_READ, on_control, r);
}

void
resolver_fini(struct resolver *r)
{
	loop_io_cancel(r->control_io);
	map_free(r->instances);
	resolver_names_free(r->names);
	*r = (struct resolver){ 0 };
}
