/* pinion-hook: git runs it as pre-receive and proc-receive. It hands what git says to the broker
 * over a Unix socket, passes lines for the pusher on as they come, and the verdict back to git.
 * Small: it starts twice in every push. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/fd.h"

enum {
	INPUT_MAX = 4 << 20, /* commands of one push */
	LINE_MAX_ = 64 * 1024,
	PKT_MAX = 65516,
};

struct bytes {
	char *p;
	size_t n, cap;
};

static void
die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	exit(1);
}

static void
add(struct bytes *b, const void *p, size_t n)
{
	if (b->n + n + 1 > b->cap) {
		b->cap = (b->n + n + 1) * 2;
		b->p = realloc(b->p, b->cap);
		if (b->p == NULL)
			die("out of memory");
	}
	memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
	if (b->n > INPUT_MAX)
		die("too many refs in one push");
}

static void
write_all(int fd, const void *p, size_t n)
{
	if (!fd_write_all(fd, p, n))
		die("the connection to the broker broke");
}

static void
read_exactly(void *p, size_t n)
{
	if (!fd_read_all(0, p, n))
		die("git ended too early");
}

/* A packet of git's protocol; returns its length, 0 for a flush. */
static size_t
read_pkt(char *out)
{
	char head[5] = { 0 }, *end;
	unsigned long n;

	read_exactly(head, 4);
	n = strtoul(head, &end, 16);
	if (*end != '\0' || n > PKT_MAX + 4 || (n > 0 && n < 4))
		die("git sent a malformed packet");
	if (n <= 4)
		return 0;
	read_exactly(out, n - 4);
	out[n - 4] = '\0';
	return n - 4;
}

static void
write_pkt(const char *fmt, ...)
{
	char text[PKT_MAX - 4 + 1], all[PKT_MAX + 5];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof text)
		die("a packet became too long");
	n = snprintf(all, sizeof all, "%04x%s", (unsigned)n + 4, text);
	write_all(1, all, (size_t)n);
}

/* proc-receive: versions, then commands up to a flush, as "OLD NEW REF\n" lines. */
static void
read_commands(struct bytes *out)
{
	static char pkt[PKT_MAX + 1];
	size_t n;

	while (read_pkt(pkt) > 0)
		continue;
	write_pkt("version=1\n");
	write_all(1, "0000", 4);
	while ((n = read_pkt(pkt)) > 0) {
		if (pkt[n - 1] == '\n')
			n--;
		add(out, pkt, n);
		add(out, "\n", 1);
	}
}

/* pre-receive: the same lines, plainly. */
static void
read_lines(struct bytes *out)
{
	char buf[8192];
	ssize_t n;

	while ((n = read(0, buf, sizeof buf)) != 0) {
		if (n < 0 && errno != EINTR)
			die("cannot read what git says");
		if (n > 0)
			add(out, buf, (size_t)n);
	}
}

static const char *
need(const char *name)
{
	const char *v = getenv(name);

	if (v == NULL || *v == '\0')
		die("%s is not set: this program is run by git for the broker", name);
	return v;
}

static FILE *
call(const char *hook, const struct bytes *body)
{
	const char *path = need("PINION_HOOK_SOCKET"), *quarantine = getenv("GIT_QUARANTINE_PATH");
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct bytes head = { 0 };
	char line[8192];
	FILE *f;
	int n;

	if (strlen(path) >= sizeof sun.sun_path)
		die("the path of the broker's socket is too long");
	memcpy(sun.sun_path, path, strlen(path) + 1);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sun, sizeof sun) < 0)
		die("the broker does not answer: push again in a moment");
	n = snprintf(line, sizeof line,
	    "POST /push/%s/%s HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n"
	    "Authorization: Bearer %s\r\nX-Quarantine: %s\r\nContent-Length: %zu\r\n\r\n",
	    need("PINION_PUSH"), hook, need("PINION_HOOK_TOKEN"),
	    quarantine == NULL ? "" : quarantine, body->n);
	if (n < 0 || (size_t)n >= sizeof line)
		die("the request became too long");
	add(&head, line, (size_t)n);
	write_all(fd, head.p, head.n);
	write_all(fd, body->p == NULL ? "" : body->p, body->n);
	free(head.p);
	f = fdopen(fd, "r");
	if (f == NULL)
		die("out of memory");
	return f;
}

/* The answer is plain text in chunks: lines of "L TEXT", "K REF", "N REF REASON", and "." at last.
 */
static bool
take_line(char *line, bool is_proc)
{
	char *reason;

	if (line[0] == 'L') {
		(void)fprintf(stderr, "%s\n", line + 2);
		(void)fflush(stderr);
	} else if (line[0] == 'K' && is_proc) {
		write_pkt("ok %s\n", line + 2);
	} else if (line[0] == 'N') {
		reason = strchr(line + 2, ' ');
		if (reason != NULL)
			*reason++ = '\0';
		if (is_proc)
			write_pkt("ng %s %s\n", line + 2, reason == NULL ? "refused" : reason);
		else
			die("%s", reason == NULL ? "refused" : reason);
	}
	return line[0] == '.';
}

static void
read_status(FILE *f)
{
	char line[LINE_MAX_];
	bool is_ok;

	if (fgets(line, sizeof line, f) == NULL)
		die("the broker broke off: push again");
	is_ok = strncmp(line, "HTTP/1.1 200", 12) == 0;
	while (fgets(line, sizeof line, f) != NULL && strcmp(line, "\r\n") != 0)
		continue;
	if (is_ok)
		return;
	while (fgets(line, sizeof line, f) != NULL)
		(void)fputs(line, stderr);
	exit(1);
}

/* Undoes the chunks: each of our lines comes in chunks of whole lines. */
static bool
read_answer(FILE *f, bool is_proc)
{
	static char line[LINE_MAX_];
	struct bytes text = { 0 };
	bool is_over = false;

	while (!is_over && fgets(line, sizeof line, f) != NULL) {
		unsigned long n = strtoul(line, NULL, 16);

		if (n == 0)
			break;
		while (n > 0 && !is_over) {
			int c = fgetc(f);

			if (c == EOF)
				return false;
			n--;
			if (c != '\n') {
				char ch = (char)c;

				add(&text, &ch, 1);
				continue;
			}
			if (text.n > 0)
				is_over = take_line(text.p, is_proc);
			text.n = 0;
		}
		if (!is_over && fgets(line, sizeof line, f) == NULL)
			break;
	}
	free(text.p);
	return is_over;
}

int
main(int argc, char **argv)
{
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;
	bool is_proc;
	struct bytes body = { 0 };
	FILE *f;

	name = name != NULL ? name + 1 : argc > 0 ? argv[0] : "";
	is_proc = strcmp(name, "proc-receive") == 0;
	if (!is_proc && strcmp(name, "pre-receive") != 0)
		die("pinion-hook is run by git, as pre-receive or proc-receive");
	if (is_proc)
		read_commands(&body);
	else
		read_lines(&body);
	f = call(name, &body);
	read_status(f);
	free(body.p);
	if (!read_answer(f, is_proc))
		die("the broker broke off: push again");
	(void)fclose(f);
	if (is_proc)
		write_all(1, "0000", 4);
	return 0;
}
