/* broker/profile.h: gear profiles: small, medium, large, and what administrators add or change. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"

struct broker;

/* Limits of the profile; false: there is none of that name. */
bool profile_get(const struct broker *b, const char *name, struct wire_limits *out);
/* All names, the usual ones first. */
void profile_names(const struct broker *b, struct str_list *out);

/* Lower-case letters, digits, '-' and '_', at most 32; limits that a gear can live with. */
int profile_check(const char *name, const struct wire_limits *l, struct err *e) MUST_CHECK;

typedef void profile_done_fn(const struct err *e, void *arg);
/* Adds or changes it; all gears that have it follow, running ones at once. users: logins that may
 * use it from now on, may be empty. */
void profile_set(struct broker *b, const char *name, const struct wire_limits *l,
    const struct str_list *users, profile_done_fn *done, void *arg);
/* An added one; a usual one gets its own limits back. ERR_CONFLICT: gears have it. */
void profile_remove(struct broker *b, const char *name, profile_done_fn *done, void *arg);
