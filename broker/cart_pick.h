/* broker/cart_pick.h: from the names that users give to cartridges of an application: catalogue,
 * v2's names, archives; and the rules (cart_rules) on an application's record. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_app.h"
#include "lib/wire/wire_cart.h"

struct broker;

/* One that is asked for, as a call names it. */
struct cart_ask {
	char *name, *url; /* one of the two; owned */
	char *version;    /* of the software, with url; owned or NULL */
	char *checksum;   /* of the archive, with url: "sha256:…" or "md5:…"; owned or NULL */
	char *gear_size;  /* owned or NULL */
	char *beside;     /* whom it is to share gears with; owned or NULL */
	int64_t scales_from, scales_to, storage_gb; /* 0: not said */
};
struct cart_ask_list {
	struct cart_ask *v;
	size_t n;
};
void cart_ask_list_fini(struct cart_ask_list *l);

/* One found. */
struct cart_pick_one {
	struct wire_cart cart;
	struct wire_gear_cart gear;
	bool is_held; /* its archive, for this pick (cart_resolve) */
};
struct cart_pick {
	struct cart_pick_one *v;
	size_t n;
	struct str_list notices; /* for the user */
};
void cart_pick_fini(struct cart_pick *p);
/* What is asked for beside its name, into the record. */
void cart_pick_wish(const struct cart_ask *ask, struct wire_gear_cart *to);
/* The new one at the end, zeroed. */
struct cart_pick_one *cart_pick_add(struct cart_pick *p);

/* By name, appended to p. -1: *exit_code (109, 197) and e. */
int cart_pick_name(const struct broker *b, const struct cart_ask *ask, struct cart_pick *p,
    int *exit_code, struct err *e) MUST_CHECK;
/* What the record of an application's cartridge stands for; out zeroed. Not there any more: what
 * the record itself tells. */
void cart_pick_load(const struct broker *b, const struct wire_gear_cart *g, struct wire_cart *out);

/* The application's cartridges with p, and with what p requires: checked, in configure order. a: of
 * a new one, too, with domain and scalable. -1: *exit_code and e. out: zeroed. */
int cart_pick_with(const struct broker *b, const struct wire_app *a, const struct cart_pick *p,
    struct wire_gear_cart_list *out, int *exit_code, struct err *e) MUST_CHECK;
/* Those without a->cartridges.v[at] and what must go with it, whose names are added to `gone`. */
int cart_pick_without(const struct broker *b, const struct wire_app *a, size_t at,
    struct wire_gear_cart_list *out, struct str_list *gone, int *exit_code,
    struct err *e) MUST_CHECK;
