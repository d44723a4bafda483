#include "node/resolver_link.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

enum { REPLY_MAX = 64 * 1024, TIMEOUT_S = 5, BACKLOG = 64 };

static int
set_path(struct sockaddr_un *a, const char *path, struct err *e)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof a->sun_path)
		return err_set(e, ERR_INVALID, NULL, "the path is too long for a socket: %s", path);
	memcpy(a->sun_path, path, strlen(path) + 1);
	return 0;
}

int
resolver_link_listen(const char *path, struct err *e)
{
	AUTO(file_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	int out;

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a socket");
	if (set_path(&a, path, e) < 0)
		return -1;
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, NULL, "cannot remove %s", path);
	if (bind(fd, (const struct sockaddr *)&a, sizeof a) < 0 || chmod(path, 0600) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot listen on %s", path);
	out = fd;
	fd = -1;
	return out;
}

static int
open_link(const char *path, struct err *e)
{
	AUTO(file_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct timeval limit = { .tv_sec = TIMEOUT_S };
	struct sockaddr_un a;
	int out;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a socket");
	if (set_path(&a, path, e) < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&a, sizeof a) < 0) {
		bool is_absent = errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN;

		return err_set(
		    e, is_absent ? ERR_BUSY : ERR_SYSTEM, NULL, "no resolver answers on %s", path);
	}
	out = fd;
	fd = -1;
	return out;
}

static int
send_request(int fd, const char *text, const int *fds, size_t n, struct err *e)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (char *)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > 0) {
		struct cmsghdr *c;

		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
		return err_set(e, ERR_BUSY, NULL, "the resolver does not take requests");
	return 0;
}

static void
add_words(struct str text, struct str_list *out)
{
	struct str word;

	while (text.n > 0) {
		text = str_cut(text, ' ', &word);
		if (word.n > 0)
			str_list_take(out, xstrndup(word.p, word.n));
	}
}

/* Until "ok" or "error TEXT"; "list …" goes to out. */
static int
receive_reply(int fd, struct str_list *out, struct err *e)
{
	AUTO(free) char *text = xmalloc(REPLY_MAX + 1);

	for (;;) {
		ssize_t n = recv(fd, text, REPLY_MAX, 0);

		if (n <= 0)
			return err_set(e, ERR_BUSY, NULL, "the resolver does not answer");
		text[n] = '\0';
		if (strcmp(text, "ok") == 0)
			return 0;
		if (str_has_prefix(text, "error "))
			return err_set(e, ERR_INVALID, NULL, "resolver: %s", text + 6);
		if (out != NULL && str_has_prefix(text, "list "))
			add_words(str_of(text + 5), out);
	}
}

static int
request(const char *path, const char *text, const int *fds, size_t n, struct str_list *out,
    struct err *e)
{
	AUTO(file_close) int fd = open_link(path, e);

	if (fd < 0 || send_request(fd, text, fds, n, e) < 0)
		return -1;
	return receive_reply(fd, out, e);
}

static const char *
word(const char *s)
{
	return s == NULL || *s == '\0' ? "-" : s;
}

int
resolver_link_add(
    const char *path, const struct resolver_who *who, int udp_fd, int tcp_fd, struct err *e)
{
	AUTO(free)
	char *text = xasprintf(
	    "add %s %s %s %s", who->instance, word(who->app), word(who->host), word(who->address));
	const int fds[2] = { udp_fd, tcp_fd };

	return request(path, text, fds, 2, NULL, e);
}

int
resolver_link_remove(const char *path, const char *instance, struct err *e)
{
	AUTO(free) char *text = xasprintf("remove %s", instance);

	return request(path, text, NULL, 0, NULL, e);
}

int
resolver_link_list(const char *path, struct str_list *out, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list found = { 0 };

	if (request(path, "list", NULL, 0, &found, e) < 0)
		return -1;
	str_list_fini(out);
	*out = found;
	found = (struct str_list){ 0 };
	return 0;
}

/* In lower case, and by pieces: a node has thousands of them. */
void
resolver_link_add_name(struct buf *out, const struct resolver_name *n)
{
	size_t at;

	buf_adds(out, n->app);
	buf_addc(out, ' ');
	at = out->n;
	buf_adds(out, n->name);
	str_lower(out->p + at);
	buf_addc(out, ' ');
	buf_adds(out, n->address);
	buf_addc(out, '\n');
}

int
resolver_link_names(const char *file, const struct buf *names, struct err *e)
{
	return file_replace_fast(file, buf_str(names).p, names->n, 0644, e);
}
