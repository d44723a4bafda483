/* broker/cart_status.h: what the nodes report of an application's cartridges. */
#pragma once

#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"

struct broker;

/* Of one cartridge in one gear; both borrowed for the call. Return false to stop. */
typedef bool cart_status_fn(
    const struct wire_gear_status *gear, const struct wire_gear_cart_status *st, void *arg);
/* The gears that have it, the head gear first. */
void cart_status_each(
    const struct broker *b, const char *app_id, const char *cart, cart_status_fn *fn, void *arg);

/* Lines that its scripts had for the user, of all gears, each once. */
void cart_status_messages(
    const struct broker *b, const char *app_id, const char *cart, struct str_list *out);
/* What it tells of itself (username, connection_url …): of the first gear that has any. */
void cart_status_properties(
    const struct broker *b, const char *app_id, const char *cart, struct wire_var_list *out);
