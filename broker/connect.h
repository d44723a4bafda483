/* broker/connect.h: connections between the cartridges of a scalable application (Publishes and
 * Subscribes): what a service publishes reaches the other gears as variables in ~/.env/PUBLISHER/.
 * Part of a rollout's step; the hooks run on the nodes. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/wire/wire_app.h"

struct app_view_instance;
struct broker;
struct wire_cart;
struct connect_run;
struct rollout_step;

/* Takes over what was published (st->published), forgets what is gone, gives the gears what is for
 * them; names in st->publish what is to be run next, if anything. */
void connect_plan(struct rollout_step *st);
/* Is something to be published still that web instances wait for? */
bool connect_holds_start(const struct rollout_step *st);

/* For who subscribes: the manifest of one of its cartridges, once connect_plan has loaded them; and
 * the ready instance where a cartridge of a gear acts. Borrowed; NULL: none. */
const struct wire_cart *connect_manifest(
    const struct rollout_step *st, const struct wire_gear_cart *c);
const struct app_view_instance *connect_instance(
    const struct rollout_step *st, const struct wire_gear *g, const struct wire_gear_cart *c);

/* Runs the hook of what is asked for. done: once, later; `ask` with its text, or NULL and why the
 * node could not be asked. Borrowed; the handle is gone then. */
typedef void connect_done_fn(const struct wire_published *p, const struct err *e, void *arg);
struct connect_run *connect_run_start(struct broker *b, const struct wire_app *a, const char *node,
    const struct wire_published *ask, connect_done_fn *done, void *arg, struct err *e) MUST_CHECK;
void connect_run_cancel(struct connect_run *take_r); /* NULL is fine */
