#include "node/node_report.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"
#include "lib/wire/wire_node.h"
#include "node/gear.h"

enum {
	COALESCE_MS = 20,
	RETRY_MS = 500,
	CALL_MS = 15000,
	HELLO_MS = 60000,
	FULL_MS = 300000,
};

/* A status as last told to us. */
struct item {
	struct wire_instance_status instance; /* one of the two */
	struct wire_gear_status gear;
	bool is_gear;
	LIST_ENTRY(item) link; /* among those to be told */
	bool is_dirty;
	int64_t change; /* number of its last change */
};

struct node_report {
	struct node_sync_opts o;
	struct map *instances, *gears; /* struct item, owned */
	LIST_HEAD(, item) dirty;       /* to be told */
	int64_t changes;
	int64_t sent; /* changes up to here are in the call under way */
	bool is_full, sends_full, is_muted;
	struct loop_timer *timer; /* the next report; armed when is_armed */
	bool is_armed;
	struct loop_timer *hello_timer, *full_timer;
	struct http_call *call, *hello;
	bool is_known; /* a hello was answered */
};

static void send_report(void *arg);

static void
add_dirty(struct node_report *r, struct item *it)
{
	if (it->is_dirty)
		return;
	it->is_dirty = true;
	LIST_INSERT_HEAD(&r->dirty, it, link);
}

static void
remove_dirty(struct item *it)
{
	if (!it->is_dirty)
		return;
	it->is_dirty = false;
	LIST_REMOVE(it, link);
}

static void
free_item(void *p)
{
	struct item *it = p;

	remove_dirty(it);
	codec_fini(&wire_instance_status_codec, &it->instance);
	codec_fini(&wire_gear_status_codec, &it->gear);
	free(it);
}

static void
arm(struct node_report *r, int64_t ms)
{
	if (r->is_muted || r->call != NULL)
		return;
	r->is_armed = true;
	loop_timer_again(r->timer, ms);
}

static struct item *
get_item(struct node_report *r, struct map *m, const char *key)
{
	struct item *it = map_get(m, key);

	if (it == NULL) {
		it = xcalloc(1, sizeof *it);
		map_set(m, key, it);
	}
	add_dirty(r, it);
	it->change = ++r->changes;
	return it;
}

void
node_report_instance(struct node_report *r, const struct wire_instance_status *st, bool is_urgent)
{
	struct item *it = get_item(r, r->instances, st->id);

	codec_fini(&wire_instance_status_codec, &it->instance);
	codec_copy(&wire_instance_status_codec, &it->instance, st);
	arm(r, is_urgent ? 0 : COALESCE_MS);
}

static void
clear_carts(struct wire_gear_cart_status_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		wire_gear_cart_status_fini(&l->v[i]);
	free(l->v);
	*l = (struct wire_gear_cart_status_list){ 0 };
}

/* What is configured, then what failed to be. */
static void
fill_carts(const struct gear *g, struct wire_gear_cart_status_list *out)
{
	clear_carts(out);
	for (size_t i = 0; i < g->record.carts.n; i++) {
		const struct gear_cart *c = &g->record.carts.v[i];
		struct wire_gear_cart_status *st =
		    codec_list_add(&wire_gear_cart_status_codec, out);

		st->name = xstrdup(c->name);
		st->ident = xstrdup(c->ident);
		st->state = xstrdup("configured");
		str_list_copy(&st->messages, &c->messages);
		codec_copy(&wire_asks_codec, &st->asks, &c->asks);
		for (size_t k = 0; k < c->properties.n; k++)
			codec_copy(&wire_var_codec,
			    codec_list_add(&wire_var_codec, &st->properties), &c->properties.v[k]);
	}
	for (size_t i = 0; i < g->failed.n; i++)
		codec_copy(&wire_gear_cart_status_codec,
		    codec_list_add(&wire_gear_cart_status_codec, out), &g->failed.v[i]);
}

void
node_report_gear(struct node_report *r, const struct gear *g)
{
	struct item *it;
	const char *state = g->state == GEAR_READY    ? "ready"
	                    : g->state == GEAR_FAILED ? "failed"
	                    : g->state == GEAR_GONE   ? "gone"
	                                              : NULL;

	if (state == NULL) /* the broker waits for an end of it */
		return;
	it = get_item(r, r->gears, g->record.uuid);
	it->is_gear = true;
	mem_set_str(&it->gear.uuid, g->record.uuid);
	mem_set_str(&it->gear.state, state);
	mem_set_str(&it->gear.reason, g->reason);
	it->gear.disk_used_kb = g->disk_used_kb;
	mem_set_str(&it->gear.notice, g->notice);
	mem_set_str(&it->gear.quota,
	    g->record.volume != NULL && strcmp(g->record.volume, "plain") == 0 ? "advisory"
	                                                                       : "enforced");
	it->gear.cart_rev = g->spec.cart_rev;
	fill_carts(g, &it->gear.cartridges);
	arm(r, 0); /* somebody waits for it */
}

void
node_report_drop_instance(struct node_report *r, const char *id)
{
	(void)map_remove(r->instances, id);
}

void
node_report_drop_gear(struct node_report *r, const char *uuid)
{
	(void)map_remove(r->gears, uuid);
}

static void
fill_one(const char *key, void *value, void *arg)
{
	const struct item *it = value;
	struct wire_report *out = arg;

	(void)key;
	if (it->is_gear)
		codec_copy(&wire_gear_status_codec,
		    codec_list_add(&wire_gear_status_codec, &out->gears), &it->gear);
	else
		codec_copy(&wire_instance_status_codec,
		    codec_list_add(&wire_instance_status_codec, &out->instances), &it->instance);
}

void
node_report_fill(const struct node_report *r, bool all, struct wire_report *out)
{
	struct item *it;

	mem_set_str(&out->node, r->o.node);
	out->full = all;
	if (all) {
		map_each(r->gears, fill_one, out);
		map_each(r->instances, fill_one, out);
		return;
	}
	LIST_FOREACH (it, &r->dirty, link)
		fill_one(NULL, it, out);
}

static void
clear_sent(struct node_report *r)
{
	struct item *it, *next;

	for (it = LIST_FIRST(&r->dirty); it != NULL; it = next) {
		next = LIST_NEXT(it, link);
		if (it->change <= r->sent)
			remove_dirty(it);
	}
}

static bool
has_more(const struct node_report *r)
{
	return r->is_full || !LIST_EMPTY(&r->dirty);
}

static void
on_reported(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct node_report *r = arg;

	(void)c;
	r->call = NULL;
	if (e == NULL && status == 200) {
		clear_sent(r);
		fault_point("report_sent");
		if (has_more(r))
			arm(r, 0);
		return;
	}
	r->is_full = r->is_full || r->sends_full;
	if (e != NULL)
		log_warn("report_failed", LOG_ERR(e));
	else
		log_warn("report_refused", LOG_INT("status", status),
		    LOG_STR("said", body.n > 0 ? body.p : ""));
	arm(r, RETRY_MS);
}

static struct http_call *
post(struct node_report *r, const char *path, const char *json, http_call_end_fn *on_end)
{
	AUTO(free) char *url = xasprintf("%s%s", r->o.broker, path);
	const char *const headers[] = { "Content-Type: application/json", NULL };
	const struct http_call_opts o = {
		.method = "POST",
		.url = url,
		.headers = headers,
		.bearer = r->o.token,
		.body = json,
		.body_n = strlen(json),
		.timeout_ms = CALL_MS,
	};
	struct err e = { 0 };
	struct http_call *c = http_call_start(r->o.http, &o, on_end, r, &e);

	if (c == NULL)
		log_error("broker_call_failed", LOG_ERR(&e));
	return c;
}

static void
send_report(void *arg)
{
	struct node_report *r = arg;
	struct wire_report out = { 0 };
	AUTO(free) char *json = NULL;

	r->is_armed = false;
	if (r->is_muted || r->call != NULL || !has_more(r))
		return;
	node_report_fill(r, r->is_full, &out);
	r->sends_full = r->is_full;
	r->is_full = false;
	r->sent = r->changes;
	json = codec_to_json(&wire_report_codec, &out);
	codec_fini(&wire_report_codec, &out);
	r->call = post(r, "/internal/node/report", json, on_reported);
	if (r->call == NULL)
		arm(r, RETRY_MS);
}

void
node_report_all(struct node_report *r)
{
	r->is_full = true;
	arm(r, 0);
}

static void
on_hello(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct node_report *r = arg;

	(void)c;
	r->hello = NULL;
	if (e != NULL)
		log_warn("hello_failed", LOG_ERR(e));
	else if (status != 200)
		log_warn("hello_refused", LOG_INT("status", status),
		    LOG_STR("said", body.n > 0 ? body.p : ""));
	else if (!r->is_known) {
		r->is_known = true;
		r->o.on_known(r->o.arg);
	}
}

void
node_report_hello(struct node_report *r)
{
	struct wire_node_facts facts = { 0 };
	AUTO(free) char *json = NULL;

	if (r->hello != NULL || r->is_muted)
		return;
	r->o.fill_facts(&facts, r->o.arg);
	json = codec_to_json(&wire_node_facts_codec, &facts);
	codec_fini(&wire_node_facts_codec, &facts);
	r->hello = post(r, "/internal/node/hello", json, on_hello);
	if (has_more(r))
		arm(r, 0);
}

static void
on_hello_timer(void *arg)
{
	node_report_hello(arg);
}

static void
on_full_timer(void *arg)
{
	node_report_all(arg);
}

void
node_report_mute(struct node_report *r)
{
	r->is_muted = true;
}

struct node_report *
node_report_new(const struct node_sync_opts *o)
{
	struct node_report *r = xcalloc(1, sizeof *r);

	r->o = *o;
	r->instances = map_new(free_item);
	r->gears = map_new(free_item);
	r->timer = loop_timer_start(o->loop, RETRY_MS, false, send_report, r);
	r->hello_timer = loop_timer_start(o->loop, HELLO_MS, true, on_hello_timer, r);
	r->full_timer = loop_timer_start(o->loop, FULL_MS, true, on_full_timer, r);
	return r;
}

void
node_report_free(struct node_report *take_r)
{
	if (take_r == NULL)
		return;
	http_call_cancel(take_r->call);
	http_call_cancel(take_r->hello);
	loop_timer_cancel(take_r->timer);
	loop_timer_cancel(take_r->hello_timer);
	loop_timer_cancel(take_r->full_timer);
	map_free(take_r->instances);
	map_free(take_r->gears);
	free(take_r);
}
