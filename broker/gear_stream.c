#include "broker/gear_stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/stream.h"
#include "lib/http/stream_dial.h"
#include "lib/http/stream_relay.h"
#include "lib/loop/loop.h"

struct gear_streams {
	struct broker *b; /* borrowed */
	LIST_HEAD(, gear_stream) list;
};

struct gear_stream {
	LIST_ENTRY(gear_stream) link;
	struct gear_streams *all; /* borrowed */
	struct stream *client;    /* owned until the relay has it */
	struct buf order;         /* the frame for the node */
	struct stream_dial *dial;
	struct stream_relay *relay;
	gear_stream_end_fn *on_end;
	void *arg;
};

struct gear_streams *
gear_streams_new(struct broker *b)
{
	struct gear_streams *s = xcalloc(1, sizeof *s);

	s->b = b;
	return s;
}

void
gear_streams_free(struct gear_streams *take_s)
{
	if (take_s == NULL)
		return;
	while (!LIST_EMPTY(&take_s->list))
		gear_stream_cancel(LIST_FIRST(&take_s->list));
	free(take_s);
}

static void
release(void *p)
{
	struct gear_stream *g = p;

	buf_fini(&g->order);
	free(g);
}

void
gear_stream_cancel(struct gear_stream *take_g)
{
	struct gear_stream *g = take_g;

	if (g == NULL)
		return;
	LIST_REMOVE(g, link);
	stream_dial_cancel(g->dial);
	stream_relay_cancel(g->relay);
	stream_free(g->client);
	loop_free_later(g->all->b->loop, release, g);
}

static void
end(struct gear_stream *g)
{
	gear_stream_end_fn *fn = g->on_end;
	void *arg = g->arg;

	gear_stream_cancel(g);
	fn(arg);
}

static void
on_relay_end(void *arg)
{
	struct gear_stream *g = arg;

	g->relay = NULL;
	end(g);
}

static void
on_dialed(int take_fd, struct str early, const struct err *e, void *arg)
{
	struct gear_stream *g = arg;
	AUTO_FINI(buf_fini) struct buf from_client = { 0 };
	int fd;

	g->dial = NULL;
	if (e != NULL) {
		stream_send_error(STEAL(g->client), e);
		end(g);
		return;
	}
	fd = stream_detach(STEAL(g->client), &from_client);
	if (fd < 0) {
		close(take_fd);
		end(g);
		return;
	}
	buf_add(&g->order, from_client.p, from_client.n);
	g->relay = stream_relay_start(
	    g->all->b->loop, fd, buf_str(&g->order), take_fd, early, on_relay_end, g);
}

/* --- until the node answers --- */

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct gear_stream *g = arg;

	(void)s;
	if (f->type == STREAM_RESIZE || f->type == STREAM_SIGNAL)
		stream_frame_add(&g->order, f->type, 0, f->data.p, f->data.n);
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	end(arg);
}

static const struct stream_calls calls = { NULL, NULL, on_control, on_close };

static int
dial(struct gear_stream *g, const struct gear_stream_opts *o, struct err *e)
{
	struct broker *b = g->all->b;
	AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };
	AUTO(free) char *node = NULL;
	AUTO(free) char *path = xasprintf("/v1/gears/%s/%s", o->gear, o->what);
	AUTO(free) char *url = NULL;
	AUTO(free) char *authorization = NULL;
	struct http_call_opts call = { 0 };

	if (record_gear(b->store, o->gear, &gear, &node, e) < 0 ||
	    node_link_call(b->nodes, node, path, &call, &url, e) < 0)
		return -1;
	authorization = xasprintf("Bearer %s", call.bearer);
	const struct stream_dial_opts d = { .url = url, .authorization = authorization };

	g->dial = stream_dial_start(b->loop, &d, on_dialed, g, e);
	return g->dial == NULL ? -1 : 0;
}

struct gear_stream *
gear_stream_start(struct gear_streams *all, struct stream *take_s, const struct gear_stream_opts *o,
    gear_stream_end_fn *on_end, void *arg)
{
	struct gear_stream *g = xcalloc(1, sizeof *g);
	struct err e = { 0 };

	*g = (struct gear_stream){
		.all = all,
		.client = take_s,
		.on_end = on_end,
		.arg = arg,
	};
	LIST_INSERT_HEAD(&all->list, g, link);
	stream_set_calls(take_s, &calls, g);
	stream_frame_add(&g->order, STREAM_ORDER, 0, o->order.p, o->order.n);
	if (dial(g, o, &e) == 0)
		return g;
	stream_send_error(STEAL(g->client), &e);
	gear_stream_cancel(g);
	return NULL;
}
