/* node/gear_carts.h: brings the cartridges of one gear to what its spec wants: code fetched, those
 * that came configured, those of another release upgraded, those that went torn down; one at a
 * time, in configure order, while the gear's instances live on. On the loop. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "node/cart_install.h"

struct gear;
struct gear_carts;

/* Something has ended: gear_carts_step again. e: the gear cannot be as it is to be, which is tried
 * again later; NULL: no such thing. What a gear that was ready once fails to get is no such error:
 * it is told in gear->failed. */
typedef void gear_carts_fn(const struct err *e, void *arg);

/* g: borrowed for its life; the record is changed only by what this has under way. */
struct gear_carts *gear_carts_new(
    const struct cart_install_opts *o, struct gear *g, gear_carts_fn *fn, void *arg);
void gear_carts_free(struct gear_carts *take_c); /* ends what is under way; NULL is fine */

/* Begins what comes next: true; fn follows. false: nothing is to be done. */
bool gear_carts_step(struct gear_carts *c);
/* The same for a gear that goes: teardown of those that have one. */
bool gear_carts_step_down(struct gear_carts *c);
bool gear_carts_is_busy(const struct gear_carts *c);
void gear_carts_go_on(struct gear_carts *c); /* an instance of the gear has ended */
/* Ends what is under way, without a word. */
void gear_carts_stop(struct gear_carts *c);
/* The spec has changed: what failed may be tried again, if it is another or asked for anew. */
void gear_carts_changed(struct gear_carts *c, bool has_other_carts);
