#include "router/wake.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_route.h"
#include "router/fleet.h"
#include "router/host_table.h"
#include "router/lane.h"
#include "router/router_conf.h"

enum {
	RETRY_MIN_MS = 20, /* a node daemon that is being restarted is back soon */
	RETRY_MAX_MS = 1000,
	GIVE_UP_MS = 120000,
	CONNECT_MS = 2000,
};

struct wake {
	struct loop *loop;        /* borrowed */
	struct fleet *fleet;      /* borrowed */
	struct http_client *http; /* owned */
	char *token;              /* owned */
	bool is_stopped;
	struct map *asks; /* host → struct ask, owned */
};

/* One host name that is being woken. */
struct ask {
	struct wake *w; /* borrowed */
	char *host, *app_id, *urls;
	int64_t order;
	int64_t begun_ms, retry_ms;
	struct http_call *call; /* to one node after the other */
	struct loop_timer *timer;
	struct str rest;         /* of urls: still to be asked */
	struct wire_woken woken; /* the answers */
};

static void ask_next(struct ask *a);

static void
ask_free(void *p)
{
	struct ask *a = p;

	http_call_cancel(a->call);
	loop_timer_cancel(a->timer);
	wire_woken_fini(&a->woken);
	free(a->host);
	free(a->app_id);
	free(a->urls);
	free(a);
}

static void
end(struct ask *a, bool is_woken)
{
	host_table_set_woken(fleet_table(a->w->fleet), a->host, a->order, is_woken);
	(void)map_remove(a->w->asks, a->host);
}

/* It was started anew: where it answers now. The broker will say the same, later. */
static void
put_live(struct ask *a, const struct host_route *r)
{
	AUTO_FINI(wire_route_fini) struct wire_route w = { 0 };
	struct err e = { 0 };

	host_route_to_wire(r, &w);
	w.state = WIRE_ROUTE_LIVE;
	for (size_t i = 0; i < w.endpoints.n; i++)
		wire_endpoint_fini(&w.endpoints.v[i]);
	free(w.endpoints.v);
	w.endpoints = a->woken.endpoints;
	a->woken.endpoints = (struct wire_endpoint_list){ 0 };
	if (host_table_put(fleet_table(a->w->fleet), &w, &e) < 0)
		log_warn("woken_not_routed", LOG_STR("host", a->host), LOG_ERR(&e));
	host_table_set_woken(fleet_table(a->w->fleet), a->host, a->order, true);
	fleet_publish_own(a->w->fleet);
}

static void
on_retry(void *arg)
{
	struct ask *a = arg;

	a->rest = str_of(a->urls);
	wire_woken_fini(&a->woken);
	ask_next(a);
}

static void
retry(struct ask *a, const char *why)
{
	const struct host_route *r =
	    host_table_get(fleet_table(a->w->fleet), a->host, strlen(a->host));

	if (r == NULL || host_route_rare(r)->sleep != a->order) { /* another state of things */
		end(a, false);
		return;
	}
	log_debug("wake_again", LOG_STR("host", a->host), LOG_STR("why", why));
	if (loop_now_ms() - a->begun_ms > GIVE_UP_MS) {
		log_warn("wake_failed", LOG_STR("host", a->host), LOG_STR("why", why));
		end(a, false); /* the next request asks anew */
		return;
	}
	a->retry_ms = a->retry_ms == 0 ? RETRY_MIN_MS : a->retry_ms * 2;
	if (a->retry_ms > RETRY_MAX_MS)
		a->retry_ms = RETRY_MAX_MS;
	loop_timer_cancel(a->timer);
	a->timer = loop_timer_start(a->w->loop, a->retry_ms, false, on_retry, a);
}

static void
all_answered(struct ask *a)
{
	const struct host_route *r =
	    host_table_get(fleet_table(a->w->fleet), a->host, strlen(a->host));

	if (r != NULL && host_route_rare(r)->sleep == a->order && r->state == WIRE_ROUTE_PARKED) {
		if (a->woken.endpoints.n == 0) {
			retry(a, "nothing of it runs yet");
			return;
		}
		put_live(a, r);
	}
	end(a, true);
}

static int
take_answer(struct ask *a, struct str body, struct err *e)
{
	AUTO_FINI(wire_woken_fini) struct wire_woken in = { 0 };

	if (codec_decode(&wire_woken_codec, body.p, body.n, &in, CODEC_IGNORE, e) < 0)
		return -1;
	for (size_t i = 0; i < in.endpoints.n; i++)
		codec_copy(&wire_endpoint_codec,
		    codec_list_add(&wire_endpoint_codec, &a->woken.endpoints), &in.endpoints.v[i]);
	return 0;
}

static void
on_answer(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct ask *a = arg;
	struct err bad = { 0 };

	(void)c;
	a->call = NULL;
	if (e != NULL) {
		retry(a, e->text);
	} else if (status != 200) {
		(void)err_set(&bad, ERR_SYSTEM, NULL, "the node answered %d: %.*s", status,
		    (int)(body.n > 200 ? 200 : body.n), body.p == NULL ? "" : body.p);
		retry(a, bad.text);
	} else if (take_answer(a, body, &bad) < 0) {
		retry(a, bad.text);
	} else if (a->rest.n > 0) {
		ask_next(a);
	} else {
		all_answered(a);
	}
}

static void
ask_next(struct ask *a)
{
	const struct wire_wake in = { .app_id = a->app_id, .order = a->order };
	AUTO(free) char *json = codec_to_json(&wire_wake_codec, &in);
	AUTO(free) char *url = NULL;
	struct str word;
	struct err e = { 0 };
	struct http_call_opts o = {
		.method = "POST",
		.bearer = a->w->token,
		.headers = (const char *const[]){ "Content-Type: application/json", NULL },
		.body = json,
		.body_n = strlen(json),
		.connect_timeout_ms = CONNECT_MS,
		.timeout_ms = GIVE_UP_MS,
	};

	a->rest = str_cut(a->rest, ' ', &word);
	url = xasprintf(
	    "%.*s%s/v1/wake", (int)word.n, word.p, str_has_prefix(word.p, "unix:") ? ":" : "");
	o.url = url;
	a->call = http_call_start(a->w->http, &o, on_answer, a, &e);
	if (a->call == NULL) {
		log_warn("wake_failed", LOG_STR("host", a->host), LOG_ERR(&e));
		end(a, false);
	}
}

static void
on_asked(void *arg)
{
	struct ask *a = arg;
	struct wake *w = a->w;
	struct ask *old = map_get(w->asks, a->host);

	if (w->is_stopped || (old != NULL && old->order >= a->order) || *a->urls == '\0') {
		ask_free(a);
		return;
	}
	map_set(w->asks, a->host, a); /* frees the old one */
	a->begun_ms = loop_now_ms();
	a->rest = str_of(a->urls);
	ask_next(a);
}

/* In a lane. */
static void
on_sleep(struct lane *l, const struct host_route *r)
{
	struct wake *w = l->sleep_arg;
	struct ask *a;

	if (atomic_exchange_explicit(&r->rare->is_woken, true, memory_order_relaxed))
		return;
	a = xcalloc(1, sizeof *a);
	*a = (struct ask){ .w = w,
		.host = xstrdup(host_route_host(r)),
		.app_id = xstrdup(host_route_app_id(r)),
		.urls = xstrdup(r->rare->wake),
		.order = r->rare->sleep };
	loop_post(w->loop, on_asked, a);
}

DEFINE_AUTO(struct wake *, wake_free)

struct wake *
wake_new(struct loop *l, struct fleet *f, const struct router_conf *conf, struct err *e)
{
	AUTO(wake_free) struct wake *w = xcalloc(1, sizeof *w);

	*w = (struct wake){ .loop = l, .fleet = f, .asks = map_new(ask_free) };
	w->http = http_client_new(l);
	if (router_conf_token(conf->wake_token_file, "wake-token-file", &w->token, e) < 0)
		return NULL;
	fleet_on_sleep(f, on_sleep, w);
	return STEAL(w);
}

void
wake_stop(struct wake *w)
{
	if (w == NULL)
		return;
	w->is_stopped = true;
	map_free(w->asks);
	w->asks = map_new(ask_free);
}

void
wake_free(struct wake *take_w)
{
	if (take_w == NULL)
		return;
	map_free(take_w->asks);
	http_client_free(take_w->http);
	secret_free(take_w->token);
	free(take_w);
}
