#include "cli/prompt.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
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

static char *
read_terminal(FILE *tty, const char *question, bool hides, struct err *e)
{
	struct termios was, silent;
	char *line = NULL;
	size_t size = 0;

	(void)fprintf(tty, "%s", question);
	(void)fflush(tty);
	bool is_silent = hides && tcgetattr(fileno(tty), &was) == 0;
	if (is_silent) {
		silent = was;
		silent.c_lflag &= ~(tcflag_t)ECHO;
		(void)tcsetattr(fileno(tty), TCSAFLUSH, &silent);
	}
	ssize_t n = getline(&line, &size, tty);
	if (is_silent) {
		(void)tcsetattr(fileno(tty), TCSAFLUSH, &was);
		(void)fputc('\n', tty);
	}
	if (n < 0) {
		free(line);
		(void)err_set(e, ERR_INVALID, NULL, "nothing was typed");
		return NULL;
	}
	return without_newline(line);
}

static void
close_tty(FILE **tty)
{
	if (*tty != NULL)
		(void)fclose(*tty);
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
	AUTO_FINI(close_tty) FILE *tty = fopen("/dev/tty", "r+");
	if (tty == NULL) {
		(void)err_set(e, ERR_INVALID, NULL, "no terminal to ask on: give a file");
		return NULL;
	}
	return read_terminal(tty, question, true, e);
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
	AUTO_FINI(close_tty) FILE *tty = fopen("/dev/tty", "r+");

	if (tty == NULL) {
		(void)err_set(e, ERR_INVALID, NULL, "no terminal to ask on: give it as an option");
		return NULL;
	}
	return read_terminal(tty, question, false, e);
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
