/* GET events: what happened to an application: a list, or with follow JSON lines without end. */
#include <string.h>
#include <time.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/broker.h"
#include "broker/event_log.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"

struct follow {
	struct api_call *c;        /* borrowed */
	struct store_watch *watch; /* owned; NULL: paused */
	char *prefix;              /* owned */
	int64_t rev;               /* all up to here was sent */
	bool is_full;
};

static void
add_time(struct api_json *j, const char *key, int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	if (gmtime_r(&s, &tm) == NULL)
		api_json_null(j, key);
	else
		api_json_fmt(j, key, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
		    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

static void
add_event(struct api_json *j, const struct wire_event *ev)
{
	api_json_obj(j, NULL);
	api_json_str(j, "id", ev->id);
	add_time(j, "time", ev->at_ms);
	add_time(j, "last_time", ev->last_ms);
	api_json_int(j, "count", ev->count);
	api_json_str(j, "kind", ev->kind);
	api_json_str(j, "text", ev->text);
	api_json_str(j, "gear", ev->gear);
	api_json_str(j, "instance", ev->instance);
	api_json_end_obj(j);
}

static void
visit(const struct wire_event *ev, void *arg)
{
	add_event(arg, ev);
}

/* --- follow --- */

static void
follow_free(void *p)
{
	struct follow *f = p;

	store_watch_cancel(f->watch);
	free(f->prefix);
	free(f);
}

static void
send_line(struct follow *f, const struct wire_event *ev)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct api_json j = { .b = &b };

	add_event(&j, ev);
	buf_addc(&b, '\n');
	if (!http_req_write(f->c->req, b.p, b.n))
		f->is_full = true;
}

static void
on_event(const struct store_event *sev, void *arg)
{
	AUTO_FINI(wire_event_fini) struct wire_event ev = { 0 };
	struct follow *f = arg;
	struct err e = { 0 };

	if (sev->type == STORE_COMPACTED) { /* it slept for long: go on from now */
		store_watch_cancel(f->watch);
		f->watch = store_watch_start(f->c->b->store, f->prefix, 0, on_event, f);
		return;
	}
	f->rev = sev->kv.mod_rev;
	if (sev->type == STORE_PUT &&
	    codec_decode(&wire_event_codec, sev->kv.val, sev->kv.n, &ev, CODEC_IGNORE, &e) == 0)
		send_line(f, &ev);
	if (f->is_full && sev->last_of_rev) /* a slow reader: go on where we were */
		store_watch_cancel(STEAL(f->watch));
}

static void
on_drain(struct http_req *r, void *arg)
{
	struct follow *f = arg;

	(void)r;
	f->is_full = false;
	if (f->watch == NULL)
		f->watch = store_watch_start(f->c->b->store, f->prefix, f->rev + 1, on_event, f);
}

static void
send_old(const struct wire_event *ev, void *arg)
{
	send_line(arg, ev);
}

static void
gone(struct api_call *c)
{
	api_call_free(c);
}

static void
follow(struct api_call *c, const char *app_id, int64_t lines)
{
	AUTO_FINI(api_headers_fini) struct api_headers h = { 0 };
	struct follow *f = xcalloc(1, sizeof *f);

	f->c = c;
	f->prefix = store_key_event(app_id, "");
	f->rev = store_rev(c->b->store);
	api_call_keep(c, f, follow_free);
	c->gone = gone;
	c->is_lines = true;
	api_headers_make(c, &h);
	http_req_begin(c->req, 200, h.v);
	http_req_on_drain(c->req, on_drain, f);
	event_log_each(c->b->store, app_id, lines, send_old, f);
	if (!f->is_full)
		f->watch = store_watch_start(c->b->store, f->prefix, f->rev + 1, on_event, f);
}

void
api_history_app(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err e = { 0 };
	int64_t lines = EVENT_LOG_KEPT;
	bool is_followed = false;

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	if (api_param_int(c->params, "lines", 0, EVENT_LOG_KEPT, &lines, &e) < 0 ||
	    api_param_bool(c->params, "follow", &is_followed, &e) < 0) {
		api_fail_err(c, &e, 1);
		return;
	}
	if (is_followed) {
		follow(c, a.id, lines);
		return;
	}
	api_json_arr(api_data(c, "events"), NULL);
	event_log_each(c->b->store, a.id, lines, visit, &c->json);
	api_json_end_arr(&c->json);
	api_send(c, 200);
}
