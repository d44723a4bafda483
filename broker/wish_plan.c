#include "broker/wish_plan.h"

#include <stdlib.h>
#include <string.h>

#include "broker/app_cart.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "broker/wish.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_env.h"
#include "lib/wire/wire_user.h"

enum { TOKEN_BYTES = 32, IV_BYTES = 16, TOKEN_S = 10 * 366 * 86400 };

static bool
is_empty(const struct wire_asks *asks)
{
	static const struct wire_asks nothing = { 0 };

	return codec_equal(&wire_asks_codec, asks, &nothing);
}

/* --- what newly configured cartridges asked for --- */

static bool
drop_gone(struct wire_app *a)
{
	size_t n = 0, before = a->wishes.n;

	for (size_t i = 0; i < before; i++) {
		if (wire_gear_find(&a->cartridges, a->wishes.v[i].cart) != NULL)
			a->wishes.v[n++] = a->wishes.v[i];
		else
			wire_wish_fini(&a->wishes.v[i]);
	}
	a->wishes.n = n;
	return n != before;
}

/* A name that is taken already is none that the cartridge may have. */
static const char *
taken_name(const struct wire_app *a, const struct wire_gear_cart_status *c)
{
	const struct wire_wish *own = wish_find(a, c->name);

	for (size_t i = 0; i < c->asks.env_unique.n; i++) {
		const char *name = c->asks.env_unique.v[i].name;

		if (wish_value(a, name) != NULL &&
		    (own == NULL || wire_env_get(&own->env, name) == NULL))
			return name;
	}
	return NULL;
}

static bool
take_new(struct rollout_step *st, const struct wire_gear_cart_status *c)
{
	struct wire_app *a = &st->app;
	const struct wire_wish *w = wish_find(a, c->name);
	const char *name;

	if (c->state == NULL || strcmp(c->state, "configured") != 0 || c->ident == NULL ||
	    wire_gear_find(&a->cartridges, c->name) == NULL || (w == NULL && is_empty(&c->asks)) ||
	    (w != NULL && strcmp(w->ident, c->ident) == 0))
		return false;
	name = taken_name(a, c);
	if (name != NULL && app_cart_is_pending(a) && a->cartridges_before.n > 0) {
		AUTO(free)
		char *why = xasprintf("The cartridge %s sets the variable %s, which another "
		                      "cartridge has set already.",
		    c->name, name);

		rollout_give_up(st, NULL, why);
		return true;
	}
	wish_merge(a, wish_find_or_add(a, c->name), &c->asks);
	mem_set_str(&wish_find(a, c->name)->ident, c->ident);
	return true;
}

/* --- the token --- */

static void
make_token(struct rollout_step *st, const struct wire_user *u)
{
	struct wire_app *a = &st->app;
	AUTO_FINI(wire_token_fini)
	struct wire_token t = {
		.id = record_new_id(),
		.login = xstrdup(u->login),
		.user_id = xstrdup(u->id),
		.auth_rev = u->auth_rev,
		.note = xasprintf("gears of %s-%s", a->name, a->domain),
		.scopes = xasprintf(
		    "application/%s/scale application/%s/report_deployments", a->id, a->id),
		.created_at = st->now_ms / 1000,
		.expires_at = st->now_ms / 1000 + TOKEN_S,
	};

	wish_forget(rollout_step_txn(st), a);
	secret_free(STEAL(a->auth_token));
	secret_free(STEAL(a->auth_iv));
	a->auth_token = secret_random_hex(TOKEN_BYTES);
	a->auth_iv = secret_random_hex(IV_BYTES);
	record_put_cas(rollout_step_txn(st), wish_token_key(a), 0, &wire_token_codec, &t);
}

/* One for the application, as long as a cartridge wants it. What its owner has revoked stays
 * revoked; a change of his password makes another one. */
static bool
settle_token(struct rollout_step *st)
{
	struct wire_app *a = &st->app;
	AUTO_FINI(wire_token_fini) struct wire_token t = { 0 };
	AUTO_FINI(wire_user_fini) struct wire_user u = { 0 };
	AUTO(free) char *key = a->auth_token == NULL ? NULL : wish_token_key(a);
	struct err e = { 0 };
	bool wants = false;

	for (size_t i = 0; i < a->wishes.n; i++)
		wants = wants || a->wishes.v[i].wants_auth;
	if (!wants && key != NULL) {
		wish_forget(rollout_step_txn(st), a);
		secret_free(STEAL(a->auth_token));
		secret_free(STEAL(a->auth_iv));
		return true;
	}
	if (!wants ||
	    record_get(st->b->store, store_key_user(a->owner), &wire_user_codec, &u, NULL, &e) < 0)
		return false;
	if (key != NULL &&
	    (record_get(st->b->store, STEAL(key), &wire_token_codec, &t, NULL, &e) < 0 ||
	        t.auth_rev == u.auth_rev))
		return false;
	make_token(st, &u);
	return true;
}

/* --- the gears --- */

static void
add_vars(const struct wire_app *a, struct wire_var_list *out)
{
	for (size_t i = 0; i < a->wishes.n; i++) {
		const struct wire_var_list *l = &a->wishes.v[i].env;

		for (size_t k = 0; k < l->n; k++) {
			if (wire_env_get(out, l->v[k].name) == NULL)
				codec_copy(&wire_var_codec, codec_list_add(&wire_var_codec, out),
				    &l->v[k]);
		}
	}
}

struct others {
	const struct wire_app *a;
	struct wire_var_list *out;
};

static bool
add_other(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *a = rec;
	const struct others *o = arg;

	(void)key;
	(void)rev;
	if (strcmp(a->id, o->a->id) != 0 && !a->spec.deleted)
		add_vars(a, o->out);
	return true;
}

/* Its own, then those of the domain's other applications, which v2 gave to all of them. */
static void
list_vars(const struct rollout_step *st, struct wire_var_list *out)
{
	AUTO(free) char *prefix = store_key_app(st->app.domain, "");
	struct others o = { &st->app, out };

	add_vars(&st->app, out);
	record_each_with(st->b->store, prefix, "\"wishes\":[", &wire_app_codec, add_other, &o);
}

static bool
are_same(const struct wire_var_list *a, const struct wire_var_list *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; i < a->n && same; i++)
		same =
		    str_same(a->v[i].name, b->v[i].name) && str_same(a->v[i].value, b->v[i].value);
	return same;
}

static void
clear_vars(struct wire_var_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		wire_var_fini(&l->v[i]);
	free(l->v);
	*l = (struct wire_var_list){ 0 };
}

static bool
tell_gears(struct rollout_step *st)
{
	struct wire_var_list vars = { 0 };
	bool any = false;

	list_vars(st, &vars);
	for (size_t k = 0; k < st->v->gears_n && rollout_step_has_room(st); k++) {
		const struct app_view_gear *g = st->v->gears[k];
		AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };

		if (g->rev == 0 || g->gear.want == WIRE_WANT_GONE ||
		    (are_same(&g->gear.asked, &vars) &&
		        str_same(g->gear.auth_token, st->app.auth_token)))
			continue;
		codec_copy(&wire_gear_codec, &gear, &g->gear);
		clear_vars(&gear.asked);
		list_vars(st, &gear.asked);
		mem_set_str(&gear.auth_token, st->app.auth_token);
		mem_set_str(&gear.auth_iv, st->app.auth_iv);
		fault_point("wish_tell");
		record_put_cas(rollout_step_txn(st), store_key_gear(g->node, gear.uuid), g->rev,
		    &wire_gear_codec, &gear);
		any = true;
	}
	clear_vars(&vars);
	return any;
}

bool
wish_plan(struct rollout_step *st)
{
	bool is_changed = drop_gone(&st->app);

	for (size_t k = 0; k < st->v->gears_n; k++) {
		const struct app_view_gear *g = st->v->gears[k];

		for (size_t i = 0; g->status.uuid != NULL && i < g->status.cartridges.n; i++) {
			if (take_new(st, &g->status.cartridges.v[i]))
				is_changed = true;
			if (st->failure != NULL)
				return true;
		}
	}
	is_changed = settle_token(st) || is_changed;
	st->is_app_changed = st->is_app_changed || is_changed;
	if (is_changed)
		(void)rollout_step_txn(st);
	return tell_gears(st) || is_changed;
}
