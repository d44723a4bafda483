/* A change of cartridges under way: until each gear has configured what it is to have, nothing is
 * rolled; one that cannot makes the change be given up. */
#include <string.h>

#include "broker/app_cart.h"
#include "broker/broker.h"
#include "broker/event_log.h"
#include "broker/rollout_step.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

/* Installing may compile; beyond that the node is away or the script hangs. */
enum { CONFIGURE_MS = 30 * 60 * 1000 };

static bool
is_state(const char *state, const char *word)
{
	return state != NULL && strcmp(state, word) == 0;
}

/* Of an upgrade that failed there are two: the release that is configured, and the one that failed,
 * which counts. */
static const struct wire_gear_cart_status *
status_of(const struct app_view_gear *g, const char *name)
{
	const struct wire_gear_cart_status *found = NULL;

	for (size_t i = 0; i < g->status.cartridges.n; i++) {
		const struct wire_gear_cart_status *c = &g->status.cartridges.v[i];

		if (strcmp(c->name, name) == 0 && (found == NULL || is_state(c->state, "failed")))
			found = c;
	}
	return found;
}

/* Why the gear cannot have its cartridges, or NULL; *ready: it has them all. Caller owns. */
static char *
look_at(const struct app_view_gear *g, bool *ready)
{
	*ready = false;
	if (g->status.uuid == NULL || g->status.cart_rev != g->gear.cart_rev)
		return NULL;
	for (size_t i = 0; i < g->gear.cartridges.n; i++) {
		const struct wire_gear_cart *c = &g->gear.cartridges.v[i];
		const struct wire_gear_cart_status *st = status_of(g, c->name);

		if (st != NULL && is_state(st->state, "failed"))
			return xasprintf("The cartridge %s-%s could not be set up: %s", c->name,
			    c->version, st->reason == NULL ? "" : st->reason);
		if (st != NULL && !is_state(st->state, "configured"))
			return NULL;
	}
	if (is_state(g->status.state, "failed"))
		return xasprintf("The gear could not be made ready: %s",
		    g->status.reason == NULL ? "" : g->status.reason);
	*ready = is_state(g->status.state, "ready");
	return NULL;
}

/* What the scripts told the user goes with the failure. */
static void
add_messages(struct rollout_step *st, const struct app_view_gear *g)
{
	for (size_t i = 0; i < g->status.cartridges.n; i++) {
		const struct wire_gear_cart_status *c = &g->status.cartridges.v[i];

		for (size_t k = 0; is_state(c->state, "failed") && k < c->messages.n; k++)
			str_list_add(&st->messages, c->messages.v[k]);
	}
}

/* The release that the change replaces, or NULL. */
static const struct wire_gear_cart *
release_before(const struct wire_app *a, const struct wire_gear_cart *now)
{
	const struct wire_gear_cart *was = wire_gear_find(&a->cartridges_before, now->name);

	return was == NULL || str_same(was->cart_version, now->cart_version) ? NULL : was;
}

/* One that the change has upgraded, and which does not start since. */
static bool
fails_upgraded(
    const struct wire_app *a, const struct wire_gear_cart *c, const struct app_view_instance *i)
{
	return release_before(a, c) != NULL && a->spec.cart_roll == a->spec.cart_rev &&
	       i->status.started_ms >= a->spec.cart_at * 1000 &&
	       (app_view_is(i, WIRE_INSTANCE_FAILED) || app_view_is(i, WIRE_INSTANCE_CRASHED));
}

/* A service that came with the change, or was upgraded, must start, or the change is given up.
 * True: it has not, yet. */
static bool
starts_service(struct rollout_step *st)
{
	bool is_waiting = false;

	/* without a list to go back to: a removal, or the making of the application */
	if (!st->app.spec.running ||
	    (st->app.cartridges_before.n == 0 && st->app.status.cart_rev > 0))
		return false;
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];
		const struct wire_gear_cart *c =
		    i->rec.spec.cart == NULL
		        ? NULL
		        : wire_gear_find(&st->app.cartridges, i->rec.spec.cart);

		if (i->rec.spec.kind != WIRE_INSTANCE_SERVICE || i->rec.retired ||
		    i->rec.spec.want != WIRE_WANT_PRESENT || c == NULL ||
		    (wire_gear_find(&st->app.cartridges_before, c->name) != NULL &&
		        !fails_upgraded(&st->app, c, i)))
			continue;
		if (app_view_is(i, WIRE_INSTANCE_FAILED) || fails_upgraded(&st->app, c, i)) {
			AUTO(free)
			char *why = xasprintf(
			    "The cartridge %s did not start: %s", c->name, i->status.reason);

			rollout_give_up(st, i, why);
			return true;
		}
		is_waiting = is_waiting || !app_view_is(i, WIRE_INSTANCE_READY);
	}
	return is_waiting;
}

bool
rollout_cart_waits(struct rollout_step *st)
{
	bool is_waiting = false;
	int64_t left;

	if (!app_cart_is_pending(&st->app))
		return false;
	for (size_t k = 0; k < st->v->gears_n; k++) {
		const struct app_view_gear *g = st->v->gears[k];
		AUTO(free) char *why = NULL;
		bool is_ready = false;

		if (g->rev == 0 || g->gear.want == WIRE_WANT_GONE)
			continue;
		why = look_at(g, &is_ready);
		if (why != NULL) {
			add_messages(st, g);
			rollout_give_up(st, NULL, why);
			return true;
		}
		is_waiting = is_waiting || !is_ready;
	}
	if (!is_waiting && !starts_service(st))
		return false;
	if (st->failure != NULL)
		return true;
	left = st->app.spec.cart_at * 1000 + CONFIGURE_MS - st->now_ms;
	if (left <= 0)
		rollout_give_up(st, NULL, "The node did not set the cartridges up in time.");
	else
		rollout_step_again(st, left);
	return true;
}

void
rollout_cart_done(struct rollout_step *st)
{
	struct wire_app *a = &st->app;

	if (!app_cart_is_pending(a))
		return;
	for (size_t i = 0; a->cartridges_before.n > 0 && i < a->cartridges.n; i++) {
		const struct wire_gear_cart *k = &a->cartridges.v[i];
		const struct wire_gear_cart *was = release_before(a, k);

		if (wire_gear_find(&a->cartridges_before, k->name) == NULL)
			event_log_add(st->b, a->id, "added", "Cartridge %s-%s was added.", k->name,
			    k->version);
		else if (was != NULL)
			event_log_add(st->b, a->id, "upgraded",
			    "Cartridge %s-%s was upgraded from %s to %s.", k->name, k->version,
			    was->cart_version, k->cart_version);
	}
	a->status.cart_rev = a->spec.cart_rev;
	a->status.cart_roll = a->spec.cart_roll;
	app_cart_list_fini(&a->cartridges_before);
	st->is_app_changed = true;
	(void)rollout_step_txn(st);
}
