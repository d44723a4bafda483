#include "router/route_watch.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_client.h"
#include "lib/http/http_watch.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_route.h"
#include "router/fleet.h"
#include "router/host_table.h"
#include "router/route_feed.h"
#include "router/route_saved.h"
#include "router/router_conf.h"
#include "router/tls_ctx.h"

enum { REPORT_TIMEOUT_MS = 5000, REPORT_AGAIN_MS = 200 };

struct route_watch {
	struct loop *loop;              /* borrowed */
	const struct router_conf *conf; /* borrowed */
	struct fleet *fleet;            /* borrowed */
	struct route_feed feed;
	struct route_saved *saved; /* owned; NULL: no state directory */
	struct http_client *http;  /* owned */
	struct http_watch *watch;  /* owned */
	struct http_call *report;  /* under way */
	struct loop_timer *again;  /* owned: after a report that failed */
	char *token;               /* owned */
	char *report_url;          /* owned */
	char *told;                /* owned: the last report that arrived; NULL: none */
	char *telling;             /* owned: the one under way */
	char *refusal;             /* owned: logged last, not again */
	bool is_connected;
};

/* --- reports --- */

static char *
report_text(const struct route_watch *w)
{
	struct wire_router_report r = { .router = w->conf->id,
		.revision = fleet_applied(w->fleet) };
	char *text;

	fleet_draining(w->fleet, &r.draining);
	text = codec_to_json(&wire_router_report_codec, &r);
	str_list_fini(&r.draining);
	return text;
}

static void
on_report_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct route_watch *w = arg;

	(void)c;
	(void)body;
	w->report = NULL;
	if (e == NULL && status == 200) {
		free(w->told);
		w->told = STEAL(w->telling);
		route_watch_report(w);
		return;
	}
	free(STEAL(w->telling));
	log_debug(
	    "report_failed", LOG_INT("status", status), LOG_STR("why", e == NULL ? "" : e->text));
	loop_timer_again(w->again, REPORT_AGAIN_MS);
}

void
route_watch_report(struct route_watch *w)
{
	AUTO(free) char *text = NULL;
	struct err e = { 0 };
	struct http_call_opts o = {
		.method = "POST",
		.url = w->report_url,
		.bearer = w->token,
		.headers = (const char *const[]){ "Content-Type: application/json", NULL },
		.timeout_ms = REPORT_TIMEOUT_MS,
	};

	if (!w->is_connected || w->report != NULL || !fleet_is_settled(w->fleet))
		return;
	text = report_text(w);
	if (w->told != NULL && strcmp(w->told, text) == 0)
		return;
	o.body = text;
	o.body_n = strlen(text);
	w->report = http_call_start(w->http, &o, on_report_end, w, &e);
	if (w->report == NULL) {
		log_warn("report_failed", LOG_ERR(&e));
		return;
	}
	w->telling = STEAL(text);
}

static void
on_again(void *arg)
{
	route_watch_report(arg);
}

/* --- the feed --- */

static int64_t
next_revision(void *arg)
{
	const struct route_watch *w = arg;

	return w->feed.revision == 0 ? 0 : w->feed.revision + 1;
}

static void
log_refusal(struct route_watch *w, const struct err *e)
{
	if (w->refusal != NULL && strcmp(w->refusal, e->text) == 0)
		return;
	mem_set_str(&w->refusal, e->text);
	log_error("feed_refused", LOG_STR("feed", w->conf->feed), LOG_ERR(e));
}

static int
on_line(struct str line, void *arg)
{
	struct route_watch *w = arg;
	struct err e = { 0 };
	enum route_feed_step step = route_feed_line(&w->feed, line, &e);

	switch (step) {
	case ROUTE_FEED_REFUSED:
		log_refusal(w, &e);
		return -1;
	case ROUTE_FEED_SKIPPED:
		if (e.code != ERR_NONE)
			log_warn("route_skipped", LOG_ERR(&e));
		return 0;
	case ROUTE_FEED_RESET:
	case ROUTE_FEED_CHANGE:
		if (w->saved != NULL)
			route_saved_note(w->saved, line, step == ROUTE_FEED_RESET);
		return 0;
	case ROUTE_FEED_SYNC:
		if (w->saved != NULL)
			route_saved_sync(w->saved, &w->feed);
		mem_set_str(&w->refusal, NULL);
		if (w->feed.revision != fleet_applied(w->fleet))
			fleet_publish(w->fleet, w->feed.revision);
		route_watch_report(w);
		return 0;
	}
	return 0;
}

static void
on_state(bool connected, const struct err *e, void *arg)
{
	struct route_watch *w = arg;

	if (connected != w->is_connected || e != NULL)
		log_info(connected ? "feed_connected" : "feed_lost",
		    LOG_STR("why", e == NULL ? "" : e->text));
	w->is_connected = connected;
	if (!connected)
		return;
	route_feed_begin(&w->feed);
	/* A broker that was started anew has forgotten what we said. */
	free(STEAL(w->told));
}

/* "unix:/path" + path of a call */
static char *
url_of(const struct router_conf *conf, const char *path)
{
	return xasprintf(str_has_prefix(conf->feed, "unix:") ? "%s:%s" : "%s%s", conf->feed, path);
}

int
route_watch_load(struct route_watch *w, struct fleet *f, struct err *e)
{
	w->fleet = f;
	w->feed.table = fleet_table(f);
	w->feed.challenges = fleet_challenges(f);
	w->feed.certs = fleet_tls(f) == NULL ? NULL : tls_ctx_certs(fleet_tls(f));
	if (w->saved != NULL && route_saved_load(w->saved, &w->feed, e) < 0)
		return -1;
	/* Without any table, requests are told to come again rather than that there is nothing. */
	if (w->feed.revision != 0 || w->conf->feed == NULL)
		fleet_publish(f, w->feed.revision);
	return 0;
}

void
route_watch_stop_saving(struct route_watch *w, route_saved_fn *fn, void *arg)
{
	if (w->saved != NULL)
		route_saved_stop(w->saved, fn, arg);
	else
		fn(arg);
}

void
route_watch_save_again(struct route_watch *w)
{
	if (w->saved != NULL)
		route_saved_go_on(w->saved, &w->feed);
}

/* With the feed under the router's name of now. */
static void
start_feed(struct route_watch *w)
{
	AUTO(free) char *path = NULL;
	AUTO(free) char *url = NULL;
	AUTO_FINI(buf_fini) struct buf id = { 0 };
	struct http_watch_opts o = { .from = next_revision(w), .bearer = w->token };

	buf_add_url(&id, w->conf->id);
	path = xasprintf("/internal/router/feed?router=%s", id.p == NULL ? "" : id.p);
	url = url_of(w->conf, path);
	o.url = url;
	w->watch = http_watch_start(w->loop, w->http, &o, next_revision, on_line, on_state, w);
}

void
route_watch_rename(struct route_watch *w)
{
	if (w->watch == NULL)
		return;
	http_watch_cancel(STEAL(w->watch));
	http_call_cancel(STEAL(w->report));
	free(STEAL(w->telling));
	free(STEAL(w->told));
	w->is_connected = false;
	start_feed(w);
}

int
route_watch_start(struct route_watch *w, struct err *e)
{
	if (w->conf->feed == NULL)
		return 0;
	if (router_conf_token(w->conf->token_file, "token-file", &w->token, e) < 0)
		return -1;
	w->report_url = url_of(w->conf, "/internal/router/report");
	w->again = loop_timer_start(w->loop, REPORT_AGAIN_MS, false, on_again, w);
	start_feed(w);
	return 0;
}

struct route_watch *
route_watch_new(struct loop *l, struct worker *wk, const struct router_conf *conf, struct err *e)
{
	struct route_watch *w = xcalloc(1, sizeof *w);

	w->loop = l;
	w->conf = conf;
	w->http = http_client_new(l);
	if (conf->state_dir != NULL) {
		w->saved = route_saved_new(l, wk, conf->state_dir, e);
		if (w->saved == NULL) {
			route_watch_free(w);
			return NULL;
		}
	}
	return w;
}

void
route_watch_free(struct route_watch *take_w)
{
	struct route_watch *w = take_w;

	if (w == NULL)
		return;
	http_watch_cancel(w->watch);
	http_call_cancel(w->report);
	loop_timer_cancel(w->again);
	http_client_free(w->http);
	route_saved_free(w->saved);
	route_feed_fini(&w->feed);
	secret_free(w->token);
	free(w->report_url);
	free(w->told);
	free(w->telling);
	free(w->refusal);
	free(w);
}
