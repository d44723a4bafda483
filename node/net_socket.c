#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "node/net.h"
#include "node/net_ns.h"
#include "node/net_state.h"

enum { BACKLOG = 64 };

struct socket_job {
	int type, fd;
	struct sockaddr_in to;
};

static int
make_socket(void *arg, struct err *e)
{
	struct socket_job *j = arg;
	AUTO(file_close) int fd = socket(AF_INET, j->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0 || (j->type == SOCK_STREAM &&
	                  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0))
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a socket");
	if (bind(fd, (const struct sockaddr *)&j->to, sizeof j->to) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot bind port %d", ntohs(j->to.sin_port));
	if (j->type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot listen");
	j->fd = fd;
	fd = -1;
	return 0;
}

static int
begin_connect(void *arg, struct err *e)
{
	struct socket_job *j = arg;
	AUTO(file_close) int fd = socket(AF_INET, j->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a socket");
	if (connect(fd, (const struct sockaddr *)&j->to, sizeof j->to) < 0 && errno != EINPROGRESS)
		return err_set(e, ERR_SYSTEM, NULL, "connect to port %d", ntohs(j->to.sin_port));
	j->fd = fd;
	fd = -1;
	return 0;
}

/* Returns a socket that fn made in the instance's namespace. */
static int
socket_there(struct net *n, const char *instance, int type, const char *address, int port,
    net_ns_fn *fn, struct err *e)
{
	AUTO(free) char *path = net_ns_path(n, instance);
	AUTO(file_close) int ns = -1;
	struct socket_job j = { .type = type, .fd = -1, .to = { .sin_family = AF_INET } };

	if (!net_is_name(instance) || inet_pton(AF_INET, address, &j.to.sin_addr) != 1)
		return err_set(e, ERR_INVALID, "address", "is no IPv4 address: %.40s", address);
	j.to.sin_port = htons((uint16_t)port);
	ns = net_ns_open(path, e);
	if (ns < 0 || net_ns_run(ns, fn, &j, e) < 0)
		return -1;
	return j.fd;
}

int
net_socket(
    struct net *n, const char *instance, int type, const char *address, int port, struct err *e)
{
	return socket_there(n, instance, type, address, port, make_socket, e);
}

int
net_connect(struct net *n, const char *instance, const char *address, int port, struct err *e)
{
	return socket_there(n, instance, SOCK_STREAM, address, port, begin_connect, e);
}
