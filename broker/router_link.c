#include "broker/router_link.h"

#include <stdlib.h>
#include <string.h>

#include "broker/app_traffic.h"
#include "broker/broker.h"
#include "broker/idler.h"
#include "broker/node_link.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_route.h"

enum {
	REPORT_MAX = 8 << 20,
	TOKEN_MAX = 4096,
	LOST_MS = 3600 * 1000, /* a router that is away so long serves no more */
};

struct router {
	char *id;
	int feeds;           /* connected now */
	int64_t away_ms;     /* when the last feed ended; loop time */
	int64_t rev;         /* in force there */
	int64_t traffic_rev; /* requests by tables before it are told */
	struct str_list draining;
};

struct router_link {
	struct broker *b; /* borrowed */
	char *token;
	struct map *routers; /* id → struct router, owned */
	int64_t start_ms;
	router_link_change_fn *on_change;
	void *change_arg;
};

static void
router_free(void *p)
{
	struct router *r = p;

	str_list_fini(&r->draining);
	free(r->id);
	free(r);
}

struct router_link *
router_link_new(struct broker *b, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf token = { 0 };
	struct router_link *rl;

	if (file_read(b->conf.router_token_file, TOKEN_MAX, &token, e) < 0) {
		(void)err_wrap(e, "router-token-file");
		return NULL;
	}
	while (token.n > 0 && strchr("\r\n ", token.p[token.n - 1]) != NULL)
		buf_truncate(&token, token.n - 1);
	rl = xcalloc(1, sizeof *rl);
	*rl = (struct router_link){ .b = b,
		.token = buf_steal(&token),
		.routers = map_new(router_free),
		.start_ms = loop_now_ms() };
	return rl;
}

void
router_link_free(struct router_link *take_rl)
{
	if (take_rl == NULL)
		return;
	map_free(take_rl->routers);
	secret_free(take_rl->token);
	free(take_rl);
}

const char *
router_link_token(const struct router_link *rl)
{
	return rl->token;
}

void
router_link_on_change(struct router_link *rl, router_link_change_fn *fn, void *arg)
{
	rl->on_change = fn;
	rl->change_arg = arg;
}

static void
changed(struct router_link *rl)
{
	if (rl->on_change != NULL)
		rl->on_change(rl->change_arg);
}

static struct router *
router_get(struct router_link *rl, const char *id)
{
	struct router *r = map_get(rl->routers, id);

	if (r == NULL) {
		r = xcalloc(1, sizeof *r);
		r->id = xstrdup(id);
		r->away_ms = loop_now_ms();
		map_set(rl->routers, id, r);
	}
	return r;
}

void
router_link_attach(struct router_link *rl, const char *router, int by)
{
	struct router *r = router_get(rl, router);

	r->feeds += by;
	r->traffic_rev = 0;
	if (r->feeds == 0)
		r->away_ms = loop_now_ms();
	if (r->feeds == 0 && strstr(router, WIRE_ROUTER_LEAVES) != NULL)
		(void)map_remove(rl->routers, router);
	changed(rl);
}

static void
on_report(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	AUTO_FINI(wire_router_report_fini) struct wire_router_report rep = { 0 };
	struct router_link *rl = arg;
	struct router *router;
	struct err bad = { 0 };

	if (e != NULL)
		return;
	if (codec_decode(&wire_router_report_codec, body.p, body.n, &rep, CODEC_IGNORE, &bad) < 0) {
		http_req_reply_text(r, 400, "%s: %s\n", bad.field, bad.text);
		return;
	}
	router = router_get(rl, rep.router);
	router->rev = rep.revision;
	str_list_fini(&router->draining);
	router->draining = rep.draining;
	rep.draining = (struct str_list){ 0 };
	http_req_reply(r, 200, NULL, "{}", 2);
	changed(rl);
}

static void
on_traffic(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	AUTO_FINI(wire_traffic_fini) struct wire_traffic in = { 0 };
	struct router_link *rl = arg;
	struct err bad = { 0 };

	if (e != NULL)
		return;
	if (codec_decode(&wire_traffic_codec, body.p, body.n, &in, CODEC_IGNORE, &bad) < 0) {
		http_req_reply_text(r, 400, "%s: %s\n", bad.field, bad.text);
		return;
	}
	if (!in.more)
		router_get(rl, in.router)->traffic_rev = in.revision;
	idler_traffic(rl->b->idler, &in);
	app_traffic_add(rl->b->traffic, &in, loop_now_ms());
	http_req_reply(r, 200, NULL, "{}", 2);
	changed(rl);
}

void
router_link_traffic(struct router_link *rl, struct http_req *r)
{
	http_req_read_all(r, REPORT_MAX, on_traffic, rl);
}

void
router_link_handle(struct router_link *rl, struct http_req *r)
{
	http_req_read_all(r, REPORT_MAX, on_report, rl);
}

struct ask {
	const char *instance;
	int64_t rev;
	int64_t wait_ms; /* until the last absent router is given up; 0 = none */
	bool is_held;    /* a connected router still needs it */
	bool has_any;
};

static void
ask_one(const char *key, void *value, void *arg)
{
	const struct router *r = value;
	struct ask *a = arg;
	int64_t left = ROUTER_LINK_AWAY_MS - (loop_now_ms() - r->away_ms);

	(void)key;
	a->has_any = true;
	if (r->feeds > 0) {
		if (r->rev < a->rev ||
		    (a->instance != NULL && str_list_has(&r->draining, a->instance)))
			a->is_held = true;
	} else if (left > a->wait_ms) {
		a->wait_ms = left;
	}
}

bool
router_link_has(const struct router_link *rl, int64_t rev)
{
	struct ask a = { .rev = rev };

	map_each(rl->routers, ask_one, &a);
	return !a.is_held;
}

bool
router_link_released(
    const struct router_link *rl, const char *instance, int64_t rev, int64_t *again_ms)
{
	struct ask a = { .rev = rev, .instance = instance };
	int64_t left = ROUTER_LINK_AWAY_MS - (loop_now_ms() - rl->start_ms);

	map_each(rl->routers, ask_one, &a);
	/* After a start of ours a router that serves may not have called yet. */
	if (!a.has_any && left > a.wait_ms)
		a.wait_ms = left;
	*again_ms = a.is_held ? 0 : a.wait_ms;
	return !a.is_held && a.wait_ms == 0;
}

struct quiet {
	int64_t rev;
	bool has_any, is_not;
};

static void
ask_quiet(const char *key, void *value, void *arg)
{
	const struct router *r = value;
	struct quiet *q = arg;

	(void)key;
	if (r->feeds == 0 && loop_now_ms() - r->away_ms > LOST_MS)
		return;
	q->has_any = true;
	if (r->feeds == 0 || r->rev < q->rev || r->traffic_rev < q->rev)
		q->is_not = true;
}

bool
router_link_is_quiet(const struct router_link *rl, int64_t rev)
{
	struct quiet q = { .rev = rev };

	map_each(rl->routers, ask_quiet, &q);
	return q.has_any && !q.is_not;
}

struct each {
	router_link_visit_fn *fn;
	void *arg;
	bool is_over;
};

static void
each_one(const char *key, void *value, void *arg)
{
	const struct router *r = value;
	struct each *x = arg;

	(void)key;
	if (!x->is_over)
		x->is_over = !x->fn(r->id, r->rev, r->feeds > 0, x->arg);
}

void
router_link_each(const struct router_link *rl, router_link_visit_fn *fn, void *arg)
{
	struct each x = { .fn = fn, .arg = arg };

	map_each(rl->routers, each_one, &x);
}
