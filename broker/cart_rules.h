/* broker/cart_rules.h: which cartridges may be together in an application, what they pull in, and
 * in which order they are configured. Pure functions over manifests. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/wire/wire_cart.h"

enum { CART_RULES_MAX = 24 }; /* cartridges of an application */

/* Exit codes of the API for what is refused. */
enum cart_rules_exit {
	CART_RULES_UNUSABLE = 109, /* unknown, conflicting, not for this kind of application */
	CART_RULES_THERE = 136,    /* there already, or twice */
	CART_RULES_CANNOT = 137,   /* cannot be added or removed */
	CART_RULES_UNMET = 185,    /* Configure-Order names what is not there */
};

struct cart_rules_item {
	const struct wire_cart *cart; /* borrowed */
	void *tag;                    /* the caller's */
	bool is_new;                  /* to be added; else it is there already */
	bool is_pulled;               /* because another one requires it */
};

/* The cartridges of the catalogue that provide a feature, newest of each name first; fills v (room
 * for max) and returns how many there are. */
typedef size_t cart_rules_find_fn(
    const char *feature, struct cart_rules_item *v, size_t max, void *arg);
/* Does another application of the domain have this cartridge? */
typedef bool cart_rules_domain_fn(const struct wire_cart *c, void *arg);

struct cart_rules {
	bool is_scalable;
	bool allows_obsolete;
	cart_rules_find_fn *find;     /* NULL: nothing is pulled in */
	cart_rules_domain_fn *domain; /* NULL: not asked */
	void *arg;
	/* in, out */
	struct cart_rules_item v[CART_RULES_MAX];
	size_t n;
	/* out, when refused */
	int exit_code;
};

/* Appends; false: too many. */
bool cart_rules_add(struct cart_rules *r, const struct wire_cart *c, void *tag, bool is_new);
/* Pulls in what is required, checks all rules and sorts v into configure order. -1: exit_code, and
 * e with the field ("cartridge", "cartridges"). */
int cart_rules_resolve(struct cart_rules *r, struct err *e) MUST_CHECK;
/* Only the order: for sets that were checked before. */
int cart_rules_sort(struct cart_rules *r, struct err *e) MUST_CHECK;
/* Marks with is_new those that must go together with v[at]: itself, and those whose requirement it
 * alone meets. -1: a web framework or proxy (137). */
int cart_rules_remove(struct cart_rules *r, size_t at, struct err *e) MUST_CHECK;

/* Has the cartridge the feature: its name, name-version, full name, or what it Provides? */
bool cart_rules_has(const struct wire_cart *c, const char *feature);
