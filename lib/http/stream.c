#include "lib/http/stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/http/http_conn.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"

enum {
	READ_SIZE = 64 * 1024,
	OUT_HIGH = 256 * 1024,     /* queued: no more room for data */
	OUT_MAX = 2 * 1024 * 1024, /* queued replies to a peer that reads nothing */
	GIVE_BACK = STREAM_WINDOW_SIZE / 4,
	FRAMES_A_TURN = 64,
	PING_MS = 30 * 1000,
	SILENCE_MS = 100 * 1000,
	FINISH_MS = 10 * 1000,     /* for the peer to close when all is said */
	STALL_MS = 10 * 60 * 1000, /* for a slow peer to take something of what is left */
	ORDER_MS = 20 * 1000,      /* for a client to say what it wants */
};

struct channel {
	size_t credit; /* may be sent */
	size_t open;   /* may come */
	size_t used;   /* taken, not yet given back */
	bool has_ended_in, has_ended_out;
};

struct stream {
	struct loop *loop; /* borrowed */
	const struct stream_calls *calls;
	void *arg;
	int fd; /* owned */
	struct loop_io *io;
	int interest;
	struct loop_timer *timer; /* pings and silence; the limit of finishing */
	struct loop_timer *soon;  /* frames that were there already */
	struct loop_timer *late;  /* of a client: until its order came */
	struct channel channels[STREAM_CHANNELS];
	struct buf in, out;
	size_t in_off; /* of frames that were taken */
	size_t out_off;
	int64_t heard_ms, sent_ms;
	bool wants_room; /* somebody found too little */
	bool is_over;    /* on_close was called, or it finishes */
	bool has_order;  /* of a client: there is none to come */
	bool is_waiting; /* a client: READY was not sent, it may send no data */
	bool is_finishing;
	bool has_said_all; /* finishing: nothing more is sent */
};

static void
set_interest(struct stream *s)
{
	int what = LOOP_READ | (s->out.n > s->out_off ? LOOP_WRITE : 0);

	if (s->io == NULL || what == s->interest)
		return;
	s->interest = what;
	loop_io_set(s->io, what);
}

static void
stop(struct stream *s)
{
	loop_io_cancel(STEAL(s->io));
	loop_timer_cancel(STEAL(s->timer));
	loop_timer_cancel(STEAL(s->soon));
	loop_timer_cancel(STEAL(s->late));
	file_close(s->fd);
	s->fd = -1;
	s->is_over = true;
}

static void
close_with(struct stream *s, const struct err *e)
{
	if (s->is_over)
		return;
	stop(s);
	s->calls->on_close(s, e, s->arg);
}

static void
broken(struct stream *s, const char *why)
{
	struct err e = { 0 };

	(void)err_set(&e, ERR_BUSY, NULL, "%s", why);
	close_with(s, &e);
}

static void
release(void *p)
{
	struct stream *s = p;

	buf_fini(&s->in);
	buf_fini(&s->out);
	free(s);
}

void
stream_free(struct stream *take_s)
{
	if (take_s == NULL)
		return;
	stop(take_s);
	loop_free_later(take_s->loop, release, take_s);
}

/* --- out --- */

static void
flush(struct stream *s)
{
	while (s->out.n > s->out_off && s->fd >= 0) {
		ssize_t n = send(s->fd, s->out.p + s->out_off, s->out.n - s->out_off, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			s->out_off = s->out.n; /* reading tells */
		if (n < 0)
			break;
		s->out_off += (size_t)n;
		s->sent_ms = loop_now_ms();
	}
	if (s->out_off == s->out.n) {
		buf_fini(&s->out);
		s->out = (struct buf){ 0 };
		s->out_off = 0;
	} else if (s->out_off > OUT_HIGH) {
		buf_drop(&s->out, s->out_off);
		s->out_off = 0;
	}
	if (s->is_finishing && s->out.n == 0 && !s->has_said_all) {
		/* Closing with input unread would reset the connection before the peer read. */
		s->has_said_all = true;
		(void)shutdown(s->fd, SHUT_WR);
	}
	set_interest(s);
}

static size_t
queued(const struct stream *s)
{
	return s->out.n - s->out_off;
}

static void
add(struct stream *s, enum stream_type type, int channel, const void *p, size_t n)
{
	if (s->fd < 0 || s->is_finishing)
		return;
	if (type == STREAM_READY)
		s->is_waiting = false;
	stream_frame_add(&s->out, type, channel, p, n);
	set_interest(s);
}

size_t
stream_room(struct stream *s, int channel)
{
	const struct channel *c = &s->channels[channel];
	size_t room = queued(s) >= OUT_HIGH ? 0 : OUT_HIGH - queued(s);

	if (s->is_over || c->has_ended_out)
		return 0;
	if (room > c->credit)
		room = c->credit;
	if (room < STREAM_FRAME_MAX)
		s->wants_room = true;
	return room;
}

void
stream_data(struct stream *s, int channel, const void *p, size_t n)
{
	struct channel *c = &s->channels[channel];
	const char *at = p;

	if (s->is_over)
		return;
	assert(n <= c->credit && !c->has_ended_out);
	c->credit -= n;
	while (n > 0) {
		size_t piece = n > STREAM_FRAME_MAX ? STREAM_FRAME_MAX : n;

		add(s, STREAM_DATA, channel, at, piece);
		at += piece;
		n -= piece;
	}
	flush(s);
}

void
stream_end(struct stream *s, int channel)
{
	struct channel *c = &s->channels[channel];

	if (c->has_ended_out || s->is_over)
		return;
	c->has_ended_out = true;
	add(s, STREAM_END, channel, NULL, 0);
}

void
stream_used(struct stream *s, int channel, size_t n)
{
	struct channel *c = &s->channels[channel];
	uint32_t v;

	c->used += n;
	if (s->is_over || c->has_ended_in || c->used < GIVE_BACK)
		return;
	v = htonl((uint32_t)c->used);
	c->open += c->used;
	c->used = 0;
	add(s, STREAM_WINDOW, channel, &v, sizeof v);
}

void
stream_send(struct stream *s, enum stream_type type, const void *p, size_t n)
{
	add(s, type, 0, p, n);
}

void
stream_send_size(struct stream *s, struct stream_size size)
{
	const unsigned char p[4] = {
		(unsigned char)(size.columns >> 8),
		(unsigned char)size.columns,
		(unsigned char)(size.rows >> 8),
		(unsigned char)size.rows,
	};

	add(s, STREAM_RESIZE, 0, p, sizeof p);
}

void
stream_send_exit(struct stream *s, int status, const char *signal)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	uint32_t v = htonl((uint32_t)status);

	buf_add(&b, &v, sizeof v);
	if (signal != NULL)
		buf_adds(&b, signal);
	add(s, STREAM_EXIT, 0, b.p, b.n);
}

static void
add_error(struct stream *s, const struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_addc(&b, (char)(e->code == ERR_NONE ? ERR_BUG : e->code));
	buf_adds(&b, e->text);
	add(s, STREAM_ERROR, 0, b.p, b.n);
}

void
stream_send_error(struct stream *s, const struct err *e)
{
	add_error(s, e);
	stream_finish(s);
}

static void
on_finish_limit(void *arg)
{
	struct stream *s = arg;

	if (queued(s) > 0 && loop_now_ms() - s->sent_ms < STALL_MS)
		loop_timer_again(s->timer, FINISH_MS);
	else
		stream_free(s);
}

void
stream_finish(struct stream *take_s)
{
	struct stream *s = take_s;

	if (s->fd < 0) {
		stream_free(s);
		return;
	}
	s->is_over = s->is_finishing = true;
	s->sent_ms = loop_now_ms();
	loop_timer_cancel(STEAL(s->soon));
	loop_timer_cancel(STEAL(s->late));
	loop_timer_cancel(s->timer);
	s->timer = loop_timer_start(s->loop, FINISH_MS, false, on_finish_limit, s);
	flush(s);
}

/* --- in --- */

/* The client broke the order of a stream: it is told, as far as it listens. */
static void
misused(struct stream *s, const char *why)
{
	struct err e = { 0 };

	(void)err_set(&e, ERR_INVALID, NULL, "%s", why);
	add_error(s, &e);
	flush(s);
	close_with(s, &e);
}

static void
on_late(void *arg)
{
	misused(arg, "no order came in time");
}

static void
take_data(struct stream *s, const struct stream_frame *f)
{
	struct channel *c = &s->channels[f->channel];

	if (s->is_waiting) {
		misused(s, "data came before the stream was ready");
		return;
	}
	if (c->has_ended_in || f->data.n > c->open) {
		broken(s, "the other side sent more than was asked for");
		return;
	}
	c->open -= f->data.n;
	c->has_ended_in = f->type == STREAM_END;
	if (s->calls->on_data != NULL)
		s->calls->on_data(s, f->channel, f->data.p, f->data.n, s->arg);
	else
		stream_used(s, f->channel, f->data.n);
}

static void
take_window(struct stream *s, const struct stream_frame *f)
{
	struct channel *c = &s->channels[f->channel];
	size_t more = stream_frame_u32(f->data.p);

	if (more > STREAM_WINDOW_SIZE || c->credit + more > STREAM_WINDOW_SIZE) {
		broken(s, "the other side asked for more than the window");
		return;
	}
	c->credit += more;
}

static void
take_control(struct stream *s, const struct stream_frame *f)
{
	if (f->type == STREAM_ORDER && s->has_order) {
		misused(s, "a stream has one order");
		return;
	}
	if (f->type == STREAM_ORDER) {
		s->has_order = true;
		loop_timer_cancel(STEAL(s->late));
	}
	if (s->calls->on_control != NULL)
		s->calls->on_control(s, f, s->arg);
}

static void
take_frame(struct stream *s, const struct stream_frame *f)
{
	struct err e = { 0 };

	switch (f->type) {
	case STREAM_DATA:
	case STREAM_END:
		take_data(s, f);
		break;
	case STREAM_WINDOW:
		take_window(s, f);
		break;
	case STREAM_PING:
		if (queued(s) > OUT_MAX)
			broken(s, "the other side reads nothing");
		else
			add(s, STREAM_PONG, 0, NULL, 0);
		break;
	case STREAM_PONG:
		break;
	case STREAM_ERROR:
		stream_frame_error(f, &e);
		close_with(s, &e);
		break;
	default:
		take_control(s, f);
		break;
	}
}

static void
tell_room(struct stream *s)
{
	if (!s->wants_room || s->is_over || queued(s) > OUT_HIGH / 2)
		return;
	s->wants_room = false;
	if (s->calls->on_room != NULL)
		s->calls->on_room(s, s->arg);
}

static void look(struct stream *s);

static void
on_soon(void *arg)
{
	struct stream *s = arg;

	loop_timer_cancel(STEAL(s->soon));
	look(s);
}

/* Takes the frames that are there; what is left for another turn is told by a timer. */
static void
look(struct stream *s)
{
	enum stream_result r = STREAM_MORE;
	int frames = 0;

	while (!s->is_over && frames < FRAMES_A_TURN) {
		struct stream_frame f;

		r = stream_frame_parse(s->in.p + s->in_off, s->in.n - s->in_off, &f);
		if (r != STREAM_OK)
			break;
		s->in_off += f.size;
		frames++;
		take_frame(s, &f);
	}
	if (s->is_over)
		return;
	buf_drop(&s->in, s->in_off);
	s->in_off = 0;
	if (r == STREAM_BAD) {
		broken(s, "the other side does not speak " STREAM_PROTOCOL);
		return;
	}
	if (s->in.n == 0) {
		buf_fini(&s->in);
		s->in = (struct buf){ 0 };
	} else if (r == STREAM_OK && s->soon == NULL) {
		s->soon = loop_timer_start(s->loop, 0, false, on_soon, s);
	}
	tell_room(s);
}

/* Finishing: what still comes is dropped, until the peer closes too. */
static void
discard(struct stream *s)
{
	char p[4096];
	ssize_t n = read(s->fd, p, sizeof p);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		stream_free(s);
}

static void
fill(struct stream *s)
{
	ssize_t n;

	if (s->soon != NULL) /* there is enough */
		return;
	buf_reserve(&s->in, READ_SIZE);
	n = read(s->fd, s->in.p + s->in.n, READ_SIZE);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		broken(s, "the connection was closed by the other side");
		return;
	}
	s->in.n += (size_t)n;
	s->in.p[s->in.n] = '\0';
	s->heard_ms = loop_now_ms();
	look(s);
}

static void
on_io(int fd, int what, void *arg)
{
	struct stream *s = arg;

	(void)fd;
	if ((what & LOOP_WRITE) != 0) {
		flush(s);
		tell_room(s);
	}
	if ((what & LOOP_READ) == 0 || s->fd < 0)
		return;
	if (s->is_finishing)
		discard(s);
	else
		fill(s);
}

static void
on_timer(void *arg)
{
	struct stream *s = arg;
	int64_t quiet = loop_now_ms() - s->heard_ms;

	if (quiet > SILENCE_MS) {
		broken(s, "the other side fell silent");
		return;
	}
	if (queued(s) == 0)
		add(s, STREAM_PING, 0, NULL, 0);
	loop_timer_again(s->timer, PING_MS);
}

struct stream *
stream_new(
    struct loop *l, int take_fd, struct str early, const struct stream_calls *calls, void *arg)
{
	struct stream *s = xcalloc(1, sizeof *s);
	const int on = 1;

	*s = (struct stream){ .loop = l, .calls = calls, .arg = arg, .fd = take_fd };
	for (int i = 0; i < STREAM_CHANNELS; i++)
		s->channels[i].credit = s->channels[i].open = STREAM_WINDOW_SIZE;
	(void)fcntl(take_fd, F_SETFL, fcntl(take_fd, F_GETFL) | O_NONBLOCK);
	(void)setsockopt(take_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	s->heard_ms = loop_now_ms();
	s->interest = LOOP_READ;
	s->io = loop_io_start(l, take_fd, LOOP_READ, on_io, s);
	s->timer = loop_timer_start(l, PING_MS, false, on_timer, s);
	if (early.n > 0) {
		buf_addstr(&s->in, early);
		s->soon = loop_timer_start(l, 0, false, on_soon, s);
	}
	return s;
}

void
stream_set_calls(struct stream *s, const struct stream_calls *calls, void *arg)
{
	s->calls = calls;
	s->arg = arg;
}

struct loop *
stream_loop(const struct stream *s)
{
	return s->loop;
}

int
stream_detach(struct stream *take_s, struct buf *early)
{
	struct stream *s = take_s;
	int fd;

	if (s->is_over || queued(s) > 0) {
		stream_free(s);
		return -1;
	}
	buf_add(early, s->in.p + s->in_off, s->in.n - s->in_off);
	loop_io_cancel(STEAL(s->io));
	fd = s->fd;
	s->fd = -1;
	stream_free(s);
	return fd;
}

/* --- server --- */

bool
stream_wanted(struct http_req *r)
{
	const char *upgrade = http_req_header(r, "Upgrade");

	if (!r->head.upgrade || upgrade == NULL ||
	    !str_eq_nocase(str_of(upgrade), STREAM_PROTOCOL)) {
		static const char *const headers[] = { "Upgrade: " STREAM_PROTOCOL,
			"Content-Type: text/plain", NULL };
		static const char text[] =
		    "This path is a stream: send Connection: Upgrade and Upgrade: " STREAM_PROTOCOL
		    ".\n";

		http_req_reply(r, 426, headers, text, sizeof text - 1);
		return false;
	}
	if (r->head.framing != HTTP_BODY_NONE &&
	    !(r->head.framing == HTTP_BODY_LENGTH && r->head.length == 0)) {
		http_req_reply_text(r, 400, "A request for a stream has no body.\n");
		return false;
	}
	return true;
}

int
stream_take_fd(struct http_req *take_r, struct buf *early)
{
	return http_conn_release(take_r->conn, early);
}

struct stream *
stream_accept(struct http_req *r, const struct stream_calls *calls, void *arg)
{
	static const char head[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
	                           "Upgrade: " STREAM_PROTOCOL "\r\n\r\n";
	AUTO_FINI(buf_fini) struct buf early = { 0 };
	struct loop *l = http_req_loop(r);
	struct stream *s;
	int fd = stream_take_fd(r, &early);

	s = stream_new(l, fd, buf_str(&early), calls, arg);
	s->is_waiting = true;
	s->late = loop_timer_start(l, ORDER_MS, false, on_late, s);
	buf_add(&s->out, head, sizeof head - 1);
	flush(s);
	return s;
}
