/* Is a ready instance still well? An HTTP request, the cartridge's `status`, or both, every few
 * seconds; when one fails several times in a row, the instance is started again, as after a crash.
 * What sleeps is left alone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"
#include "node/gear.h"
#include "node/gear_act.h"
#include "node/instance_state.h"

enum { CHECK_MS = 5000, CONNECT_MS = 3000, STATUS_S = 30, FAILURES = 3 };

struct instance_live {
	struct instance *i; /* borrowed */
	struct loop_timer *timer;
	struct http_call *call;
	struct gear_act *act;
	int64_t failures; /* in a row */
};

void
instance_live_stop(struct instance *i)
{
	struct instance_live *v = STEAL(i->live);

	if (v == NULL)
		return;
	loop_timer_cancel(v->timer);
	http_call_cancel(v->call);
	gear_act_cancel(v->act);
	free(v);
}

static bool
has_path(const struct instance *i)
{
	return i->spec.kind == WIRE_INSTANCE_WEB && i->spec.health_path != NULL &&
	       i->spec.health_path[0] != '\0';
}

static void
again(struct instance_live *v)
{
	loop_timer_again(v->timer, v->i->spec.health_interval_s * 1000);
}

/* why NULL: it is well. v may be gone after it. */
static void
result(struct instance_live *v, const char *why)
{
	struct instance *i = v->i;
	int64_t max = i->spec.health_failures > 0 ? i->spec.health_failures : FAILURES;
	AUTO(free) char *text = NULL;

	if (why == NULL || i->status.sleep != WIRE_SLEEP_AWAKE) {
		v->failures = 0;
		again(v);
		return;
	}
	v->failures++;
	log_info("instance_unhealthy", LOG_STR("instance", i->spec.id),
	    LOG_INT("failures", v->failures), LOG_STR("why", why));
	if (v->failures < max || i->job != NULL || i->step != STEP_RUN) {
		again(v);
		return;
	}
	text = xasprintf("was unhealthy %" PRId64 " times in a row (%s)", v->failures, why);
	instance_live_stop(i);
	instance_fail(i, "%s", text);
}

/* --- the cartridge's word --- */

static void
on_status(const struct wire_act_result *r, void *arg)
{
	struct instance_live *v = arg;

	v->act = NULL;
	result(v, instance_live_is_well(r) ? NULL : r->reason);
}

static const char *
cart_of(const struct instance *i)
{
	const struct wire_gear_cart *web = wire_gear_web(&i->gear->spec.cartridges);

	if (i->spec.kind == WIRE_INSTANCE_SERVICE)
		return i->spec.cart;
	return web == NULL ? NULL : web->name;
}

bool
instance_live_is_well(const struct wire_act_result *r)
{
	/* 126, 127: the cartridge cannot be asked. */
	return r->ok || r->exit_code == 126 || r->exit_code == 127;
}

struct gear_act *
instance_live_ask(struct instance *i, gear_act_done_fn *done, void *arg)
{
	const struct gear_act_opts o = {
		.loop = i->table->o.loop,
		.gears = i->table->o.gears,
		.instances = i->table,
		.carts = i->table->o.carts,
		.instance = i->spec.id,
	};
	const char *cart = i->gear == NULL ? NULL : cart_of(i);
	const struct wire_act_order order = {
		.cart = (char *)(uintptr_t)cart,
		.action = (char *)(uintptr_t) "status",
		.timeout_s = STATUS_S,
	};
	struct err e = { 0 };

	return cart == NULL ? NULL : gear_act_start(&o, i->spec.gear, &order, NULL, done, arg, &e);
}

static void
ask_status(struct instance_live *v)
{
	v->act = instance_live_ask(v->i, on_status, v);
	if (v->act == NULL) /* nothing to be asked: no reason to end it */
		result(v, NULL);
}

/* --- HTTP --- */

static void
on_answer(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct instance_live *v = arg;
	char why[128];

	(void)c;
	(void)body;
	v->call = NULL;
	if (e == NULL && ((status >= 200 && status < 400) || status == 401)) {
		if (v->i->spec.health_status)
			ask_status(v);
		else
			result(v, NULL);
		return;
	}
	if (e == NULL)
		(void)snprintf(
		    why, sizeof why, "GET %.80s answered %d", v->i->spec.health_path, status);
	else
		(void)snprintf(why, sizeof why, "GET %.80s got no answer", v->i->spec.health_path);
	result(v, why);
}

static void
ask_http(struct instance_live *v)
{
	struct instance *i = v->i;
	struct err e = { 0 };

	v->call = instance_health_call(i, CHECK_MS, CONNECT_MS, on_answer, v, &e);
	if (v->call == NULL)
		result(v, NULL);
}

static void
on_time(void *arg)
{
	struct instance_live *v = arg;

	if (v->i->step != STEP_RUN || v->i->status.sleep != WIRE_SLEEP_AWAKE)
		result(v, NULL);
	else if (has_path(v->i))
		ask_http(v);
	else
		ask_status(v);
}

void
instance_live_start(struct instance *i)
{
	struct instance_live *v;

	instance_live_stop(i);
	if (i->spec.health_interval_s <= 0 || (!has_path(i) && !i->spec.health_status))
		return;
	v = xcalloc(1, sizeof *v);
	v->i = i;
	i->live = v;
	v->timer =
	    loop_timer_start(i->table->o.loop, i->spec.health_interval_s * 1000, false, on_time, v);
}
