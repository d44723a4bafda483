#include "broker/watch_feed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "broker/broker.h"
#include "broker/node_link.h"
#include "broker/router_link.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_feed.h"
#include "lib/wire/wire_route.h"

enum {
	BEAT_MS = 5000,
	BEHIND_MAX =
	    8 << 20, /* bytes queued for a client that does not read, before it is dropped */
	ID_LEN_MAX = 64,
	PID_LEN_MAX = 10,
};

struct feed_kind {
	const char *prefix; /* of the store's key; NODE follows if by_node */
	const char *kind;
	bool by_node;
};
static const struct feed_kind node_kinds[] = {
	{ STORE_PREFIX_GEAR, "gear", true },
	{ STORE_PREFIX_KEEP, "layers", true },
	{ STORE_PREFIX_PEERS, "peers", true },
	{ STORE_PREFIX_INSTANCE, "instance", true },
	{ NULL, NULL, false },
};
static const struct feed_kind router_kinds[] = {
	{ STORE_PREFIX_ROUTE, "route", false },
	{ STORE_PREFIX_CERT, "cert", false },
	{ STORE_PREFIX_TICKETS, "tickets", false },
	{ STORE_PREFIX_CHALLENGE, "challenge", false },
	{ NULL, NULL, false },
};

struct feed {
	LIST_ENTRY(feed) link;
	struct watch_feed *w;
	struct http_req *r; /* borrowed; NULL once closed */
	struct store_watch *watch;
	struct loop_timer *beat;
	struct loop_timer *anew; /* takes a snapshot, out of the watch's own callback */
	const struct feed_kind *kinds;
	char *id; /* owned: of the node or router */
	bool is_node;
	bool is_closed;
	bool is_touched; /* something of the present revision was sent */
	bool is_idle;    /* nothing was sent since the last beat */
	bool is_full;    /* the client does not read */
	size_t behind;   /* bytes queued since then */
	int64_t rev;     /* all up to here was sent */
};

struct watch_feed {
	struct broker *b; /* borrowed */
	LIST_HEAD(, feed) feeds;
};

struct watch_feed *
watch_feed_new(struct broker *b)
{
	struct watch_feed *w = xcalloc(1, sizeof *w);

	w->b = b;
	return w;
}

static void
feed_free(void *p)
{
	struct feed *f = p;

	free(f->id);
	free(f);
}

/* Ends the feed; the request is gone or is broken off. */
static void
feed_close(struct feed *f, bool abort)
{
	struct http_req *r = f->r;

	if (f->is_closed)
		return;
	LIST_REMOVE(f, link);
	f->is_closed = true;
	f->r = NULL;
	store_watch_cancel(STEAL(f->watch));
	loop_timer_cancel(STEAL(f->beat));
	loop_timer_cancel(STEAL(f->anew));
	if (f->is_node)
		node_link_attach(f->w->b->nodes, f->id, -1);
	else
		router_link_attach(f->w->b->routers, f->id, -1);
	log_info("feed_closed", LOG_STR(f->is_node ? "node" : "router", f->id));
	if (abort && r != NULL)
		http_req_abort(r);
	loop_free_later(f->w->b->loop, feed_free, f);
}

void
watch_feed_free(struct watch_feed *take_w)
{
	if (take_w == NULL)
		return;
	while (!LIST_EMPTY(&take_w->feeds))
		feed_close(LIST_FIRST(&take_w->feeds), true);
	free(take_w);
}

static void
send_line(struct feed *f, struct buf *line)
{
	buf_addc(line, '\n');
	f->is_idle = false;
	if (f->is_full)
		f->behind += line->n;
	if (!http_req_write(f->r, line->p, line->n))
		f->is_full = true;
}

static void
send_feed(struct feed *f, const struct wire_feed *wf)
{
	AUTO_FINI(buf_fini) struct buf line = { 0 };

	codec_encode(&wire_feed_codec, wf, &line);
	send_line(f, &line);
}

static void
send_mark(struct feed *f, enum wire_feed_type type, bool names_cluster)
{
	struct store *s = f->w->b->store;

	send_feed(f, &(struct wire_feed){
	                 .type = (int)type,
	                 .revision = f->rev,
	                 .cluster = names_cluster ? (char *)store_cluster_id(s) : NULL,
	                 .epoch = names_cluster ? store_epoch(s) : 0,
	             });
}

/* A router that leaves has its process id behind its name. */
static bool
is_name(const char *s, bool is_node)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
	const char *rest = s + n;

	if (!is_node && str_has_prefix(rest, WIRE_ROUTER_LEAVES)) {
		rest += strlen(WIRE_ROUTER_LEAVES);
		size_t pid = strspn(rest, "0123456789");
		rest += pid <= PID_LEN_MAX ? pid : 0;
	}
	return n > 0 && n <= ID_LEN_MAX && *rest == '\0';
}

/* The kind of a store key that belongs to the feed, and the key as the feed's client knows it. */
static const struct feed_kind *
match(const struct feed *f, const char *key, const char **out_key)
{
	for (const struct feed_kind *k = f->kinds; k->prefix != NULL; k++) {
		const char *rest = key + strlen(k->prefix);
		size_t n = strlen(f->id);

		if (!str_has_prefix(key, k->prefix))
			continue;
		if (k->by_node) {
			if (strncmp(rest, f->id, n) != 0 || rest[n] != '/')
				return NULL;
			rest += n + 1;
		}
		*out_key = rest;
		return k;
	}
	return NULL;
}

/* The value as the client gets it: of an instance, what the node is to know. */
static char *
value_of(const struct feed_kind *k, const struct store_kv *kv)
{
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
	struct err e = { 0 };

	if (strcmp(k->kind, "instance") != 0)
		return xstrndup(kv->val, kv->n);
	if (codec_decode(&wire_instance_record_codec, kv->val, kv->n, &rec, CODEC_KEEP, &e) < 0) {
		log_error("record_broken", LOG_STR("key", kv->key), LOG_ERR(&e));
		return NULL;
	}
	return codec_to_json(&wire_instance_codec, &rec.spec);
}

static void
send_put(struct feed *f, const struct feed_kind *k, const char *key, const struct store_kv *kv)
{
	AUTO(free) char *value = value_of(k, kv);

	if (value == NULL)
		return;
	send_feed(f, &(struct wire_feed){
	                 .type = WIRE_FEED_PUT,
	                 .kind = (char *)k->kind,
	                 .key = (char *)key,
	                 .value = value,
	             });
}

static bool
snapshot_one(const struct store_kv *kv, void *arg)
{
	struct feed *f = arg;
	const char *key;
	const struct feed_kind *k = match(f, kv->key, &key);

	if (k != NULL)
		send_put(f, k, key, kv);
	return true;
}

static void on_event(const struct store_event *ev, void *arg);

static void
send_snapshot(struct feed *f)
{
	struct store *s = f->w->b->store;

	f->rev = store_rev(s);
	send_mark(f, WIRE_FEED_RESET, true);
	for (const struct feed_kind *k = f->kinds; k->prefix != NULL; k++) {
		AUTO(free)
		char *prefix =
		    k->by_node ? xasprintf("%s%s/", k->prefix, f->id) : xstrdup(k->prefix);

		store_range(s, prefix, snapshot_one, f);
	}
	send_mark(f, WIRE_FEED_SYNC, true);
	f->behind = 0; /* a snapshot may be as large as it is */
	f->watch = store_watch_start(s, "/", f->rev + 1, on_event, f);
}

static void
restart(void *arg)
{
	struct feed *f = arg;

	store_watch_cancel(STEAL(f->watch));
	send_snapshot(f);
}

static void
drop_slow(struct feed *f)
{
	log_warn("feed_dropped", LOG_STR(f->is_node ? "node" : "router", f->id),
	    LOG_INT("behind", f->behind));
	feed_close(f, true);
}

static void
on_event(const struct store_event *ev, void *arg)
{
	struct feed *f = arg;
	const struct feed_kind *k;
	const char *key;

	if (f->is_closed)
		return;
	if (ev->type == STORE_COMPACTED) {
		loop_timer_cancel(f->anew);
		f->anew = loop_timer_start(f->w->b->loop, 0, false, restart, f);
		return;
	}
	k = match(f, ev->kv.key, &key);
	if (k != NULL) {
		f->is_touched = true;
		if (ev->type == STORE_PUT)
			send_put(f, k, key, &ev->kv);
		else
			send_feed(f, &(struct wire_feed){
			                 .type = WIRE_FEED_DELETE,
			                 .kind = (char *)k->kind,
			                 .key = (char *)key,
			             });
	}
	if (!ev->last_of_rev)
		return;
	f->rev = ev->kv.mod_rev;
	if (f->is_touched)
		send_mark(f, WIRE_FEED_SYNC, false);
	f->is_touched = false;
	if (f->behind > BEHIND_MAX)
		drop_slow(f);
}

static void
on_beat(void *arg)
{
	struct feed *f = arg;

	if (f->is_idle && !f->is_touched)
		send_mark(f, WIRE_FEED_SYNC, false);
	f->is_idle = true;
	if (f->behind > BEHIND_MAX)
		drop_slow(f);
}

static void
on_drain(struct http_req *r, void *arg)
{
	struct feed *f = arg;

	(void)r;
	f->is_full = false;
	f->behind = 0;
}

static void
on_close(struct http_req *r, void *arg)
{
	struct feed *f = arg;

	(void)r;
	f->r = NULL;
	feed_close(f, false);
}

static void
feed_start(struct watch_feed *w, struct http_req *r, const char *id, bool is_node, int64_t from)
{
	static const char *const headers[] = { "Content-Type: application/json",
		"Cache-Control: no-store", NULL };
	struct feed *f = xcalloc(1, sizeof *f);
	struct store *s = w->b->store;

	*f = (struct feed){
		.w = w,
		.r = r,
		.id = xstrdup(id),
		.is_node = is_node,
		.kinds = is_node ? node_kinds : router_kinds,
	};
	LIST_INSERT_HEAD(&w->feeds, f, link);
	http_req_begin(r, 200, headers);
	http_req_on_close(r, on_close, f);
	http_req_on_drain(r, on_drain, f);
	log_info("feed_opened", LOG_STR(is_node ? "node" : "router", id), LOG_INT("from", from));
	if (from <= 0 || from > store_rev(s) + 1) {
		send_snapshot(f);
	} else {
		f->rev = from - 1;
		send_mark(f, WIRE_FEED_SYNC, true);
		f->watch = store_watch_start(s, "/", from, on_event, f);
	}
	f->beat = loop_timer_start(w->b->loop, BEAT_MS, true, on_beat, f);
	if (is_node)
		node_link_attach(w->b->nodes, id, 1);
	else
		router_link_attach(w->b->routers, id, 1);
}

static void
feed_ask(struct watch_feed *w, struct http_req *r, bool is_node)
{
	const char *field = is_node ? "node" : "router";
	const char *id = http_req_param(r, field);
	const char *from_text = http_req_param(r, "from");
	struct err e = { 0 };
	int64_t from = 0;

	if (id == NULL || !is_name(id, is_node)) {
		http_req_reply_text(
		    r, 400, "%s: give 1..%d letters, digits, '.', '_' or '-'\n", field, ID_LEN_MAX);
		return;
	}
	if (from_text != NULL &&
	    str_to_i64(str_of(from_text), 0, INT64_MAX - 1, "from", &from, &e) < 0) {
		http_req_reply_text(r, 400, "%s\n", e.text);
		return;
	}
	feed_start(w, r, id, is_node, from);
}

void
watch_feed_node(struct watch_feed *w, struct http_req *r)
{
	feed_ask(w, r, true);
}

void
watch_feed_router(struct watch_feed *w, struct http_req *r)
{
	feed_ask(w, r, false);
}
