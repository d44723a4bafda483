/* The application behind the routers: GET /N is answered by N bytes (1024 where no number is), a
 * body is read and thrown away. Each address of 127.0.0.0/8 is an instance of its own, and the
 * answer tells in X-Instance which one it was.
 * usage: upstream PORT */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEAD_MAX = 4096, PIECE = 256 * 1024, EVENTS = 256, BACKLOG = 4096 };

struct client {
	int fd;
	size_t in_n;      /* bytes of a head, not answered yet */
	long body_left;   /* of the request */
	size_t head_left; /* of the answer's head */
	long answer_left; /* of its body */
	bool answers;
	bool closes;
	char me[INET_ADDRSTRLEN];
	char in[HEAD_MAX], head[256];
};

static char zeros[PIECE], sink[PIECE];

static void
begin_answer(struct client *c, char *head)
{
	const char *number = strchr(head, '/'), *length;

	c->answer_left =
	    number != NULL && isdigit((unsigned char)number[1]) ? atol(number + 1) : 1024;
	length = strcasestr(head, "\r\ncontent-length:");
	c->body_left = length == NULL ? 0 : atol(length + 17);
	c->closes = strcasestr(head, "\r\nconnection: close") != NULL;
	c->head_left = (size_t)snprintf(c->head, sizeof c->head,
	    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Instance: %s\r\nContent-Length: %ld"
	    "\r\n\r\n",
	    c->me, c->answer_left);
	memmove(c->head + sizeof c->head - c->head_left, c->head, c->head_left);
	c->answers = true;
}

/* false: the connection ends. *out_blocked: the client takes no more now. */
static bool
write_answer(struct client *c, bool *out_blocked)
{
	while (c->head_left != 0 || c->answer_left != 0) {
		size_t piece = c->answer_left < PIECE ? (size_t)c->answer_left : PIECE;
		struct iovec v[2] = { { c->head + sizeof c->head - c->head_left, c->head_left },
			{ zeros, piece } };
		ssize_t n = writev(c->fd, v, 2);

		if (n < 0) {
			*out_blocked = errno == EAGAIN;
			return *out_blocked;
		}
		if ((size_t)n < c->head_left) {
			c->head_left -= (size_t)n;
			continue;
		}
		c->answer_left -= n - (long)c->head_left;
		c->head_left = 0;
	}
	c->answers = false;
	return !c->closes;
}

/* Uses what was read: the rest of a body, then heads. false: the connection ends. */
static bool
use_input(struct client *c)
{
	bool blocked = false;
	char *end;

	for (;;) {
		size_t part = c->body_left < (long)c->in_n ? (size_t)c->body_left : c->in_n;

		memmove(c->in, c->in + part, c->in_n - part);
		c->in_n -= part;
		c->body_left -= (long)part;
		if (c->body_left != 0)
			return true;
		if (c->answers && (!write_answer(c, &blocked) || blocked))
			return blocked;
		c->in[c->in_n] = '\0';
		end = strstr(c->in, "\r\n\r\n");
		if (end == NULL)
			return c->in_n < HEAD_MAX - 1;
		end[2] = '\0';
		begin_answer(c, c->in);
		part = (size_t)(end + 4 - c->in);
		memmove(c->in, c->in + part, c->in_n - part);
		c->in_n -= part;
	}
}

/* false: the connection ends. */
static bool
serve(struct client *c)
{
	for (;;) {
		bool skips;
		size_t want;
		ssize_t n;

		if (!use_input(c))
			return false;
		skips = c->body_left != 0;
		if (c->answers && !skips)
			return true; /* it is told when there is room */
		want = skips ? (c->body_left < PIECE ? (size_t)c->body_left : PIECE)
		             : HEAD_MAX - 1 - c->in_n;
		n = read(c->fd, skips ? sink : c->in + c->in_n, want);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		if (skips)
			c->body_left -= n;
		else
			c->in_n += (size_t)n;
	}
}

static void
take(int listener, int poll)
{
	struct sockaddr_in me;
	socklen_t n = sizeof me;
	int one = 1, fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct client *c = calloc(1, sizeof *c);
		struct epoll_event e = { EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, { .ptr = c } };

		if (c == NULL)
			abort();
		c->fd = fd;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (getsockname(fd, (struct sockaddr *)&me, &n) == 0)
			(void)inet_ntop(AF_INET, &me.sin_addr, c->me, sizeof c->me);
		if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0)
			abort();
	}
}

int
main(int argc, char **argv)
{
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
	int poll = epoll_create1(EPOLL_CLOEXEC);
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct epoll_event e = { EPOLLIN, { .ptr = NULL } }, got[EVENTS];

	(void)signal(SIGPIPE, SIG_IGN);
	a.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0));
	(void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, BACKLOG) < 0 ||
	    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &e) < 0) {
		perror("upstream");
		return 1;
	}
	for (;;) {
		int n = epoll_wait(poll, got, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct client *c = got[i].data.ptr;

			if (c == NULL) {
				take(listener, poll);
			} else if (!serve(c)) {
				close(c->fd);
				free(c);
			}
		}
	}
}
