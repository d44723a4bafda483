#include "node/gear_act.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "node/cart_action.h"
#include "node/cart_message.h"
#include "node/cart_store.h"
#include "node/container.h"
#include "node/gear_table.h"
#include "node/instance.h"
#include "node/instance_env.h"

enum { TIMEOUT_S = 600 };

/* One cartridge's turn. */
struct act_step {
	const struct cart_dir_entry *cart; /* borrowed */
	char *instance;                    /* owned */
};

struct gear_act {
	struct gear_act_opts o;
	struct gear *gear; /* held */
	struct wire_act_order order;
	struct act_step *steps; /* owned */
	size_t n, next;
	struct instance_env *env;
	struct child *child;
	struct loop_timer *timer;
	struct cart_message out, err; /* of the step under way */
	struct wire_act_result result;
	bool is_paused, is_late, ends_at_failure;
	gear_act_out_fn *on_out;
	gear_act_done_fn *done;
	void *arg;
};

static void
free_act(struct gear_act *a)
{
	instance_env_cancel(a->env);
	child_free(a->child);
	loop_timer_cancel(a->timer);
	for (size_t i = 0; i < a->n; i++)
		free(a->steps[i].instance);
	free(a->steps);
	cart_message_fini(&a->out);
	cart_message_fini(&a->err);
	wire_act_order_fini(&a->order);
	wire_act_result_fini(&a->result);
	gear_table_release(a->o.gears, a->gear);
	free(a);
}

void
gear_act_cancel(struct gear_act *take_a)
{
	if (take_a != NULL)
		free_act(take_a);
}

static const char *
what(const struct gear_act *a)
{
	return a->order.action != NULL && a->order.action[0] != '\0' ? a->order.action
	                                                             : a->order.hook;
}

static bool
is_action(const struct gear_act *a, const char *name)
{
	return a->order.action != NULL && strcmp(a->order.action, name) == 0;
}

/* --- steps --- */

static void next_step(struct gear_act *a);

static void
finish(struct gear_act *a)
{
	a->result.ok = a->result.reason == NULL;
	log_info("gear_act", LOG_STR("gear", a->gear->record.uuid), LOG_STR("action", what(a)),
	    LOG_STR("error", a->result.ok ? "" : a->result.reason));
	a->done(&a->result, a->arg);
	free_act(a);
}

/* The first failure is the one that is told. */
static void
set_failed(struct gear_act *a, int exit_code, const char *why)
{
	const struct cart_dir_entry *c = a->steps[a->next].cart;

	if (a->result.reason != NULL)
		return;
	a->result.exit_code = exit_code > 255 ? 255 : exit_code;
	a->result.cart = xstrdup(c->cart.name);
	a->result.reason =
	    a->is_late ? xasprintf("%s of the cartridge %s took longer than %lld s and was ended",
	                     what(a), c->cart.name, (long long)a->order.timeout_s)
	               : xasprintf("%s of the cartridge %s failed: %s", what(a), c->cart.name, why);
}

static void
move_vars(struct wire_var_list *from, struct wire_var_list *to)
{
	for (size_t i = 0; i < from->n; i++) {
		struct wire_var *v = codec_list_add(&wire_var_codec, to);

		v->name = STEAL(from->v[i].name);
		v->value = STEAL(from->v[i].value);
	}
}

static bool
asks_anything(const struct wire_asks *a)
{
	static const struct wire_asks nothing = { 0 };

	return !codec_equal(&wire_asks_codec, a, &nothing);
}

static void
collect(struct gear_act *a, bool ok)
{
	cart_message_end(&a->out, ok);
	cart_message_end(&a->err, ok);
	for (size_t i = 0; i < a->out.lines.n; i++)
		str_list_add(&a->result.messages, a->out.lines.v[i]);
	if (!ok) {
		cart_message_tell_plain(&a->out, "CLIENT_MESSAGE", &a->result.messages);
		cart_message_tell_plain(&a->err, "CLIENT_ERROR", &a->result.messages);
	}
	move_vars(&a->out.properties, &a->result.properties);
	if (ok && asks_anything(&a->out.asks)) {
		struct wire_asked *asked = codec_list_add(&wire_asked_codec, &a->result.asked);

		asked->cart = xstrdup(a->steps[a->next].cart->cart.name);
		asked->asks = a->out.asks;
		a->out.asks = (struct wire_asks){ 0 };
	}
	cart_message_fini(&a->out);
	cart_message_fini(&a->err);
}

static void
end_step(struct gear_act *a, int exit_code, const char *why)
{
	collect(a, exit_code == 0);
	if (exit_code != 0)
		set_failed(a, exit_code, why);
	a->next++;
	if (a->is_late || (exit_code != 0 && a->ends_at_failure) || a->next == a->n)
		finish(a);
	else
		next_step(a);
}

static void
on_out(struct child *c, int fd, const char *p, size_t n, void *arg)
{
	struct gear_act *a = arg;

	(void)c;
	cart_message_feed(fd == 1 ? &a->out : &a->err, p, n);
	if (a->on_out != NULL)
		a->on_out(a->steps[a->next].cart->cart.name, fd, p, n, a->arg);
}

static void
on_end(struct child *c, const struct child_end *end, void *arg)
{
	struct gear_act *a = arg;
	int status = end->status;
	char why[128];

	(void)snprintf(why, sizeof why, "%s", end->why);
	a->child = NULL;
	child_free(c);
	end_step(a, status < 0 ? 126 : status, why);
}

static void
fill_argv(const struct gear_act *a, struct str_list *out)
{
	const struct cart_dir_entry *c = a->steps[a->next].cart;

	if (a->order.hook != NULL && a->order.hook[0] != '\0')
		cart_action_hook_argv(c, a->order.hook, &a->order.args, out);
	else
		cart_action_call_argv(c, a->order.action, &a->order.args, out);
}

static void
on_env(const struct str_list *env, const struct err *e, void *arg)
{
	struct gear_act *a = arg;
	AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
	AUTO_FINI(str_list_fini) struct str_list all = { 0 };
	struct container_entry entry = { 0 };
	struct err failed = { 0 };

	a->env = NULL;
	if (e != NULL) {
		end_step(a, 126, e->text);
		return;
	}
	fill_argv(a, &argv);
	str_list_copy(&all, env);
	for (size_t i = 0; i < a->order.env.n; i++)
		str_list_take(
		    &all, xasprintf("%s=%s", a->order.env.v[i].name, a->order.env.v[i].value));
	str_list_add(&all, "PINION_CALL=1"); /* daemons are not to hold this call's output */
	str_list_take(&argv, NULL);          /* the lists end with NULL, as execve wants them */
	str_list_take(&all, NULL);
	entry.argv = (const char *const *)argv.v;
	entry.env = (const char *const *)all.v;
	a->child = instances_enter(
	    a->o.instances, a->steps[a->next].instance, &entry, on_out, on_end, a, &failed);
	if (a->child == NULL)
		end_step(a, 126, failed.text);
	else
		child_pause(a->child, a->is_paused);
}

static void
next_step(struct gear_act *a)
{
	const struct act_step *s = &a->steps[a->next];
	struct err e = { 0 };

	a->env = instance_env_start(a->o.instances, s->instance, s->cart->cart.name, on_env, a, &e);
	if (a->env == NULL)
		end_step(a, 126, e.text);
}

/* --- start --- */

static void
on_time(void *arg)
{
	struct gear_act *a = arg;

	loop_timer_cancel(STEAL(a->timer));
	a->is_late = true;
	instance_env_cancel(STEAL(a->env));
	child_free(STEAL(a->child));
	end_step(a, 124, "");
}

/* Later, so that no callback comes inside the call that starts. */
static void
on_begin(void *arg)
{
	struct gear_act *a = arg;

	loop_timer_cancel(a->timer);
	a->timer = loop_timer_start(a->o.loop, a->order.timeout_s * 1000, false, on_time, a);
	next_step(a);
}

static void
add_step(struct gear_act *a, const struct wire_gear_cart *c)
{
	const struct cart_dir_entry *cart = cart_store_find(a->o.carts, c);
	const char *instance = a->o.instance != NULL
	                           ? a->o.instance
	                           : instances_pick(a->o.instances, a->gear->record.uuid,
	                                 c->is_service ? c->name : NULL);

	if (cart != NULL && instance != NULL)
		a->steps[a->n++] = (struct act_step){ .cart = cart, .instance = xstrdup(instance) };
}

/* Add-ons in configure order, then the web framework; for stop the other way round. */
static void
list_steps(struct gear_act *a)
{
	const struct wire_gear_cart_list *l = &a->gear->spec.cartridges;
	bool is_named = a->order.cart != NULL && a->order.cart[0] != '\0';

	a->steps = xcalloc(l->n + 1, sizeof *a->steps);
	for (int is_web = 0; is_web <= 1; is_web++) {
		for (size_t i = 0; i < l->n; i++) {
			if (is_named ? is_web == 0 && strcmp(l->v[i].name, a->order.cart) == 0
			             : l->v[i].is_web == (is_web == 1))
				add_step(a, &l->v[i]);
		}
	}
	for (size_t i = 0; is_action(a, "stop") && i < a->n / 2; i++) {
		struct act_step s = a->steps[i];

		a->steps[i] = a->steps[a->n - 1 - i];
		a->steps[a->n - 1 - i] = s;
	}
}

static bool
is_word(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 64 && s[0] != '-' && s[0] != '.' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

static int
check(const struct wire_act_order *o, struct err *e)
{
	bool has_action = o->action != NULL && o->action[0] != '\0';
	bool has_hook = o->hook != NULL && o->hook[0] != '\0';

	if (has_action == has_hook)
		return err_set(e, ERR_INVALID, "action", "name either an action or a hook");
	if (has_action && !is_word(o->action))
		return err_set(e, ERR_INVALID, "action", "must be a word like \"restart\"");
	if (has_hook && !is_word(o->hook))
		return err_set(e, ERR_INVALID, "hook", "must be the name of a file in hooks/");
	if (has_hook && (o->cart == NULL || o->cart[0] == '\0'))
		return err_set(e, ERR_INVALID, "cart", "a hook is that of one cartridge: name it");
	for (size_t i = 0; i < o->env.n; i++) {
		if (o->env.v[i].name == NULL || !str_is_env_name(o->env.v[i].name))
			return err_set(e, ERR_INVALID, "env", "item %zu has no good name", i);
	}
	return 0;
}

struct gear_act *
gear_act_start(const struct gear_act_opts *o, const char *gear, const struct wire_act_order *order,
    gear_act_out_fn *out, gear_act_done_fn *done, void *arg, struct err *e)
{
	struct gear *g = gear_table_find(o->gears, gear);
	struct gear_act *a;

	if (check(order, e) < 0)
		return NULL;
	if (g == NULL) {
		(void)err_set(e, ERR_NOT_FOUND, "gear", "this node has no gear %s", gear);
		return NULL;
	}
	if (order->cart != NULL && order->cart[0] != '\0' &&
	    wire_gear_find(&g->spec.cartridges, order->cart) == NULL) {
		(void)err_set(
		    e, ERR_NOT_FOUND, "cart", "the gear has no cartridge %s", order->cart);
		return NULL;
	}
	instances_thaw(o->instances, gear);
	a = xcalloc(1, sizeof *a);
	*a = (struct gear_act){ .o = *o, .gear = g, .on_out = out, .done = done, .arg = arg };
	gear_table_hold(o->gears, g);
	codec_copy(&wire_act_order_codec, &a->order, order);
	if (a->order.timeout_s <= 0)
		a->order.timeout_s = TIMEOUT_S;
	a->ends_at_failure = is_action(a, "start") || is_action(a, "restart");
	list_steps(a);
	if (a->n == 0) {
		(void)err_set(e, ERR_NOT_FOUND, "instance", "%s does not run",
		    order->cart != NULL && order->cart[0] != '\0' ? order->cart : "the gear");
		free_act(a);
		return NULL;
	}
	a->timer = loop_timer_start(o->loop, 0, false, on_begin, a);
	return a;
}

void
gear_act_pause(struct gear_act *a, bool paused)
{
	a->is_paused = paused;
	if (a->child != NULL)
		child_pause(a->child, paused);
}
