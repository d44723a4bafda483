/* broker/cart_resolve.h: all cartridges that a call asks for, those of the catalogue at once, those
 * of a URL after their download. */
#pragma once

#include "broker/cart_pick.h"

struct broker;
struct cart_resolve;

/* pick: what was found, moved to the receiver, who gives its archives back with
 * cart_resolve_release once a record names them (or none will). e: exit_code tells what the API
 * answers. Once, later. */
typedef void cart_resolve_fn(struct cart_pick *pick, const struct err *e, int exit_code, void *arg);
/* take_asks: emptied. login: who asks, and may or may not download. a: the application they are for
 * (its archives count), or NULL. */
void cart_resolve_start(struct broker *b, struct cart_ask_list *take_asks, const char *login,
    const struct wire_app *a, cart_resolve_fn *fn, void *arg);
void cart_resolve_release(struct broker *b, const struct cart_pick *pick);
