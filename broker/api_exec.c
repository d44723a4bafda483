/* One-off commands: a byte stream to a program in an application's gear. */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/broker.h"
#include "broker/session.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/http/stream.h"
#include "lib/loop/loop.h"

/* From the upgrade until the order came. */
struct api_exec {
	struct broker *b; /* borrowed */
	struct stream *stream;
	char *app_id, *gear, *login; /* owned */
	bool is_fresh;
};

static void
release(void *p)
{
	struct api_exec *x = p;

	free(x->app_id);
	free(x->gear);
	free(x->login);
	free(x);
}

static void
end(struct api_exec *x)
{
	stream_free(STEAL(x->stream));
	loop_free_later(x->b->loop, release, x);
}

static void
fail(struct api_exec *x, const struct err *e)
{
	stream_send_error(STEAL(x->stream), e);
	end(x);
}

static void
on_control(struct stream *s, const struct stream_frame *f, void *arg)
{
	struct api_exec *x = arg;
	AUTO_FINI(wire_exec_fini) struct wire_exec order = { 0 };
	struct session_opts o = {
		.app_id = x->app_id,
		.gear = x->gear,
		.exec = &order,
		.is_fresh = x->is_fresh,
	};
	struct err e = { 0 };

	(void)s;
	if (f->type != STREAM_ORDER)
		return;
	if (codec_decode(&wire_exec_codec, f->data.p, f->data.n, &order, 0, &e) < 0 ||
	    wire_exec_check(&order, &e) < 0) {
		fail(x, &e);
		return;
	}
	mem_set_str(&order.login, x->login);
	mem_set_str(&order.instance, NULL); /* the application's own choice */
	(void)session_start(x->b->sessions, STEAL(x->stream), &o, NULL, NULL);
	end(x);
}

static void
on_close(struct stream *s, const struct err *e, void *arg)
{
	(void)s;
	(void)e;
	end(arg);
}

static const struct stream_calls calls = { NULL, NULL, on_control, on_close };

void
api_exec_app(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	bool is_fresh = true;
	struct err e = { 0 };
	struct api_exec *x;

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	if (api_param_bool(c->params, "fresh", &is_fresh, &e) < 0) {
		api_fail_err(c, &e, 1);
		return;
	}
	if (c->req == NULL) {
		api_call_free(c);
		return;
	}
	http_req_on_close(c->req, NULL, NULL);
	if (!stream_wanted(c->req)) { /* answered */
		c->req = NULL;
		api_call_free(c);
		return;
	}
	x = xcalloc(1, sizeof *x);
	*x = (struct api_exec){
		.b = c->b,
		.app_id = xstrdup(a.id),
		.gear = xstrdup(a.id),
		.login = xstrdup(c->who.login),
		.is_fresh = is_fresh,
	};
	x->stream = stream_accept(STEAL(c->req), &calls, x);
	api_call_free(c);
}
