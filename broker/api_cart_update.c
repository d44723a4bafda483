/* One cartridge of an application: its status as the cartridge tells it (GET), its scale (PUT). */
#include <inttypes.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_json.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/cart_pick.h"
#include "broker/gear_disk.h"
#include "broker/node_act.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum {
	STATUS_S = 60,
	OUTPUT_MAX = 16 * 1024,
	EXIT_EMBEDDED = 129,
	EXIT_UNSCALED = 100,
	EXIT_GEARS = 104,
	EXIT_DISK = 140, /* no node has room, or the gear uses it */
	EXIT_STORAGE = 165,
	EXIT_SCALES = 168,
};

/* --- status --- */

/* One gear's answer. */
struct turn {
	struct status *status; /* borrowed */
	char *node, *uuid;     /* owned */
	struct node_act *act;  /* owned; NULL: ended */
	struct buf output;
};

struct status {
	struct api_call *c;  /* borrowed */
	char *app_id, *cart; /* owned */
	struct turn **v;     /* owned */
	size_t n, pending;
};

static void
status_free(void *p)
{
	struct status *s = p;

	for (size_t i = 0; i < s->n; i++) {
		node_act_cancel(s->v[i]->act);
		buf_fini(&s->v[i]->output);
		free(s->v[i]->node);
		free(s->v[i]->uuid);
		free(s->v[i]);
	}
	free(s->v);
	free(s->app_id);
	free(s->cart);
	free(s);
}

static void
send_cart(struct api_call *c, const char *app_id, const char *cart, const char *messages)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct wire_gear_cart *g = NULL;
	struct err e = { 0 };

	if (record_app_by_id(c->b->store, app_id, &a, NULL, &e) == 0)
		g = wire_gear_find(&a.cartridges, cart);
	if (g == NULL) {
		api_fail(c, 404, EXIT_EMBEDDED, NULL, "Cartridge '%s' is no longer there.", cart);
		return;
	}
	api_view_app_cart_with(c, api_data(c, "cartridge"), NULL, &a, g, messages);
	api_send(c, 200);
}

static void
finish(struct status *s)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct api_json j = { .b = &b };

	api_json_arr(&j, NULL);
	for (size_t i = 0; i < s->n; i++) {
		api_json_obj(&j, NULL);
		api_json_str(&j, "gear_id", s->v[i]->uuid);
		api_json_str(&j, "message", s->v[i]->output.n == 0 ? "" : s->v[i]->output.p);
		api_json_end_obj(&j);
	}
	api_json_end_arr(&j);
	send_cart(s->c, s->app_id, s->cart, b.p);
}

static void
turn_ended(struct turn *t)
{
	while (t->output.n > 0 && t->output.p[t->output.n - 1] == '\n')
		buf_truncate(&t->output, t->output.n - 1);
	if (--t->status->pending == 0)
		finish(t->status);
}

/* What it prints, wherever; else what its scripts said; else that it could not be asked. */
static void
on_done(const struct wire_act_result *r, const struct err *e, void *arg)
{
	struct turn *t = arg;

	t->act = NULL;
	for (size_t i = 0; r != NULL && t->output.n == 0 && i < r->messages.n; i++) {
		const char *text = strstr(r->messages.v[i], ": ");

		buf_addf(&t->output, "%s\n", text == NULL ? r->messages.v[i] : text + 2);
	}
	if (t->output.n == 0 && r != NULL && !r->ok)
		buf_adds(&t->output, r->reason == NULL ? "it failed" : r->reason);
	if (t->output.n == 0 && r == NULL)
		buf_adds(&t->output, e->text);
	turn_ended(t);
}

static void
on_out(const char *cart, int fd, const char *text, void *arg)
{
	struct turn *t = arg;

	(void)cart;
	(void)fd;
	if (t->output.n < OUTPUT_MAX)
		buf_adds(&t->output, text);
}

static bool
add_turn(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct status *s = arg;
	const char *at = key + strlen(STORE_PREFIX_GEAR);
	struct turn *t;

	(void)rev;
	if (wire_gear_find(&g->cartridges, s->cart) == NULL || strcmp(g->app_id, s->app_id) != 0 ||
	    g->want == WIRE_WANT_GONE)
		return true;
	t = xcalloc(1, sizeof *t);
	*t = (struct turn){
		.status = s, .node = xstrndup(at, strcspn(at, "/")), .uuid = xstrdup(g->uuid)
	};
	s->v = xreallocarray(s->v, s->n + 1, sizeof(struct turn *));
	s->v[s->n++] = t;
	return true;
}

void
api_cart_status(struct api_call *c, const struct wire_app *a, const struct wire_gear_cart *g)
{
	struct status *s = xcalloc(1, sizeof *s);

	*s = (struct status){ .c = c, .app_id = xstrdup(a->id), .cart = xstrdup(g->name) };
	api_call_keep(c, s, status_free);
	record_each_with(c->b->store, STORE_PREFIX_GEAR, a->id, &wire_gear_codec, add_turn, s);
	s->pending = s->n + 1;
	for (size_t i = 0; i < s->n; i++) {
		struct turn *t = s->v[i];
		const struct wire_act_order order = {
			.cart = s->cart, .action = xstrdup("status"), .timeout_s = STATUS_S
		};
		struct err e = { 0 };

		t->act = node_act_start(c->b, t->node, t->uuid, &order, on_out, on_done, t, &e);
		free(order.action);
		if (t->act == NULL)
			on_done(NULL, &e, t);
	}
	if (--s->pending == 0)
		finish(s);
}

/* --- scale --- */

struct update {
	char *app_id, *cart; /* owned */
	int64_t from, to;    /* 0: not said */
	int64_t gears;       /* to scale to at once; 0: as they are */
	bool has_scales, has_storage;
	int64_t storage_gb;
};

static void
update_free(void *p)
{
	struct update *u = p;

	free(u->app_id);
	free(u->cart);
	free(u);
}

static int
do_update(struct wire_app *a, void *arg, struct err *e)
{
	const struct update *u = arg;

	for (size_t i = 0; i < a->cartridges.n; i++) {
		struct wire_gear_cart *g = &a->cartridges.v[i];

		if (strcmp(g->name, u->cart) != 0)
			continue;
		g->scales_from = u->from != 0 ? u->from : g->scales_from;
		g->scales_to = u->to != 0 ? u->to : g->scales_to;
		return 0;
	}
	return err_set(e, ERR_NOT_FOUND, NULL, "Cartridge '%s' is no longer there.", u->cart);
}

static void
scaled(struct api_call *c, const struct err *e)
{
	const struct update *u = c->state;

	if (e != NULL)
		api_load_fail_rollout(c, e);
	else
		send_cart(c, u->app_id, u->cart, "null");
}

static void
scale_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct update *u = c->state;

	if (e != NULL && e->code == ERR_LIMIT)
		api_fail(c, 422, EXIT_GEARS, NULL, "%s", e->text);
	else if (e != NULL)
		api_fail_err(c, e, 1);
	else
		api_load_settle(c, u->app_id, scaled);
}

static void
updated(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct update *u = c->state;

	if (e != NULL)
		api_fail_err(c, e, e->code == ERR_NOT_FOUND ? EXIT_EMBEDDED : 1);
	else if (u->gears > 0)
		app_scale(c->b, u->app_id, u->gears, scale_stored, c);
	else
		send_cart(c, u->app_id, u->cart, "null");
}

static void
storage_set(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	struct update *u = c->state;

	if (e != NULL && e->code == ERR_LIMIT)
		api_fail(c, 422, EXIT_DISK, e->field, "%s", e->text);
	else if (e != NULL)
		api_fail_err(c, e, e->code == ERR_NOT_FOUND ? EXIT_EMBEDDED : 1);
	else if (u->has_scales)
		app_change(c->b, u->app_id, do_update, u, updated, c);
	else
		send_cart(c, u->app_id, u->cart, "null");
}

static bool
fail_scales(struct api_call *c, const char *field, const char *text)
{
	api_fail(c, 422, EXIT_SCALES, field, "%s", text);
	return false;
}

static bool
check_storage(struct api_call *c, const struct wire_app *a, struct update *u)
{
	int exit_code = EXIT_STORAGE;
	struct err e = { 0 };

	u->has_storage = api_param_has(c->params, "additional_gear_storage");
	if (!u->has_storage)
		return true;
	if (api_param_int(c->params, "additional_gear_storage", 0, INT32_MAX, &u->storage_gb, &e) ==
	        0 &&
	    gear_disk_may(c->b, a->owner, u->storage_gb, &exit_code, &e) == 0)
		return true;
	api_fail_as(c, &e, 422, exit_code);
	return false;
}

static bool
check_scales(
    struct api_call *c, const struct wire_app *a, const struct wire_gear_cart *g, struct update *u)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart k = { 0 };
	const struct wire_cart_scaling *s;
	int64_t from;
	int64_t to;
	struct err e = { 0 };

	if (api_param_int(c->params, "scales_from", 1, APP_GEARS_MAX, &u->from, &e) < 0 ||
	    api_param_int(c->params, "scales_to", -1, APP_GEARS_MAX, &u->to, &e) < 0 ||
	    (api_param_has(c->params, "scales_to") && u->to == 0)) {
		if (e.code == ERR_NONE)
			return fail_scales(c, "scales_to", "scales_to must be 1 or more, or -1.");
		api_fail_err(c, &e, EXIT_SCALES);
		return false;
	}
	if (!a->scalable) {
		api_fail(c, 422, EXIT_UNSCALED, NULL, "Application '%s' is not scalable.", a->name);
		return false;
	}
	cart_pick_load(c->b, g, &k);
	s = k.components.n == 0 ? NULL : &k.components.v[0].scaling;
	if (!g->is_web || (s != NULL && s->max == 1)) {
		api_fail(c, 422, API_NO_EXIT, NULL, "The cartridge %s-%s cannot be scaled.",
		    g->name, g->version);
		return false;
	}
	from = u->from != 0 ? u->from : g->scales_from > 0 ? g->scales_from : 1;
	to = u->to != 0 ? u->to : g->scales_to != 0 ? g->scales_to : -1;
	if (s != NULL && s->max > 0 && (to > s->max || from > s->max))
		return fail_scales(c, u->to != 0 ? "scales_to" : "scales_from",
		    "That is more than the cartridge's own maximum.");
	if (to != -1 && from > to)
		return fail_scales(c, u->from != 0 ? "scales_from" : "scales_to",
		    "scales_from may not be greater than scales_to.");
	if (a->spec.gears < from)
		u->gears = from;
	else if (to != -1 && a->spec.gears > to)
		u->gears = to;
	return true;
}

void
api_cart_update(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct wire_gear_cart *g;
	struct update *u;

	if (!api_load_app(c, ACCESS_EDIT, &a) || (g = api_load_cart(c, &a)) == NULL)
		return;
	u = xcalloc(1, sizeof *u);
	*u = (struct update){ .app_id = xstrdup(a.id), .cart = xstrdup(g->name) };
	api_call_keep(c, u, update_free);
	u->has_scales =
	    api_param_has(c->params, "scales_from") || api_param_has(c->params, "scales_to");
	if (!check_storage(c, &a, u) || (u->has_scales && !check_scales(c, &a, g, u)))
		return;
	if (!u->has_scales && !u->has_storage)
		(void)fail_scales(
		    c, "scales_from", "Give scales_from, scales_to or additional_gear_storage.");
	else if (u->has_storage)
		gear_disk_change(c->b, a.id, g->name, u->storage_gb, storage_set, c);
	else
		app_change(c->b, a.id, do_update, u, updated, c);
}
