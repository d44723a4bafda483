/* The catalogue of cartridges, and the cartridges of an application. */
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_domain.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/broker.h"
#include "lib/base/mem.h"

enum { WORD_MAX = 128, EXIT_EMBEDDED = 129 };

struct filter {
	const char *name, *category, *feature; /* borrowed or NULL */
};

static bool
has_category(const struct catalog_cart *cc, const char *category)
{
	if (strcmp(category, "standalone") == 0)
		return cc->is_web;
	if (strcmp(category, "embedded") == 0)
		return !cc->is_web;
	return wire_cart_has_category(&cc->cart, category);
}

static bool
has_feature(const struct catalog_cart *cc, const char *feature)
{
	return strcmp(cc->full_name, feature) == 0 || strcmp(cc->cart.name, feature) == 0 ||
	       str_list_has(&cc->cart.provides, feature);
}

static bool
passes(const struct api_call *c, const struct catalog_cart *cc, const struct filter *f)
{
	if (f->name == NULL && (!cc->is_active || (cc->is_obsolete && c->minor >= 7)))
		return false;
	return (f->name == NULL || strcmp(cc->full_name, f->name) == 0) &&
	       (f->category == NULL || has_category(cc, f->category)) &&
	       (f->feature == NULL || has_feature(cc, f->feature));
}

static void
send_list(struct api_call *c, const struct filter *f)
{
	struct api_json *j = api_data(c, "cartridges");

	api_json_arr(j, NULL);
	for (size_t i = 0; i < catalog_count(c->b->catalog); i++) {
		const struct catalog_cart *cc = catalog_at(c->b->catalog, i);

		if (passes(c, cc, f))
			api_view_cart(c, j, NULL, cc);
	}
	api_json_end_arr(j);
	api_send(c, 200);
}

void
api_cart_list(struct api_call *c)
{
	struct filter f = { 0 };
	struct err e = { 0 };

	if (api_param_str(c->params, "name", WORD_MAX, &f.name, &e) < 0 ||
	    api_param_str(c->params, "category", WORD_MAX, &f.category, &e) < 0 ||
	    api_param_str(c->params, "feature", WORD_MAX, &f.feature, &e) < 0 ||
	    (f.feature == NULL &&
	        api_param_str(c->params, "features", WORD_MAX, &f.feature, &e) < 0)) {
		api_fail_err(c, &e, 109);
		return;
	}
	send_list(c, &f);
}

void
api_cart_list_by(struct api_call *c)
{
	const char *name = api_param_of_path(c->params, "name");
	struct filter f = { 0 };

	if (strcmp(name, "standalone") == 0 || strcmp(name, "embedded") == 0)
		f.category = name;
	else
		f.feature = name;
	send_list(c, &f);
}

void
api_cart_show(struct api_call *c)
{
	const char *name = api_param_of_path(c->params, "name");
	const struct catalog_cart *cc;
	struct err e = { 0 };

	if (strcmp(name, "standalone") == 0 || strcmp(name, "embedded") == 0) {
		api_cart_list_by(c);
		return;
	}
	cc = catalog_find(c->b->catalog, name, &e);
	if (cc == NULL) {
		api_fail(c, 404, 1, NULL, "Cartridge '%.80s' not found.", name);
		return;
	}
	api_view_cart(c, api_data(c, "cartridge"), NULL, cc);
	api_send(c, 200);
}

/* --- of an application --- */

void
api_cart_of_app(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	api_view_app_carts(c, api_data(c, "cartridges"), NULL, &a);
	api_send(c, 200);
}

const struct wire_gear_cart *
api_load_cart(struct api_call *c, const struct wire_app *a)
{
	const char *want = api_param_of_path(c->params, "cartridge");

	for (size_t i = 0; i < a->cartridges.n; i++) {
		AUTO(free) char *name = api_view_cart_name(c->b, &a->cartridges.v[i]);

		if (strcmp(name, want) == 0 || strcmp(a->cartridges.v[i].name, want) == 0)
			return &a->cartridges.v[i];
	}
	api_fail(c, 404, EXIT_EMBEDDED, NULL, "Cartridge '%.80s' not found in application '%s'.",
	    want, a->name);
	return NULL;
}

void
api_cart_of_app_show(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct wire_gear_cart *g;

	if (!api_load_app(c, ACCESS_VIEW, &a))
		return;
	g = api_load_cart(c, &a);
	if (g == NULL)
		return;
	if (api_domain_includes(c, "status_messages")) {
		api_cart_status(c, &a, g);
		return;
	}
	api_view_app_cart(c, api_data(c, "cartridge"), NULL, &a, g);
	api_send(c, 200);
}
