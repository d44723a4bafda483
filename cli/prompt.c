#include "cli/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum { SECRET_MAX = 64 * 1024 };

static char *
without_newline(char *take_s)
{
	size_t n = strlen(take_s);

	if (n > 0 && take_s[n - 1] == '\n')
		take_s[--n] = '\0';
	if (n > 0 && take_s[n - 1] == '\r')
		take_s[--n] = '\0';
	return take_s;
}

static char *
read_stdin(struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (file_read("/dev/stdin", SECRET_MAX, &b, e) < 0)
		return NULL;
	return without_newline(buf_steal(&b));
}

/* The terminal while a question stands: signals wait, so that it never stays without echo. */
struct terminal {
	int fd;      /* owned */
	int signals; /* owned */
	bool is_silent;
	struct termios was;
	sigset_t old;
};

static void
terminal_fini(struct terminal *t)
{
	struct signalfd_siginfo which;
	int number = 0;

	if (t->is_silent) {
		(void)tcsetattr(t->fd, TCSAFLUSH, &t->was);
		(void)!write(t->fd, "\n", 1);
	}
	if (t->signals >= 0 && read(t->signals, &which, sizeof which) == (ssize_t)sizeof which)
		number = (int)which.ssi_signo;
	if (t->signals >= 0)
		(void)sigprocmask(SIG_SETMASK, &t->old, NULL);
	file_close(t->signals);
	file_close(t->fd);
	if (number != 0)
		(void)raise(number);
}

static int
terminal_open(struct terminal *t, bool hides, struct err *e)
{
	struct termios silent;
	sigset_t set;

	t->fd = open("/dev/tty", O_RDWR | O_CLOEXEC);
	if (t->fd < 0)
		return err_set(e, ERR_INVALID, NULL,
		    "there is no terminal to ask on: give it as an option (see --help)");
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGQUIT);
	(void)sigprocmask(SIG_BLOCK, &set, &t->old);
	t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (t->signals < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot wait for signals");
	if (!hides || tcgetattr(t->fd, &t->was) < 0)
		return 0;
	silent = t->was;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	t->is_silent = tcsetattr(t->fd, TCSAFLUSH, &silent) == 0;
	return 0;
}

/* Until a newline, the end of input, or a signal. */
static int
terminal_read(struct terminal *t, struct buf *b, struct err *e)
{
	while (b->n < SECRET_MAX && (b->n == 0 || b->p[b->n - 1] != '\n')) {
		struct pollfd fds[] = { { t->fd, POLLIN, 0 }, { t->signals, POLLIN, 0 } };
		char chunk[512];

		if (poll(fds, 2, -1) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot read from the terminal");
		if ((fds[1].revents & POLLIN) != 0)
			return err_set(e, ERR_DENIED, NULL, "interrupted");
		ssize_t got = read(t->fd, chunk, sizeof chunk);
		if (got > 0)
			buf_add(b, chunk, (size_t)got);
		secret_wipe(chunk, sizeof chunk);
		if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN))
			break;
	}
	return b->n > 0 ? 0 : err_set(e, ERR_INVALID, NULL, "nothing was typed");
}

static char *
ask(const char *question, bool hides, struct err *e)
{
	AUTO_FINI(terminal_fini) struct terminal t = { .fd = -1, .signals = -1 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (terminal_open(&t, hides, e) < 0)
		return NULL;
	(void)!write(t.fd, question, strlen(question));
	if (terminal_read(&t, &b, e) < 0)
		return NULL;
	return without_newline(buf_steal(&b));
}

char *
prompt_secret(const char *file, const char *question, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (file != NULL && strcmp(file, "-") != 0) {
		if (file_read(file, SECRET_MAX, &b, e) < 0)
			return NULL;
		return without_newline(buf_steal(&b));
	}
	if (file != NULL || isatty(STDIN_FILENO) == 0)
		return read_stdin(e);
	return ask(question, true, e);
}

char *
prompt_password(const struct cmd_line *l, const char *question, struct err *e)
{
	const char *file = cmd_option(l, "password-file");
	AUTO(secret_free) char *password = prompt_secret(file, question, e);

	if (password == NULL)
		return NULL;
	if (password[0] == '\0') {
		(void)err_set(e, ERR_INVALID, "password-file", "holds no password");
		return NULL;
	}
	return STEAL(password);
}

char *
prompt_line(const char *question, struct err *e)
{
	return ask(question, false, e);
}

int
prompt_confirm(const struct cmd_line *l, struct err *e, const char *fmt, ...)
{
	char question[512];
	struct err ignored = { 0 };
	va_list ap;

	if (cmd_has(l, "yes") || isatty(STDIN_FILENO) == 0)
		return 0;
	va_start(ap, fmt);
	(void)vsnprintf(question, sizeof question, fmt, ap);
	va_end(ap);
	AUTO(free) char *full = xasprintf("%s [y/N] ", question);
	AUTO(free) char *answer = prompt_line(full, &ignored);
	if (answer != NULL && (strcmp(answer, "y") == 0 || strcmp(answer, "yes") == 0))
		return 0;
	return err_set(e, ERR_DENIED, NULL, "nothing was done: answer y, or give --yes");
}
