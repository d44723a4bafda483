#include "broker/node_link.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/catalog.h"
#include "broker/net_claim.h"
#include "broker/node_report.h"
#include "broker/record.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_client.h"
#include "lib/http/http_bearer.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_app.h"

enum { HELLO_MAX = 256 * 1024, TOKEN_MAX = 4096 };

struct node {
	struct wire_node_facts facts; /* id NULL: none came yet */
	int feeds;
};

struct node_link {
	struct broker *b; /* borrowed */
	char *node_token;
	char *broker_token;
	struct map *nodes;      /* id → struct node, owned */
	struct waiter *waiters; /* owned */
};

/* Who waits for a node. */
struct waiter {
	struct waiter *next;
	struct node_link *nl;
	struct loop_timer *timer;
	node_link_wait_fn *fn;
	void *arg;
};

static void
waiter_take(struct node_link *nl, struct waiter *w)
{
	struct waiter **at = &nl->waiters;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	loop_timer_cancel(w->timer);
}

static void
node_free(void *p)
{
	struct node *n = p;

	wire_node_facts_fini(&n->facts);
	free(n);
}

static char *
read_token(const char *path, const char *field, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	if (path == NULL || *path == '\0') {
		(void)err_set(e, ERR_INVALID, field, "%s: name the file of the token", field);
		return NULL;
	}
	if (file_read(path, TOKEN_MAX, &b, e) < 0) {
		(void)err_wrap(e, "%s", field);
		return NULL;
	}
	while (b.n > 0 && strchr("\r\n ", b.p[b.n - 1]) != NULL)
		buf_truncate(&b, b.n - 1);
	if (b.n < 16) {
		(void)err_set(
		    e, ERR_INVALID, field, "%s: the token has fewer than 16 characters", path);
		return NULL;
	}
	return buf_steal(&b);
}

static struct node *
node_get(struct node_link *nl, const char *id)
{
	struct node *n = map_get(nl->nodes, id);

	if (n == NULL) {
		n = xcalloc(1, sizeof *n);
		map_set(nl->nodes, id, n);
	}
	return n;
}

static bool
load_one(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_node_record *r = rec;
	struct node_link *nl = arg;

	(void)key;
	(void)rev;
	codec_copy(&wire_node_facts_codec, &node_get(nl, r->facts.id)->facts, &r->facts);
	return true;
}

static void tell_catalog(struct node_link *nl);

struct node_link *
node_link_new(struct broker *b, struct err *e)
{
	AUTO(node_link_free) struct node_link *nl = xcalloc(1, sizeof *nl);

	nl->b = b;
	nl->nodes = map_new(node_free);
	nl->node_token = read_token(b->conf.node_token_file, "node-token-file", e);
	if (nl->node_token == NULL)
		return NULL;
	nl->broker_token = read_token(b->conf.broker_token_file, "broker-token-file", e);
	if (nl->broker_token == NULL)
		return NULL;
	record_each(b->store, STORE_PREFIX_NODE, &wire_node_record_codec, load_one, nl);
	tell_catalog(nl);
	return STEAL(nl);
}

void
node_link_free(struct node_link *take_nl)
{
	if (take_nl == NULL)
		return;
	while (take_nl->waiters != NULL) {
		struct waiter *w = take_nl->waiters;

		waiter_take(take_nl, w);
		free(w);
	}
	map_free(take_nl->nodes);
	secret_free(take_nl->node_token);
	secret_free(take_nl->broker_token);
	free(take_nl);
}

const char *
node_link_token(const struct node_link *nl)
{
	return nl->node_token;
}

bool
node_link_admits(const char *token, struct http_req *r)
{
	if (http_bearer_is(r, token))
		return true;
	http_req_reply_text(r, 401, "The token of this endpoint is wrong or missing.\n");
	return false;
}

static void
waiter_fire(void *p)
{
	struct waiter *w = p;
	node_link_wait_fn *fn = w->fn;
	void *arg = w->arg;

	waiter_take(w->nl, w);
	free(w);
	fn(arg);
}

/* A node came: who waits goes on, after this turn. */
static void
wake(struct node_link *nl)
{
	for (struct waiter *w = nl->waiters; w != NULL; w = w->next)
		loop_timer_again(w->timer, 0);
}

void
node_link_when_alive(struct node_link *nl, int64_t ms, node_link_wait_fn *fn, void *arg)
{
	struct waiter *w = xcalloc(1, sizeof *w);

	*w = (struct waiter){ .next = nl->waiters, .nl = nl, .fn = fn, .arg = arg };
	nl->waiters = w;
	w->timer = loop_timer_start(nl->b->loop, ms, false, waiter_fire, w);
}

void
node_link_attach(struct node_link *nl, const char *node, int by)
{
	struct node *n = node_get(nl, node);

	n->feeds += by;
	if (by > 0 && n->facts.id != NULL)
		wake(nl);
}

bool
node_link_is_alive(const struct node_link *nl, const char *node)
{
	const struct node *n = map_get(nl->nodes, node);

	return n != NULL && n->feeds > 0;
}

const struct wire_node_facts *
node_link_facts(const struct node_link *nl, const char *node)
{
	const struct node *n = map_get(nl->nodes, node);

	return n == NULL || n->facts.id == NULL ? NULL : &n->facts;
}

struct each {
	node_link_visit_fn *fn;
	void *arg;
	bool is_over;
};

static void
each_one(const char *key, void *value, void *arg)
{
	const struct node *n = value;
	struct each *x = arg;

	(void)key;
	if (!x->is_over && n->facts.id != NULL)
		x->is_over = !x->fn(&n->facts, n->feeds > 0, x->arg);
}

void
node_link_each(const struct node_link *nl, node_link_visit_fn *fn, void *arg)
{
	struct each x = { .fn = fn, .arg = arg };

	map_each(nl->nodes, each_one, &x);
}

int
node_link_call(const struct node_link *nl, const char *node, const char *path,
    struct http_call_opts *o, char **out_url, struct err *e)
{
	const struct wire_node_facts *f = node_link_facts(nl, node);

	if (f == NULL || !node_link_is_alive(nl, node))
		return err_set(e, ERR_BUSY, "node",
		    "the node %s is not connected: try again when it is", node);
	*out_url = str_has_prefix(f->stream, "unix:") ? xasprintf("%s:%s", f->stream, path)
	                                              : xasprintf("%s%s", f->stream, path);
	o->url = *out_url;
	o->bearer = nl->broker_token;
	return 0;
}

struct hello {
	struct node_link *nl; /* borrowed while r is there */
	struct http_req *r;   /* NULL: the node went away */
};

static void
on_hello_close(struct http_req *r, void *arg)
{
	struct hello *h = arg;

	(void)r;
	h->r = NULL;
}

static void
on_hello_stored(int64_t rev, const struct err *e, void *arg)
{
	struct hello *h = arg;

	(void)rev;
	if (h->r != NULL && e != NULL)
		http_req_reply_text(h->r, err_http_status(e->code), "%s\n", e->text);
	else if (h->r != NULL) {
		http_req_reply(h->r, 200, NULL, "{}", 2);
		wake(h->nl);
	}
	free(h);
}

/* Has anything changed but what changes all the time? */
struct offer {
	struct str_list l;
};

static bool
add_offers(const struct wire_node_facts *f, bool is_alive, void *arg)
{
	struct offer *o = arg;

	(void)is_alive;
	for (size_t i = 0; i < f->cartridges.n; i++) {
		if (!str_list_has(&o->l, f->cartridges.v[i]))
			str_list_add(&o->l, f->cartridges.v[i]);
	}
	return true;
}

/* The catalogue offers versions that nodes have. */
static void
tell_catalog(struct node_link *nl)
{
	struct offer o = { 0 };

	if (nl->b->catalog == NULL)
		return;
	node_link_each(nl, add_offers, &o);
	catalog_offer(nl->b->catalog, &o.l);
	str_list_fini(&o.l);
}

static bool
is_news(const struct wire_node_record *old, const struct wire_node_facts *f)
{
	struct wire_node_facts a = old->facts, b = *f;

	a.disk_free_mb = b.disk_free_mb = 0;
	return !codec_equal(&wire_node_facts_codec, &a, &b);
}

static void
take_facts(struct node_link *nl, const struct wire_node_facts *f)
{
	struct node *n = node_get(nl, f->id);

	wire_node_facts_fini(&n->facts);
	codec_copy(&wire_node_facts_codec, &n->facts, f);
	tell_catalog(nl);
}

static void
store_hello(struct node_link *nl, struct http_req *r, const struct wire_node_facts *f)
{
	AUTO_FINI(wire_node_record_fini) struct wire_node_record rec = { 0 };
	struct store_txn *t = store_txn_new();
	struct hello *h;
	struct err e = { 0 };
	bool is_claim = false;
	bool is_known = record_get(nl->b->store, store_key_node(f->id), &wire_node_record_codec,
	                    &rec, NULL, &e) == 0;

	e = (struct err){ 0 };
	if (f->addresses != NULL &&
	    net_claim_add(nl->b, t, f->id, f->addresses, &is_claim, &e) < 0) {
		log_error("node_refused", LOG_STR("node", f->id), LOG_ERR(&e));
		http_req_reply_text(r, err_http_status(e.code), "%s\n", e.text);
		store_txn_free(t);
		return;
	}
	take_facts(nl, f);
	if (is_known && !is_claim && !is_news(&rec, f)) {
		store_txn_free(t);
		http_req_reply(r, 200, NULL, "{}", 2);
		return;
	}
	wire_node_facts_fini(&rec.facts);
	codec_copy(&wire_node_facts_codec, &rec.facts, f);
	if (!is_known)
		rec.first_seen = (int64_t)time(NULL);
	record_put(t, store_key_node(f->id), &wire_node_record_codec, &rec);
	h = xcalloc(1, sizeof *h);
	h->nl = nl;
	h->r = r;
	http_req_on_close(r, on_hello_close, h);
	log_info("node_hello", LOG_STR("node", f->id), LOG_STR("stream", f->stream));
	store_txn_submit(nl->b->store, t, on_hello_stored, h);
}

static bool
is_good_id(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 64 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static void
on_hello(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	AUTO_FINI(wire_node_facts_fini) struct wire_node_facts f = { 0 };
	struct node_link *nl = arg;
	struct err bad = { 0 };

	if (e != NULL)
		return;
	if (codec_decode(&wire_node_facts_codec, body.p, body.n, &f, CODEC_IGNORE, &bad) < 0) {
		http_req_reply_text(r, 400, "%s: %s\n", bad.field, bad.text);
		return;
	}
	if (f.id == NULL || !is_good_id(f.id) || f.stream == NULL ||
	    (!str_has_prefix(f.stream, "unix:/") && !str_has_prefix(f.stream, "https://") &&
	        !str_has_prefix(f.stream, "http://"))) {
		http_req_reply_text(
		    r, 400, "id, stream: give a name and unix:/PATH or https://HOST:PORT\n");
		return;
	}
	store_hello(nl, r, &f);
}

void
node_link_handle(struct node_link *nl, struct http_req *r)
{
	const char *path = http_req_path(r);

	if (strcmp(path, "/internal/node/hello") == 0)
		http_req_read_all(r, HELLO_MAX, on_hello, nl);
	else if (strcmp(path, "/internal/node/addresses") == 0)
		net_claim_handle(nl->b, r);
	else if (strcmp(path, "/internal/node/report") == 0)
		node_report_handle(nl->b, r);
	else
		http_req_reply_text(r, 404, "There is no %s.\n", path);
}
