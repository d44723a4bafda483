#include "broker/worker_plan.h"

#include <inttypes.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/record.h"
#include "broker/rollout_step.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_env.h"

enum { STOP_TIMEOUT_S = 30 };

static bool
is_worker(const struct app_view_instance *i)
{
	return i->rec.spec.kind == WIRE_INSTANCE_WORKER && i->rev != 0;
}

/* How many of that type are to run; 0: none, or the deployment has no such process. */
static int64_t
wanted(const struct wire_app *a, const struct wire_deployment *d, const char *process)
{
	if (wire_env_get(&d->processes, process) == NULL)
		return 0;
	for (size_t i = 0; i < a->processes.n; i++) {
		if (strcmp(a->processes.v[i].name, process) == 0)
			return a->processes.v[i].count;
	}
	return 0;
}

static const struct app_view_gear *
gear_for(const struct rollout_step *st, int64_t index)
{
	const struct app_view_gear *v[64];
	size_t n = 0;

	for (size_t k = 0;
	     k < st->v->gears_n && n < ARRAY_LEN(v) && (int64_t)n < st->app.spec.gears; k++) {
		if (st->v->gears[k]->gear.want != WIRE_WANT_GONE &&
		    rollout_step_has_web(&st->v->gears[k]->gear))
			v[n++] = st->v->gears[k];
	}
	return n == 0 ? NULL : v[(size_t)(index - 1) % n];
}

static bool
is_current(const struct rollout_step *st, const struct app_view_instance *i,
    const struct wire_deployment *d)
{
	const struct wire_instance *s = &i->rec.spec;
	const struct wire_app *a = &st->app;
	const struct app_view_gear *g = gear_for(st, s->process_index);

	return strcmp(s->deployment_id, d->id) == 0 &&
	       i->rec.restart_gen == a->status.restart_gen && i->rec.env_rev == a->status.env_rev &&
	       s->process_index <= wanted(a, d, s->process) && g != NULL &&
	       strcmp(g->gear.uuid, s->gear) == 0;
}

/* Also one that is going: two of one kind never run at once. */
static bool
has(const struct rollout_step *st, const char *process, int64_t index)
{
	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct wire_instance *s = &st->v->instances[k]->rec.spec;

		if (is_worker(st->v->instances[k]) && strcmp(s->process, process) == 0 &&
		    s->process_index == index)
			return true;
	}
	return false;
}

static void
create(struct rollout_step *st, const struct wire_deployment *d, const struct wire_var *process,
    int64_t index)
{
	const struct wire_app *a = &st->app;
	const struct app_view_gear *g = gear_for(st, index);
	AUTO(free) char *salt = secret_random_hex(3);
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
	struct wire_instance *s = &rec.spec;

	if (g == NULL || !rollout_step_has_room(st))
		return;
	s->id = xasprintf("%.8s-%s", g->gear.uuid, salt);
	s->gear = xstrdup(g->gear.uuid);
	s->app_id = xstrdup(a->id);
	s->kind = WIRE_INSTANCE_WORKER;
	s->process = xstrdup(process->name);
	s->process_index = index;
	s->deployment_id = xstrdup(d->id);
	s->ref = xstrdup_null(d->ref);
	s->sha1 = xstrdup_null(d->sha1);
	s->deployed_at = d->created_at;
	s->hot_deploy = d->hot_deploy;
	s->force_clean_build = d->force_clean_build;
	codec_copy(&wire_layers_codec, &s->layers, &d->layers);
	s->start.kind = xstrdup("procfile");
	s->start.command = xstrdup(process->value);
	s->start.why = xasprintf("the Procfile's %s", process->name);
	s->stop_timeout_s = wire_env_seconds(&g->gear.env, WIRE_ENV_STOP_TIMEOUT,
	    a->stop_timeout_s > 0 ? a->stop_timeout_s : STOP_TIMEOUT_S);
	s->generation = 1;
	s->want = WIRE_WANT_PRESENT;
	rec.restart_gen = a->status.restart_gen;
	rec.env_rev = a->status.env_rev;
	rec.created_ms = st->now_ms;
	fault_point("worker_create");
	record_put_cas(rollout_step_txn(st), store_key_instance(g->node, s->id), 0,
	    &wire_instance_record_codec, &rec);
	log_info("worker_wanted", LOG_STR("app", a->name), LOG_STR("process", process->name),
	    LOG_INT("index", index), LOG_STR("instance", s->id));
}

void
worker_plan(struct rollout_step *st)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	struct err e = { 0 };
	bool runs =
	    st->app.spec.running && !st->app.spec.deleted && st->app.status.deployment != NULL &&
	    *st->app.status.deployment != '\0' &&
	    record_get(st->b->store, store_key_deployment(st->app.id, st->app.status.deployment),
	        &wire_deployment_codec, &d, NULL, &e) == 0;

	for (size_t k = 0; k < st->v->instances_n; k++) {
		const struct app_view_instance *i = st->v->instances[k];

		if (is_worker(i) && (!runs || !is_current(st, i, &d)))
			rollout_step_want(st, i, WIRE_WANT_GONE);
	}
	for (size_t p = 0; runs && p < d.processes.n; p++) {
		int64_t n = wanted(&st->app, &d, d.processes.v[p].name);

		for (int64_t index = 1; index <= n; index++) {
			if (!has(st, d.processes.v[p].name, index))
				create(st, &d, &d.processes.v[p], index);
		}
	}
}
