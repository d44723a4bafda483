#include "cli/run_stream.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/api_client.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/http/stream.h"
#include "lib/http/stream_dial.h"
#include "lib/http/stream_pump.h"
#include "lib/http/stream_tls.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_exec.h"

enum { SIGNALS = 4, TLS_END_MS = 2000 };
static const struct {
	int number;
	const char *name;
} passed_on[SIGNALS] = {
	{ SIGINT, "INT" },
	{ SIGTERM, "TERM" },
	{ SIGHUP, "HUP" },
	{ SIGQUIT, "QUIT" },
};

struct run {
	struct loop *loop;
	struct stream *stream;
	struct stream_source *in;
	const struct wire_exec *exec;
	struct loop_signal *signals[SIGNALS], *resized;
	struct termios before;
	bool is_raw, is_over, has_exit;
	bool has_tls, has_tls_ended;
	int status;
	struct err e, broken;
};

/* --- the terminal --- */

static struct stream_size
window_size(void)
{
	struct winsize w = { 0 };

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0)
		return (struct stream_size){ 0 };
	return (struct stream_size){ w.ws_col, w.ws_row };
}

static void
make_raw(struct run *r)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &r->before) < 0)
		return;
	t = r->before;
	cfmakeraw(&t);
	r->is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &t) == 0;
}

static void
make_sane(struct run *r)
{
	if (r->is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &r->before);
	r->is_raw = false;
}

static void
on_resized(void *arg)
{
	struct run *r = arg;

	if (r->stream != NULL)
		stream_send_size(r->stream, window_size());
}

/* Each signal has a handler of its own: it must know which. */
struct passing {
	struct run *run;
	const char *name;
};

static void
on_signal(void *arg)
{
	const struct passing *p = arg;

	if (p->run->stream != NULL)
		stream_send(p->run->stream, STREAM_SIGNAL, p->name, strlen(p->name));
	else
		p->run->is_over = true;
}

/* --- the stream --- */

static void
over(struct run *r)
{
	r->is_over = true;
	loop_stop(r->loop);
}

static void
on_data(struct stream *s, int channel, const char *p, size_t n, void *arg)
{
	struct run *r = arg;
	int fd = channel == STREAM_STDERR ? STDERR_FILENO : STDOUT_FILENO;
	struct err e = { 0 };

	/* Writing may block: so does the window, and with it the program. */
	if (n > 0 && file_write_all(fd, p, n, &e) < 0) {
		r->has_exit = true;
		r->status = 128 + SIGPIPE;
		over(r);
	}
	stream_used(s, channel, n);
}

static void
on_room(struct stream *s, void *arg)
{
	struct run *r = arg;

	(void)s;
	stream_source_room(r->in);
}

static void
on_in_end(struct stream_source *o, void *arg)
{
	(void)o;
	(void)arg;
}

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct run *r = arg;

	if (f->type == STREAM_READY && r->in == NULL) {
		if (r->exec->has_terminal) {
			make_raw(r);
			stream_send_size(s, window_size());
		}
		r->in = stream_source_new(s, STREAM_STDIN, STDIN_FILENO, true, on_in_end, r);
	} else if (f->type == STREAM_EXIT) {
		r->has_exit = true;
		r->status = (int)stream_frame_u32(f->data.p) & 0xff;
		over(r);
	}
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	struct run *r = arg;

	(void)s;
	r->e = *e;
	over(r);
}

static const struct stream_calls calls = { on_data, on_room, on_control, on_close };

static void
on_dialed(int take_fd, struct str early, const struct err *e, void *arg)
{
	struct run *r = arg;
	AUTO_FINI(buf_fini) struct buf order = { 0 };

	if (e != NULL) {
		r->e = e->code == ERR_BUSY && r->broken.code != ERR_NONE ? r->broken : *e;
		over(r);
		return;
	}
	r->stream = stream_new(r->loop, take_fd, early, &calls, r);
	codec_encode(&wire_exec_codec, r->exec, &order);
	stream_send(r->stream, STREAM_ORDER, order.p, order.n);
}

/* Of TLS: it has ended, and why; what came before is still to be read. */
static void
on_broken(const struct err *e, void *arg)
{
	struct run *r = arg;

	r->has_tls_ended = true;
	if (e != NULL)
		r->broken = *e;
}

static int
dial(struct run *r, const char *path, struct err *e)
{
	AUTO_FINI(api_login_fini) struct api_login login = { 0 };
	AUTO(free) char *url = NULL;
	AUTO(free) char *authorization = NULL;

	if (api_login_load(&login, e) < 0)
		return -1;
	url = xasprintf("%s/broker/rest/%s/exec", login.url, path);
	authorization = xasprintf("Bearer %s", login.token);
	struct stream_dial_opts o = { .url = url, .authorization = authorization };
	const struct stream_tls_opts tls = { .url = url, .ca_file = api_login_ca_file() };

	if (str_has_prefix(url, "https:") &&
	    (o.fd = stream_tls_open(r->loop, &tls, on_broken, r, e)) < 0)
		return -1;
	r->has_tls = str_has_prefix(url, "https:");
	return stream_dial_start(r->loop, &o, on_dialed, r, e) == NULL ? -1 : 0;
}

static void
run_fini(struct run *r)
{
	make_sane(r);
	for (int i = 0; i < SIGNALS; i++) {
		if (r->signals[i] != NULL)
			loop_signal_cancel(r->signals[i]);
	}
	if (r->resized != NULL)
		loop_signal_cancel(r->resized);
	stream_source_free(r->in);
	stream_free(r->stream);
	if (r->has_tls) /* it sees its end in the loop */
		(void)loop_run_until(r->loop, &r->has_tls_ended, TLS_END_MS);
	loop_free(r->loop);
}

int
run_stream(const char *path, struct wire_exec *x, bool no_terminal, struct err *e)
{
	AUTO_FINI(run_fini) struct run r = { .loop = loop_new(), .exec = x };
	struct passing passing[SIGNALS];
	const char *term = getenv("TERM");

	x->has_terminal = !no_terminal && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (x->has_terminal) {
		struct stream_size size = window_size();

		mem_set_str(&x->term, term == NULL ? "xterm" : term);
		x->columns = size.columns;
		x->rows = size.rows;
		r.resized = loop_signal_start(r.loop, SIGWINCH, on_resized, &r);
	}
	if (dial(&r, path, e) < 0)
		return -1;
	for (int i = 0; i < SIGNALS; i++) {
		passing[i] = (struct passing){ &r, passed_on[i].name };
		r.signals[i] =
		    loop_signal_start(r.loop, passed_on[i].number, on_signal, &passing[i]);
	}
	loop_run(r.loop);
	make_sane(&r);
	if (r.has_exit)
		return r.status;
	*e = r.e;
	return -1;
}
