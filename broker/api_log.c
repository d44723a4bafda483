/* GET logs: lines of all gears of an application, passed on from their nodes as JSON lines. */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "broker/router_lines.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/http_server.h"
#include "lib/http/http_watch.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"

enum {
	LINES_DEFAULT = 100,
	LINES_MAX = 10000,
	LINE_BYTES_MAX = 256 * 1024,
	SORTED_BYTES_MAX = 16 * 1024 * 1024, /* of all gears together, when they are sorted */
	EXIT_NODE = 143,
};

struct tail;

/* The stream of one gear. */
struct source {
	struct tail *tail;      /* borrowed */
	char *node, *uuid;      /* owned */
	struct http_call *call; /* owned; NULL: ended */
	struct http_lines lines;
	struct err failure;
};

struct tail {
	struct api_call *c; /* borrowed */
	struct source **v;  /* owned */
	size_t n;
	struct router_lines_watch *routers; /* owned; NULL: not followed */
	int64_t lines;
	bool follow;
	bool has_begun;
	bool is_full; /* the client is slow: sources pause */
	/* several gears, not followed: all lines by time first */
	struct omap *sorted; /* owned or NULL; values: char * */
	size_t sorted_bytes;
	size_t seen;
};

static void
tail_free(void *p)
{
	struct tail *t = p;

	for (size_t i = 0; i < t->n; i++) {
		http_call_cancel(t->v[i]->call);
		http_lines_fini(&t->v[i]->lines);
		free(t->v[i]->node);
		free(t->v[i]->uuid);
		free(t->v[i]);
	}
	free(t->v);
	router_lines_unfollow(t->routers);
	omap_free(t->sorted);
	free(t);
}

static void
on_drain(struct http_req *r, void *arg)
{
	struct tail *t = arg;

	(void)r;
	t->is_full = false;
	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i]->call != NULL)
			http_call_resume(t->v[i]->call);
	}
}

static void
begin(struct tail *t)
{
	AUTO_FINI(api_headers_fini) struct api_headers h = { 0 };

	if (t->has_begun)
		return;
	t->has_begun = true;
	t->c->is_lines = true;
	api_headers_make(t->c, &h);
	http_req_begin(t->c->req, 200, h.v);
	http_req_on_drain(t->c->req, on_drain, t);
}

static void
send_line(struct tail *t, const char *p, size_t n)
{
	begin(t);
	(void)http_req_write(t->c->req, p, n);
	if (!http_req_write(t->c->req, "\n", 1))
		t->is_full = true;
}

/* Kept by time until all gears have answered; the oldest fall out. */
static void
keep_line(struct tail *t, struct str line)
{
	AUTO_FINI(wire_log_line_fini) struct wire_log_line l = { 0 };
	AUTO(free) char *key = NULL;
	struct err e = { 0 };

	if (codec_decode(&wire_log_line_codec, line.p, line.n, &l, CODEC_IGNORE, &e) < 0)
		return;
	key = xasprintf("%s %08zu", l.time == NULL ? "" : l.time, t->seen++);
	omap_set(t->sorted, key, xstrndup(line.p, line.n));
	t->sorted_bytes += line.n;
	while (omap_count(t->sorted) > (size_t)t->lines || t->sorted_bytes > SORTED_BYTES_MAX) {
		void *oldest = NULL;
		AUTO(free) char *first = xstrdup_null(omap_seek(t->sorted, "", false, &oldest));

		if (first == NULL)
			break;
		t->sorted_bytes -= strlen(oldest);
		(void)omap_remove(t->sorted, first);
	}
}

/* Of the routers, among those of the gears. */
static void
on_router_line(const struct wire_log_line *line, void *arg)
{
	struct tail *t = arg;
	AUTO(free) char *json = NULL;

	if (t->is_full) /* a slow reader: those of the gears have the room */
		return;
	json = codec_to_json(&wire_log_line_codec, line);
	if (t->sorted != NULL)
		keep_line(t, str_of(json));
	else
		send_line(t, json, strlen(json));
}

static void
on_line(struct str line, void *arg)
{
	struct source *s = arg;

	if (line.n == 0)
		return;
	if (s->tail->sorted != NULL)
		keep_line(s->tail, line);
	else
		send_line(s->tail, line.p, line.n);
}

static bool
on_data(struct http_call *call, const char *p, size_t n, void *arg)
{
	struct source *s = arg;
	struct err e = { 0 };

	(void)call;
	if (s->tail->is_full)
		return false;
	if (http_lines_feed(&s->lines, p, n, LINE_BYTES_MAX, on_line, s, &e) < 0)
		log_warn("log_line_dropped", LOG_STR("gear", s->uuid), LOG_ERR(&e));
	return true;
}

static void
finish(struct tail *t)
{
	struct api_call *c = t->c;
	void *line = NULL;

	if (t->sorted != NULL) {
		for (const char *k = omap_seek(t->sorted, "", false, &line); k != NULL;
		     k = omap_seek(t->sorted, k, true, &line))
			send_line(t, line, strlen(line));
	}
	begin(t);
	http_req_on_close(c->req, NULL, NULL);
	http_req_end(c->req);
	api_call_free(c);
}

static bool
all_ended(const struct tail *t, const struct err **out_failure)
{
	*out_failure = NULL;
	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i]->call != NULL)
			return false;
		if (t->v[i]->failure.code != ERR_NONE)
			*out_failure = &t->v[i]->failure;
	}
	return true;
}

static void
check_end(struct tail *t)
{
	const struct err *failure;

	if (!all_ended(t, &failure))
		return;
	if (failure != NULL && !t->has_begun && (t->sorted == NULL || omap_count(t->sorted) == 0))
		api_fail(
		    t->c, 503, EXIT_NODE, NULL, "The logs cannot be read now: %s", failure->text);
	else
		finish(t);
}

static void
on_end(struct http_call *call, int status, struct str body, const struct err *e, void *arg)
{
	struct source *s = arg;

	(void)call;
	(void)body;
	s->call = NULL;
	if (e != NULL)
		s->failure = *e;
	else if (status != 200 && status != 404) /* 404: nothing has run there yet */
		(void)err_set(&s->failure, ERR_SYSTEM, NULL, "the node answered %d", status);
	check_end(s->tail);
}

static bool
add_source(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct tail *t = ((void **)arg)[0];
	const char *app_id = ((void **)arg)[1];
	const char *at = key + strlen(STORE_PREFIX_GEAR);
	struct source *s;

	(void)rev;
	if (strcmp(g->app_id, app_id) != 0 || g->want == WIRE_WANT_GONE)
		return true;
	s = xcalloc(1, sizeof *s);
	s->tail = t;
	s->node = xstrndup(at, strcspn(at, "/"));
	s->uuid = xstrdup(g->uuid);
	t->v = xreallocarray(t->v, t->n + 1, sizeof *t->v);
	t->v[t->n++] = s;
	return true;
}

static void
start_source(struct source *s)
{
	struct tail *t = s->tail;
	struct http_call_opts o = { .on_data = on_data };
	AUTO(free)
	char *path = xasprintf(
	    "/v1/gears/%s/logs?lines=%lld&follow=%d", s->uuid, (long long)t->lines, t->follow);
	AUTO(free) char *url = NULL;

	if (node_link_call(t->c->b->nodes, s->node, path, &o, &url, &s->failure) < 0)
		return;
	s->call = http_call_start(t->c->b->client, &o, on_end, s, &s->failure);
}

static void
gone(struct api_call *c)
{
	api_call_free(c);
}

void
api_log_app(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err e = { 0 };
	struct tail *t = xcalloc(1, sizeof *t);

	t->c = c;
	t->lines = LINES_DEFAULT;
	api_call_keep(c, t, tail_free);
	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	if (api_param_int(c->params, "lines", 0, LINES_MAX, &t->lines, &e) < 0 ||
	    api_param_bool(c->params, "follow", &t->follow, &e) < 0) {
		api_fail_err(c, &e, 1);
		return;
	}
	record_each_with(c->b->store, STORE_PREFIX_GEAR, a.id, &wire_gear_codec, add_source,
	    (void *[]){ t, a.id });
	if (!t->follow)
		t->sorted = omap_new(free);
	router_lines_each(c->b->router_lines, a.id, (size_t)t->lines, on_router_line, t);
	if (t->follow)
		t->routers = router_lines_follow(c->b->router_lines, a.id, on_router_line, t);
	c->gone = gone;
	for (size_t i = 0; i < t->n; i++)
		start_source(t->v[i]);
	if (t->follow && t->n > 0 && t->v[0]->call != NULL)
		begin(t); /* headers at once: there may be nothing to read for long */
	check_end(t);
}
