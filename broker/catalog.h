/* broker/catalog.h: the cartridges of conf.cartridges, and those that were imported: what may be
 * installed, by which names. Also the gear profiles. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/wire/wire_cart.h"
#include "lib/wire/wire_gear.h"

struct catalog;
struct store;

struct catalog_cart {
	struct wire_cart cart;
	char *id;        /* 24 hex, from name and version: the same after every start */
	char *full_name; /* "nodejs-20" */
	bool is_web;
	char *digest, *manifest; /* of an imported one; NULL: stock */
	char *url;               /* it was imported from; NULL: stock, or from a file */
	char *origin;            /* id of its record; NULL: stock, without a decision */
	bool is_active;          /* may be given to applications */
	bool is_obsolete;
	int64_t created_at, activated_at;
};

/* Scans dir (blocks: at start). A cartridge that cannot be read is logged and left out. An absent
 * directory is an empty catalogue. */
struct catalog *catalog_new(const char *dir, struct err *e);
void catalog_free(struct catalog *take_c);
/* From now on what administrators decided counts too (records of wire_cart_type): imported
 * cartridges, activated and deactivated ones. What catalog_at and _find gave is void after a change
 * of these: it lives for the loop's turn. */
void catalog_watch(struct catalog *c, struct store *store);

/* In the order of the listing: base name, version descending; also those that are not active. */
/* Names with versions that some node can run. Of several versions of a stock cartridge those that
 * none can are left out; empty: not known. */
void catalog_offer(struct catalog *c, const struct str_list *offered);

size_t catalog_count(const struct catalog *c);
const struct catalog_cart *catalog_at(const struct catalog *c, size_t i);

/* An active one, by full name, base name (newest version; `vendor-name-version` too) or id, in any
 * case. ERR_NOT_FOUND: lists the names there are; ERR_CONFLICT: several match. */
const struct catalog_cart *catalog_find(const struct catalog *c, const char *name, struct err *e);
/* By what an application's record holds. */
const struct catalog_cart *catalog_of(const struct catalog *c, const struct wire_gear_cart *g);
/* What an application's record holds of it; to: zeroed. */
void catalog_gear_cart(const struct catalog_cart *cc, struct wire_gear_cart *to);

/* Limits of a gear profile ("small", …), or NULL. */
const struct wire_limits *catalog_profile(const char *name);
/* NULL after the last. */
const char *catalog_profile_name(size_t i);
