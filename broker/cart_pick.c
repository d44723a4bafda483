#include "broker/cart_pick.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/cart_names.h"
#include "broker/cart_rules.h"
#include "broker/catalog.h"
#include "broker/record.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum { EXIT_AMBIGUOUS = 197 };

void
cart_ask_list_fini(struct cart_ask_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].name);
		free(l->v[i].url);
		free(l->v[i].version);
		free(l->v[i].checksum);
		free(l->v[i].gear_size);
		free(l->v[i].beside);
	}
	free(l->v);
	*l = (struct cart_ask_list){ 0 };
}

void
cart_pick_fini(struct cart_pick *p)
{
	for (size_t i = 0; i < p->n; i++) {
		wire_cart_fini(&p->v[i].cart);
		wire_gear_cart_fini(&p->v[i].gear);
	}
	free(p->v);
	str_list_fini(&p->notices);
	*p = (struct cart_pick){ 0 };
}

struct cart_pick_one *
cart_pick_add(struct cart_pick *p)
{
	p->v = xreallocarray(p->v, p->n + 1, sizeof *p->v);
	p->v[p->n] = (struct cart_pick_one){ 0 };
	return &p->v[p->n++];
}

/* --- names --- */

static const struct catalog_cart *
find(const struct broker *b, const char *name, struct cart_pick *p, struct err *e)
{
	const struct catalog_cart *cc = catalog_find(b->catalog, name, e);
	const char *today;
	const char *gone;

	if (cc != NULL || e->code != ERR_NOT_FOUND)
		return cc;
	today = cart_names_today(name, &gone);
	if (gone != NULL) {
		(void)err_set(e, ERR_NOT_FOUND, "cartridge",
		    "The cartridge %.64s does not exist any more: %s.", name, gone);
		return NULL;
	}
	if (today == NULL)
		return NULL;
	cc = catalog_find(b->catalog, today, e);
	if (cc != NULL)
		str_list_take(
		    &p->notices, xasprintf("%.64s does not exist any more: %s is used instead.",
		                     name, cc->full_name));
	return cc;
}

void
cart_pick_wish(const struct cart_ask *ask, struct wire_gear_cart *to)
{
	to->scales_from = ask->scales_from;
	to->scales_to = ask->scales_to;
	to->storage_gb = ask->storage_gb;
	mem_set_str(&to->profile, ask->gear_size);
	if (to->profile != NULL)
		str_lower(to->profile);
}

int
cart_pick_name(const struct broker *b, const struct cart_ask *ask, struct cart_pick *p,
    int *exit_code, struct err *e)
{
	struct err why = { 0 };
	const struct catalog_cart *cc;
	struct cart_pick_one *one;

	cc = find(b, ask->name, p, &why);
	if (cc == NULL) {
		*exit_code = why.code == ERR_CONFLICT ? EXIT_AMBIGUOUS : CART_RULES_UNUSABLE;
		return err_set(e, ERR_INVALID, "cartridge", "%s", why.text);
	}
	one = cart_pick_add(p);
	codec_copy(&wire_cart_codec, &one->cart, &cc->cart);
	one->cart.is_obsolete = cc->is_obsolete;
	catalog_gear_cart(cc, &one->gear);
	cart_pick_wish(ask, &one->gear);
	return 0;
}

void
cart_pick_load(const struct broker *b, const struct wire_gear_cart *g, struct wire_cart *out)
{
	const struct catalog_cart *cc = catalog_of(b->catalog, g);
	struct err e = { 0 };

	if (g->manifest != NULL &&
	    wire_cart_parse(g->manifest, strlen(g->manifest), g->version, out, &e) == 0)
		return;
	if (cc != NULL) {
		codec_copy(&wire_cart_codec, out, &cc->cart);
		return;
	}
	*out = (struct wire_cart){ .name = xstrdup(g->name),
		.version = xstrdup(g->version),
		.cart_version = xstrdup(g->cart_version == NULL ? "" : g->cart_version),
		.cart_vendor = xstrdup(g->vendor == NULL ? "" : g->vendor),
		.short_name = xstrdup(""),
		.vendor = xstrdup(""),
		.display_name = xasprintf("%s-%s", g->name, g->version),
		.description = xstrdup(""),
		.website = xstrdup(""),
		.license = xstrdup("unknown"),
		.license_url = xstrdup(""),
		.architecture = xstrdup("noarch"),
		.platform = xstrdup("linux") };
	str_list_add(&out->categories, g->is_web       ? "web_framework"
	                               : g->is_service ? "service"
	                                               : "plugin");
}

/* --- rules --- */

/* An application's cartridges as the rules see them. */
struct plan {
	struct cart_rules r;
	const struct broker *b;                        /* borrowed */
	const struct wire_app *a;                      /* borrowed */
	struct wire_cart *own;                         /* owned: of those that are there */
	struct wire_gear_cart *pulled[CART_RULES_MAX]; /* owned */
	size_t pulled_n;
};

/* What a feature of the catalogue is, with the record that it would make as its tag. */
static size_t
find_feature(const char *feature, struct cart_rules_item *v, size_t max, void *arg)
{
	struct plan *pl = arg;
	size_t n = 0;

	for (size_t i = 0; i < catalog_count(pl->b->catalog) && n < max; i++) {
		const struct catalog_cart *cc = catalog_at(pl->b->catalog, i);

		if (!cc->is_active || cc->is_obsolete || !cart_rules_has(&cc->cart, feature))
			continue;
		v[n] = (struct cart_rules_item){ .cart = &cc->cart };
		if (n == 0 && pl->pulled_n < CART_RULES_MAX) {
			struct wire_gear_cart *g = xcalloc(1, sizeof *g);

			catalog_gear_cart(cc, g);
			v[n].tag = pl->pulled[pl->pulled_n++] = g;
		}
		n++;
	}
	return n;
}

struct domain_look {
	const struct wire_app *a;
	const char *name;
	bool found;
};

static bool
look_domain(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *o = rec;
	struct domain_look *l = arg;

	(void)key;
	(void)rev;
	if (l->a->id != NULL && strcmp(o->id, l->a->id) == 0)
		return true;
	l->found = l->found || wire_gear_find(&o->cartridges, l->name) != NULL;
	return !l->found;
}

static bool
is_in_domain(const struct wire_cart *c, void *arg)
{
	const struct plan *pl = arg;
	AUTO(free) char *prefix = store_key_app(pl->a->domain, "");
	struct domain_look l = { .a = pl->a, .name = c->name };

	record_each(pl->b->store, prefix, &wire_app_codec, look_domain, &l);
	return l.found;
}

static void
plan_init(struct plan *pl, const struct broker *b, const struct wire_app *a)
{
	*pl = (struct plan){ .b = b, .a = a };
	pl->r.is_scalable = a->scalable;
	pl->r.allows_obsolete = b->conf.allow_obsolete;
	pl->r.find = find_feature;
	pl->r.domain = is_in_domain;
	pl->r.arg = pl;
	pl->own = xcalloc(a->cartridges.n + 1, sizeof *pl->own);
	for (size_t i = 0; i < a->cartridges.n; i++) {
		cart_pick_load(b, &a->cartridges.v[i], &pl->own[i]);
		(void)cart_rules_add(&pl->r, &pl->own[i], &a->cartridges.v[i], false);
	}
}

static void
plan_fini(struct plan *pl)
{
	for (size_t i = 0; i < pl->a->cartridges.n; i++)
		wire_cart_fini(&pl->own[i]);
	free(pl->own);
	for (size_t i = 0; i < pl->pulled_n; i++) {
		wire_gear_cart_fini(pl->pulled[i]);
		free(pl->pulled[i]);
	}
}

static void
take_order(const struct plan *pl, bool is_new_app, struct wire_gear_cart_list *out)
{
	for (size_t i = 0; i < pl->r.n; i++) {
		struct wire_gear_cart *g = codec_list_add(&wire_gear_cart_codec, out);

		codec_copy(&wire_gear_cart_codec, g, pl->r.v[i].tag);
		if (pl->r.v[i].is_new && !is_new_app)
			g->added_at = (int64_t)time(NULL);
	}
}

int
cart_pick_with(const struct broker *b, const struct wire_app *a, const struct cart_pick *p,
    struct wire_gear_cart_list *out, int *exit_code, struct err *e)
{
	AUTO_FINI(plan_fini) struct plan pl;

	plan_init(&pl, b, a);
	for (size_t i = 0; i < p->n; i++) {
		if (cart_rules_add(&pl.r, &p->v[i].cart, &p->v[i].gear, true))
			continue;
		*exit_code = CART_RULES_UNUSABLE;
		return err_set(e, ERR_LIMIT, "cartridge", "An application can have %d cartridges.",
		    CART_RULES_MAX);
	}
	if (cart_rules_resolve(&pl.r, e) < 0) {
		*exit_code = pl.r.exit_code;
		return -1;
	}
	take_order(&pl, a->cartridges.n == 0, out);
	return 0;
}

int
cart_pick_without(const struct broker *b, const struct wire_app *a, size_t at,
    struct wire_gear_cart_list *out, struct str_list *gone, int *exit_code, struct err *e)
{
	AUTO_FINI(plan_fini) struct plan pl;

	plan_init(&pl, b, a);
	if (cart_rules_remove(&pl.r, at, e) < 0) {
		*exit_code = pl.r.exit_code;
		return -1;
	}
	for (size_t i = 0; i < pl.r.n; i++) {
		if (pl.r.v[i].is_new)
			str_list_add(gone, pl.r.v[i].cart->name);
		else
			codec_copy(&wire_gear_cart_codec,
			    codec_list_add(&wire_gear_cart_codec, out), pl.r.v[i].tag);
	}
	return 0;
}
