#include "broker/node_report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/event_log.h"
#include "broker/record.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/store/store.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_app.h"

enum { REPORT_MAX = 32 << 20, BATCH = 80 };

/* One report on its way into the store, in transactions of at most BATCH writes. */
struct report {
	struct broker *b;    /* borrowed */
	struct http_req *r;  /* borrowed; NULL: the node went away */
	struct store_txn *t; /* being filled */
	struct map *named;   /* keys of statuses that a full report names */
	int pending;         /* transactions under way, and one while filling */
	struct err e;
};

static void
report_put_away(struct report *rep)
{
	if (--rep->pending > 0)
		return;
	if (rep->r != NULL && rep->e.code != ERR_NONE)
		http_req_reply_text(rep->r, err_http_status(rep->e.code), "%s\n", rep->e.text);
	else if (rep->r != NULL)
		http_req_reply(rep->r, 200, NULL, "{}", 2);
	map_free(rep->named);
	free(rep);
}

static void
on_stored(int64_t rev, const struct err *e, void *arg)
{
	struct report *rep = arg;

	(void)rev;
	if (e != NULL) {
		rep->e = *e;
		log_error("node_report_not_stored", LOG_ERR(e));
	}
	report_put_away(rep);
}

static void
flush(struct report *rep)
{
	if (rep->t == NULL)
		return;
	rep->pending++;
	fault_point("report_store");
	store_txn_submit(rep->b->store, STEAL(rep->t), on_stored, rep);
}

static struct store_txn *
room(struct report *rep)
{
	if (rep->t != NULL && store_txn_count(rep->t) >= BATCH)
		flush(rep);
	if (rep->t == NULL)
		rep->t = store_txn_new();
	return rep->t;
}

/* Puts the status at key unless the store has the same; without: what does not count as news. */
static void
put_status(struct report *rep, char *take_key, const struct codec *c, const void *status)
{
	AUTO(free) char *key = take_key;
	AUTO(free) char *json = codec_to_json(c, status);
	struct store_kv kv;

	map_set(rep->named, key, "");
	if (store_get(rep->b->store, key, &kv) && kv.n == strlen(json) &&
	    memcmp(kv.val, json, kv.n) == 0)
		return;
	store_txn_put(room(rep), key, json, strlen(json));
}

/* What the node did to a gear for its disk's sake. */
static void
tell_notice(struct report *rep, const struct store_kv *gear, const struct wire_gear_status *st,
    const char *old)
{
	AUTO_FINI(wire_gear_fini) struct wire_gear g = { 0 };
	struct err e = { 0 };

	if (codec_decode(&wire_gear_codec, gear->val, gear->n, &g, CODEC_IGNORE, &e) < 0)
		return;
	if (st->notice != NULL)
		event_log_add_of(
		    rep->b, g.app_id, st->uuid, NULL, "quota", "A gear was %s.", st->notice);
	else
		event_log_add_of(rep->b, g.app_id, st->uuid, NULL, "quota",
		    "A gear may go on: it was %s; now there is room.", old);
}

static void
take_gear(struct report *rep, const char *node, struct wire_gear_status *st)
{
	AUTO(free) char *spec = store_key_gear(node, st->uuid);
	AUTO_FINI(wire_gear_status_fini) struct wire_gear_status old = { 0 };
	struct store_kv kv;
	struct err e = { 0 };

	if (!store_get(rep->b->store, spec, &kv))
		return; /* its record is gone already: nobody asks */
	/* Use of the disk alone is no change of state: it would fill the log. */
	if (record_get(rep->b->store, store_key_gear_status(node, st->uuid),
	        &wire_gear_status_codec, &old, NULL, &e) == 0)
		st->disk_used_kb =
		    llabs(st->disk_used_kb - old.disk_used_kb) > old.disk_used_kb / 4 + 1024
		        ? st->disk_used_kb
		        : old.disk_used_kb;
	if (!str_same(old.notice, st->notice))
		tell_notice(rep, &kv, st, old.notice);
	put_status(rep, store_key_gear_status(node, st->uuid), &wire_gear_status_codec, st);
}

/* A crash is told in the transaction that stores it: once. */
static void
tell_crash(struct report *rep, const struct wire_instance *spec,
    const struct wire_instance_status *old, const struct wire_instance_status *st)
{
	AUTO(free) char *what = NULL;

	if (st->crash_ms == 0 || st->crash_ms == old->crash_ms || st->crash == NULL)
		return;
	what = spec->kind == WIRE_INSTANCE_WORKER    ? xasprintf("process %s", spec->process)
	       : spec->kind == WIRE_INSTANCE_SERVICE ? xasprintf("service %s", spec->cart)
	                                             : xstrdup("web process");
	event_log_put(room(rep), rep->b->store, spec->app_id, st->gear, st->id, "crashed",
	    "The %s %s; it is started again (restart %" PRId64 ").", what, st->crash,
	    st->restarts + (st->state == WIRE_INSTANCE_CRASHED ? 1 : 0));
}

static void
take_instance(struct report *rep, const char *node, const struct wire_instance_status *st)
{
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record spec = { 0 };
	AUTO_FINI(wire_instance_status_fini) struct wire_instance_status old = { 0 };
	struct err e = { 0 };

	if (record_get(rep->b->store, store_key_instance(node, st->id), &wire_instance_record_codec,
	        &spec, NULL, &e) < 0)
		return;
	e = (struct err){ 0 };
	if (record_get(rep->b->store, store_key_instance_status(node, st->id),
	        &wire_instance_status_codec, &old, NULL, &e) < 0)
		old = (struct wire_instance_status){ 0 };
	tell_crash(rep, &spec.spec, &old, st);
	put_status(rep, store_key_instance_status(node, st->id), &wire_instance_status_codec, st);
}

struct absent {
	struct report *rep;
	struct str_list keys;
};

static bool
find_absent(const struct store_kv *kv, void *arg)
{
	struct absent *a = arg;

	if (map_get(a->rep->named, kv->key) == NULL)
		str_list_add(&a->keys, kv->key);
	return true;
}

/* What a full report does not name does not exist there: its status goes. */
static void
drop_absent(struct report *rep, const char *prefix, const char *node)
{
	AUTO(free) char *range = xasprintf("%s%s/", prefix, node);
	struct absent a = { .rep = rep };

	store_range(rep->b->store, range, find_absent, &a);
	for (size_t i = 0; i < a.keys.n; i++)
		store_txn_delete(room(rep), a.keys.v[i]);
	str_list_fini(&a.keys);
}

static bool
gone_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct str_list *l = arg;

	(void)key;
	(void)rev;
	if (g->want == WIRE_WANT_GONE)
		str_list_add(l, g->uuid);
	return true;
}

static bool
gone_instance(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_instance_record *i = rec;
	struct str_list *l = arg;

	(void)key;
	(void)rev;
	if (i->spec.want == WIRE_WANT_GONE) {
		str_list_add(l, i->spec.id);
		str_list_add(l, i->spec.gear);
	}
	return true;
}

/* What is wanted gone and not named is gone. */
static void
confirm_absent(struct report *rep, const char *node)
{
	AUTO(free) char *gears = xasprintf("%s%s/", STORE_PREFIX_GEAR, node);
	AUTO(free) char *instances = xasprintf("%s%s/", STORE_PREFIX_INSTANCE, node);
	struct str_list l = { 0 };

	record_each(rep->b->store, gears, &wire_gear_codec, gone_gear, &l);
	for (size_t i = 0; i < l.n; i++) {
		AUTO(free) char *key = store_key_gear_status(node, l.v[i]);
		struct wire_gear_status st = { .uuid = l.v[i], .state = "gone" };

		if (map_get(rep->named, key) == NULL)
			put_status(rep, STEAL(key), &wire_gear_status_codec, &st);
	}
	str_list_fini(&l);
	record_each(rep->b->store, instances, &wire_instance_record_codec, gone_instance, &l);
	for (size_t i = 0; i + 1 < l.n; i += 2) {
		AUTO(free) char *key = store_key_instance_status(node, l.v[i]);
		struct wire_instance_status st = {
			.id = l.v[i], .gear = l.v[i + 1], .state = WIRE_INSTANCE_GONE
		};

		if (map_get(rep->named, key) == NULL)
			put_status(rep, STEAL(key), &wire_instance_status_codec, &st);
	}
	str_list_fini(&l);
}

static void
on_close(struct http_req *r, void *arg)
{
	struct report *rep = arg;

	(void)r;
	rep->r = NULL;
}

static void
on_body(struct http_req *r, struct str body, const struct err *e, void *arg)
{
	AUTO_FINI(wire_report_fini) struct wire_report in = { 0 };
	struct broker *b = arg;
	struct report *rep;
	struct err bad = { 0 };

	if (e != NULL)
		return;
	if (codec_decode(&wire_report_codec, body.p, body.n, &in, CODEC_IGNORE, &bad) < 0) {
		http_req_reply_text(r, 400, "%s: %s\n", bad.field, bad.text);
		return;
	}
	rep = xcalloc(1, sizeof *rep);
	*rep = (struct report){ .b = b, .r = r, .named = map_new(NULL), .pending = 1 };
	http_req_on_close(r, on_close, rep);
	for (size_t i = 0; i < in.gears.n; i++)
		take_gear(rep, in.node, &in.gears.v[i]);
	for (size_t i = 0; i < in.instances.n; i++)
		take_instance(rep, in.node, &in.instances.v[i]);
	if (in.full) {
		confirm_absent(rep, in.node);
		drop_absent(rep, STORE_PREFIX_GEAR_STATUS, in.node);
		drop_absent(rep, STORE_PREFIX_INSTANCE_STATUS, in.node);
	}
	flush(rep);
	report_put_away(rep);
}

void
node_report_handle(struct broker *b, struct http_req *r)
{
	http_req_read_all(r, REPORT_MAX, on_body, b);
}
