#include "broker/api_action.h"

#include <stdlib.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_load.h"
#include "broker/broker.h"
#include "broker/idler.h"
#include "broker/node_act.h"
#include "broker/record.h"
#include "broker/wish.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

enum { ACTION_S = 300, OUTPUT_MAX = 16 * 1024, UUID_MAX = 64 };

/* One gear's turn. */
struct turn {
	struct action *action; /* borrowed */
	char *node, *uuid;     /* owned */
	struct node_act *act;  /* owned; NULL: not begun, or ended */
	struct buf output;
};

struct action {
	struct api_call *c;                           /* borrowed */
	char *app_id, *app_name, *cart, *word, *done; /* owned */
	struct turn **v;                              /* owned */
	size_t n, pending;
	int failures;
	int exit_code;
};

static void
action_free(void *p)
{
	struct action *x = p;

	for (size_t i = 0; i < x->n; i++) {
		node_act_cancel(x->v[i]->act);
		buf_fini(&x->v[i]->output);
		free(x->v[i]->node);
		free(x->v[i]->uuid);
		free(x->v[i]);
	}
	free(x->v);
	free(x->app_id);
	free(x->app_name);
	free(x->cart);
	free(x->word);
	free(x->done);
	free(x);
}

static void
finish(struct action *x)
{
	struct api_call *c = x->c;
	AUTO(free)
	char *text = xasprintf("%s %s %s.", x->cart == NULL ? "Application" : "Cartridge",
	    x->cart == NULL ? x->app_name : x->cart, x->done);
	AUTO(free) char *id = xstrdup(x->app_id);

	if (x->failures > 0)
		api_fail_all(c, 422);
	else
		api_load_send_app(c, id, 200, text);
}

/* Output and lines of one gear, for the user. */
static void
tell(struct turn *t, const struct wire_act_result *r)
{
	struct api_call *c = t->action->c;
	const char *severity = r->ok ? "result" : "error";

	for (size_t i = 0; i < r->messages.n; i++)
		api_message(c, severity, (int)r->exit_code, NULL, "%s", r->messages.v[i]);
	while (t->output.n > 0 && t->output.p[t->output.n - 1] == '\n')
		buf_truncate(&t->output, t->output.n - 1);
	if (t->output.n > 0 && r->ok && r->messages.n == 0)
		api_message(c, severity, 0, NULL, "%s", t->output.p);
	if (!r->ok)
		api_message(c, "error", (int)r->exit_code, NULL, "Gear %s: %s", t->uuid,
		    r->reason == NULL ? "it failed" : r->reason);
}

static void
turn_ended(struct turn *t)
{
	if (--t->action->pending == 0)
		finish(t->action);
}

static void
on_done(const struct wire_act_result *r, const struct err *e, void *arg)
{
	struct turn *t = arg;
	struct action *x = t->action;

	t->act = NULL;
	if (r != NULL) {
		tell(t, r);
		wish_add(x->c->b, x->app_id, &r->asked);
		x->failures += r->ok ? 0 : 1;
	} else if (e->code != ERR_NOT_FOUND || x->n == 1) { /* that cartridge is in another gear */
		api_message(x->c, "error", 1, NULL, "Gear %s: %s", t->uuid, e->text);
		x->failures++;
	}
	turn_ended(t);
}

static void
on_out(const char *cart, int fd, const char *text, void *arg)
{
	struct turn *t = arg;

	(void)cart;
	(void)fd;
	if (t->output.n >= OUTPUT_MAX)
		return;
	buf_adds(&t->output, text);
	buf_addc(&t->output, '\n');
}

static bool
add_turn(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_gear *g = rec;
	struct action *x = arg;
	const char *at = key + strlen(STORE_PREFIX_GEAR);
	const char *only = NULL;
	struct err ignored = { 0 };
	struct turn *t;

	(void)rev;
	if (strcmp(g->app_id, x->app_id) != 0 || g->want == WIRE_WANT_GONE)
		return true;
	if (api_param_str(x->c->params, "gear", UUID_MAX, &only, &ignored) == 0 && only != NULL &&
	    strcmp(only, g->uuid) != 0)
		return true;
	if (x->cart != NULL && wire_gear_find(&g->cartridges, x->cart) == NULL)
		return true;
	t = xcalloc(1, sizeof *t);
	t->action = x;
	t->node = xstrndup(at, strcspn(at, "/"));
	t->uuid = xstrdup(g->uuid);
	x->v = xreallocarray(x->v, x->n + 1, sizeof(struct turn *));
	x->v[x->n++] = t;
	return true;
}

static void
start_turn(struct turn *t)
{
	struct action *x = t->action;
	const struct wire_act_order order = {
		.cart = x->cart, .action = x->word, .timeout_s = ACTION_S
	};
	struct err e = { 0 };

	t->act = node_act_start(x->c->b, t->node, t->uuid, &order, on_out, on_done, t, &e);
	if (t->act == NULL)
		on_done(NULL, &e, t);
}

static void
on_awake(struct api_call *c, const struct err *e)
{
	struct action *x = c->state;

	if (e != NULL) {
		api_load_fail_rollout(c, e);
		return;
	}
	record_each_with(c->b->store, STORE_PREFIX_GEAR, x->app_id, &wire_gear_codec, add_turn, x);
	if (x->n == 0) {
		api_fail(c, 404, 1, "gear", "There is no such gear in application %s%s.",
		    x->app_name, x->cart == NULL ? "" : " that has the cartridge");
		return;
	}
	x->pending = x->n + 1;
	for (size_t i = 0; i < x->n; i++)
		start_turn(x->v[i]);
	if (--x->pending == 0)
		finish(x);
}

void
api_action_run(struct api_call *c, const struct wire_app *a, const char *cart, const char *action,
    const char *done)
{
	struct action *x = xcalloc(1, sizeof *x);

	*x = (struct action){ .c = c,
		.app_id = xstrdup(a->id),
		.app_name = xstrdup(a->name),
		.cart = xstrdup_null(cart),
		.word = xstrdup(action),
		.done = xstrdup(done) };
	api_call_keep(c, x, action_free);
	idler_touch(c->b, a->id);
	api_load_settle(c, a->id, on_awake);
}
