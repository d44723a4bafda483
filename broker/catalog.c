#include "broker/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "broker/record.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/cart/cart_dir.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_cart_type.h"

struct profile {
	const char *name;
	struct wire_limits limits;
};

static const struct profile profiles[] = {
	{ "small", { 512, 100, 128, 250, 1024, 80000, 50, 250000, 16384 } },
	{ "medium", { 1024, 200, 256, 500, 2048, 160000, 100, 500000, 32768 } },
	{ "large", { 2048, 400, 512, 1000, 4096, 320000, 200, 1000000, 65536 } },
};

struct catalog {
	struct catalog_cart *stock; /* owned: of the directory, by name, newest first */
	size_t stock_n;
	struct catalog_cart *v; /* owned: those, and what the records say */
	size_t n;
	struct str_list offered;   /* by nodes: NAME-VERSION */
	struct store *store;       /* borrowed; NULL until catalog_watch */
	struct store_watch *watch; /* owned */
};

static void
cart_fini(struct catalog_cart *cc)
{
	wire_cart_fini(&cc->cart);
	free(cc->id);
	free(cc->full_name);
	free(cc->digest);
	free(cc->manifest);
	free(cc->url);
	free(cc->origin);
}

static void
clear(struct catalog *c)
{
	for (size_t i = 0; i < c->n; i++)
		cart_fini(&c->v[i]);
	free(c->v);
	c->v = NULL;
	c->n = 0;
}

void
catalog_free(struct catalog *take_c)
{
	if (take_c == NULL)
		return;
	store_watch_cancel(take_c->watch);
	clear(take_c);
	for (size_t i = 0; i < take_c->stock_n; i++)
		cart_fini(&take_c->stock[i]);
	free(take_c->stock);
	str_list_fini(&take_c->offered);
	free(take_c);
}
DEFINE_AUTO(struct catalog *, catalog_free)
DEFINE_AUTO(struct cart_dir *, cart_dir_close)

static void
add_stock(struct catalog *c, const struct wire_cart *cart)
{
	char hex[65];
	AUTO(free) char *full = wire_cart_full_name(cart);
	struct catalog_cart *cc;

	/* several packaging releases of one version: the first is the newest */
	for (size_t i = 0; i < c->stock_n; i++) {
		if (strcmp(c->stock[i].full_name, full) == 0)
			return;
	}
	c->stock = xreallocarray(c->stock, c->stock_n + 1, sizeof *c->stock);
	cc = &c->stock[c->stock_n++];
	memset(cc, 0, sizeof *cc);
	codec_copy(&wire_cart_codec, &cc->cart, cart);
	secret_sha256_hex(full, strlen(full), hex);
	cc->id = xstrndup(hex, 24);
	cc->full_name = STEAL(full);
	cc->is_web = wire_cart_is_web(cart);
}

/* --- what the records say --- */

static struct catalog_cart *
add(struct catalog *c)
{
	c->v = xreallocarray(c->v, c->n + 1, sizeof *c->v);
	memset(&c->v[c->n], 0, sizeof *c->v);
	return &c->v[c->n++];
}

static void
decide(struct catalog_cart *cc, const struct wire_cart_type *t)
{
	mem_set_str(&cc->origin, t->id);
	cc->is_active = t->is_active && (t->manifest != NULL || cc->is_active);
	cc->is_obsolete = t->is_obsolete || cc->cart.is_obsolete;
	cc->created_at = t->created_at;
	cc->activated_at = t->activated_at;
}

static void
add_imported(struct catalog *c, const struct wire_cart_type *t)
{
	AUTO_FINI(wire_cart_fini) struct wire_cart cart = { 0 };
	struct catalog_cart *cc;
	struct err e = { 0 };

	if (wire_cart_parse(t->manifest, strlen(t->manifest), t->version, &cart, &e) < 0) {
		log_error("cartridge_type_invalid", LOG_STR("id", t->id), LOG_ERR(&e));
		return;
	}
	cc = add(c);
	cc->cart = cart;
	cart = (struct wire_cart){ 0 };
	cc->id = xstrdup(t->id);
	cc->full_name = wire_cart_full_name(&cc->cart);
	cc->is_web = wire_cart_is_web(&cc->cart);
	cc->digest = xstrdup_null(t->digest);
	cc->manifest = xstrdup(t->manifest);
	cc->url = xstrdup_null(t->source_url);
	decide(cc, t);
}

static bool
see_type(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_cart_type *t = rec;
	struct catalog *c = arg;

	(void)key;
	(void)rev;
	if (t->manifest != NULL) {
		add_imported(c, t);
		return true;
	}
	for (size_t i = 0; i < c->n; i++) {
		if (c->v[i].manifest == NULL && strcmp(c->v[i].id, t->id) == 0)
			decide(&c->v[i], t);
	}
	return true;
}

static bool
is_ours(const char *vendor)
{
	return strcmp(vendor, "pinion") == 0 || strcmp(vendor, "redhat") == 0;
}

/* Base name, stock first, version descending, release descending. */
static int
compare(const void *a, const void *b)
{
	const struct wire_cart *x = &((const struct catalog_cart *)a)->cart;
	const struct wire_cart *y = &((const struct catalog_cart *)b)->cart;
	int d = strcmp(x->name, y->name);

	if (d == 0)
		d = is_ours(y->cart_vendor) - is_ours(x->cart_vendor);
	if (d == 0)
		d = wire_cart_version_cmp(y->version, x->version);
	return d != 0 ? d : wire_cart_version_cmp(y->cart_version, x->cart_version);
}

static bool
has_version(const struct catalog *c, const struct wire_cart *k)
{
	AUTO(free) char *name = xasprintf("%s-%s", k->name, k->version);

	return str_list_has(&c->offered, name);
}

/* A version that no node has, while another one of that name is there. */
static bool
is_nowhere(const struct catalog *c, const struct wire_cart *k)
{
	bool has_other = false;

	if (has_version(c, k))
		return false;
	for (size_t i = 0; i < c->stock_n; i++)
		has_other = has_other || (strcmp(c->stock[i].cart.name, k->name) == 0 &&
		                             has_version(c, &c->stock[i].cart));
	return has_other;
}

static void
rebuild(struct catalog *c)
{
	clear(c);
	for (size_t i = 0; i < c->stock_n; i++) {
		const struct catalog_cart *s = &c->stock[i];
		struct catalog_cart *cc = add(c);

		codec_copy(&wire_cart_codec, &cc->cart, &s->cart);
		cc->id = xstrdup(s->id);
		cc->full_name = xstrdup(s->full_name);
		cc->is_web = s->is_web;
		cc->is_active = !is_nowhere(c, &s->cart);
		cc->is_obsolete = s->cart.is_obsolete;
	}
	if (c->store != NULL)
		record_each(c->store, STORE_PREFIX_CART_TYPE, &wire_cart_type_codec, see_type, c);
	if (c->n > 0)
		qsort(c->v, c->n, sizeof *c->v, compare);
}

static void
on_event(const struct store_event *ev, void *arg)
{
	if (ev->last_of_rev || ev->type == STORE_COMPACTED)
		rebuild(arg);
}

void
catalog_watch(struct catalog *c, struct store *store)
{
	c->store = store;
	rebuild(c);
	c->watch = store_watch_start(store, STORE_PREFIX_CART_TYPE, 0, on_event, c);
}

void
catalog_offer(struct catalog *c, const struct str_list *offered)
{
	bool is_same = offered->n == c->offered.n;

	for (size_t i = 0; is_same && i < offered->n; i++)
		is_same = strcmp(offered->v[i], c->offered.v[i]) == 0;
	if (is_same)
		return;
	str_list_fini(&c->offered);
	str_list_copy(&c->offered, offered);
	rebuild(c);
}

struct catalog *
catalog_new(const char *dir, struct err *e)
{
	AUTO(catalog_free) struct catalog *c = xcalloc(1, sizeof *c);
	AUTO(cart_dir_close) struct cart_dir *d = NULL;

	if (dir == NULL || !file_exists(dir)) {
		log_warn("catalog_empty", LOG_STR("directory", dir == NULL ? "" : dir));
		return STEAL(c);
	}
	d = cart_dir_open(dir, e);
	if (d == NULL)
		return NULL;
	for (size_t i = 0; i < cart_dir_count(d); i++)
		add_stock(c, &cart_dir_at(d, i)->cart);
	rebuild(c);
	log_info("catalog_read", LOG_STR("directory", dir), LOG_INT("cartridges", c->n));
	return STEAL(c);
}

size_t
catalog_count(const struct catalog *c)
{
	return c->n;
}

const struct catalog_cart *
catalog_at(const struct catalog *c, size_t i)
{
	return i < c->n ? &c->v[i] : NULL;
}

static int
not_found(const struct catalog *c, const char *name, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	for (size_t i = 0; i < c->n && b.n < ERR_TEXT_MAX / 2; i++) {
		if (!c->v[i].is_active)
			continue;
		buf_adds(&b, b.n == 0 ? "" : ", ");
		buf_adds(&b, c->v[i].full_name);
	}
	return err_set(e, ERR_NOT_FOUND, "cartridge",
	    "Invalid cartridge '%.64s' specified. There are: %s.", name,
	    b.n == 0 ? "none at all" : b.p);
}

static bool
is_base(const struct catalog_cart *cc, const char *name)
{
	AUTO(free) char *with_vendor = NULL;

	if (strcmp(cc->cart.name, name) == 0)
		return true;
	with_vendor = xasprintf("%s-%s", cc->cart.cart_vendor, cc->cart.name);
	return strcmp(with_vendor, name) == 0;
}

static bool
is_exact(const struct catalog_cart *cc, const char *name)
{
	AUTO(free) char *plain = NULL;
	AUTO(free) char *with_vendor = NULL;

	if (strcmp(cc->full_name, name) == 0 || strcmp(cc->id, name) == 0)
		return true;
	plain = xasprintf("%s-%s", cc->cart.name, cc->cart.version);
	with_vendor = xasprintf("%s-%s", cc->cart.cart_vendor, plain);
	return strcmp(plain, name) == 0 || strcmp(with_vendor, name) == 0;
}

const struct catalog_cart *
catalog_find(const struct catalog *c, const char *name, struct err *e)
{
	AUTO(free) char *want = xstrdup(name);
	const struct catalog_cart *found = NULL;

	str_lower(want);
	for (size_t i = 0; i < c->n; i++) {
		if (c->v[i].is_active && is_exact(&c->v[i], want))
			return &c->v[i];
	}
	for (size_t i = 0; i < c->n; i++) {
		if (!c->v[i].is_active || !is_base(&c->v[i], want))
			continue;
		if (found == NULL ||
		    strcmp(found->cart.cart_vendor, c->v[i].cart.cart_vendor) == 0) {
			if (found == NULL ||
			    wire_cart_version_cmp(c->v[i].cart.version, found->cart.version) > 0)
				found = &c->v[i];
			continue;
		}
		(void)err_set(e, ERR_CONFLICT, "cartridge",
		    "More than one cartridge matches '%.64s': %s and %s. Give the whole name.",
		    name, found->full_name, c->v[i].full_name);
		return NULL;
	}
	if (found == NULL)
		(void)not_found(c, name, e);
	return found;
}

const struct catalog_cart *
catalog_of(const struct catalog *c, const struct wire_gear_cart *g)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct wire_cart *k = &c->v[i].cart;

		if (strcmp(k->name, g->name) == 0 && strcmp(k->version, g->version) == 0 &&
		    (g->vendor == NULL || strcmp(k->cart_vendor, g->vendor) == 0) &&
		    str_same(c->v[i].digest, g->digest))
			return &c->v[i];
	}
	return NULL;
}

void
catalog_gear_cart(const struct catalog_cart *cc, struct wire_gear_cart *to)
{
	*to = (struct wire_gear_cart){
		.name = xstrdup(cc->cart.name),
		.version = xstrdup(cc->cart.version),
		.cart_version = xstrdup(cc->cart.cart_version),
		.vendor = xstrdup(cc->cart.cart_vendor),
		.is_web = cc->is_web,
		.is_service = wire_cart_is_service(&cc->cart),
		.digest = xstrdup_null(cc->digest),
		.manifest = xstrdup_null(cc->manifest),
		.source_url = xstrdup_null(cc->url),
	};
}

const struct wire_limits *
catalog_profile(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(profiles); i++) {
		if (strcmp(profiles[i].name, name) == 0)
			return &profiles[i].limits;
	}
	return NULL;
}

const char *
catalog_profile_name(size_t i)
{
	return i < ARRAY_LEN(profiles) ? profiles[i].name : NULL;
}
