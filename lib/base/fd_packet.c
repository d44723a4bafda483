#include "lib/base/fd_packet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/file.h"

enum { SEND_BUFFER = 4 << 20 };

bool
fd_packet_send(int to, const char *text, int fd)
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

ssize_t
fd_packet_recv(int from, char *text, size_t size, int *out_fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec v = { text, size - 1 };
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

/* --- sockets --- */

static int
set_address(
    struct sockaddr_un *a, const char *dir, const char *name, const char *end, struct err *e)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(dir) + 1 + strlen(name) + strlen(end) >= sizeof a->sun_path)
		return err_set(e, ERR_INVALID, NULL,
		    "the directory must be at most %zu bytes long, for the socket in it: %s",
		    sizeof a->sun_path - strlen(name) - strlen(end) - 2, dir);
	(void)snprintf(a->sun_path, sizeof a->sun_path, "%s/%s%s", dir, name, end);
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

int
fd_packet_listen(const char *dir, const char *name, struct err *e)
{
	struct sockaddr_un made, a;
	int fd;

	if (set_address(&made, dir, name, ".new", e) < 0 || set_address(&a, dir, name, "", e) < 0 ||
	    (fd = new_socket(SOCK_NONBLOCK, e)) < 0)
		return -1;
	(void)unlink(made.sun_path);
	if (bind(fd, (struct sockaddr *)&made, sizeof made) < 0 || chmod(made.sun_path, 0600) < 0 ||
	    listen(fd, 1) < 0 || rename(made.sun_path, a.sun_path) < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot listen on %s", a.sun_path);
		file_close(fd);
		return -1;
	}
	return fd;
}

int
fd_packet_accept(int fd, pid_t *out_pid)
{
	struct ucred who = { 0 };
	socklen_t n = sizeof who;
	int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (peer >= 0 && getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 &&
	    (who.uid == 0 || who.uid == geteuid())) {
		*out_pid = who.pid;
		return peer;
	}
	file_close(peer);
	return -1;
}

int
fd_packet_connect(const char *dir, const char *name, int seconds, struct err *e)
{
	struct timeval limit = { .tv_sec = seconds };
	struct sockaddr_un a;
	int fd;

	if (set_address(&a, dir, name, "", e) < 0 || (fd = new_socket(0, e)) < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	if (errno != ENOENT && errno != ECONNREFUSED)
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot reach %s", a.sun_path);
	file_close(fd);
	return -1;
}
