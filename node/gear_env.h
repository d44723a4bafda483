/* node/gear_env.h: the environment of a gear's processes, composed as OpenShift v2 does: one file
 * a variable, eight layers, later wins. Blocks (reads small files, never through links). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"

struct cart_dir_entry;

struct gear_env {
	const struct wire_gear *gear;              /* borrowed, as all members */
	const struct cart_dir_entry *const *carts; /* as gear->cartridges, same order */
	size_t carts_n;
	const char *env_dir; /* the gear's .env on the volume; NULL: computed values alone */
	const struct str_list
	    *homes;         /* layers in the shape of a home, top first: an instance's upper,
	                       base/n …, cartridge code; NULL: computed values alone */
	const char *acting; /* name of the cartridge that acts; NULL: a session */
	const struct wire_start *start; /* or NULL */
	const char *deployment_id;      /* or NULL */
};

/* What belongs into ~/.env (layer 2): written by gear_write_env(g, "", …) when the gear is made and
 * when its spec changes. */
void gear_env_gear_vars(const struct gear_env *in, struct wire_var_list *out);
/* What belongs into ~/<cartridge>/env for one cartridge: _DIR and _IDENT. */
void gear_env_cart_vars(
    const char *uuid, const struct cart_dir_entry *c, struct wire_var_list *out);
/* "NAME=value" of all, sorted, complete: nothing else is inherited. ERR_LIMIT: too many or too
 * large files. */
int gear_env_compose(const struct gear_env *in, struct str_list *out, struct err *e) MUST_CHECK;
