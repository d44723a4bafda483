#include "broker/connect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/cart_pick.h"
#include "broker/node_act.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/store/store_key.h"

enum { HOOK_S = 60, VARS_OF_ONE_MAX = 100 };

static const char env_type[] = "ENV:";

/* --- who publishes --- */

struct source {
	const struct app_view_gear *gear;
	const struct wire_gear_cart *cart;
	const struct wire_cart_connector *connector;
	const struct app_view_instance *instance; /* ready; or NULL */
};
typedef bool source_fn(struct rollout_step *st, const struct source *s, void *arg);

/* The newest, of several web instances. */
const struct app_view_instance *
connect_instance(
    const struct rollout_step *st, const struct wire_gear *g, const struct wire_gear_cart *c)
{
	int kind = c->is_service ? WIRE_INSTANCE_SERVICE : WIRE_INSTANCE_WEB;

	for (size_t k = st->v->instances_n; k > 0; k--) {
		const struct app_view_instance *i = st->v->instances[k - 1];

		if (i->rec.spec.kind == kind && !i->rec.retired &&
		    i->rec.spec.want == WIRE_WANT_PRESENT && str_same(i->rec.spec.gear, g->uuid) &&
		    (!c->is_service || str_same(i->rec.spec.cart, c->name)) &&
		    app_view_is(i, WIRE_INSTANCE_READY))
			return i;
	}
	return NULL;
}

const struct wire_cart *
connect_manifest(const struct rollout_step *st, const struct wire_gear_cart *c)
{
	for (size_t i = 0; i < st->manifests_n; i++) {
		if (strcmp(st->manifests[i].name, c->name) == 0)
			return &st->manifests[i];
	}
	return NULL;
}

static bool
subscribes(const struct wire_cart *m, const char *type)
{
	bool is_env = str_has_prefix(type, env_type);

	for (size_t i = 0; m != NULL && i < m->components.n; i++) {
		const struct wire_cart_connector_list *l = &m->components.v[i].subscribes;

		for (size_t k = 0; k < l->n; k++) {
			if (str_same(l->v[k].type, type) ||
			    (is_env && str_same(l->v[k].type, "ENV:*")))
				return true;
		}
	}
	return false;
}

/* Does anyone want to know? */
static bool
is_wanted(const struct rollout_step *st, const char *type)
{
	for (size_t i = 0; i < st->manifests_n; i++) {
		if (subscribes(&st->manifests[i], type))
			return true;
	}
	return false;
}

/* Each Publishes that someone subscribes; false: fn has stopped it. */
static bool
each_of_gear(struct rollout_step *st, const struct app_view_gear *g, source_fn *fn, void *arg)
{
	for (size_t n = 0; n < g->gear.cartridges.n; n++) {
		const struct wire_gear_cart *c = &g->gear.cartridges.v[n];
		const struct wire_cart *m = connect_manifest(st, c);
		struct source s = { .gear = g, .cart = c };

		if (m != NULL)
			s.instance = connect_instance(st, &g->gear, c);
		for (size_t i = 0; m != NULL && i < m->components.n; i++) {
			for (size_t k = 0; k < m->components.v[i].publishes.n; k++) {
				s.connector = &m->components.v[i].publishes.v[k];
				if (is_wanted(st, s.connector->type) && !fn(st, &s, arg))
					return false;
			}
		}
	}
	return true;
}

static bool
each_source(struct rollout_step *st, source_fn *fn, void *arg)
{
	for (size_t k = 0; k < st->v->gears_n; k++) {
		const struct app_view_gear *g = st->v->gears[k];

		if (g->gear.want != WIRE_WANT_GONE && !each_of_gear(st, g, fn, arg))
			return false;
	}
	return true;
}

/* A restart may have changed what it publishes. */
static char *
ident_of(const struct source *s)
{
	const struct wire_gear_cart *c = s->cart;

	return xasprintf("%s:%s:%s:%s#%" PRId64 ".%" PRId64, c->vendor == NULL ? "" : c->vendor,
	    c->name, c->version, c->cart_version == NULL ? "" : c->cart_version,
	    s->instance->rec.restart_gen, s->instance->rec.cart_restart_gen);
}

static bool
is_of(const struct wire_published *p, const struct source *s)
{
	return str_same(p->gear, s->gear->gear.uuid) && str_same(p->cart, s->cart->name) &&
	       str_same(p->connector, s->connector->name);
}

static struct wire_published *
find(const struct wire_app *a, const struct source *s)
{
	for (size_t i = 0; i < a->published.n; i++) {
		if (is_of(&a->published.v[i], s))
			return &a->published.v[i];
	}
	return NULL;
}

/* --- what was published --- */

static bool
is_source(struct rollout_step *st, const struct source *s, void *arg)
{
	(void)st;
	return !is_of(arg, s); /* found: stop */
}

static void
forget_gone(struct rollout_step *st)
{
	struct wire_published_list *l = &st->app.published;
	size_t to = 0;

	for (size_t i = 0; i < l->n; i++) {
		bool is_kept = !each_source(st, is_source, &l->v[i]);

		if (is_kept && to != i)
			l->v[to] = l->v[i];
		if (is_kept)
			to++;
		else
			wire_published_fini(&l->v[i]);
	}
	if (to == l->n)
		return;
	l->n = to;
	st->is_app_changed = true;
	(void)rollout_step_txn(st);
}

/* The first that is missing: its result, if there is one, else the wish for it. arg: services, for
 * which web instances wait, or the others. */
static bool
take_or_ask(struct rollout_step *st, const struct source *s, void *arg)
{
	const bool *of_services = arg;
	AUTO(free) char *ident = s->instance == NULL ? NULL : ident_of(s);
	struct wire_published *have = find(&st->app, s);
	const struct wire_published *got = st->published;

	if (s->cart->is_service != *of_services)
		return true;
	if (ident == NULL || (have != NULL && str_same(have->ident, ident)))
		return true;
	if (got == NULL || !is_of(got, s) || !str_same(got->ident, ident)) {
		st->publish = (struct wire_published){
			.gear = xstrdup(s->gear->gear.uuid),
			.cart = xstrdup(s->cart->name),
			.ident = STEAL(ident),
			.connector = xstrdup(s->connector->name),
			.type = xstrdup(s->connector->type),
		};
		st->publish_node = s->gear->node;
		st->is_publish_awaited = s->cart->is_service;
		return false;
	}
	if (have == NULL)
		have = codec_list_add(&wire_published_codec, &st->app.published);
	wire_published_fini(have);
	codec_copy(&wire_published_codec, have, got);
	st->is_app_changed = true;
	(void)rollout_step_txn(st);
	return true;
}

/* --- to whom --- */

/* "postgresql" of postgresql-15: the full name without its last part. */
static char *
publisher_name(const struct rollout_step *st, const char *cart)
{
	for (size_t i = 0; i < st->manifests_n; i++) {
		AUTO(free) char *full = NULL;
		const char *dash;

		if (strcmp(st->manifests[i].name, cart) != 0)
			continue;
		full = wire_cart_full_name(&st->manifests[i]);
		dash = strrchr(full, '-');
		return dash == NULL ? STEAL(full) : xstrndup(full, (size_t)(dash - full));
	}
	return xstrdup(cart);
}

static bool
is_subscribed(const struct rollout_step *st, const struct wire_gear *g, const char *type)
{
	for (size_t n = 0; n < g->cartridges.n; n++) {
		if (subscribes(connect_manifest(st, &g->cartridges.v[n]), type))
			return true;
	}
	return false;
}

static struct wire_gear_published *
publisher_of(struct wire_gear_published_list *l, char *take_name)
{
	struct wire_gear_published *p;

	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].publisher, take_name) == 0) {
			free(take_name);
			return &l->v[i];
		}
	}
	p = codec_list_add(&wire_gear_published_codec, l);
	p->publisher = take_name;
	return p;
}

/* Lines K=V; the value is all behind the first '='. */
static void
add_vars(const char *text, struct wire_var_list *out)
{
	struct str line, rest = str_of(text == NULL ? "" : text);

	while (rest.n > 0 && out->n < VARS_OF_ONE_MAX) {
		struct str name, value;
		AUTO(free) char *word = NULL;
		struct wire_var *v;

		rest = str_cut(rest, '\n', &line);
		value = str_cut(line, '=', &name);
		word = xstrndup(name.p, name.n);
		if (value.p == NULL || !str_is_env_name(word))
			continue;
		v = codec_list_add(&wire_var_codec, out);
		v->name = STEAL(word);
		v->value = xstrndup(value.p, value.n);
	}
}

/* One that publishes in several gears counts once: the first. */
static bool
is_first(const struct wire_app *a, size_t i, const char *gear)
{
	for (size_t k = 0; k < i; k++) {
		const struct wire_published *p = &a->published.v[k], *q = &a->published.v[i];

		if (str_same(p->cart, q->cart) && str_same(p->connector, q->connector) &&
		    !str_same(p->gear, gear))
			return false;
	}
	return true;
}

static void
list_for(const struct rollout_step *st, const struct wire_gear *g, struct wire_gear *out)
{
	const struct wire_app *a = &st->app;

	for (size_t i = 0; i < a->published.n; i++) {
		const struct wire_published *p = &a->published.v[i];

		if (str_same(p->gear, g->uuid) || !str_has_prefix(p->type, env_type) ||
		    str_same(p->text, "") || !is_subscribed(st, g, p->type) ||
		    !is_first(a, i, g->uuid))
			continue;
		add_vars(
		    p->text, &publisher_of(&out->published, publisher_name(st, p->cart))->vars);
	}
}

static bool
has_web_instance(const struct rollout_step *st, const char *gear)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (rollout_step_is_web(i) && str_same(i->rec.spec.gear, gear) && !i->rec.retired &&
		    i->rec.spec.want == WIRE_WANT_PRESENT)
			return true;
	}
	return false;
}

static void
published_fini(struct wire_gear *g)
{
	for (size_t i = 0; i < g->published.n; i++)
		wire_gear_published_fini(&g->published.v[i]);
	free(g->published.v);
	g->published = (struct wire_gear_published_list){ 0 };
}

/* Its record with the variables as they are now; processes that run get them by a rollout. */
static bool
give(struct rollout_step *st, const struct app_view_gear *g)
{
	AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };

	codec_copy(&wire_gear_codec, &gear, &g->gear);
	published_fini(&gear);
	if (st->app.scalable)
		list_for(st, &g->gear, &gear);
	if (codec_equal(&wire_gear_codec, &gear, &g->gear))
		return false;
	gear.env_rev++;
	fault_point("connect_give");
	record_put_cas(rollout_step_txn(st), store_key_gear(g->node, gear.uuid), g->rev,
	    &wire_gear_codec, &gear);
	log_info("connected", LOG_STR("app", st->app.name), LOG_STR("gear", gear.uuid),
	    LOG_INT("publishers", (int64_t)gear.published.n));
	return has_web_instance(st, gear.uuid);
}

static void
load_manifests(struct rollout_step *st)
{
	size_t n = st->app.cartridges.n;

	if (st->manifests != NULL || (!st->app.scalable && st->app.published.n == 0))
		return;
	st->manifests = xcalloc(n + 1, sizeof *st->manifests);
	st->manifests_n = n;
	for (size_t i = 0; i < n; i++)
		cart_pick_load(st->b, &st->app.cartridges.v[i], &st->manifests[i]);
}

void
connect_plan(struct rollout_step *st)
{
	bool rolls = false, services = true, others = false;

	load_manifests(st);
	if (st->app.scalable || st->app.published.n > 0)
		forget_gone(st);
	if (st->app.scalable)
		(void)each_source(st, take_or_ask, &services);
	if (st->app.scalable && st->publish.gear == NULL)
		(void)each_source(st, take_or_ask, &others);
	for (size_t k = 0; k < st->v->gears_n && rollout_step_has_room(st); k++) {
		const struct app_view_gear *g = st->v->gears[k];

		if (g->gear.want != WIRE_WANT_GONE && (st->app.scalable || g->gear.published.n > 0))
			rolls = give(st, g) || rolls;
	}
	if (!rolls || !st->app.spec.running)
		return;
	st->app.spec.env_rev++;
	st->is_app_changed = true;
}

bool
connect_holds_start(const struct rollout_step *st)
{
	return st->publish.gear != NULL && st->is_publish_awaited;
}

/* --- running a hook --- */

struct connect_run {
	struct wire_published p;
	struct buf out;
	struct node_act *act;
	connect_done_fn *done;
	void *arg;
};

static void
run_free(struct connect_run *r)
{
	wire_published_fini(&r->p);
	buf_fini(&r->out);
	free(r);
}

static void
on_out(const char *cart, int fd, const char *text, void *arg)
{
	struct connect_run *r = arg;
	size_t n = strlen(text);

	(void)cart;
	if (fd == 1 && r->out.n + n < WIRE_PUBLISHED_MAX)
		buf_add(&r->out, text, n);
}

/* Without messages to the user. */
static char *
text_of(const struct buf *out)
{
	struct str line, rest = buf_str(out);
	struct buf text = { 0 };

	while (rest.n > 0) {
		rest = str_cut(rest, '\n', &line);
		if (line.n == 0 || (line.n >= 7 && memcmp(line.p, "CLIENT_", 7) == 0))
			continue;
		buf_add(&text, line.p, line.n);
		buf_addc(&text, '\n');
	}
	return text.p == NULL ? xstrdup("") : buf_steal(&text);
}

static void
on_done(const struct wire_act_result *result, const struct err *e, void *arg)
{
	struct connect_run *r = arg;

	if (result != NULL && !result->ok)
		log_warn("publish_failed", LOG_STR("gear", r->p.gear),
		    LOG_STR("cartridge", r->p.cart), LOG_STR("hook", r->p.connector),
		    LOG_STR("reason", result->reason == NULL ? "" : result->reason));
	if (result != NULL)
		r->p.text = result->ok ? text_of(&r->out) : xstrdup("");
	r->done(result == NULL ? NULL : &r->p, e, r->arg);
	run_free(r);
}

struct connect_run *
connect_run_start(struct broker *b, const struct wire_app *a, const char *node,
    const struct wire_published *ask, connect_done_fn *done, void *arg, struct err *e)
{
	struct connect_run *r = xcalloc(1, sizeof *r);
	struct wire_act_order order = {
		.cart = ask->cart, .hook = ask->connector, .timeout_s = HOOK_S
	};

	codec_copy(&wire_published_codec, &r->p, ask);
	r->done = done;
	r->arg = arg;
	str_list_add(&order.args, str_same(a->id, ask->gear) ? a->name : ask->gear);
	str_list_add(&order.args, a->domain);
	str_list_add(&order.args, ask->gear);
	fault_point("connect_publish");
	r->act = node_act_start(b, node, ask->gear, &order, on_out, on_done, r, e);
	str_list_fini(&order.args);
	if (r->act != NULL)
		return r;
	run_free(r);
	return NULL;
}

void
connect_run_cancel(struct connect_run *take_r)
{
	if (take_r == NULL)
		return;
	node_act_cancel(take_r->act);
	run_free(take_r);
}
