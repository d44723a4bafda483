/* broker/gear_group.h: which cartridges of an application share a gear. All of a plain one; in a
 * scalable one each service has gears of its own, unless a Group-Overrides says with whom it is to
 * be, and all else is with the web framework. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/str.h"
#include "lib/wire/wire_app.h"

struct broker;

struct gear_group {
	bool is_web;           /* first of the list */
	struct str_list carts; /* names, in the application's order */
	int64_t gears;         /* that it is to have; of the web group: the least */
	int64_t max;           /* -1: no limit */
};
struct gear_group_list {
	struct gear_group *v; /* owned, with all in it */
	size_t n;
};
/* out: zeroed. */
void gear_group_plan(const struct broker *b, const struct wire_app *a, struct gear_group_list *out);
void gear_group_fini(struct gear_group_list *l);

/* Gears beside those of the web framework. */
int64_t gear_group_others(const struct gear_group_list *l);
/* The size of its gears. */
const char *gear_group_profile(const struct gear_group *g, const struct wire_app *a);
/* Have the cartridges of each group the size of its gears? ERR_INVALID with the field. */
int gear_group_check(
    const struct gear_group_list *l, const struct wire_app *a, struct err *e) MUST_CHECK;
/* The group's part of the application's cartridges, copied to the empty list. */
void gear_group_carts(
    const struct gear_group *g, const struct wire_app *a, struct wire_gear_cart_list *to);
/* Index of the group that an existing gear belongs to, by the cartridges it has; -1: none. */
int gear_group_of(const struct gear_group_list *l, const struct wire_gear *gear);
