#include "broker/app_state.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

struct app_state {
	enum app_state_word word;
	char *cart, *deployment; /* owned or NULL */
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
set(struct wire_app *a, void *arg, struct err *e)
{
	const struct app_state *s = arg;

	if (s->cart != NULL)
		return set_cart(a, s, e);
	if (s->word == APP_STATE_ACTIVATE) {
		mem_set_str(&a->spec.deployment, s->deployment);
		return 0;
	}
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
		.done = done,
		.arg = arg,
	};
	app_change(b, app_id, set, s, on_done, s);
}
