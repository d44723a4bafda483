#include "broker/push_builder.h"

#include <stdlib.h>
#include <string.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/cart_pick.h"
#include "broker/node_act.h"
#include "broker/rollout.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/wire/wire_app.h"

enum { TIMEOUT_S = 3600, LINE_MAX_BYTES = 16 * 1024 };

struct push_builder {
	struct rollout *rollout; /* borrowed; holds the application's instances */
	char *app_id;
	struct node_act *act;
	struct buf line; /* begun */
	char *cart;
	push_builder_line_fn *on_line;
	push_builder_done_fn *done;
	void *arg;
};

char *
push_builder_find(const struct broker *b, const struct wire_app *a)
{
	char *name = NULL;

	for (size_t i = 0; i < a->cartridges.n && name == NULL; i++) {
		AUTO_FINI(wire_cart_fini) struct wire_cart c = { 0 };

		cart_pick_load(b, &a->cartridges.v[i], &c);
		if (wire_cart_has_category(&c, "ci_builder"))
			name = xstrdup(a->cartridges.v[i].name);
	}
	return name;
}

static void
free_builder(struct push_builder *take_x)
{
	rollout_release(take_x->rollout, take_x->app_id);
	buf_fini(&take_x->line);
	free(take_x->app_id);
	free(take_x->cart);
	free(take_x);
}

static void
end_line(struct push_builder *x)
{
	buf_addc(&x->line, '\0');
	x->on_line(x->line.p, x->arg);
	buf_clear(&x->line);
}

static void
on_out(const char *cart, int fd, const char *text, void *arg)
{
	struct push_builder *x = arg;

	(void)cart;
	(void)fd;
	for (; *text != '\0'; text++) {
		if (*text == '\n' || x->line.n >= LINE_MAX_BYTES)
			end_line(x);
		if (*text != '\n')
			buf_addc(&x->line, *text);
	}
}

static void
on_done(const struct wire_act_result *result, const struct err *e, void *arg)
{
	struct push_builder *x = arg;
	struct err failed = { 0 };

	x->act = NULL;
	if (x->line.n > 0)
		end_line(x);
	if (result != NULL && !result->ok)
		(void)err_set(&failed, ERR_CONFLICT, NULL, "The %s cartridge did not build: %s",
		    x->cart, result->reason == NULL ? "it failed" : result->reason);
	else if (result == NULL)
		(void)err_set(&failed, e->code, NULL,
		    "The %s cartridge cannot be asked to build: %s", x->cart, e->text);
	x->done(failed.code == ERR_NONE ? NULL : &failed, x->arg);
	free_builder(x);
}

struct push_builder *
push_builder_start(struct broker *b, const char *app_id, const char *cart, const char *action,
    push_builder_line_fn *on_line, push_builder_done_fn *done, void *arg, struct err *e)
{
	const struct app_view_app *v = app_view_get(rollout_view(b->rollout), app_id);
	struct wire_act_order order = {
		.cart = (char *)cart, .action = (char *)action, .timeout_s = TIMEOUT_S
	};
	struct push_builder *x;

	if (v->gears_n == 0) {
		(void)err_set(e, ERR_NOT_FOUND, NULL, "The application has no gear.");
		return NULL;
	}
	x = xcalloc(1, sizeof *x);
	*x = (struct push_builder){
		.rollout = b->rollout,
		.app_id = xstrdup(app_id),
		.cart = xstrdup(cart),
		.on_line = on_line,
		.done = done,
		.arg = arg,
	};
	/* the deployment that it makes may replace the instance in which it waits for it */
	rollout_hold(x->rollout, app_id);
	x->act = node_act_start(
	    b, v->gears[0]->node, v->gears[0]->gear.uuid, &order, on_out, on_done, x, e);
	if (x->act != NULL)
		return x;
	free_builder(x);
	return NULL;
}

void
push_builder_cancel(struct push_builder *take_x)
{
	if (take_x == NULL)
		return;
	node_act_cancel(take_x->act);
	free_builder(take_x);
}
