#include "broker/tree_relay.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/record.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/http/http_server.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_gear.h"

enum { IDLE_MS = 60 * 1000 };

struct relay {
	struct broker *b;   /* borrowed */
	struct http_req *r; /* of the node that asks */
	struct http_call *call;
	struct str_list nodes; /* that may have it, asked one after the other */
	char *path;            /* owned: at each */
	bool is_full, has_begun;
};

static void ask_next(struct relay *x);

static void
relay_free(struct relay *x)
{
	http_call_cancel(x->call);
	str_list_fini(&x->nodes);
	free(x->path);
	free(x);
}

static void
on_gone(struct http_req *r, void *arg)
{
	(void)r;
	relay_free(arg);
}

static void
on_drain(struct http_req *r, void *arg)
{
	struct relay *x = arg;

	(void)r;
	x->is_full = false;
	http_call_resume(x->call);
}

static void
on_head(struct http_call *c, int status, void *arg)
{
	struct relay *x = arg;

	(void)c;
	if (status != 200)
		return;
	x->has_begun = true;
	http_req_begin(x->r, 200, (const char *const[]){ "Content-Type: application/x-tar", NULL });
	http_req_on_drain(x->r, on_drain, x);
}

static bool
on_data(struct http_call *c, const char *p, size_t n, void *arg)
{
	struct relay *x = arg;

	(void)c;
	if (!x->has_begun)
		return true;
	if (x->is_full)
		return false;
	x->is_full = !http_req_write(x->r, p, n);
	return true;
}

static void
on_end(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct relay *x = arg;

	(void)c;
	(void)body;
	x->call = NULL;
	if (!x->has_begun && x->nodes.n > 0) {
		ask_next(x);
		return;
	}
	http_req_on_close(x->r, NULL, NULL);
	if (!x->has_begun)
		http_req_reply_text(x->r, e == NULL ? status : 502, "%s\n",
		    e == NULL ? "no other node has it" : e->text);
	else if (e == NULL)
		http_req_end(x->r);
	else
		http_req_abort(x->r);
	relay_free(x);
}

static void
ask_next(struct relay *x)
{
	struct http_call_opts o = {
		.on_head = on_head, .on_data = on_data, .idle_timeout_ms = IDLE_MS
	};
	struct err e = { 0 };

	while (x->call == NULL && x->nodes.n > 0) {
		AUTO(free) char *node = str_list_pop(&x->nodes);
		AUTO(free) char *url = NULL;

		if (node_link_call(x->b->nodes, node, x->path, &o, &url, &e) == 0)
			x->call = http_call_start(x->b->client, &o, on_end, x, &e);
	}
	if (x->call != NULL)
		return;
	http_req_on_close(x->r, NULL, NULL);
	http_req_reply_text(x->r, err_http_status(e.code), "%s\n", e.text);
	relay_free(x);
}

static void
start(struct broker *b, struct http_req *r, struct str_list *take_nodes, char *take_path)
{
	struct relay *x = xcalloc(1, sizeof *x);

	*x = (struct relay){ .b = b, .r = r, .nodes = *take_nodes, .path = take_path };
	*take_nodes = (struct str_list){ 0 };
	http_req_on_close(r, on_gone, x);
	ask_next(x);
}

struct search {
	const struct broker *b;
	const char *digest, *asker;
	struct str_list nodes; /* that keep it */
};

/* /layers/NODE/APP */
static bool
consider(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_keep *k = rec;
	struct search *s = arg;
	const char *at = key + strlen(STORE_PREFIX_KEEP);
	AUTO(free) char *node = xstrndup(at, strcspn(at, "/"));

	(void)rev;
	if (!str_list_has(&k->digests, s->digest) || strcmp(node, s->asker) == 0 ||
	    !node_link_is_alive(s->b->nodes, node))
		return true;
	str_list_add(&s->nodes, node);
	return true;
}

void
tree_relay_layer(struct broker *b, struct http_req *r)
{
	const char *digest = http_req_param(r, "digest");
	const char *asker = http_req_param(r, "asker");
	struct search s = { .b = b, .digest = digest, .asker = asker == NULL ? "" : asker };

	if (digest == NULL || !str_has_prefix(digest, "sha256:") ||
	    strspn(digest + 7, "0123456789abcdef") != 64 || strlen(digest) != 71) {
		http_req_reply_text(r, 400, "digest: give sha256: and 64 hex digits\n");
		return;
	}
	record_each_with(b->store, STORE_PREFIX_KEEP, digest, &wire_keep_codec, consider, &s);
	if (s.nodes.n == 0) {
		http_req_reply_text(r, 404, "No node has the layer %s.\n", digest);
		return;
	}
	start(b, r, &s.nodes, xasprintf("/v1/layers/%s", digest));
}

void
tree_relay_volume(struct broker *b, struct http_req *r)
{
	const char *uuid = http_req_param(r, "gear");
	const char *node = http_req_param(r, "node");
	struct str_list nodes = { 0 };
	AUTO(free) char *key = NULL;
	struct store_kv kv;

	if (uuid == NULL || node == NULL || strchr(uuid, '/') != NULL ||
	    strchr(node, '/') != NULL) {
		http_req_reply_text(r, 400, "gear, node: name both\n");
		return;
	}
	key = store_key_gear(node, uuid);
	if (!store_get(b->store, key, &kv)) {
		http_req_reply_text(r, 404, "The node %s has no gear %s.\n", node, uuid);
		return;
	}
	str_list_add(&nodes, node);
	start(b, r, &nodes, xasprintf("/v1/gears/%s/volume", uuid));
}
