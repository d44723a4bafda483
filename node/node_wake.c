#include "node/node_wake.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_route.h"
#include "node/instance.h"

enum {
	SOCKET_MODE = 0666, /* the token keeps others out */
	BODY_MAX = 4096,
	WAKE_MS = 300000, /* who asks has limits of its own */
	WAITS_MAX = 1000,
};

struct node_wake {
	struct loop *loop;           /* borrowed */
	struct instances *instances; /* borrowed */
	const char *token;           /* borrowed */
	struct http_server *server;
	int waits;
};

/* A router that waits for a start. */
struct wake_call {
	struct node_wake *w; /* borrowed */
	struct http_req *r;  /* borrowed */
	struct instances_wait *wait;
	char *app_id;
	int64_t begun_us;
};

struct found {
	const char *app_id;
	struct wire_woken out;
};

static void
add_web(const struct instances_host *h, void *arg)
{
	struct found *f = arg;
	struct wire_endpoint *ep;

	if (strcmp(h->app, f->app_id) != 0 || !h->is_ready || !h->is_web || !h->was_asleep)
		return;
	ep = codec_list_add(&wire_endpoint_codec, &f->out.endpoints);
	ep->id = xstrdup(h->id);
	ep->address = xstrdup(h->address);
	ep->port = h->port;
}

static void
reply(struct node_wake *w, struct http_req *r, const char *app_id)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	struct found f = { .app_id = app_id };
	AUTO(free) char *json = NULL;

	instances_hosts(w->instances, add_web, &f);
	json = codec_to_json(&wire_woken_codec, &f.out);
	wire_woken_fini(&f.out);
	http_req_reply(r, 200, headers, json, strlen(json));
}

static void
free_call(struct wake_call *c)
{
	c->w->waits--;
	instances_wait_cancel(c->wait);
	free(c->app_id);
	free(c);
}

static void
on_awake(const struct err *e, void *arg)
{
	struct wake_call *c = arg;

	c->wait = NULL;
	http_req_on_close(c->r, NULL, NULL);
	if (e != NULL)
		http_req_reply_text(c->r, 503, "%s\n", e->text);
	else
		reply(c->w, c->r, c->app_id);
	log_info("app_woken", LOG_STR("app", c->app_id), LOG_INT("us", loop_now_us() - c->begun_us),
	    LOG_STR("error", e == NULL ? "" : e->text));
	free_call(c);
}

static void
on_close(struct http_req *r, void *arg)
{
	(void)r;
	free_call(arg);
}

static void
wait_for(struct node_wake *w, struct http_req *r, const char *app_id)
{
	struct wake_call *c = xcalloc(1, sizeof *c);

	*c = (struct wake_call){
		.w = w, .r = r, .app_id = xstrdup(app_id), .begun_us = loop_now_us()
	};
	w->waits++;
	http_req_on_close(r, on_close, c);
	c->wait = instances_wait_awake(w->instances, app_id, WAKE_MS, on_awake, c);
}

static void
on_body(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	AUTO_FINI(wire_wake_fini) struct wire_wake in = { 0 };
	struct node_wake *w = arg;
	struct err bad = { 0 };

	if (e != NULL)
		return;
	if (codec_decode(&wire_wake_codec, body.p, body.n, &in, CODEC_IGNORE, &bad) < 0)
		http_req_reply_text(r, 400, "%s: %s\n", bad.field, bad.text);
	else if (instances_wake(w->instances, in.app_id, in.order))
		reply(w, r, in.app_id);
	else if (w->waits >= WAITS_MAX)
		http_req_reply_text(r, 503, "Too many wait for applications to start.\n");
	else
		wait_for(w, r, in.app_id);
}

static void
on_request(struct http_req *r, void *arg)
{
	struct node_wake *w = arg;
	const char *auth = http_req_header(r, "Authorization");

	if (auth == NULL || !str_has_prefix(auth, "Bearer ") ||
	    !secret_equal(w->token, auth + strlen("Bearer ")))
		http_req_reply_text(r, 401, "The router's token is missing or wrong.\n");
	else if (strcmp(http_req_path(r), "/v1/wake") != 0 || !str_eq(http_req_method(r), "POST"))
		http_req_reply_text(r, 404, "There is nothing here but POST /v1/wake.\n");
	else
		http_req_read_all(r, BODY_MAX, on_body, w);
}

DEFINE_AUTO(struct node_wake *, node_wake_close)

struct node_wake *
node_wake_open(
    struct loop *l, struct instances *is, const char *address, const char *token, struct err *e)
{
	AUTO(node_wake_close) struct node_wake *w = xcalloc(1, sizeof *w);
	static const struct http_server_opts opts = { .server_name = "pinion-node" };

	*w = (struct node_wake){ .loop = l, .instances = is, .token = token };
	w->server = http_server_new(l, &opts, on_request, w);
	return http_server_listen(w->server, address, SOCKET_MODE, e) < 0 ? NULL : STEAL(w);
}

void
node_wake_close(struct node_wake *take_w)
{
	if (take_w == NULL)
		return;
	http_server_free(take_w->server);
	free(take_w);
}
