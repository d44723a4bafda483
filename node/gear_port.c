#include "node/gear_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/stream.h"
#include "lib/http/stream_pump.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_exec.h"
#include "node/gear_exec.h"
#include "node/instance_session.h"
#include "node/net.h"

enum { CONNECT_MS = 10 * 1000, PORTS_MAX = 128 /* in one gear */ };

struct gear_port_set {
	struct gear_exec_opts o;
	LIST_HEAD(, port) list;
};

/* One connection. */
struct port {
	LIST_ENTRY(port) link;
	struct gear_port_set *all; /* borrowed */
	char *gear;                /* owned */
	struct stream *stream;     /* owned */
	struct loop_timer *timer;
	struct instance_session *session;
	struct worker_job *job;
	struct wire_port order;
	int fd; /* owned; -1 */
	struct loop_io *connecting;
	struct stream_sink *in;
	struct stream_source *out;
	bool in_ended, out_ended;
};

static void
release(void *p)
{
	struct port *x = p;

	codec_fini(&wire_port_codec, &x->order);
	free(x->gear);
	free(x);
}

static void
end(struct port *x)
{
	LIST_REMOVE(x, link);
	loop_timer_cancel(x->timer);
	loop_io_cancel(x->connecting);
	worker_detach(x->job);
	stream_sink_free(x->in);
	stream_source_free(x->out);
	file_close(x->fd);
	instance_session_close(x->session);
	stream_free(x->stream);
	loop_free_later(x->all->o.loop, release, x);
}

static void
refuse(struct port *x, const struct err *e)
{
	if (x->stream != NULL)
		stream_send_error(STEAL(x->stream), e);
	end(x);
}

/* --- bytes --- */

static void
look(struct port *x)
{
	if (!x->in_ended || !x->out_ended)
		return;
	stream_finish(STEAL(x->stream));
	end(x);
}

static void
on_out_end(struct stream_source *o, void *arg)
{
	struct port *x = arg;

	(void)o;
	x->out_ended = true;
	look(x);
}

static void
begin(struct port *x)
{
	x->in = stream_sink_new(x->stream, STREAM_STDIN, x->fd, true);
	x->out = stream_source_new(x->stream, STREAM_STDOUT, x->fd, true, on_out_end, x);
	stream_send(x->stream, STREAM_READY, NULL, 0);
}

static void
on_connected(int fd, int what, void *arg)
{
	struct port *x = arg;
	int error = 0;
	socklen_t n = sizeof error;
	struct err e = { 0 };

	(void)what;
	loop_io_cancel(STEAL(x->connecting));
	loop_timer_cancel(STEAL(x->timer));
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0) {
		begin(x);
		return;
	}
	errno = error;
	(void)err_set(&e, ERR_SYSTEM, NULL, "%s:%d", x->order.host, (int)x->order.port);
	e.code = ERR_BUSY;
	refuse(x, &e);
}

/* --- connecting --- */

struct connect_job {
	struct port *owner; /* done only */
	struct net *net;
	char *instance, *address; /* owned */
	int port, fd;
	struct err e;
};

static void
free_connect(void *take_job)
{
	struct connect_job *j = take_job;

	file_close(j->fd);
	free(j->instance);
	free(j->address);
	free(j);
}

static void
run_connect(void *job)
{
	struct connect_job *j = job;

	j->fd = net_connect(j->net, j->instance, j->address, j->port, &j->e);
}

static void
done_connect(void *job)
{
	struct connect_job *j = job;
	struct port *x = j->owner;

	x->job = NULL;
	if (j->fd < 0) {
		refuse(x, &j->e);
	} else {
		x->fd = j->fd;
		j->fd = -1;
		x->connecting = loop_io_start(x->all->o.loop, x->fd, LOOP_WRITE, on_connected, x);
	}
	free_connect(j);
}

static void
on_ready(const struct str_list *env, const struct err *e, void *arg)
{
	struct port *x = arg;
	struct connect_job *j;

	(void)env;
	if (e != NULL) {
		refuse(x, e);
		return;
	}
	j = xcalloc(1, sizeof *j);
	*j = (struct connect_job){
		.owner = x,
		.net = x->all->o.net,
		.instance = xstrdup(instance_session_id(x->session)),
		.address = xstrdup(wire_port_address(x->order.host)),
		.port = (int)x->order.port,
		.fd = -1,
	};
	x->job = worker_submit(x->all->o.worker, run_connect, done_connect, free_connect, j);
}

static const struct instance_session_calls session_calls = { on_ready, NULL };

static size_t
count(const struct gear_port_set *s, const char *gear)
{
	const struct port *x;
	size_t n = 0;

	LIST_FOREACH (x, &s->list, link)
		n += strcmp(x->gear, gear) == 0;
	return n;
}

static int
take_order(struct port *x, struct str json, struct err *e)
{
	struct instance_session_opts o = { .gear = x->gear };

	if (codec_decode(&wire_port_codec, json.p, json.n, &x->order, 0, e) < 0)
		return -1;
	if (wire_port_address(x->order.host) == NULL)
		return err_set(e, ERR_DENIED, "host",
		    "%s is no address of the gear: only its own 127.x addresses are forwarded",
		    x->order.host);
	if (count(x->all, x->gear) > PORTS_MAX)
		return err_set(
		    e, ERR_LIMIT, NULL, "the gear has %d forwarded connections already", PORTS_MAX);
	o.instance = x->order.instance;
	x->session = instance_session_open(x->all->o.instances, &o, &session_calls, x, e);
	return x->session == NULL ? -1 : 0;
}

static void
on_late(void *arg)
{
	struct port *x = arg;
	struct err e = { 0 };

	(void)err_set(
	    &e, ERR_BUSY, NULL, "%s:%d does not answer", x->order.host, (int)x->order.port);
	refuse(x, &e);
}

/* --- the stream --- */

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct port *x = arg;
	struct err e = { 0 };

	(void)s;
	if (f->type != STREAM_ORDER)
		return;
	x->timer = loop_timer_start(x->all->o.loop, CONNECT_MS, false, on_late, x);
	if (take_order(x, f->data, &e) < 0)
		refuse(x, &e);
}

static void
on_data(struct stream *s, int channel, const char *p, size_t n, void *arg)
{
	struct port *x = arg;

	(void)s;
	(void)channel;
	stream_sink_data(x->in, p, n);
	if (n > 0)
		return;
	x->in_ended = true;
	look(x);
}

static void
on_room(struct stream *s, void *arg)
{
	struct port *x = arg;

	(void)s;
	stream_source_room(x->out);
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	end(arg);
}

static const struct stream_calls calls = { on_data, on_room, on_control, on_close };

void
gear_port_handle(struct gear_port_set *all, struct http_req *r, const char *gear)
{
	struct port *x;

	if (!stream_wanted(r))
		return;
	x = xcalloc(1, sizeof *x);
	*x = (struct port){
		.all = all,
		.gear = xstrdup(gear),
		.fd = -1,
	};
	LIST_INSERT_HEAD(&all->list, x, link);
	x->stream = stream_accept(r, &calls, x);
}

struct gear_port_set *
gear_port_set_new(const struct gear_exec_opts *o)
{
	struct gear_port_set *s = xcalloc(1, sizeof *s);

	s->o = *o;
	return s;
}

void
gear_port_set_free(struct gear_port_set *take_s)
{
	if (take_s == NULL)
		return;
	while (!LIST_EMPTY(&take_s->list))
		end(LIST_FIRST(&take_s->list));
	free(take_s);
}
