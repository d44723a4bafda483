#include "broker/app_state.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

struct app_state {
	enum app_state_word word;
	char *cart, *deployment; /* owned or NULL */
	int64_t percent;
	app_done_fn *done;
	void *arg;
};

/* The web cartridge is the application: what runs beside it starts and stops with it. */
static int
set_cart(struct wire_app *a, const struct app_state *s, struct err *e)
{
	for (size_t i = 0; i < a->cartridges.n; i++) {
		struct wire_gear_cart *k = &a->cartridges.v[i];

		if (strcmp(k->name, s->cart) != 0)
			continue;
		k->is_stopped = s->word == APP_STATE_STOP;
		k->restart_gen += s->word == APP_STATE_RESTART;
		return 0;
	}
	return err_set(e, ERR_NOT_FOUND, "cartridge", "The cartridge is no longer there.");
}

static int
begin_canary(struct wire_app *a, const struct app_state *s, struct err *e)
{
	const char *id = s->deployment != NULL ? s->deployment : a->spec.canary;

	if (id == NULL)
		return err_set(e, ERR_INVALID, "deployment_id",
		    "There is no canary: say which deployment is to be one.");
	if (str_same(id, a->status.deployment) || str_same(id, a->spec.deployment))
		return err_set(e, ERR_INVALID, "deployment_id",
		    "Deployment %.64s serves already: a canary is another one beside it.", id);
	if (!a->spec.running || !str_same(a->spec.deployment, a->status.deployment))
		return err_set(e, ERR_CONFLICT, "event",
		    "The application does not run, or another deployment is under way: a canary "
		    "runs beside one that serves.");
	if (a->spec.replace)
		return err_set(e, ERR_CONFLICT, "event",
		    "The instances of this application never run at the same time (rollout: "
		    "replace): a canary runs beside the one that serves.");
	a->spec.sleep = WIRE_SLEEP_AWAKE;
	a->spec.canary_percent = s->percent;
	if (!str_same(id, a->spec.canary))
		mem_set_str(&a->spec.canary, id);
	return 0;
}

static int
end_canary(struct wire_app *a, bool is_promoted, struct err *e)
{
	if (a->spec.canary == NULL)
		return err_set(e, ERR_CONFLICT, "event", "There is no canary.");
	if (is_promoted && !str_same(a->spec.canary, a->status.canary))
		return err_set(e, ERR_CONFLICT, "event",
		    "The canary, deployment %s, does not serve yet: wait until it does.",
		    a->spec.canary);
	if (is_promoted)
		mem_set_str(&a->spec.deployment, a->spec.canary);
	mem_set_str(&a->spec.canary, NULL);
	return 0;
}

static int
set(struct wire_app *a, void *arg, struct err *e)
{
	const struct app_state *s = arg;

	if (s->cart != NULL)
		return set_cart(a, s, e);
	if (s->word == APP_STATE_ACTIVATE) {
		mem_set_str(&a->spec.deployment, s->deployment);
		mem_set_str(&a->spec.canary, NULL);
		return 0;
	}
	if (s->word == APP_STATE_CANARY)
		return begin_canary(a, s, e);
	if (s->word == APP_STATE_PROMOTE || s->word == APP_STATE_ABORT)
		return end_canary(a, s->word == APP_STATE_PROMOTE, e);
	a->spec.running = s->word == APP_STATE_START || s->word == APP_STATE_RESTART;
	if (a->spec.running)
		a->spec.is_killed = false;
	else if (s->word == APP_STATE_FORCE_STOP)
		a->spec.is_killed = true;
	if (s->word == APP_STATE_RESTART)
		a->spec.asked_gen = ++a->spec.restart_gen;
	return 0;
}

static void
on_done(const struct err *e, void *arg)
{
	struct app_state *s = arg;

	s->done(e, s->arg);
	free(s->cart);
	free(s->deployment);
	free(s);
}

void
app_state_set(struct broker *b, const char *app_id, const struct app_state_order *o,
    app_done_fn *done, void *arg)
{
	struct app_state *s = xcalloc(1, sizeof *s);

	*s = (struct app_state){
		.word = o->word,
		.cart = xstrdup_null(o->cart),
		.deployment = xstrdup_null(o->deployment),
		.percent = o->percent,
		.done = done,
		.arg = arg,
	};
	app_change(b, app_id, set, s, on_done, s);
}
