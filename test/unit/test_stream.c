#include "lib/http/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/http/http_server.h"
#include "lib/http/stream_dial.h"
#include "lib/http/stream_pump.h"
#include "lib/http/stream_relay.h"
#include "lib/loop/loop.h"
#include "test/unit/http_peer.h"

/* One end of a stream, what it saw. */
struct end {
	struct stream *s;
	struct buf got[STREAM_CHANNELS];
	bool ended[STREAM_CHANNELS];
	bool keeps;         /* takes without giving back */
	struct buf control; /* types as letters */
	struct stream_size size;
	int status;
	char signal[STREAM_SIGNAL_MAX + 1];
	size_t to_send; /* more of channel 1, as there is room */
	bool is_closed;
	struct err why;
};

static void
on_data(struct stream *s, int channel, const char *p, size_t n, void *arg)
{
	struct end *e = arg;

	if (n == 0)
		e->ended[channel] = true;
	buf_add(&e->got[channel], p, n);
	if (!e->keeps)
		stream_used(s, channel, n);
}

static void
send_more(struct end *e)
{
	static char zeros[STREAM_FRAME_MAX];

	while (e->to_send > 0) {
		size_t n = stream_room(e->s, 1);

		if (n == 0)
			return;
		n = n > sizeof zeros ? sizeof zeros : n;
		n = n > e->to_send ? e->to_send : n;
		stream_data(e->s, 1, zeros, n);
		e->to_send -= n;
	}
}

static void
on_room(struct stream *s, void *arg)
{
	(void)s;
	send_more(arg);
}

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct end *e = arg;

	(void)s;
	buf_addc(&e->control, (char)('A' + (int)f->type));
	if (f->type == STREAM_RESIZE)
		e->size = stream_frame_size(f);
	if (f->type == STREAM_EXIT) {
		e->status = (int)stream_frame_u32(f->data.p);
		(void)snprintf(
		    e->signal, sizeof e->signal, "%.*s", (int)(f->data.n - 4), f->data.p + 4);
	}
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	struct end *x = arg;

	(void)s;
	assert_false(x->is_closed);
	x->is_closed = true;
	x->why = *e;
}

static const struct stream_calls calls = { on_data, on_room, on_control, on_close };

struct world {
	struct loop *loop;
	struct end a, b;
};

static void
world_open(struct world *w)
{
	int fd[2];

	*w = (struct world){ .loop = loop_new() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	w->a.s = stream_new(w->loop, fd[0], (struct str){ 0 }, &calls, &w->a);
	w->b.s = stream_new(w->loop, fd[1], (struct str){ 0 }, &calls, &w->b);
}

static void
end_fini(struct end *e)
{
	stream_free(e->s);
	for (int i = 0; i < STREAM_CHANNELS; i++)
		buf_fini(&e->got[i]);
	buf_fini(&e->control);
}

static void
world_close(struct world *w)
{
	end_fini(&w->a);
	end_fini(&w->b);
	http_peer_step(w->loop);
	loop_free(w->loop);
}

static void
test_channels(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	stream_data(w.a.s, 0, "in", 2);
	stream_end(w.a.s, 0);
	stream_data(w.b.s, 1, "out", 3);
	stream_data(w.b.s, 2, "err", 3);
	stream_send_size(w.a.s, (struct stream_size){ 400, 50 });
	stream_send(w.a.s, STREAM_SIGNAL, "TERM", 4);
	stream_send_exit(w.b.s, 143, "TERM");
	http_peer_wait_n(w.loop, &w.b.control.n, 2);
	http_peer_wait_n(w.loop, &w.a.control.n, 1);
	assert_string_equal(w.b.got[0].p, "in");
	assert_true(w.b.ended[0]);
	assert_string_equal(w.a.got[1].p, "out");
	assert_string_equal(w.a.got[2].p, "err");
	assert_string_equal(w.b.control.p, "FG");
	assert_int_equal(w.b.size.columns, 400);
	assert_int_equal(w.b.size.rows, 50);
	assert_int_equal(w.a.status, 143);
	assert_string_equal(w.a.signal, "TERM");
	world_close(&w);
}

/* A reader that takes nothing is sent one window, not a byte more; when it takes, the rest comes.
 */
static void
test_window(void **state)
{
	struct world w;

	(void)state;
	world_open(&w);
	w.a.keeps = true;
	w.b.to_send = 4 * STREAM_WINDOW_SIZE;
	send_more(&w.b);
	http_peer_wait_n(w.loop, &w.a.got[1].n, STREAM_WINDOW_SIZE);
	http_peer_step(w.loop);
	assert_int_equal(w.a.got[1].n, STREAM_WINDOW_SIZE);
	assert_int_equal(stream_room(w.b.s, 1), 0);
	assert_int_not_equal(stream_room(w.b.s, 2), 0); /* the others go on */
	w.a.keeps = false;
	stream_used(w.a.s, 1, w.a.got[1].n);
	http_peer_wait_n(w.loop, &w.a.got[1].n, 4 * STREAM_WINDOW_SIZE);
	assert_int_equal(w.b.to_send, 0);
	world_close(&w);
}

static void
test_error_and_finish(void **state)
{
	struct world w;
	struct err e = { 0 };

	(void)state;
	world_open(&w);
	(void)err_set(&e, ERR_DENIED, NULL, "not you");
	stream_data(w.b.s, 1, "last", 4);
	stream_send_error(STEAL(w.b.s), &e);
	http_peer_wait(w.loop, &w.a.is_closed);
	assert_int_equal(w.a.why.code, ERR_DENIED);
	assert_string_equal(w.a.why.text, "not you");
	assert_string_equal(w.a.got[1].p, "last");
	world_close(&w);
}

struct bad_case {
	const char *name;
	const char *p;
	size_t n;
};
#define BAD(name, p)                                                                               \
	{                                                                                          \
		name, p, sizeof(p) - 1                                                             \
	}
static const struct bad_case bad[] = {
	BAD("unknown type", "\x40\0\0\0\0\0\0\1x"),
	BAD("unknown channel", "\0\x09\0\0\0\0\0\1x"),
	BAD("reserved bytes", "\0\0\1\0\0\0\0\1x"),
	BAD("too long", "\0\0\0\0\0\1\0\0"),
	BAD("empty data", "\0\0\0\0\0\0\0\0"),
	BAD("window of nothing", "\2\0\0\0\0\0\0\4\0\0\0\0"),
	BAD("window beyond the window", "\2\0\0\0\0\0\0\4\0\0\0\1"),
	BAD("signal in lower case", "\6\0\0\0\0\0\0\4term"),
	BAD("resize of three bytes", "\5\0\0\0\0\0\0\3abc"),
	BAD("data after the end", "\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1x"),
	BAD("http", "GET / HTTP/1.1\r\n\r\n"),
};

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct world w;
		int fd[2];
		struct stream *s;

		w = (struct world){ .loop = loop_new() };
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
		s = stream_new(w.loop, fd[0], (struct str){ bad[i].p, bad[i].n }, &calls, &w.a);
		w.a.s = s;
		http_peer_wait(w.loop, &w.a.is_closed);
		close(fd[1]);
		world_close(&w);
	}
}

/* --- the upgrade, over a server --- */

struct upgraded {
	struct world w;
	struct http_server *server;
	int port;
	int fd;
	bool is_told;
	struct err e;
	struct buf early;
};

static void
handle(struct http_req *r, void *arg)
{
	struct upgraded *u = arg;

	if (strcmp(http_req_path(r), "/no") == 0)
		http_req_reply_text(r, 403, "You may not.\n");
	else if (stream_wanted(r))
		u->w.b.s = stream_accept(r, &calls, &u->w.b);
}

static void
on_dialed(int take_fd, struct str early, const struct err *e, void *arg)
{
	struct upgraded *u = arg;

	u->is_told = true;
	if (e != NULL)
		u->e = *e;
	else
		u->w.a.s = stream_new(u->w.loop, take_fd, early, &calls, &u->w.a);
}

static void
upgraded_open(struct upgraded *u)
{
	struct err e = { 0 };

	*u = (struct upgraded){ .w = { .loop = loop_new() } };
	u->server = http_server_new(u->w.loop, NULL, handle, u);
	assert_int_equal(http_server_listen(u->server, "127.0.0.1:0", 0, &e), 0);
	u->port = http_server_port(u->server);
}

static void
dial(struct upgraded *u, const char *path)
{
	AUTO(free) char *url = xasprintf("http://127.0.0.1:%d%s", u->port, path);
	const struct stream_dial_opts o = { .url = url, .authorization = "Bearer x" };
	struct err e = { 0 };

	u->is_told = false;
	assert_non_null(stream_dial_start(u->w.loop, &o, on_dialed, u, &e));
	http_peer_wait(u->w.loop, &u->is_told);
}

static void
upgraded_close(struct upgraded *u)
{
	http_server_free(u->server);
	world_close(&u->w);
}

static void
test_upgrade(void **state)
{
	struct upgraded u;

	(void)state;
	upgraded_open(&u);
	dial(&u, "/yes");
	assert_non_null(u.w.a.s);
	stream_send(u.w.b.s, STREAM_READY, NULL, 0);
	stream_data(u.w.a.s, 0, "hello", 5);
	http_peer_wait_n(u.w.loop, &u.w.b.got[0].n, 5);
	stream_data(u.w.b.s, 1, "world", 5);
	http_peer_wait_n(u.w.loop, &u.w.a.got[1].n, 5);
	assert_int_equal(http_server_active(u.server), 0);
	stream_free(STEAL(u.w.a.s));
	http_peer_wait(u.w.loop, &u.w.b.is_closed);
	upgraded_close(&u);
}

static void
test_upgrade_refused(void **state)
{
	struct upgraded u;
	struct http_peer p;

	(void)state;
	upgraded_open(&u);
	dial(&u, "/no");
	assert_null(u.w.a.s);
	assert_int_equal(u.e.code, ERR_DENIED);
	assert_string_equal(u.e.text, "You may not.");
	http_peer_open(&p, u.w.loop, u.port, NULL);
	http_peer_puts(&p, "POST /yes HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	http_peer_expect(&p, "HTTP/1.1 426 ");
	http_peer_puts(&p, "POST /yes HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: "
	                   "pinion-stream\r\nContent-Length: 3\r\n\r\nabc");
	http_peer_expect(&p, "HTTP/1.1 400 ");
	http_peer_close(&p);
	upgraded_close(&u);
}

/* The first frame comes with the request: nothing of it is lost. */
static void
test_upgrade_early(void **state)
{
	static const char early[] =
	    "POST /yes HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: pinion-stream\r\n\r\n"
	    "\3\0\0\0\0\0\0\2{}";
	struct upgraded u;
	struct http_peer p;

	(void)state;
	upgraded_open(&u);
	http_peer_open(&p, u.w.loop, u.port, NULL);
	http_peer_send(&p, early, sizeof early - 1);
	http_peer_expect(&p, "101 Switching Protocols");
	http_peer_wait_n(u.w.loop, &u.w.b.control.n, 1);
	http_peer_close(&p);
	upgraded_close(&u);
}

/* What a client may not do: it is told, and the server's side closed. */
static void
test_misuse(void **state)
{
	static const struct {
		const char *frames;
		size_t n;
		const char *says;
	} cases[] = {
		{ "\0\0\0\0\0\0\0\5hello", 13, "before the stream was ready" },
		{ "\1\0\0\0\0\0\0\0", 8, "before the stream was ready" },
		{ "\3\0\0\0\0\0\0\2{}\3\0\0\0\0\0\0\2{}", 20, "one order" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct upgraded u;
		struct http_peer p;

		upgraded_open(&u);
		http_peer_open(&p, u.w.loop, u.port, NULL);
		http_peer_puts(&p, "POST /yes HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
		                   "Upgrade: pinion-stream\r\n\r\n");
		http_peer_expect(&p, "101 Switching Protocols");
		http_peer_send(&p, cases[i].frames, cases[i].n);
		http_peer_wait(u.w.loop, &u.w.b.is_closed);
		assert_non_null(strstr(u.w.b.why.text, cases[i].says));
		http_peer_close(&p);
		upgraded_close(&u);
	}
}

/* --- pumps and relays --- */

static void
on_source_end(struct stream_source *o, void *arg)
{
	(void)o;
	*(bool *)arg = true;
}

struct pumped {
	struct end end;
	struct stream_sink *sink;
	struct stream_source *source;
	bool has_ended;
};

static void
on_pump_data(struct stream *s, int channel, const char *p, size_t n, void *arg)
{
	struct pumped *u = arg;

	(void)s;
	(void)channel;
	stream_sink_data(u->sink, p, n);
}

static void
on_pump_room(struct stream *s, void *arg)
{
	struct pumped *u = arg;

	(void)s;
	stream_source_room(u->source);
}

static void
on_pump_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	(void)arg;
}

static const struct stream_calls pump_calls = { on_pump_data, on_pump_room, on_control,
	on_pump_close };

static void
on_relay_end(void *arg)
{
	(void)arg;
}

/* A megabyte through socket, source, stream, relay, stream, sink and pipe, against a reader that
 * begins late. */
static void
test_pump(void **state)
{
	enum { ALL = 1024 * 1024 };
	struct loop *l = loop_new();
	struct pumped from = { 0 }, to = { 0 };
	struct stream_relay *relay;
	int ab[2], cd[2], in[2], out[2];
	char piece[4096];
	size_t sent = 0, got = 0;
	ssize_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ab), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, cd), 0);
	assert_int_equal(pipe2(in, O_NONBLOCK), 0);
	assert_int_equal(pipe2(out, O_NONBLOCK), 0);
	relay = stream_relay_start(
	    l, ab[1], (struct str){ 0 }, cd[0], (struct str){ 0 }, on_relay_end, l);
	from.end.s = stream_new(l, ab[0], (struct str){ 0 }, &pump_calls, &from);
	to.end.s = stream_new(l, cd[1], (struct str){ 0 }, &pump_calls, &to);
	from.source =
	    stream_source_new(from.end.s, 0, in[0], false, on_source_end, &from.has_ended);
	to.sink = stream_sink_new(to.end.s, 0, out[1], false);
	memset(piece, 'x', sizeof piece);
	while (sent < ALL) {
		n = write(in[1], piece, ALL - sent < sizeof piece ? ALL - sent : sizeof piece);
		if (n > 0)
			sent += (size_t)n;
		else if (got < sent) {
			http_peer_step(l);
			while ((n = read(out[0], piece, sizeof piece)) > 0)
				got += (size_t)n;
		}
	}
	close(in[1]);
	while ((n = read(out[0], piece, sizeof piece)) != 0) {
		if (n > 0)
			got += (size_t)n;
		else
			http_peer_step(l);
	}
	assert_int_equal(got, ALL);
	assert_true(from.has_ended);
	stream_source_free(from.source);
	stream_sink_free(to.sink);
	stream_free(from.end.s);
	stream_free(to.end.s);
	stream_relay_cancel(relay);
	http_peer_step(l);
	close(out[0]);
	loop_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_channels),
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_error_and_finish),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_upgrade_refused),
		cmocka_unit_test(test_upgrade_early),
		cmocka_unit_test(test_misuse),
		cmocka_unit_test(test_pump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
