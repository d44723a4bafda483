/* The catalogue for administrators: import, activate, remove, upgrade applications. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_cart_ask.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/app_cart.h"
#include "broker/artifact.h"
#include "broker/blob.h"
#include "broker/broker.h"
#include "broker/cart_fetch.h"
#include "broker/cart_resolve.h"
#include "broker/cart_rules.h"
#include "broker/cart_type.h"
#include "broker/catalog.h"
#include "broker/record.h"
#include "broker/rollout.h"
#include "lib/base/mem.h"
#include "lib/http/http_server.h"
#include "lib/store/store_key.h"

enum { WORD_MAX = 128, EXIT_NONE_SUCH = 1, EXIT_BOOL = 167 };

/* --- showing --- */

static void
write_type(const struct api_call *c, struct api_json *j, const struct catalog_cart *cc)
{
	api_json_obj(j, NULL);
	api_json_str(j, "id", cc->id);
	api_json_str(j, "name", cc->full_name);
	api_json_str(j, "cartridge_version", cc->cart.cart_version);
	api_json_str(j, "vendor", cc->cart.cart_vendor);
	api_json_str(j, "display_name", cc->cart.display_name);
	api_json_str(j, "type", cc->is_web ? "standalone" : "embedded");
	api_json_bool(j, "active", cc->is_active);
	api_json_bool(j, "obsolete", cc->is_obsolete);
	api_json_str(j, "origin", cc->manifest == NULL ? "stock" : "imported");
	api_json_str(j, "url", cc->url);
	api_json_str(j, "digest", cc->digest);
	api_json_strs(j, "compatible_versions", &cc->cart.compatible_versions);
	(void)c;
	api_json_end_obj(j);
}

void
api_cart_admin_list(struct api_call *c)
{
	struct api_json *j = api_data(c, "cartridges");

	api_json_arr(j, NULL);
	for (size_t i = 0; i < catalog_count(c->b->catalog); i++)
		write_type(c, j, catalog_at(c->b->catalog, i));
	api_json_end_arr(j);
	api_send(c, 200);
}

/* By id, or by full name: the active one of it, else the newest. */
static const struct catalog_cart *
find(struct api_call *c, const char *word)
{
	const struct catalog_cart *found = NULL;

	for (size_t i = 0; i < catalog_count(c->b->catalog); i++) {
		const struct catalog_cart *cc = catalog_at(c->b->catalog, i);

		if (strcmp(cc->id, word) == 0)
			return cc;
		if (strcmp(cc->full_name, word) == 0 &&
		    (found == NULL || (cc->is_active && !found->is_active)))
			found = cc;
	}
	return found;
}

static const struct catalog_cart *
find_of_path(struct api_call *c)
{
	const char *word = api_param_of_path(c->params, "id");
	const struct catalog_cart *cc = find(c, word);

	if (cc == NULL)
		api_fail(c, 404, EXIT_NONE_SUCH, NULL,
		    "Cartridge '%.80s' not found in the catalogue.", word);
	return cc;
}

void
api_cart_admin_show(struct api_call *c)
{
	const struct catalog_cart *cc = find_of_path(c);

	if (cc == NULL)
		return;
	write_type(c, api_data(c, "cartridge"), cc);
	api_send(c, 200);
}

/* --- import --- */

struct import {
	struct broker *b; /* borrowed */
	char *url;        /* owned or NULL */
	bool activate;
	char *digest;        /* held; owned or NULL */
	struct str_list ids; /* of the new records */
};

static void
import_free(void *p)
{
	struct import *s = p;

	if (s->digest != NULL)
		blob_store_release(s->b->blobs, s->digest);
	str_list_fini(&s->ids);
	free(s->url);
	free(s->digest);
	free(s);
}

static void
imported(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct import *s = c->state;
	struct api_json *j;

	if (e != NULL) {
		api_fail_err(c, e, CART_RULES_UNUSABLE);
		return;
	}
	j = api_data(c, "cartridges");
	api_json_arr(j, NULL);
	for (size_t i = 0; i < s->ids.n; i++) {
		const struct catalog_cart *cc = find(c, s->ids.v[i]);

		if (cc == NULL)
			continue;
		api_message(c, "info", 0, NULL, "Imported %s.", cc->full_name);
		write_type(c, j, cc);
	}
	api_json_end_arr(j);
	api_send(c, 201);
}

/* Rules that hold for applications hold here: what none could have is refused at once. */
static void
fetched(struct cart_pick_one *one, const struct err *e, void *arg)
{
	struct api_call *c = arg;
	struct import *s = c->state;

	if (e != NULL) {
		api_fail_err(c, e, CART_RULES_UNUSABLE);
		return;
	}
	s->digest = xstrdup_null(one->gear.digest);
	cart_type_import(c->b, one, s->url, c->who.login, s->activate, &s->ids, imported, c);
}

void
api_cart_admin_import(struct api_call *c)
{
	AUTO_FINI(cart_ask_list_fini) struct cart_ask_list asks = { 0 };
	struct import *s = xcalloc(1, sizeof *s);
	struct err e = { 0 };

	s->b = c->b;
	s->activate = true;
	api_call_keep(c, s, import_free);
	if (api_param_bool(c->params, "activate", &s->activate, &e) < 0) {
		api_fail_err(c, &e, EXIT_BOOL);
		return;
	}
	if (!api_cart_ask(c, true, &asks))
		return;
	if (asks.n != 1 || asks.v[0].url == NULL) {
		api_fail(c, 422, CART_RULES_UNUSABLE, "url",
		    "The parameter 'url' is required: of a manifest, an archive or a git "
		    "repository.");
		return;
	}
	s->url = xstrdup(asks.v[0].url);
	cart_fetch_start(c->b, &asks.v[0], true, fetched, c);
}

/* --- import of an archive that the call itself brings --- */

struct upload {
	struct import import; /* first: the call's state */
	struct api_call *c;   /* borrowed */
	struct artifact_sink *sink;
	bool has_all;
	struct err e;
};

static void
upload_free(void *p)
{
	struct upload *u = p;

	artifact_sink_cancel(u->sink);
	import_free(&u->import);
}

static void
on_upload_room(void *arg)
{
	const struct upload *u = arg;

	if (u->c->req != NULL)
		http_req_pause(u->c->req, false);
}

static void
on_uploaded(const char *path, const struct err *e, void *arg)
{
	const struct cart_ask ask = { 0 };
	struct upload *u = arg;

	u->sink = NULL;
	if (e == NULL) {
		cart_fetch_file(u->c->b, path, &ask, fetched, u->c);
	} else if (u->has_all) {
		api_fail_err(u->c, e, CART_RULES_UNUSABLE);
	} else { /* told once all was sent */
		u->e = *e;
		on_upload_room(u);
	}
}

static void
on_upload(struct http_req *r, const char *p, size_t n, void *arg)
{
	struct upload *u = arg;

	u->has_all = n == 0;
	if (u->sink == NULL) {
		if (u->has_all)
			api_fail_err(u->c, &u->e, CART_RULES_UNUSABLE);
	} else if (u->has_all) {
		artifact_sink_close(u->sink);
	} else if (!artifact_sink_write(u->sink, p, n)) {
		http_req_pause(r, true);
	}
}

static void
upload_gone(struct api_call *c)
{
	const struct upload *u = c->state;

	if (!u->has_all)
		api_call_free(c);
}

void
api_cart_admin_upload(struct api_call *c)
{
	int64_t max_mb = c->b->conf.download_max_mb;
	AUTO(free) char *too_large = NULL;
	struct upload *u;
	struct err e = { 0 };

	if (!c->who.is_admin || !access_has_scope(&c->who, "session")) {
		api_fail(c, 403, 1, NULL,
		    "You are not permitted to perform this action: it is for administrators.");
		return;
	}
	u = xcalloc(1, sizeof *u);
	u->c = c;
	u->import.b = c->b;
	u->import.activate = true;
	api_call_keep(c, u, upload_free);
	if (api_param_bool(c->params, "activate", &u->import.activate, &e) < 0) {
		api_fail_err(c, &e, EXIT_BOOL);
		return;
	}
	too_large = xasprintf("The archive has more than %" PRId64 " MB.", max_mb);
	u->sink = artifact_sink_start(c->b,
	    &(struct artifact_sink_opts){
	        .bytes_max = max_mb * 1000 * 1000,
	        .field = "archive",
	        .too_large = too_large,
	        .on_room = on_upload_room,
	        .done = on_uploaded,
	        .arg = u,
	    },
	    &e);
	if (u->sink == NULL) {
		api_fail_err(c, &e, 1);
		return;
	}
	c->gone = upload_gone;
	http_req_read(c->req, on_upload, u);
}

/* --- changes --- */

struct change_call {
	char *id, *full_name; /* owned */
};

static void
change_call_free(void *p)
{
	struct change_call *s = p;

	free(s->id);
	free(s->full_name);
	free(s);
}

static void
keep_change(struct api_call *c, const struct catalog_cart *cc)
{
	struct change_call *s = xcalloc(1, sizeof *s);

	*s = (struct change_call){ xstrdup(cc->id), xstrdup(cc->full_name) };
	api_call_keep(c, s, change_call_free);
}

static void
changed(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct change_call *s = c->state;
	const struct catalog_cart *cc = find(c, s->id);

	if (e != NULL) {
		api_fail_err(c, e, EXIT_NONE_SUCH);
		return;
	}
	if (cc != NULL)
		write_type(c, api_data(c, "cartridge"), cc);
	api_send(c, 200);
}

void
api_cart_admin_update(struct api_call *c)
{
	const struct catalog_cart *cc = find_of_path(c);
	bool active = false;
	bool obsolete = false;
	struct err e = { 0 };

	if (cc == NULL)
		return;
	if (api_param_bool(c->params, "active", &active, &e) < 0 ||
	    api_param_bool(c->params, "obsolete", &obsolete, &e) < 0) {
		api_fail_err(c, &e, EXIT_BOOL);
		return;
	}
	if (!api_param_has(c->params, "active") && !api_param_has(c->params, "obsolete")) {
		api_fail(c, 422, EXIT_NONE_SUCH, "active", "Give 'active' or 'obsolete'.");
		return;
	}
	keep_change(c, cc);
	cart_type_set(c->b, cc->id, api_param_has(c->params, "active") ? active : -1,
	    api_param_has(c->params, "obsolete") ? obsolete : -1, changed, c);
}

static void
removed(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct change_call *s = c->state;

	if (e != NULL)
		api_fail_err(c, e, CART_RULES_CANNOT);
	else
		api_send_deleted(c, "Removed %s from the catalogue.", s->full_name);
}

void
api_cart_admin_remove(struct api_call *c)
{
	const struct catalog_cart *cc = find_of_path(c);

	if (cc == NULL)
		return;
	keep_change(c, cc);
	cart_type_remove(c->b, cc->id, removed, c);
}

/* --- upgrades: application after application --- */

struct upgrade {
	struct str_list apps; /* ids that are to be looked at */
	size_t at;
	char *cart;          /* base name, or NULL: all; owned */
	struct str_list did; /* of the present application: NAME, FROM, TO, "1" when compatible */
	struct buf data;     /* elements of the answer */
	struct str_list lines;
	int failures;
};

static void
upgrade_free(void *p)
{
	struct upgrade *u = p;

	str_list_fini(&u->apps);
	str_list_fini(&u->did);
	str_list_fini(&u->lines);
	buf_fini(&u->data);
	free(u->cart);
	free(u);
}

static void upgrade_next(struct api_call *c);

/* The newest release of the same vendor, name and software version. */
static const struct catalog_cart *
newest(const struct api_call *c, const struct wire_gear_cart *g)
{
	const struct catalog_cart *best = NULL;

	for (size_t i = 0; i < catalog_count(c->b->catalog); i++) {
		const struct catalog_cart *cc = catalog_at(c->b->catalog, i);
		const struct wire_cart *k = &cc->cart;

		if (!cc->is_active || strcmp(k->name, g->name) != 0 ||
		    strcmp(k->version, g->version) != 0 ||
		    strcmp(k->cart_vendor, g->vendor == NULL ? "" : g->vendor) != 0)
			continue;
		if (best == NULL ||
		    wire_cart_version_cmp(k->cart_version, best->cart.cart_version) > 0)
			best = cc;
	}
	return best;
}

static void
take_release(struct wire_gear_cart *g, const struct catalog_cart *cc)
{
	mem_set_str(&g->cart_version, cc->cart.cart_version);
	mem_set_str(&g->digest, cc->digest);
	mem_set_str(&g->manifest, cc->manifest);
	mem_set_str(&g->source_url, cc->url);
}

static int
plan_upgrade(const struct wire_app *a, struct app_cart_change *out, void *arg, struct err *e)
{
	struct api_call *c = arg;
	struct upgrade *u = c->state;

	str_list_fini(&u->did);
	out->rolls = false;
	app_cart_list_copy(&out->cartridges, &a->cartridges);
	for (size_t i = 0; i < out->cartridges.n; i++) {
		struct wire_gear_cart *g = &out->cartridges.v[i];
		const struct catalog_cart *cc = newest(c, g);
		bool is_compatible;

		if (cc == NULL || g->cart_version == NULL ||
		    (u->cart != NULL && strcmp(u->cart, g->name) != 0 &&
		        strcmp(u->cart, cc->full_name) != 0) ||
		    wire_cart_version_cmp(cc->cart.cart_version, g->cart_version) <= 0)
			continue;
		is_compatible = str_list_has(&cc->cart.compatible_versions, g->cart_version);
		str_list_add(&u->did, cc->full_name);
		str_list_add(&u->did, g->cart_version);
		str_list_add(&u->did, cc->cart.cart_version);
		str_list_add(&u->did, is_compatible ? "1" : "");
		out->rolls = out->rolls || !is_compatible;
		take_release(g, cc);
	}
	return u->did.n > 0 ? 0 : err_set(e, ERR_NOT_FOUND, "upgrade", "nothing to upgrade");
}

static void
note(struct api_call *c, const char *error)
{
	struct upgrade *u = c->state;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	struct err e = { 0 };

	(void)!record_app_by_id(c->b->store, u->apps.v[u->at], &a, NULL, &e);
	for (size_t i = 0; i + 3 < u->did.n; i += 4) {
		struct api_json j = { .b = &u->data, .comma = u->data.n > 0 };

		api_json_obj(&j, NULL);
		api_json_str(&j, "application", a.name);
		api_json_str(&j, "domain_id", a.domain);
		api_json_str(&j, "cartridge", u->did.v[i]);
		api_json_str(&j, "from", u->did.v[i + 1]);
		api_json_str(&j, "to", u->did.v[i + 2]);
		api_json_bool(&j, "compatible", u->did.v[i + 3][0] == '1');
		api_json_str(&j, "error", error);
		api_json_end_obj(&j);
	}
	u->failures += error != NULL;
}

static void
upgraded(struct api_call *c, const struct err *e)
{
	struct upgrade *u = c->state;

	note(c, e == NULL ? NULL : e->text);
	u->at++;
	upgrade_next(c);
}

static void
upgrade_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	struct upgrade *u = c->state;

	if (e == NULL) {
		api_load_settle_lines(c, u->apps.v[u->at], &u->lines, upgraded);
		return;
	}
	if (e->code != ERR_NOT_FOUND)
		note(c, e->text);
	u->at++;
	upgrade_next(c);
}

static void
upgrade_next(struct api_call *c)
{
	struct upgrade *u = c->state;
	struct api_json *j;

	if (u->at < u->apps.n) {
		app_cart_change(c->b, u->apps.v[u->at], plan_upgrade, c, upgrade_stored, c);
		return;
	}
	j = api_data(c, "upgrades");
	api_json_arr(j, NULL);
	buf_add(j->b, u->data.p == NULL ? "" : u->data.p, u->data.n);
	api_json_end_arr(j);
	api_send(c, 200);
}

static bool
add_app(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_app *a = rec;

	(void)key;
	(void)rev;
	if (!a->spec.deleted)
		str_list_add(arg, a->id);
	return true;
}

/* The application of `application`: an id or DOMAIN/NAME; without it all. */
static bool
list_apps(struct api_call *c, struct str_list *out)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const char *word = NULL;
	struct err e = { 0 };
	const char *slash;
	int rc;

	if (api_param_str(c->params, "application", WORD_MAX, &word, &e) < 0) {
		api_fail_err(c, &e, EXIT_NONE_SUCH);
		return false;
	}
	if (word == NULL || *word == '\0') {
		record_each(c->b->store, STORE_PREFIX_APP, &wire_app_codec, add_app, out);
		return true;
	}
	slash = strchr(word, '/');
	if (slash == NULL) {
		rc = record_app_by_id(c->b->store, word, &a, NULL, &e);
	} else {
		AUTO(free) char *domain = xstrndup(word, (size_t)(slash - word));

		rc = record_app(c->b->store, domain, slash + 1, &a, NULL, &e);
	}
	if (rc < 0) {
		api_fail(c, 404, 101, "application", "Application '%.80s' not found.", word);
		return false;
	}
	str_list_add(out, a.id);
	return true;
}

void
api_cart_admin_upgrade(struct api_call *c)
{
	struct upgrade *u = xcalloc(1, sizeof *u);
	const char *cart = NULL;
	struct err e = { 0 };

	api_call_keep(c, u, upgrade_free);
	if (api_param_str(c->params, "cartridge", WORD_MAX, &cart, &e) < 0) {
		api_fail_err(c, &e, EXIT_NONE_SUCH);
		return;
	}
	u->cart = cart == NULL || *cart == '\0' ? NULL : xstrdup(cart);
	if (list_apps(c, &u->apps))
		upgrade_next(c);
}
