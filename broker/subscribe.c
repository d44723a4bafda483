#include "broker/subscribe.h"

#include <stdlib.h>
#include <string.h>

#include "broker/connect.h"
#include "broker/node_act.h"
#include "broker/rollout_step.h"
#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/wire/wire_cart.h"

enum { HOOK_S = 60, ARG_MAX_BYTES = 100 * 1024 };

static const char env_type[] = "ENV:";
static const char any_env[] = "ENV:*";

void
subscribe_order_fini(struct subscribe_order *o)
{
	free(o->gear);
	free(o->cart);
	free(o->hook);
	free(o->arg);
	free(o->key);
	free(o->digest);
	free(o->none);
	*o = (struct subscribe_order){ 0 };
}

/* Who is told: one Subscribes of one cartridge in one gear, where that cartridge acts. */
struct subscriber {
	const struct app_view_gear *gear;
	const struct wire_gear_cart *cart;
	const struct wire_cart_connector *connector;
	const struct app_view_instance *instance;
};

static bool
matches(const struct subscriber *s, const struct wire_published *p)
{
	if (str_same(p->gear, s->gear->gear.uuid) && str_same(p->cart, s->cart->name))
		return false; /* its own */
	if (str_same(s->connector->type, any_env))
		return str_has_prefix(p->type, env_type);
	return str_same(s->connector->type, p->type);
}

/* 'GEAR'='K=V; K=V;' */
static void
add_env(struct buf *b, const struct wire_published *p)
{
	struct str line, rest = str_of(p->text);

	buf_addf(b, "'%s'='", p->gear);
	while (rest.n > 0) {
		rest = str_cut(rest, '\n', &line);
		if (line.n > 0)
			buf_addf(b, "%.*s; ", (int)line.n, line.p);
	}
	if (b->n > 0 && b->p[b->n - 1] == ' ')
		b->n--;
	buf_adds(b, "'");
}

/* 'GEAR'='OUTPUT' */
static void
add_plain(struct buf *b, const struct wire_published *p)
{
	struct str text = str_of(p->text);

	while (text.n > 0 && text.p[text.n - 1] == '\n')
		text.n--;
	buf_addf(b, "%s'%s'='%.*s'", b->n == 0 ? "" : " ", p->gear, (int)text.n, text.p);
}

/* From here on it is the next to be told, unless it knows. */
static bool
take(const struct subscriber *s, const char *source, const struct buf *arg, bool is_env,
    const struct map *told, struct subscribe_order *out)
{
	AUTO(free)
	char *none = xasprintf("%s:%s:%s %s", s->cart->name, s->cart->version,
	    s->cart->cart_version == NULL ? "" : s->cart->cart_version, s->connector->name);
	AUTO(free)
	char *key =
	    xasprintf("%s %s %s %s", s->gear->gear.uuid, s->cart->name, s->connector->name, source);
	AUTO(free) char *all = NULL;
	char digest[65];

	if (arg->n == 0 || arg->n > ARG_MAX_BYTES || map_get(told, none) != NULL)
		return false;
	all = xasprintf("%s %s", s->instance->rec.spec.id, arg->p);
	secret_sha256_hex(all, strlen(all), digest);
	if (str_same(map_get(told, key), digest))
		return false;
	*out = (struct subscribe_order){
		.gear = xstrdup(s->gear->gear.uuid),
		.cart = xstrdup(s->cart->name),
		.hook = xstrdup(s->connector->name),
		.arg = xstrndup(arg->p, arg->n),
		.key = STEAL(key),
		.digest = xstrdup(digest),
		.none = STEAL(none),
		.is_env = is_env,
		.node = s->gear->node,
	};
	return true;
}

/* ENV: types by publisher, the first of its gears; of a plain type all outputs at once. */
static bool
plan_connector(const struct rollout_step *st, const struct subscriber *s, const struct map *told,
    struct subscribe_order *out)
{
	const struct wire_published_list *l = &st->app.published;
	AUTO_FINI(buf_fini) struct buf plain = { 0 };
	AUTO_FINI(str_list_fini) struct str_list seen = { 0 };
	bool is_env = str_has_prefix(s->connector->type, env_type);

	for (size_t i = 0; i < l->n; i++) {
		const struct wire_published *p = &l->v[i];
		AUTO(free) char *source = xasprintf("%s/%s", p->cart, p->connector);
		AUTO_FINI(buf_fini) struct buf arg = { 0 };

		if (!matches(s, p) || str_same(p->text, ""))
			continue;
		if (!is_env) {
			add_plain(&plain, p);
			continue;
		}
		if (str_list_has(&seen, source))
			continue;
		str_list_add(&seen, source);
		add_env(&arg, p);
		if (take(s, source, &arg, true, told, out))
			return true;
	}
	return take(s, "", &plain, false, told, out);
}

static bool
plan_cart(struct rollout_step *st, const struct app_view_gear *g, const struct wire_gear_cart *c,
    const struct map *told, struct subscribe_order *out)
{
	const struct wire_cart *m = connect_manifest(st, c);
	struct subscriber s = {
		.gear = g, .cart = c, .instance = connect_instance(st, &g->gear, c)
	};

	for (size_t i = 0; s.instance != NULL && m != NULL && i < m->components.n; i++) {
		for (size_t k = 0; k < m->components.v[i].subscribes.n; k++) {
			s.connector = &m->components.v[i].subscribes.v[k];
			if (plan_connector(st, &s, told, out))
				return true;
		}
	}
	return false;
}

void
subscribe_plan(struct rollout_step *st, const struct map *told, struct subscribe_order *out)
{
	if (!st->app.scalable || !st->app.spec.running || st->app.published.n == 0)
		return;
	for (size_t k = 0; k < st->v->gears_n; k++) {
		const struct app_view_gear *g = st->v->gears[k];

		for (size_t n = 0; g->gear.want == WIRE_WANT_PRESENT && n < g->gear.cartridges.n;
		     n++) {
			if (plan_cart(st, g, &g->gear.cartridges.v[n], told, out))
				return;
		}
	}
}

/* --- running a hook --- */

struct subscribe_run {
	struct node_act *act;
	char *gear, *cart, *hook; /* owned */
	bool is_env;
	subscribe_done_fn *done;
	void *arg;
};

static void
run_free(struct subscribe_run *r)
{
	free(r->gear);
	free(r->cart);
	free(r->hook);
	free(r);
}

static void
on_done(const struct wire_act_result *result, const struct err *e, void *arg)
{
	struct subscribe_run *r = arg;
	int64_t code = result == NULL ? -1 : result->ok ? 0 : result->exit_code;

	if (code > 0 && !(r->is_env && code == SUBSCRIBE_NO_HOOK))
		log_warn("subscribe_failed", LOG_STR("gear", r->gear),
		    LOG_STR("cartridge", r->cart), LOG_STR("hook", r->hook), LOG_INT("exit", code));
	r->done(code, e, r->arg);
	run_free(r);
}

struct subscribe_run *
subscribe_run_start(struct broker *b, const struct wire_app *a, const struct subscribe_order *o,
    subscribe_done_fn *done, void *arg, struct err *e)
{
	struct subscribe_run *r = xcalloc(1, sizeof *r);
	struct wire_act_order order = { .cart = o->cart, .hook = o->hook, .timeout_s = HOOK_S };

	*r = (struct subscribe_run){ .gear = xstrdup(o->gear),
		.cart = xstrdup(o->cart),
		.hook = xstrdup(o->hook),
		.is_env = o->is_env,
		.done = done,
		.arg = arg };
	str_list_add(&order.args, str_same(a->id, o->gear) ? a->name : o->gear);
	str_list_add(&order.args, a->domain);
	str_list_add(&order.args, o->gear);
	str_list_add(&order.args, o->arg);
	fault_point("subscribe_run");
	r->act = node_act_start(b, o->node, o->gear, &order, NULL, on_done, r, e);
	str_list_fini(&order.args);
	if (r->act != NULL)
		return r;
	run_free(r);
	return NULL;
}

void
subscribe_run_cancel(struct subscribe_run *take_r)
{
	if (take_r == NULL)
		return;
	node_act_cancel(take_r->act);
	run_free(take_r);
}
