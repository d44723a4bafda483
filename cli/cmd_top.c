/* A live view of applications' requests. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/top_view.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum { LOOK_MS = 1000, ROWS = 50, ROWS_MAX = 1000, WINDOW_MAX = 60, CTRL_C = 3, KEYS_MAX = 64 };

#define SCREEN_OPEN "\033[?1049h\033[?25l"
#define SCREEN_CLOSE "\033[?25h\033[?1049l"

struct top {
	const struct cmd_line *line; /* borrowed */
	struct top_view view;
	int64_t window, rows;
	struct api_reply shown; /* the last one that came */
	struct err e;           /* why there is no newer one */
	/* the terminal */
	struct termios before;
	sigset_t mask;
	int signals;
	bool is_open, is_over;
};

/* --- what is asked for --- */

static const struct {
	char key;
	const char *sort;
} sorts[] = {
	{ 'r', "requests" },
	{ 'e', "errors" },
	{ 'l', "latency" },
	{ 'a', "active" },
};

static int
read_options(struct top *t, const struct cmd_line *l, struct err *e)
{
	const char *sort = cmd_option(l, "sort"), *window = cmd_option(l, "window");
	const char *rows = cmd_option(l, "rows");

	t->window = 5;
	t->rows = ROWS;
	for (size_t i = 0; i < ARRAY_LEN(sorts); i++)
		if (sort == NULL || strcmp(sort, sorts[i].sort) == 0) {
			t->view.sort = sorts[i].sort;
			break;
		}
	if (t->view.sort == NULL)
		return err_set(
		    e, ERR_INVALID, "sort", "must be requests, errors, latency or active");
	if ((window != NULL &&
	        str_to_i64(str_of(window), 1, WINDOW_MAX, "window", &t->window, e) < 0) ||
	    (rows != NULL && str_to_i64(str_of(rows), 1, ROWS_MAX, "rows", &t->rows, e) < 0))
		return -1;
	return 0;
}

static bool
is_utf8(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *v = getenv(names[i]);

		if (v != NULL && *v != '\0')
			return strstr(v, "UTF-8") != NULL || strstr(v, "utf8") != NULL;
	}
	return false;
}

static int
ask(const struct top *t, struct api_reply *r, struct err *e)
{
	AUTO(free)
	char *path = xasprintf("traffic?sort=%s&window=%lld&limit=%lld", t->view.sort,
	    (long long)t->window, (long long)t->rows);

	return api_call(t->line, "GET", path, NULL, r, e);
}

/* --- once --- */

static int
show_once(struct top *t, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (ask(t, &r, e) < 0)
		return -1;
	if (cmd_has(t->line, "json")) {
		output_object(t->line, r.data, NULL);
		return 0;
	}
	top_view_draw(&t->view, r.data, &b);
	(void)fwrite(b.p, 1, b.n, stdout);
	return 0;
}

/* --- on a terminal --- */

static void
top_fini(struct top *t)
{
	struct err e = { 0 };

	if (t->is_open) {
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t->before);
		(void)!file_write_all(STDOUT_FILENO, SCREEN_CLOSE, strlen(SCREEN_CLOSE), &e);
		(void)sigprocmask(SIG_SETMASK, &t->mask, NULL);
	}
	file_close(t->signals);
	api_reply_fini(&t->shown);
}

static int
top_open(struct top *t, struct err *e)
{
	static const int caught[] = { SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct termios raw;
	sigset_t set;

	if (tcgetattr(STDIN_FILENO, &t->before) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot use the terminal: try --once");
	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(caught); i++)
		(void)sigaddset(&set, caught[i]);
	t->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (t->signals < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot wait for signals");
	(void)sigprocmask(SIG_BLOCK, &set, &t->mask);
	raw = t->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
	t->is_open = true;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	return file_write_all(STDOUT_FILENO, SCREEN_OPEN, strlen(SCREEN_OPEN), e);
}

/* Appends text by lines that overwrite what stands there. */
static void
add_lines(struct buf *out, struct str text)
{
	struct str line;

	buf_adds(out, "\033[H");
	for (bool is_first = true; text.n > 0; is_first = false) {
		text = str_cut(text, '\n', &line);
		buf_adds(out, is_first ? "" : "\n");
		buf_addstr(out, line);
		buf_adds(out, "\033[K");
	}
	buf_adds(out, "\033[J");
}

static int
draw(struct top *t, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	AUTO_FINI(buf_fini) struct buf out = { 0 };
	struct winsize w = { 0 };

	(void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
	t->view.width = w.ws_col;
	t->view.height = w.ws_row;
	t->view.foot = t->e.code == ERR_NONE ? "q quit  sort: r e l a" : t->e.text;
	top_view_draw(&t->view, t->shown.data, &text);
	add_lines(&out, buf_str(&text));
	return file_write_all(STDOUT_FILENO, out.p, out.n, e);
}

static void
look(struct top *t)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	struct err e = { 0 };

	if (ask(t, &r, &e) == 0) {
		api_reply_fini(&t->shown);
		t->shown = r;
		r = (struct api_reply){ 0 };
	}
	t->e = e;
}

/* true: what is shown must be asked for again. */
static bool
take_keys(struct top *t)
{
	char keys[KEYS_MAX];
	ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
	bool is_new = false;

	t->is_over = n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
	for (ssize_t i = 0; i < n; i++) {
		t->is_over = t->is_over || keys[i] == 'q' || keys[i] == CTRL_C;
		for (size_t k = 0; k < ARRAY_LEN(sorts); k++) {
			if (keys[i] != sorts[k].key)
				continue;
			t->view.sort = sorts[k].sort;
			is_new = true;
		}
	}
	return is_new;
}

static void
take_signals(struct top *t)
{
	struct signalfd_siginfo s;

	while (read(t->signals, &s, sizeof s) == (ssize_t)sizeof s)
		t->is_over = t->is_over || s.ssi_signo != SIGWINCH;
}

/* Until the next second, or a key that asks for something else. */
static int
wait_for_next(struct top *t, struct err *e)
{
	int64_t end = loop_now_ms() + LOOK_MS, left;

	while (!t->is_over && (left = end - loop_now_ms()) > 0) {
		struct pollfd fds[] = { { STDIN_FILENO, POLLIN, 0 }, { t->signals, POLLIN, 0 } };

		if (poll(fds, 2, (int)left) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot read from the terminal");
		if (fds[1].revents != 0) {
			take_signals(t);
			if (draw(t, e) < 0) /* it may have another size */
				return -1;
		}
		if (fds[0].revents != 0 && take_keys(t))
			return 0;
	}
	return 0;
}

static int
show_live(struct top *t, struct err *e)
{
	if (top_open(t, e) < 0)
		return -1;
	while (!t->is_over) {
		look(t);
		if (draw(t, e) < 0 || wait_for_next(t, e) < 0)
			return -1;
	}
	return 0;
}

static int
run_top(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(top_fini) struct top t = { .line = l, .signals = -1 };

	t.view.has_blocks = is_utf8();
	if (read_options(&t, l, e) < 0)
		return -1;
	if (cmd_has(l, "once") || cmd_has(l, "json") || !isatty(STDIN_FILENO) ||
	    !isatty(STDOUT_FILENO))
		return show_once(&t, e);
	return show_live(&t, e);
}

static const struct cmd_option top_options[] = {
	{ "sort", 0, "WHAT", "requests, errors, latency or active first (r, e, l, a)" },
	{ "window", 0, "SECONDS", "count the last 1 to 60 (5)" },
	{ "rows", 0, "N", "at most so many applications (50)" },
	{ "once", 0, NULL, "show it once, as without a terminal" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_top_table[] = {
	{ "admin top", "", 0, 0,
	    "watch requests, errors and times by application; q quits (for admins)", top_options,
	    run_top, false },
	{ 0 },
};
