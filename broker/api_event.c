/* Events: start, stop, restart, scale, activate. */
#include <inttypes.h>
#include <string.h>

#include "broker/api_action.h"
#include "broker/api_alias.h"
#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/app.h"
#include "broker/app_state.h"
#include "broker/broker.h"
#include "broker/catalog.h"
#include "broker/event_log.h"
#include "broker/idler.h"
#include "broker/record.h"
#include "lib/base/fault.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum {
	WORD_MAX = 64,
	CANARY_PERCENT = 10,
	EXIT_GEARS = 104,
	EXIT_GONE = 112,
	EXIT_EVENT = 126,
	EXIT_SCALE = 168,
	EXIT_DUMP = 180,
};

struct event {
	char *app_id; /* owned */
	char *text;   /* owned or NULL; for the user, when done */
	int64_t old_gears, gears;
	int level; /* enum wire_sleep */
	struct err failure;
};

static void
event_free(void *p)
{
	struct event *ev = p;

	free(ev->app_id);
	free(ev->text);
	free(ev);
}

static struct event *
event_new(struct api_call *c, const struct wire_app *a)
{
	struct event *ev = xcalloc(1, sizeof *ev);

	*ev = (struct event){ .app_id = xstrdup(a->id) };
	api_call_keep(c, ev, event_free);
	return ev;
}

static void
event_settled(struct api_call *c, const struct err *e)
{
	const struct event *ev = c->state;

	if (e != NULL)
		api_load_fail_rollout(c, e);
	else
		api_load_send_app(c, ev->app_id, 200, ev->text);
}

static void
event_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct event *ev = c->state;

	if (e != NULL) {
		api_fail_err(c, e, e->code == ERR_NOT_FOUND ? 101 : 1);
		return;
	}
	fault_point("app_changed");
	api_load_settle(c, ev->app_id, event_settled);
}

/* --- state --- */

static void
order(
    struct api_call *c, const struct wire_app *a, const struct app_state_order *o, const char *done)
{
	struct event *ev = event_new(c, a);

	ev->text = xasprintf("Application %s %s.", a->name, done);
	app_state_set(c->b, a->id, o, event_stored, c);
}

static void
start(struct api_call *c, const struct wire_app *a)
{
	order(c, a, &(struct app_state_order){ .word = APP_STATE_START }, "was started");
}

static void
stop(struct api_call *c, const struct wire_app *a)
{
	order(c, a, &(struct app_state_order){ .word = APP_STATE_STOP }, "was stopped");
}

static void
force_stop(struct api_call *c, const struct wire_app *a)
{
	order(c, a, &(struct app_state_order){ .word = APP_STATE_FORCE_STOP },
	    "was stopped by force");
}

/* To sleep now, whatever its settings say; the next request wakes it. */
static int
do_idle(struct wire_app *a, void *arg, struct err *e)
{
	const struct event *ev = arg;

	if (!a->spec.running || a->status.deployment == NULL || *a->status.deployment == '\0')
		return err_set(e, ERR_CONFLICT, "event",
		    "The application does not run: only one that runs can be put to sleep.");
	if (ev->level == WIRE_SLEEP_STOPPED && a->spec.canary != NULL)
		return err_set(e, ERR_CONFLICT, "level",
		    "There is a canary: promote or abort it first, or give frozen or reclaimed.");
	a->spec.sleep_order = idler_order(a);
	a->spec.sleep = ev->level;
	return 0;
}

static int
do_unidle(struct wire_app *a, void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	a->spec.sleep = WIRE_SLEEP_AWAKE;
	return 0;
}

static void
idle(struct api_call *c, const struct wire_app *a)
{
	struct event *ev = event_new(c, a);
	const char *level = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "level", WORD_MAX, &level, &e) < 0) {
		api_fail_err(c, &e, EXIT_EVENT);
		return;
	}
	ev->level = WIRE_SLEEP_FROZEN;
	if (level != NULL) {
		ev->level = WIRE_SLEEP_AWAKE;
		for (const struct codec_name *n = wire_sleep_names; n->name != NULL; n++)
			if (strcmp(n->name, level) == 0)
				ev->level = n->value;
	}
	if (ev->level == WIRE_SLEEP_AWAKE) {
		api_fail(c, 422, EXIT_EVENT, "level",
		    "Invalid level '%.64s': give frozen, reclaimed or stopped.", level);
		return;
	}
	ev->text = xasprintf("Application %s sleeps until the next request.", a->name);
	app_change(c->b, a->id, do_idle, ev, event_stored, c);
}

static void
unidle(struct api_call *c, const struct wire_app *a)
{
	struct event *ev = event_new(c, a);

	ev->text = xasprintf("Application %s is awake.", a->name);
	app_change(c->b, a->id, do_unidle, ev, event_stored, c);
}

/* New instances before the old ones go: no request is lost. */
static void
restart(struct api_call *c, const struct wire_app *a)
{
	order(c, a, &(struct app_state_order){ .word = APP_STATE_RESTART }, "was restarted");
}

static void
activate_id(struct api_call *c, const struct wire_app *a, const char *id)
{
	struct event *ev = event_new(c, a);

	ev->text = xasprintf("Deployment %s of application %s is active.", id, a->name);
	app_state_set(c->b, a->id,
	    &(struct app_state_order){ .word = APP_STATE_ACTIVATE, .deployment = id }, event_stored,
	    c);
}

/* The parameter, NULL without one. false: the call has ended. */
static bool
read_deployment(struct api_call *c, const struct wire_app *a, const char **out)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	const char *id = NULL;
	struct err e = { 0 };

	*out = NULL;
	if (api_param_str(c->params, "deployment_id", WORD_MAX, &id, &e) < 0) {
		api_fail_err(c, &e, EXIT_EVENT);
		return false;
	}
	if (id == NULL || *id == '\0')
		return true;
	if (!str_is_hex(id, strlen(id)) || record_get(c->b->store, store_key_deployment(a->id, id),
	                                       &wire_deployment_codec, &d, NULL, &e) < 0) {
		api_fail(c, 404, 1, "deployment_id",
		    "Deployment '%.64s' not found in application '%s'. List them: GET deployments.",
		    id, a->name);
		return false;
	}
	*out = id;
	return true;
}

static void
activate(struct api_call *c, const struct wire_app *a)
{
	const char *id;

	if (!read_deployment(c, a, &id))
		return;
	if (id == NULL)
		api_fail(c, 422, EXIT_EVENT, "deployment_id",
		    "The event 'activate' needs the parameter 'deployment_id'.");
	else
		activate_id(c, a, id);
}

/* A deployment beside the one that serves; for percent of the clients, which can be changed. */
static void
canary(struct api_call *c, const struct wire_app *a)
{
	int64_t percent = a->spec.canary != NULL   ? a->spec.canary_percent
	                  : a->canary_percent != 0 ? a->canary_percent
	                                           : CANARY_PERCENT;
	struct event *ev;
	const char *id;
	struct err e = { 0 };

	if (!read_deployment(c, a, &id))
		return;
	if (api_param_int(c->params, "percent", 0, 100, &percent, &e) < 0) {
		api_fail_err(c, &e, EXIT_EVENT);
		return;
	}
	if (id == NULL && a->spec.canary == NULL) {
		api_fail(c, 422, EXIT_EVENT, "deployment_id",
		    "There is no canary: 'deployment_id' says which deployment is to be one.");
		return;
	}
	ev = event_new(c, a);
	ev->text = xasprintf("The canary, deployment %s, gets %" PRId64 " %% of the clients.",
	    id != NULL ? id : a->spec.canary, percent);
	app_state_set(c->b, a->id,
	    &(struct app_state_order){
	        .word = APP_STATE_CANARY, .deployment = id, .percent = percent },
	    event_stored, c);
}

static void
promote(struct api_call *c, const struct wire_app *a)
{
	order(c, a, &(struct app_state_order){ .word = APP_STATE_PROMOTE },
	    "serves all clients with what was its canary");
}

static void
abort_canary(struct api_call *c, const struct wire_app *a)
{
	order(c, a, &(struct app_state_order){ .word = APP_STATE_ABORT }, "has no canary any more");
}

struct previous {
	const char *current;
	char *id; /* owned; NULL: none */
	int64_t at_ms;
};

static bool
find_previous(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_deployment *d = rec;
	struct previous *p = arg;

	(void)key;
	(void)rev;
	if (d->activations.n == 0 || (p->current != NULL && strcmp(d->id, p->current) == 0))
		return true;
	int64_t at_ms = d->activations.v[d->activations.n - 1].at_ms;
	if (p->id == NULL || at_ms > p->at_ms) {
		mem_set_str(&p->id, d->id);
		p->at_ms = at_ms;
	}
	return true;
}

/* The deployment that was active before the one that serves. */
static void
rollback(struct api_call *c, const struct wire_app *a)
{
	AUTO(free) char *prefix = xasprintf("%s%s/", STORE_PREFIX_DEPLOYMENT, a->id);
	struct previous p = { .current = a->status.deployment };

	record_each(c->b->store, prefix, &wire_deployment_codec, find_previous, &p);
	AUTO(free) char *id = p.id;
	if (id == NULL)
		api_fail(c, 404, 1, "deployment_id",
		    "Application '%s' has no earlier deployment to go back to.", a->name);
	else
		activate_id(c, a, id);
}

/* --- scale --- */

static void
scale_undone(struct api_call *c, const struct err *e)
{
	const struct event *ev = c->state;

	if (e != NULL)
		api_message(
		    c, "warning", 0, NULL, "The old number of gears is not yet back: %s", e->text);
	api_load_fail_rollout(c, &ev->failure);
}

static void
scale_reverted(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct event *ev = c->state;

	if (e != NULL)
		scale_undone(c, e);
	else
		api_load_settle(c, ev->app_id, scale_undone);
}

static void
scale_settled(struct api_call *c, const struct err *e)
{
	struct event *ev = c->state;

	if (e == NULL) {
		event_log_add(c->b, ev->app_id, "scaled", "%s", ev->text);
		api_load_send_app(c, ev->app_id, 200, ev->text);
		return;
	}
	ev->failure = *e;
	if (ev->gears <= ev->old_gears)
		api_load_fail_rollout(c, e);
	else
		app_scale(c->b, ev->app_id, ev->old_gears, scale_reverted, c);
}

static void
scale_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct event *ev = c->state;

	if (e != NULL && e->code == ERR_LIMIT)
		api_fail(c, 422, EXIT_GEARS, NULL, "%s", e->text);
	else if (e != NULL && e->code == ERR_BUSY)
		api_fail(c, 500, 140, NULL, "%s", e->text);
	else if (e != NULL)
		api_fail_err(c, e, e->code == ERR_NOT_FOUND ? 101 : 1);
	if (e != NULL)
		return;
	fault_point("app_scaled");
	api_load_settle(c, ev->app_id, scale_settled);
}

static int64_t
most_gears(const struct api_call *c, const struct wire_app *a)
{
	const struct wire_gear_cart *web = wire_gear_web(&a->cartridges);
	const struct catalog_cart *cc = web == NULL ? NULL : catalog_of(c->b->catalog, web);
	int64_t max =
	    cc == NULL || cc->cart.components.n == 0 ? -1 : cc->cart.components.v[0].scaling.max;

	return max < 1 || max > APP_GEARS_MAX ? APP_GEARS_MAX : max;
}

static void
scale(struct api_call *c, const struct wire_app *a, int sign)
{
	int64_t by = 1;
	int64_t to = 0;
	int64_t max = most_gears(c, a);
	struct err e = { 0 };
	struct event *ev;

	if (api_param_int(c->params, "by", 1, APP_GEARS_MAX, &by, &e) < 0 ||
	    api_param_int(c->params, "to", 1, APP_GEARS_MAX, &to, &e) < 0) {
		api_fail_err(c, &e, EXIT_SCALE);
		return;
	}
	if (!a->scalable) {
		api_fail(c, 422, API_NO_EXIT, "event",
		    "Application %s is not scalable. Make it so first: update it with 'scale': "
		    "true (or "
		    "create it so: pinion app create --scale).",
		    a->name);
		return;
	}
	if (to == 0)
		to = a->spec.gears + sign * by;
	if (to < 1 || to > max) {
		api_fail(c, 422, EXIT_SCALE, api_param_has(c->params, "to") ? "to" : "by",
		    "Application %s has %lld gears; it can have 1 to %lld, not %lld.", a->name,
		    (long long)a->spec.gears, (long long)max, (long long)to);
		return;
	}
	ev = event_new(c, a);
	ev->old_gears = a->spec.gears;
	ev->gears = to;
	ev->text = xasprintf(
	    "Application %s has %lld gear%s.", a->name, (long long)to, to == 1 ? "" : "s");
	app_scale(c->b, a->id, to, scale_stored, c);
}

static void
scale_up(struct api_call *c, const struct wire_app *a)
{
	scale(c, a, 1);
}

static void
scale_down(struct api_call *c, const struct wire_app *a)
{
	scale(c, a, -1);
}

/* --- what there is not --- */

/* Does any of its cartridges (cart NULL), or that one, know how? */
static bool
can_dump(const struct api_call *c, const struct wire_app *a, const char *cart)
{
	for (size_t i = 0; i < a->cartridges.n; i++) {
		const struct catalog_cart *cc = catalog_of(c->b->catalog, &a->cartridges.v[i]);

		if ((cart == NULL || strcmp(cart, a->cartridges.v[i].name) == 0) && cc != NULL &&
		    str_list_has(&cc->cart.control_actions, "threaddump"))
			return true;
	}
	return false;
}

static void
thread_dump(struct api_call *c, const struct wire_app *a)
{
	const struct wire_gear_cart *web = wire_gear_web(&a->cartridges);

	if (web == NULL || !can_dump(c, a, web->name))
		api_fail(c, 422, EXIT_DUMP, "event",
		    "The cartridges of application %s cannot make a thread dump.", a->name);
	else
		api_action_run(c, a, web->name, "threaddump",
		    "wrote a thread dump into its output: see pinion logs");
}

/* A cartridge that says what its actions are and names no reload has none. */
static bool
can_reload(const struct api_call *c, const struct wire_gear_cart *k)
{
	const struct catalog_cart *cc = catalog_of(c->b->catalog, k);

	return cc == NULL || !cc->cart.pinion.is_given ||
	       str_list_has(&cc->cart.pinion.actions, "reload");
}

/* Where the web cartridge has none, a new instance takes the old one's place. */
static void
reload(struct api_call *c, const struct wire_app *a)
{
	const struct wire_gear_cart *web = wire_gear_web(&a->cartridges);

	if (web != NULL && can_reload(c, web))
		api_action_run(c, a, NULL, "reload", "was reloaded");
	else
		order(c, a, &(struct app_state_order){ .word = APP_STATE_RESTART }, "was reloaded");
}

static void
tidy(struct api_call *c, const struct wire_app *a)
{
	api_action_run(c, a, NULL, "tidy", "was tidied");
}

static void
status(struct api_call *c, const struct wire_app *a)
{
	api_action_run(c, a, NULL, "status", "was asked for its status");
}

static void
no_ha(struct api_call *c, const struct wire_app *a)
{
	(void)a;
	api_fail(c, 422, API_NO_EXIT, "event",
	    "High availability is not a property of single applications here.");
}

static void
no_port(struct api_call *c, const struct wire_app *a)
{
	(void)a;
	api_fail(c, 410, EXIT_GONE, "event", "This event is no longer there.");
}

/* --- of one cartridge --- */

static void
service_event(struct api_call *c, const struct wire_app *a, const struct wire_gear_cart *k,
    enum app_state_word word, const char *done)
{
	struct event *ev = event_new(c, a);

	ev->text = xasprintf("Cartridge %s of application %s %s.", k->name, a->name, done);
	event_log_add(c->b, a->id, done + strlen("was "), "Cartridge %s %s.", k->name, done);
	app_state_set(c->b, a->id, &(struct app_state_order){ .word = word, .cart = k->name },
	    event_stored, c);
}

/* false: it is the application's own affair. */
static bool
cart_event(
    struct api_call *c, const struct wire_app *a, const struct wire_gear_cart *k, const char *word)
{
	static const struct {
		const char *word, *done;
		enum app_state_word order; /* of a service: the first three */
	} known[] = { { "start", "was started", APP_STATE_START },
		{ "stop", "was stopped", APP_STATE_STOP },
		{ "restart", "was restarted", APP_STATE_RESTART }, { "reload", "was reloaded", 0 },
		{ "tidy", "was tidied", 0 }, { "status", "was asked for its status", 0 },
		{ "threaddump", "wrote a thread dump into its output", 0 } };
	bool is_dump = strcmp(word, "thread-dump") == 0;

	if (strncmp(word, "scale", 5) == 0)
		return false;
	if (is_dump && !can_dump(c, a, k->name)) {
		api_fail(c, 422, EXIT_DUMP, "event", "The cartridge %s cannot make a thread dump.",
		    k->name);
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(known[i].word, is_dump ? "threaddump" : word) != 0)
			continue;
		if (k->is_web && (i < 3 || (i == 3 && !can_reload(c, k))))
			return false;
		if (k->is_service && i < 3)
			service_event(c, a, k, known[i].order, known[i].done);
		else
			api_action_run(c, a, k->name, known[i].word, known[i].done);
		return true;
	}
	return false;
}

typedef void event_fn(struct api_call *c, const struct wire_app *a);

struct event_row {
	const char *word;
	enum access_want want;
	bool of_cart; /* also an event of a cartridge */
	event_fn *fn;
};

static const struct event_row rows[] = {
	{ "start", ACCESS_SCALE, true, start },
	{ "stop", ACCESS_SCALE, true, stop },
	{ "force-stop", ACCESS_SCALE, false, force_stop },
	{ "restart", ACCESS_SCALE, true, restart },
	{ "reload", ACCESS_SCALE, true, reload },
	{ "scale-up", ACCESS_SCALE, true, scale_up },
	{ "scale-down", ACCESS_SCALE, true, scale_down },
	{ "idle", ACCESS_SCALE, false, idle },
	{ "unidle", ACCESS_SCALE, false, unidle },
	{ "activate", ACCESS_EDIT, false, activate },
	{ "canary", ACCESS_EDIT, false, canary },
	{ "promote", ACCESS_EDIT, false, promote },
	{ "abort", ACCESS_EDIT, false, abort_canary },
	{ "add-alias", ACCESS_EDIT, false, api_alias_event_add },
	{ "remove-alias", ACCESS_EDIT, false, api_alias_event_remove },
	{ "rollback", ACCESS_EDIT, false, rollback },
	{ "tidy", ACCESS_SCALE, true, tidy },
	{ "status", ACCESS_VIEW, true, status },
	{ "thread-dump", ACCESS_EDIT, true, thread_dump },
	{ "make-ha", ACCESS_EDIT, false, no_ha },
	{ "disable-ha", ACCESS_EDIT, false, no_ha },
	{ "show-port", ACCESS_VIEW, false, no_port },
	{ "expose-port", ACCESS_VIEW, false, no_port },
	{ "conceal-port", ACCESS_VIEW, false, no_port },
};

/* The row of the parameter `event`; NULL: the call has ended. */
static const struct event_row *
find_row(struct api_call *c, bool of_cart)
{
	const char *word = NULL;
	struct err e = { 0 };

	if (api_param_str(c->params, "event", WORD_MAX, &word, &e) < 0) {
		api_fail_err(c, &e, EXIT_EVENT);
		return NULL;
	}
	for (size_t i = 0; word != NULL && i < ARRAY_LEN(rows); i++) {
		if (strcmp(rows[i].word, word) == 0 && (rows[i].of_cart || !of_cart))
			return &rows[i];
	}
	api_fail(c, 422, EXIT_EVENT, "event",
	    "%s%.64s%s. Possible events: start, stop, restart, reload, tidy, status, "
	    "thread-dump, scale-up, scale-down%s.",
	    word == NULL ? "The parameter 'event' is required" : "Invalid event '",
	    word == NULL ? "" : word, word == NULL ? "" : "'",
	    of_cart ? ""
	            : ", force-stop, idle, unidle, activate, rollback, canary, promote, abort, "
	              "add-alias, remove-alias");
	return NULL;
}

/* The right to see comes before the event's word: who may not see learns nothing. */
void
api_event_app(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app seen = { 0 };
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct event_row *row;

	if (!api_load_app(c, ACCESS_VIEW, &seen))
		return;
	row = find_row(c, false);
	if (row != NULL && api_load_app(c, row->want, &a))
		row->fn(c, &a);
}

void
api_event_cart(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app seen = { 0 };
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct event_row *row;
	const struct wire_gear_cart *k;

	if (!api_load_app(c, ACCESS_VIEW, &seen) || (k = api_load_cart(c, &seen)) == NULL)
		return;
	row = find_row(c, true);
	if (row != NULL && api_load_app(c, row->want, &a) && !cart_event(c, &a, k, row->word))
		row->fn(c, &a);
}
