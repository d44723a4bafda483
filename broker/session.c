#include "broker/session.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "broker/broker.h"
#include "broker/gear_stream.h"
#include "broker/idler.h"
#include "broker/record.h"
#include "broker/run_instance.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/stream.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"

enum { LOOK_MS = 20, PATIENCE_MS = 20 * 1000, SESSIONS_MAX = 2000 };

struct session_set {
	struct broker *b; /* borrowed */
	LIST_HEAD(, session) list;
	int n;
};

struct session {
	LIST_ENTRY(session) link;
	struct session_set *all; /* borrowed */
	char *app_id, *gear;     /* owned */
	struct wire_exec exec;
	struct stream *stream; /* owned until the relay has it */
	struct loop_timer *look;
	int64_t until_ms;
	struct run_instance *fresh;
	struct gear_stream *relay;
	session_end_fn *on_end;
	void *arg;
};

struct session_set *
session_set_new(struct broker *b)
{
	struct session_set *s = xcalloc(1, sizeof *s);

	s->b = b;
	return s;
}

void
session_set_free(struct session_set *take_s)
{
	if (take_s == NULL)
		return;
	while (!LIST_EMPTY(&take_s->list))
		session_cancel(LIST_FIRST(&take_s->list));
	free(take_s);
}

static void
release(void *p)
{
	struct session *x = p;

	codec_fini(&wire_exec_codec, &x->exec);
	free(x->app_id);
	free(x->gear);
	free(x);
}

void
session_cancel(struct session *take_x)
{
	struct session *x = take_x;

	if (x == NULL)
		return;
	LIST_REMOVE(x, link);
	x->all->n--;
	loop_timer_cancel(STEAL(x->look));
	gear_stream_cancel(STEAL(x->relay));
	run_instance_end(STEAL(x->fresh));
	stream_free(STEAL(x->stream));
	idler_hold(x->all->b, x->app_id, -1);
	loop_free_later(x->all->b->loop, release, x);
}

static void
end(struct session *x)
{
	session_end_fn *fn = x->on_end;
	void *arg = x->arg;

	session_cancel(x);
	if (fn != NULL)
		fn(arg);
}

static void
refuse(struct session *x, const struct err *e)
{
	log_info("session_refused", LOG_STR("gear", x->gear), LOG_ERR(e));
	stream_send_error(STEAL(x->stream), e);
	end(x);
}

static void
on_relay_end(void *arg)
{
	struct session *x = arg;

	x->relay = NULL;
	end(x);
}

/* Into the instance that exec names. */
static void
enter(struct session *x)
{
	AUTO_FINI(buf_fini) struct buf order = { 0 };
	struct gear_stream_opts o = { .gear = x->gear, .what = "exec" };

	codec_encode(&wire_exec_codec, &x->exec, &order);
	o.order = buf_str(&order);
	x->relay = gear_stream_start(x->all->b->streams, STEAL(x->stream), &o, on_relay_end, x);
	if (x->relay == NULL)
		end(x);
}

static void
on_fresh(const char *id, const struct err *e, void *arg)
{
	struct session *x = arg;

	if (e != NULL) {
		refuse(x, e);
		return;
	}
	mem_set_str(&x->exec.instance, id);
	enter(x);
}

static void
make_fresh(struct session *x)
{
	struct err e = { 0 };

	x->fresh = run_instance_start(x->all->b, x->gear, on_fresh, x, &e);
	if (x->fresh == NULL)
		refuse(x, &e);
}

/* --- which instance --- */

struct states {
	const char *gear;
	const struct store *store;
	bool has_ready, may_come; /* is starting */
};

static bool
look_at(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_instance_record *i = rec;
	struct states *s = arg;
	AUTO(free) char *node = xstrdup(key + strlen(STORE_PREFIX_INSTANCE));
	AUTO_FINI(wire_instance_status_fini) struct wire_instance_status st = { 0 };
	struct err e = { 0 };

	(void)rev;
	if (strcmp(i->spec.gear, s->gear) != 0 || i->spec.kind != WIRE_INSTANCE_WEB ||
	    i->spec.want != WIRE_WANT_PRESENT)
		return true;
	node[strcspn(node, "/")] = '\0';
	if (record_get(s->store, store_key_instance_status(node, i->spec.id),
	        &wire_instance_status_codec, &st, NULL, &e) < 0)
		st.state = WIRE_INSTANCE_NEW;
	s->has_ready = s->has_ready || st.state == WIRE_INSTANCE_READY;
	s->may_come = s->may_come || st.state == WIRE_INSTANCE_NEW ||
	              st.state == WIRE_INSTANCE_STARTING || st.state == WIRE_INSTANCE_STOPPED;
	return true;
}

/* Waits for an application that is just starting or waking; one that was stopped, or crashes, gets
 * an instance that only serves this session. */
static void
choose(struct session *x)
{
	struct states s = { .gear = x->gear, .store = x->all->b->store };
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct err e = { 0 };

	if (record_app_by_id(s.store, x->app_id, &app, NULL, &e) < 0) {
		refuse(x, &e);
		return;
	}
	record_each_with(
	    s.store, STORE_PREFIX_INSTANCE, x->gear, &wire_instance_record_codec, look_at, &s);
	if (x->exec.instance != NULL || x->exec.cart != NULL || s.has_ready) {
		loop_timer_cancel(STEAL(x->look));
		enter(x);
	} else if (!app.spec.running || !s.may_come || loop_now_ms() > x->until_ms) {
		loop_timer_cancel(STEAL(x->look));
		make_fresh(x);
	}
}

static void
on_look(void *arg)
{
	struct session *x = arg;

	loop_timer_again(x->look, LOOK_MS);
	choose(x);
}

/* --- until it is entered --- */

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct session *x = arg;

	(void)s;
	if (f->type != STREAM_RESIZE)
		return;
	x->exec.columns = stream_frame_size(f).columns;
	x->exec.rows = stream_frame_size(f).rows;
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	end(arg);
}

static const struct stream_calls calls = { NULL, NULL, on_control, on_close };

struct session *
session_start(struct session_set *all, struct stream *take_s, const struct session_opts *o,
    session_end_fn *on_end, void *arg)
{
	struct session *x;
	struct err e = { 0 };

	if (all->n >= SESSIONS_MAX) {
		(void)err_set(&e, ERR_BUSY, NULL, "there are %d sessions already", SESSIONS_MAX);
		stream_send_error(take_s, &e);
		return NULL;
	}
	x = xcalloc(1, sizeof *x);
	*x = (struct session){
		.all = all,
		.app_id = xstrdup(o->app_id),
		.gear = xstrdup(o->gear),
		.stream = take_s,
		.until_ms = loop_now_ms() + PATIENCE_MS,
		.on_end = on_end,
		.arg = arg,
	};
	LIST_INSERT_HEAD(&all->list, x, link);
	all->n++;
	codec_copy(&wire_exec_codec, &x->exec, o->exec);
	stream_set_calls(take_s, &calls, x);
	idler_hold(all->b, x->app_id, 1);
	/* Not inside this call: it may end at once. */
	if (o->is_fresh)
		make_fresh(x);
	else
		x->look = loop_timer_start(all->b->loop, 0, false, on_look, x);
	return x;
}
