#include "broker/gear_ask.h"

#include <stdlib.h>
#include <string.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/idler.h"
#include "broker/node_act.h"
#include "broker/rollout.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum { ACTION_S = 300 };

struct gear_ask {
	struct broker *b;             /* borrowed */
	char *cart, *action;          /* owned; cart or NULL */
	struct str_list nodes, gears; /* still to be asked, the last first */
	struct loop_timer *turn;
	struct node_act *act;
	struct err e;
	void (*on_out)(int fd, const char *text, void *arg);
	void (*done)(const struct err *e, void *arg);
	void *arg;
};

void
gear_ask_cancel(struct gear_ask *take_a)
{
	struct gear_ask *a = take_a;

	if (a == NULL)
		return;
	loop_timer_cancel(a->turn);
	node_act_cancel(a->act);
	free(a->cart);
	free(a->action);
	str_list_fini(&a->nodes);
	str_list_fini(&a->gears);
	free(a);
}

static void next(struct gear_ask *a);

static void
on_out(const char *cart, int fd, const char *text, void *arg)
{
	struct gear_ask *a = arg;

	(void)cart;
	a->on_out(fd, text, a->arg);
}

static void
on_done(const struct wire_act_result *r, const struct err *e, void *arg)
{
	struct gear_ask *a = arg;

	a->act = NULL;
	if (a->e.code == ERR_NONE && r == NULL)
		a->e = *e;
	else if (a->e.code == ERR_NONE && !r->ok)
		(void)err_set(
		    &a->e, ERR_CONFLICT, NULL, "%s", r->reason == NULL ? "it failed" : r->reason);
	next(a);
}

static void
next(struct gear_ask *a)
{
	AUTO(free) char *node = str_list_pop(&a->nodes);
	AUTO(free) char *gear = str_list_pop(&a->gears);
	const struct wire_act_order order = {
		.cart = a->cart, .action = a->action, .timeout_s = ACTION_S
	};
	struct err e = { 0 };

	if (node == NULL) {
		void (*done)(const struct err *, void *) = a->done;
		void *arg = a->arg;

		e = a->e;
		gear_ask_cancel(a);
		done(e.code == ERR_NONE ? NULL : &e, arg);
		return;
	}
	a->act = node_act_start(a->b, node, gear, &order, on_out, on_done, a, &e);
	if (a->act == NULL)
		on_done(NULL, &e, a);
}

static void
on_turn(void *arg)
{
	struct gear_ask *a = arg;

	loop_timer_cancel(STEAL(a->turn));
	next(a);
}

struct gear_ask *
gear_ask_start(struct broker *b, const struct gear_ask_opts *o, struct err *e)
{
	const struct app_view_app *v = app_view_get(rollout_view(b->rollout), o->app_id);
	struct gear_ask *a = xcalloc(1, sizeof *a);

	*a = (struct gear_ask){
		.b = b,
		.cart = xstrdup_null(o->cart),
		.action = xstrdup(o->action),
		.on_out = o->on_out,
		.done = o->done,
		.arg = o->arg,
	};
	for (size_t i = v->gears_n; i > 0; i--) {
		const struct wire_gear *g = &v->gears[i - 1]->gear;

		if (o->cart == NULL ? strcmp(g->uuid, o->gear) != 0
		                    : wire_gear_find(&g->cartridges, o->cart) == NULL)
			continue;
		str_list_add(&a->nodes, v->gears[i - 1]->node);
		str_list_add(&a->gears, g->uuid);
	}
	if (a->gears.n == 0) {
		(void)err_set(e, ERR_NOT_FOUND, NULL, "no gear has it");
		gear_ask_cancel(a);
		return NULL;
	}
	idler_touch(b, o->app_id);
	a->turn = loop_timer_start(b->loop, 0, false, on_turn, a);
	return a;
}
