#include "broker/catalog.h"

#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/cart/cart_dir.h"

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
	struct catalog_cart *v; /* owned, by name, newest first */
	size_t n;
};

static void
cart_fini(struct catalog_cart *cc)
{
	wire_cart_fini(&cc->cart);
	free(cc->id);
	free(cc->full_name);
}

void
catalog_free(struct catalog *take_c)
{
	if (take_c == NULL)
		return;
	for (size_t i = 0; i < take_c->n; i++)
		cart_fini(&take_c->v[i]);
	free(take_c->v);
	free(take_c);
}
DEFINE_AUTO(struct catalog *, catalog_free)
DEFINE_AUTO(struct cart_dir *, cart_dir_close)

static void
add(struct catalog *c, const struct wire_cart *cart)
{
	char hex[65];
	AUTO(free) char *full = wire_cart_full_name(cart);
	struct catalog_cart *cc;

	/* several packaging releases of one version: the first is the newest */
	for (size_t i = 0; i < c->n; i++) {
		if (strcmp(c->v[i].full_name, full) == 0)
			return;
	}
	c->v = xreallocarray(c->v, c->n + 1, sizeof *c->v);
	cc = &c->v[c->n++];
	memset(cc, 0, sizeof *cc);
	codec_copy(&wire_cart_codec, &cc->cart, cart);
	secret_sha256_hex(full, strlen(full), hex);
	cc->id = xstrndup(hex, 24);
	cc->full_name = STEAL(full);
	cc->is_web = wire_cart_is_web(cart);
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
		add(c, &cart_dir_at(d, i)->cart);
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
		buf_adds(&b, i == 0 ? "" : ", ");
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
		if (is_exact(&c->v[i], want))
			return &c->v[i];
	}
	for (size_t i = 0; i < c->n; i++) {
		if (!is_base(&c->v[i], want))
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
		    (g->vendor == NULL || strcmp(k->cart_vendor, g->vendor) == 0))
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
		.is_service = wire_cart_has_category(&cc->cart, "service"),
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
