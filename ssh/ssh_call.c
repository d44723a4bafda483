#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/http/stream.h"
#include "lib/http/stream_dial.h"
#include "lib/loop/loop.h"
#include "ssh/ssh_gate.h"

enum { CALL_MS = 10 * 1000 };

/* One call, on a loop of its own: SSH waits. */
struct call {
	struct loop *loop;
	struct stream *stream;
	struct str order; /* borrowed */
	bool is_done, is_ok;
	struct err e;
};

static void
on_data(struct stream *s, int channel, const char *p, size_t n, void *arg)
{
	(void)p;
	(void)arg;
	stream_used(s, channel, n);
}

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct call *c = arg;

	(void)s;
	if (f->type == STREAM_READY)
		c->is_done = c->is_ok = true;
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	struct call *c = arg;

	(void)s;
	c->e = *e;
	c->is_done = true;
}

static const struct stream_calls calls = { on_data, NULL, on_control, on_close };

static void
on_dialed(int take_fd, struct str early, const struct err *e, void *arg)
{
	struct call *c = arg;

	if (e != NULL) {
		c->e = *e;
		c->is_done = true;
		return;
	}
	c->stream = stream_new(c->loop, take_fd, early, &calls, c);
	stream_send(c->stream, STREAM_ORDER, c->order.p, c->order.n);
}

char *
ssh_call_url(const struct ssh_gate *g, const char *path)
{
	return xasprintf("%s:%s", g->broker, path);
}

int
ssh_call(const struct ssh_gate *g, const char *path, struct str order, struct err *e)
{
	struct call c = { .loop = loop_new(), .order = order };
	AUTO(free) char *url = ssh_call_url(g, path);
	const struct stream_dial_opts o = { .url = url, .authorization = g->authorization };

	if (stream_dial_start(c.loop, &o, on_dialed, &c, &c.e) != NULL)
		(void)loop_run_until(c.loop, &c.is_done, CALL_MS);
	stream_free(c.stream);
	loop_free(c.loop);
	if (c.is_ok)
		return 0;
	*e = c.e;
	if (e->code == ERR_NONE)
		(void)err_set(e, ERR_BUSY, NULL, "the broker does not answer");
	return -1;
}
