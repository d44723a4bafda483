/* Cartridges added to an application and taken from it: POST and DELETE APP/cartridges. */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_cart_ask.h"
#include "broker/api_cart_lines.h"
#include "broker/api_env.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/app_cart.h"
#include "broker/broker.h"
#include "broker/cart_resolve.h"
#include "broker/event_log.h"
#include "broker/gear_group.h"
#include "broker/idler.h"
#include "broker/cart_rules.h"
#include "broker/profile.h"
#include "broker/record.h"
#include "lib/base/fault.h"
#include "lib/base/mem.h"

enum {
	EXIT_EMBEDDED = 129,
	EXIT_SIZE = 134,
	EXIT_SIZES_DIFFER = 142,
	EXIT_NODE = 143,
	EXIT_CONFIGURE = 157,
	EXIT_LOCKED = 171,
	LATER_MAX = 3, /* changes of others that are waited for */
};

/* One call: what is asked for, and how far it came. */
struct cart_call {
	struct broker *b;        /* borrowed */
	char *app_id, *app_name; /* owned */
	struct cart_pick pick;   /* to add */
	struct wire_var_list vars;
	char *remove;          /* base name of what goes; owned or NULL */
	struct str_list names; /* base names that came or went */
	bool is_list;          /* several were given: several are answered */
	int waited;
	int exit_code;         /* of a plan that refused */
	struct str_list lines; /* CLIENT_… of the scripts */
};

static void
cart_call_free(void *p)
{
	struct cart_call *s = p;

	cart_resolve_release(s->b, &s->pick);
	cart_pick_fini(&s->pick);
	api_env_fini(&s->vars);
	str_list_fini(&s->names);
	str_list_fini(&s->lines);
	free(s->app_id);
	free(s->app_name);
	free(s->remove);
	free(s);
}

static struct cart_call *
cart_call_new(struct api_call *c, const struct wire_app *a)
{
	struct cart_call *s = xcalloc(1, sizeof *s);

	s->b = c->b;
	s->app_id = xstrdup(a->id);
	s->app_name = xstrdup(a->name);
	api_call_keep(c, s, cart_call_free);
	return s;
}

/* --- the answer --- */

static void
send_added(struct api_call *c)
{
	const struct cart_call *s = c->state;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct api_json *j;
	struct err e = { 0 };

	if (record_app_by_id(c->b->store, s->app_id, &a, NULL, &e) < 0) {
		api_fail(c, 404, 101, NULL, "The application is no longer there.");
		return;
	}
	for (size_t i = 0; i < s->names.n; i++) {
		const struct wire_gear_cart *g = wire_gear_find(&a.cartridges, s->names.v[i]);
		AUTO(free) char *name = api_view_cart_name(c->b, g);

		api_message(c, "info", 0, NULL, "Added %s to application %s.", name, s->app_name);
		api_cart_messages(c, a.id, s->names.v[i]);
	}
	for (size_t i = 0; i < s->pick.notices.n; i++)
		api_message(c, "warning", 0, "cartridge", "%s", s->pick.notices.v[i]);
	j = api_data(c, s->is_list ? "cartridges" : "cartridge");
	if (s->is_list)
		api_json_arr(j, NULL);
	for (size_t i = 0; i < s->names.n; i++) {
		const struct wire_gear_cart *g = wire_gear_find(&a.cartridges, s->names.v[i]);

		/* what was pulled in is told, but the one that was asked for is the answer */
		if (g != NULL && (s->is_list || strcmp(g->name, s->pick.v[0].gear.name) == 0))
			api_view_app_cart(c, j, NULL, &a, g);
	}
	if (s->is_list)
		api_json_end_arr(j);
	api_send(c, 201);
}

/* --- waiting for the nodes --- */

static void
fail_settled(struct api_call *c, const struct err *e)
{
	const struct cart_call *s = c->state;

	(void)api_cart_lines(c, &s->lines, true);
	if (e->code == ERR_CONFLICT)
		api_fail_as(c, e, 422, EXIT_CONFIGURE);
	else
		api_load_fail_rollout(c, e);
}

static void
settled(struct api_call *c, const struct err *e)
{
	const struct cart_call *s = c->state;

	if (e != NULL) {
		fail_settled(c, e);
	} else if (s->remove != NULL) {
		for (size_t i = 0; i < s->names.n; i++) {
			if (strcmp(s->names.v[i], s->remove) != 0)
				api_message(c, "result", 0, NULL, "Removed %s too, which needs it.",
				    s->names.v[i]);
		}
		api_send_deleted(c, "Removed %s from application %s.", s->remove, s->app_name);
	} else {
		send_added(c);
	}
}

static void begin(struct api_call *c);

static void
waited(struct api_call *c, const struct err *e)
{
	(void)e; /* how the other one ended is its own affair */
	begin(c);
}

static void
stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	struct cart_call *s = c->state;

	if (e != NULL && e->code == ERR_BUSY && s->waited < LATER_MAX) {
		s->waited++;
		api_progress(c, "Waiting for another change of the cartridges");
		api_load_settle(c, s->app_id, waited);
	} else if (e != NULL && e->code == ERR_BUSY) {
		api_fail(c, 500, EXIT_LOCKED, NULL, "%s", e->text);
	} else if (e != NULL && s->exit_code != 0) {
		api_fail_as(c, e, s->exit_code == EXIT_EMBEDDED ? 404 : 422, s->exit_code);
	} else if (e != NULL) {
		api_fail_err(c, e, e->code == ERR_NOT_FOUND ? 101 : 1);
	} else {
		fault_point("app_cart_stored");
		for (size_t i = 0; s->remove != NULL && i < s->names.n; i++)
			event_log_add(
			    c->b, s->app_id, "removed", "Cartridge %s was removed.", s->names.v[i]);
		api_load_settle_lines(c, s->app_id, &s->lines, settled);
	}
}

/* --- adding --- */

/* Cartridges that share gears have one size. */
static int
check_groups(const struct broker *b, const struct wire_app *a,
    const struct wire_gear_cart_list *carts, struct err *e)
{
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	struct wire_app with = *a;

	with.cartridges = *carts; /* borrowed, like all of it */
	gear_group_plan(b, &with, &groups);
	return gear_group_check(&groups, &with, e);
}

static int
plan_add(const struct wire_app *a, struct app_cart_change *out, void *arg, struct err *e)
{
	struct api_call *c = arg;
	struct cart_call *s = c->state;

	s->exit_code = 0;
	if (cart_pick_with(c->b, a, &s->pick, &out->cartridges, &s->exit_code, e) < 0)
		return -1;
	if (check_groups(c->b, a, &out->cartridges, e) < 0) {
		s->exit_code = EXIT_SIZES_DIFFER;
		return -1;
	}
	str_list_fini(&s->names);
	for (size_t i = 0; i < out->cartridges.n; i++) {
		if (wire_gear_find(&a->cartridges, out->cartridges.v[i].name) == NULL)
			str_list_add(&s->names, out->cartridges.v[i].name);
	}
	return 0;
}

static int
plan_remove(const struct wire_app *a, struct app_cart_change *out, void *arg, struct err *e)
{
	struct api_call *c = arg;
	struct cart_call *s = c->state;
	const struct wire_gear_cart *g = wire_gear_find(&a->cartridges, s->remove);

	s->exit_code = 0;
	if (g == NULL) {
		s->exit_code = EXIT_EMBEDDED;
		return err_set(e, ERR_NOT_FOUND, NULL,
		    "Cartridge '%.80s' not found in application '%s'.", s->remove, a->name);
	}
	out->is_one_way = true;
	str_list_fini(&s->names);
	return cart_pick_without(
	    c->b, a, (size_t)(g - a->cartridges.v), &out->cartridges, &s->names, &s->exit_code, e);
}

static void
begin(struct api_call *c)
{
	struct cart_call *s = c->state;

	idler_touch(c->b, s->app_id);
	app_cart_change(c->b, s->app_id, s->remove != NULL ? plan_remove : plan_add, c, stored, c);
}

static void
vars_set(const struct err *e, void *arg)
{
	struct api_call *c = arg;

	if (e != NULL)
		api_fail_err(c, e, 1);
	else
		begin(c);
}

static bool
check_sizes(struct api_call *c, const struct cart_ask_list *asks)
{
	for (size_t i = 0; i < asks->n; i++) {
		AUTO(free) char *size = xstrdup_null(asks->v[i].gear_size);
		struct wire_limits limits;

		if (size == NULL)
			continue;
		str_lower(size);
		if (!profile_get(c->b, size, &limits)) {
			api_fail(c, 422, EXIT_SIZE, "gear_size",
			    "The gear size '%.64s' is not valid for this domain.", size);
			return false;
		}
	}
	return true;
}

static bool
is_named(const struct broker *b, const struct wire_app *a, const char *word)
{
	for (size_t i = 0; i < a->cartridges.n; i++) {
		AUTO(free) char *full = api_view_cart_name(b, &a->cartridges.v[i]);

		if (strcmp(a->cartridges.v[i].name, word) == 0 || strcmp(full, word) == 0)
			return true;
	}
	return false;
}

/* Whom one is to be beside: in a plain application all are. */
static bool
check_beside(struct api_call *c, const struct wire_app *a, const struct cart_ask_list *asks)
{
	for (size_t i = 0; i < asks->n; i++) {
		const char *word = asks->v[i].beside;

		if (word != NULL && !is_named(c->b, a, word)) {
			api_fail(c, 422, CART_RULES_UNUSABLE, "colocate_with",
			    "Application '%s' has no cartridge '%.80s' to share gears with.",
			    a->name, word);
			return false;
		}
		if (word != NULL && a->scalable) {
			api_fail(c, 422, CART_RULES_UNUSABLE, "colocate_with",
			    "In a scalable application the manifest says who shares gears "
			    "(Group-Overrides): leave colocate_with out.");
			return false;
		}
	}
	return true;
}

static bool
read_vars(struct api_call *c, struct wire_var_list *out)
{
	const struct codec_value *v = api_param_value(c->params, "environment_variables");
	struct err e = { 0 };
	int exit_code;

	if (v == NULL || api_env_parse(v, false, out, &exit_code, &e) == 0)
		return true;
	api_fail(c, 422, exit_code, e.field, "%s", e.text);
	return false;
}

static void
resolved(struct cart_pick *pick, const struct err *e, int exit_code, void *arg)
{
	struct api_call *c = arg;
	struct cart_call *s = c->state;

	if (e != NULL) {
		api_fail_as(c, e, 422, exit_code);
		return;
	}
	s->pick = *pick;
	*pick = (struct cart_pick){ 0 };
	if (s->vars.n > 0)
		app_set_vars(c->b, s->app_id, &s->vars, false, vars_set, c);
	else
		begin(c);
}

void
api_cart_add(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(cart_ask_list_fini) struct cart_ask_list asks = { 0 };
	struct cart_call *s;

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	s = cart_call_new(c, &a);
	if (!api_cart_ask(c, true, &asks))
		return;
	if (asks.n == 0) {
		api_fail(c, 422, CART_RULES_UNUSABLE, "cartridge",
		    "The parameter 'cartridge' is required: the name of a cartridge to add.");
		return;
	}
	s->is_list = asks.n > 1;
	if (!check_sizes(c, &asks) || !check_beside(c, &a, &asks) ||
	    !api_cart_ask_storage(c, a.domain, &asks) || !read_vars(c, &s->vars))
		return;
	cart_resolve_start(c->b, &asks, c->who.login, &a, resolved, c);
}

void
api_cart_remove(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct wire_gear_cart *g;
	struct cart_call *s;

	if (!api_load_app(c, ACCESS_EDIT, &a))
		return;
	g = api_load_cart(c, &a);
	if (g == NULL)
		return;
	s = cart_call_new(c, &a);
	s->remove = xstrdup(g->name);
	begin(c);
}
