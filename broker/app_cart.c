#include "broker/app_cart.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/change.h"
#include "broker/gear_disk.h"
#include "broker/gear_group.h"
#include "broker/record.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

struct op {
	char *app_id; /* owned */
	app_cart_plan_fn *plan;
	void *plan_arg; /* borrowed */
	app_done_fn *done;
	void *arg; /* borrowed, handed back */
};

static void
op_done(const struct err *e, void *arg)
{
	struct op *op = arg;

	op->done(e, op->arg);
	free(op->app_id);
	free(op);
}

void
app_cart_list_fini(struct wire_gear_cart_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		wire_gear_cart_fini(&l->v[i]);
	free(l->v);
	*l = (struct wire_gear_cart_list){ 0 };
}

void
app_cart_list_copy(struct wire_gear_cart_list *to, const struct wire_gear_cart_list *from)
{
	struct wire_gear_cart_list l = { 0 };

	for (size_t i = 0; i < from->n; i++)
		codec_copy(
		    &wire_gear_cart_codec, codec_list_add(&wire_gear_cart_codec, &l), &from->v[i]);
	app_cart_list_fini(to);
	*to = l;
}

/* The archive holds the manifest too. */
void
app_cart_copy_to_gear(struct wire_gear_cart_list *to, const struct wire_gear_cart_list *from)
{
	app_cart_list_fini(to);
	for (size_t i = 0; i < from->n; i++) {
		struct wire_gear_cart *c;

		if (from->v[i].manifest != NULL && from->v[i].digest == NULL)
			continue; /* external: nothing of it is in a gear */
		c = codec_list_add(&wire_gear_cart_codec, to);
		codec_copy(&wire_gear_cart_codec, c, &from->v[i]);
		mem_set_str(&c->manifest, NULL);
		mem_set_str(&c->profile, NULL);
		c->scales_from = c->scales_to = c->storage_gb = 0;
	}
}

bool
app_cart_is_pending(const struct wire_app *a)
{
	return a->spec.cart_rev != a->status.cart_rev;
}

/* --- the gears --- */

struct put {
	struct store_txn *t; /* borrowed */
	const struct wire_app *a;
	const struct gear_group_list *groups;
	bool *is_placed; /* by group: a gear has cartridges of it */
};

static bool
has(const struct wire_gear_cart_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, name) == 0)
			return true;
	}
	return false;
}

/* Those of its group, and what it has already: nothing moves to another gear. */
static void
list_of(const struct put *p, const struct gear_group *grp, const struct wire_gear *g,
    struct wire_gear_cart_list *out)
{
	const struct wire_gear_cart_list *all = &p->a->cartridges;

	for (size_t i = 0; i < all->n; i++) {
		const char *name = all->v[i].name;

		if (!str_list_has(&grp->carts, name) && !has(&g->cartridges, name))
			continue;
		codec_copy(
		    &wire_gear_cart_codec, codec_list_add(&wire_gear_cart_codec, out), &all->v[i]);
		for (size_t k = 0; k < p->groups->n; k++)
			p->is_placed[k] =
			    p->is_placed[k] || str_list_has(&p->groups->v[k].carts, name);
	}
}

static bool
put_gear(const char *key, int64_t rev, void *rec, void *arg)
{
	struct wire_gear *g = rec;
	struct put *p = arg;
	struct wire_gear_cart_list carts = { 0 };
	int group = gear_group_of(p->groups, g);

	/* One without a cartridge left is removed as it is. */
	if (strcmp(g->app_id, p->a->id) != 0 || g->want == WIRE_WANT_GONE || group < 0)
		return true;
	list_of(p, &p->groups->v[group], g, &carts);
	app_cart_copy_to_gear(&g->cartridges, &carts);
	app_cart_list_fini(&carts);
	gear_disk_set_extra(g, p->a, &p->groups->v[group]);
	g->cart_rev = p->a->spec.cart_rev;
	record_put_cas(p->t, xstrdup(key), rev, &wire_gear_codec, g);
	return true;
}

/* The gears that are there, and new ones for services that have none. */
static int
put_gears(struct broker *b, struct store_txn *t, const struct wire_app *a, struct err *e)
{
	AUTO_FINI(gear_group_fini) struct gear_group_list groups = { 0 };
	AUTO(free_ptr) bool *is_placed = NULL;
	struct put p = { .t = t, .a = a, .groups = &groups };
	int rc = 0;

	gear_group_plan(b, a, &groups);
	p.is_placed = is_placed = xcalloc(groups.n + 1, sizeof *is_placed);
	record_each_with(b->store, STORE_PREFIX_GEAR, a->id, &wire_gear_codec, put_gear, &p);
	for (size_t k = 0; rc == 0 && k < groups.n; k++) {
		if (!is_placed[k] && !groups.v[k].is_web)
			rc = app_put_gears(b, t, a, &groups.v[k], e);
	}
	return rc;
}

/* --- the change --- */

static int
change_build(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct op *op = arg;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct app_cart_change c = { .rolls = true };
	int64_t rev;
	int rc;

	if (record_app_by_id(b->store, op->app_id, &a, &rev, e) < 0)
		return -1;
	if (a.spec.deleted)
		return err_set(
		    e, ERR_NOT_FOUND, "application", "Application '%s' is being deleted.", a.name);
	if (app_cart_is_pending(&a))
		return err_set(e, ERR_BUSY, "cartridges",
		    "Another operation is running on the cartridges of application '%s'. Try again "
		    "when it has ended.",
		    a.name);
	rc = op->plan(&a, &c, op->plan_arg, e);
	if (rc == 0) {
		app_cart_list_fini(&a.cartridges_before);
		if (!c.is_one_way)
			app_cart_list_copy(&a.cartridges_before, &a.cartridges);
		gear_disk_keep(b, &a, &c.cartridges);
		app_cart_list_copy(&a.cartridges, &c.cartridges);
		a.spec.cart_rev++;
		a.spec.cart_at = (int64_t)time(NULL);
		if (c.rolls)
			a.spec.cart_roll = a.spec.cart_rev;
		rc = put_gears(b, t, &a, e);
	}
	if (rc == 0) {
		record_put_cas(t, store_key_app(a.domain, a.name), rev, &wire_app_codec, &a);
	}
	app_cart_list_fini(&c.cartridges);
	return rc;
}

void
app_cart_change(struct broker *b, const char *app_id, app_cart_plan_fn *plan, void *plan_arg,
    app_done_fn *done, void *arg)
{
	struct op *op = xcalloc(1, sizeof *op);

	*op = (struct op){ .app_id = xstrdup(app_id),
		.plan = plan,
		.plan_arg = plan_arg,
		.done = done,
		.arg = arg };
	change_start(b, change_build, op_done, op);
}

void
app_cart_put_back(struct broker *b, struct store_txn *t, struct wire_app *a)
{
	struct err e = { 0 };

	if (!app_cart_is_pending(a))
		return;
	if (a->cartridges_before.n > 0) {
		app_cart_list_copy(&a->cartridges, &a->cartridges_before);
		app_cart_list_fini(&a->cartridges_before);
		a->spec.cart_rev++;
		if (put_gears(b, t, a, &e) < 0)
			log_error("cartridges_not_put_back", LOG_STR("app", a->id), LOG_ERR(&e));
	}
	a->status.cart_rev = a->spec.cart_rev;
	a->spec.cart_roll = a->status.cart_roll;
}
