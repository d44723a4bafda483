/* A deployment that stops nothing: the instances that serve take it over. Each gear by itself: one
 * whose instance does not run well gets a new instance, as in any other rollout. */
#include <string.h>

#include "broker/app_cart.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"

bool
rollout_hot_is_wanted(const struct rollout_step *st, const struct wire_deployment *d)
{
	const struct wire_app *a = &st->app;

	return d->hot_deploy && a->status.deployment != NULL && *a->status.deployment != '\0' &&
	       strcmp(a->status.deployment, d->id) != 0 && a->spec.sleep == WIRE_SLEEP_AWAKE &&
	       a->spec.restart_gen == a->status.restart_gen &&
	       a->spec.env_rev == a->status.env_rev && !app_cart_is_pending(a) &&
	       !rollout_step_was_stopped(a);
}

/* It serves what the application has served until now. */
static bool
can_take_over(const struct wire_app *a, const struct app_view_instance *i)
{
	const struct wire_instance_record *r = &i->rec;

	return rollout_step_is_web(i) && !r->retired && r->spec.want == WIRE_WANT_PRESENT &&
	       strcmp(r->spec.deployment_id, a->status.deployment) == 0 &&
	       r->restart_gen == a->spec.restart_gen && r->env_rev == a->spec.env_rev &&
	       r->cart_rev >= a->spec.cart_roll && app_view_is(i, WIRE_INSTANCE_READY) &&
	       i->status.hot_failure == NULL && i->status.sleep == WIRE_SLEEP_AWAKE;
}

bool
rollout_hot_tell(
    struct rollout_step *st, const struct app_view_gear *g, const struct wire_deployment *d)
{
	for (size_t k = st->v->instances_n; k > 0; k--) {
		const struct app_view_instance *i = st->v->instances[k - 1];
		AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };

		if (strcmp(i->rec.spec.gear, g->gear.uuid) != 0 || !can_take_over(&st->app, i))
			continue;
		if (!rollout_step_has_room(st))
			return true; /* with the next step */
		codec_copy(&wire_instance_record_codec, &rec, &i->rec);
		mem_set_str(&rec.hot_from, rec.spec.deployment_id);
		rollout_step_deploy(st, g, d, &rec.spec);
		rec.spec.generation++;
		rec.changed_ms = st->now_ms;
		fault_point("hot_tell");
		record_put_cas(rollout_step_txn(st), store_key_instance(i->node, rec.spec.id),
		    i->rev, &wire_instance_record_codec, &rec);
		log_info("instance_takes_over", LOG_STR("app", st->app.name),
		    LOG_STR("instance", rec.spec.id), LOG_STR("deployment", d->id));
		return true;
	}
	return false;
}

bool
rollout_hot_is_told(const struct wire_app *a, const struct app_view_instance *i)
{
	const struct wire_instance_record *r = &i->rec;

	return r->hot_from != NULL && a->status.deployment != NULL && !r->retired &&
	       strcmp(r->hot_from, a->status.deployment) == 0 &&
	       strcmp(r->spec.deployment_id, a->status.deployment) != 0;
}
