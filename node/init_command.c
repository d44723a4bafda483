#include "node/init_command.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/fd.h"

#define SOCKET "/run/pinion/gear/sock"

/* Frames of doc/protocol.md, "Byte streams". */
enum { FRAME_DATA, FRAME_END, FRAME_WINDOW, FRAME_ORDER, FRAME_READY, FRAME_RESIZE, FRAME_SIGNAL };
enum { FRAME_EXIT = 7, FRAME_ERROR, FRAME_PING, FRAME_PONG };

enum {
	HEAD = 8,
	PAYLOAD_MAX = 32 * 1024,
	ORDER_MAX = 16 * 1024,
	WINDOW = 256 * 1024,
	GIVE_BACK = WINDOW / 4,
	CONNECT_S = 10,    /* a node daemon that is just being replaced */
	CONNECT_MS = 50,   /* between two tries */
	EXIT_FAILED = 255, /* as v2 */
	EXIT_OUTSIDE = 254,
};

struct command {
	int fd;
	bool reads; /* stdin is wanted, and there is more */
	size_t credit;
	uint32_t used[3];
	bool is_over;
	int status;
};

bool
init_command_is(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');
	const char *name = slash == NULL ? argv0 : slash + 1;

	return strcmp(name, "gear") == 0 || strcmp(name, "ctl_all") == 0 ||
	       strcmp(name, "ctl_app") == 0;
}

static void
die(int status, const char *why)
{
	(void)fprintf(stderr, "gear: %s\n", why);
	exit(status);
}

static void
write_all(int fd, const void *p, size_t n)
{
	if (!fd_write_all(fd, p, n))
		die(EXIT_FAILED, "the connection to the platform broke");
}

/* --- frames --- */

static void
send_frame(const struct command *c, int type, int channel, const void *p, size_t n)
{
	static char frame[HEAD + PAYLOAD_MAX];
	uint32_t size = htonl((uint32_t)n);

	memset(frame, 0, HEAD);
	frame[0] = (char)type;
	frame[1] = (char)channel;
	memcpy(frame + 4, &size, sizeof size);
	if (n > 0)
		memcpy(frame + HEAD, p, n);
	write_all(c->fd, frame, HEAD + n);
}

static void
read_all(const struct command *c, char *p, size_t n)
{
	if (!fd_read_all(c->fd, p, n))
		die(EXIT_FAILED, "the platform closed the connection: try again");
}

static void
give_back(struct command *c, int channel, size_t n)
{
	uint32_t v;

	c->used[channel] += (uint32_t)n;
	if (c->used[channel] < GIVE_BACK)
		return;
	v = htonl(c->used[channel]);
	c->used[channel] = 0;
	send_frame(c, FRAME_WINDOW, channel, &v, sizeof v);
}

static uint32_t
number(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return ntohl(v);
}

static void
take_data(struct command *c, int channel, const char *p, size_t n)
{
	if (channel != 1 && channel != 2)
		return;
	write_all(channel == 2 ? STDERR_FILENO : STDOUT_FILENO, p, n);
	give_back(c, channel, n);
}

static void
take_frame(struct command *c, bool *is_ready)
{
	static char head[HEAD], payload[PAYLOAD_MAX + 1];
	size_t n;

	read_all(c, head, HEAD);
	n = number(head + 4);
	if (n > PAYLOAD_MAX)
		die(EXIT_FAILED, "the platform does not speak as this program");
	read_all(c, payload, n);
	payload[n] = '\0';
	switch (head[0]) {
	case FRAME_DATA:
		take_data(c, head[1], payload, n);
		break;
	case FRAME_WINDOW:
		c->credit += n == 4 && head[1] == 0 ? number(payload) : 0;
		break;
	case FRAME_READY:
		*is_ready = true;
		break;
	case FRAME_EXIT:
		c->is_over = true;
		c->status = n < 4 ? EXIT_FAILED : (int)(number(payload) & 0xff);
		break;
	case FRAME_ERROR:
		die(EXIT_FAILED, n > 1 ? payload + 1 : "refused");
		break;
	case FRAME_PING:
		send_frame(c, FRAME_PONG, 0, NULL, 0);
		break;
	default:
		break;
	}
}

static void
pass_input(struct command *c)
{
	static char p[PAYLOAD_MAX];
	ssize_t n = read(STDIN_FILENO, p, c->credit < sizeof p ? c->credit : sizeof p);

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		c->reads = false;
		send_frame(c, FRAME_END, 0, NULL, 0);
		return;
	}
	c->credit -= (size_t)n;
	send_frame(c, FRAME_DATA, 0, p, (size_t)n);
}

/* --- the order --- */

struct text {
	char p[ORDER_MAX];
	size_t n;
};

static void
add(struct text *t, const char *p, size_t n)
{
	if (t->n + n > sizeof t->p)
		die(EXIT_FAILED, "the arguments are too long");
	memcpy(t->p + t->n, p, n);
	t->n += n;
}

static void
add_json(struct text *t, const char *s)
{
	char escaped[8];

	add(t, "\"", 1);
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c >= 0x20 && c != '"' && c != '\\') {
			add(t, s, 1);
			continue;
		}
		(void)snprintf(escaped, sizeof escaped, "\\u%04x", c);
		add(t, escaped, 6);
	}
	add(t, "\"", 1);
}

static void
send_order(const struct command *c, int argc, char **argv)
{
	static struct text t;
	const char *slash = strrchr(argv[0], '/');

	add(&t, "{\"args\":[", 9);
	add_json(&t, slash == NULL ? argv[0] : slash + 1);
	for (int i = 1; i < argc; i++) {
		add(&t, ",", 1);
		add_json(&t, argv[i]);
	}
	add(&t, "]}", 2);
	send_frame(c, FRAME_ORDER, 0, t.p, t.n);
}

static int64_t
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static int
connect_socket(void)
{
	const struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	int64_t end = now_s() + CONNECT_S;

	if (access("/run/pinion/gear", F_OK) < 0)
		die(EXIT_OUTSIDE,
		    "there is none here: builds and install scripts have no running gear");
	for (;;) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) == 0)
			return fd;
		if (fd >= 0)
			close(fd);
		if ((errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN) || now_s() > end)
			die(EXIT_FAILED, "the node does not answer: try again");
		(void)poll(NULL, 0, CONNECT_MS);
	}
}

/* Others leave the input to who comes after them. */
static bool
reads_input(int argc, char **argv)
{
	static const char *const words[] = { "restore", "prereceive", "postreceive",
		"binary-deploy", NULL };

	for (size_t i = 0; argc > 1 && words[i] != NULL; i++) {
		if (strcmp(argv[1], words[i]) == 0)
			return true;
	}
	return false;
}

/* `gear binary-deploy FILE`: the file is the input, and no argument. */
static void
open_artifact(int *argc, char **argv)
{
	int at = 2, fd;

	if (*argc < 2 || strcmp(argv[1], "binary-deploy") != 0)
		return;
	while (at < *argc && argv[at][0] == '-')
		at++;
	if (at == *argc)
		return;
	fd = open(argv[at], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
		die(EXIT_FAILED, "cannot open the archive that was named");
	close(fd);
	for (--*argc; at < *argc; at++)
		argv[at] = argv[at + 1];
}

int
init_command_run(int argc, char **argv)
{
	struct command c = { .credit = WINDOW, .reads = reads_input(argc, argv) };
	bool is_ready = false;

	(void)signal(SIGPIPE, SIG_IGN);
	open_artifact(&argc, argv);
	c.fd = connect_socket();
	send_order(&c, argc, argv);
	while (!c.is_over) {
		struct pollfd p[2] = { { .fd = c.fd, .events = POLLIN },
			{ .fd = is_ready && c.reads && c.credit > 0 ? STDIN_FILENO : -1,
			    .events = POLLIN } };

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			die(EXIT_FAILED, "poll failed");
		if (p[0].revents != 0)
			take_frame(&c, &is_ready);
		else if (p[1].revents != 0)
			pass_input(&c);
	}
	return c.status;
}
