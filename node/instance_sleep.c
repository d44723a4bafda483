/* Sleep of instances: frozen, memory reclaimed, stopped; and wakes, which need nobody but this
 * node. An order to sleep has a number; a wake names the order that it ends. So an order that was
 * under way while somebody woke the instance does not put it to sleep again. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/instance_state.h"
#include "node/limits.h"
#include "node/page_cache.h"

struct instances_wait {
	struct instances_wait *next;
	struct instances *table; /* borrowed */
	char *app_id;
	struct loop_timer *late;
	instances_woken_fn *fn;
	void *arg;
};

static struct limits_group
group_of(const struct instance *i)
{
	return (struct limits_group){ i->spec.gear, i->spec.id };
}

int
instance_sleep_wanted(const struct instance *i)
{
	return i->spec.sleep_order > i->status.woken_order ? i->spec.sleep : WIRE_SLEEP_AWAKE;
}

static void
set_sleep(struct instance *i, int sleep)
{
	if (i->status.sleep == sleep)
		return;
	log_info("instance_sleep", LOG_STR("instance", i->spec.id),
	    LOG_STR("from", wire_sleep_names[i->status.sleep].name),
	    LOG_STR("to", wire_sleep_names[sleep].name));
	i->status.sleep = sleep;
	i->table->o.on_change(&i->status, i->table->o.arg);
	instance_sleep_changed(i);
}

/* --- going to sleep --- */

struct sleep_job {
	struct instance *owner; /* done only */
	const struct limits *limits;
	char *gear, *id; /* owned */
	bool reclaims;
	struct err e;
};

static void
free_sleep(void *take_job)
{
	struct sleep_job *j = take_job;

	free(j->gear);
	free(j->id);
	free(j);
}

/* The kernel freezes before the pages are taken away, else they would come back at once. What all
 * share (the runtime's program) is read by us, so that it stays in the page cache. */
static void
run_sleep(void *job)
{
	struct sleep_job *j = job;
	const struct limits_group g = { j->gear, j->id };
	struct page_cache_files files = { 0 };

	if (limits_freeze(j->limits, g, true, &j->e) < 0)
		return;
	fault_point("instance_frozen");
	if (!j->reclaims)
		return;
	page_cache_find(j->limits, g, &files);
	if (limits_reclaim(j->limits, g, &j->e) == 0)
		page_cache_warm(&files);
	page_cache_files_fini(&files);
}

static void
done_sleep(void *job)
{
	struct sleep_job *j = job;
	struct instance *i = j->owner;
	bool reclaims = j->reclaims;
	struct err e = j->e;

	i->job = NULL;
	free_sleep(j);
	if (e.code != ERR_NONE)
		log_warn("instance_not_asleep", LOG_STR("instance", i->spec.id), LOG_ERR(&e));
	else
		set_sleep(i, reclaims ? WIRE_SLEEP_RECLAIMED : WIRE_SLEEP_FROZEN);
	if (e.code == ERR_NONE || i->has_ended)
		instance_next(i);
}

static void
go_down(struct instance *i, int to)
{
	struct sleep_job *j = xcalloc(1, sizeof *j);

	*j = (struct sleep_job){ .owner = i,
		.limits = i->table->o.limits,
		.gear = xstrdup(i->spec.gear),
		.id = xstrdup(i->spec.id),
		.reclaims = to == WIRE_SLEEP_RECLAIMED };
	i->job = worker_submit(i->table->o.worker, run_sleep, done_sleep, free_sleep, j);
}

/* One write of a byte into a file of the kernel's: not worth a thread, for somebody waits. */
void
instance_sleep_thaw(struct instance *i)
{
	struct err e = { 0 };

	if (i->status.sleep != WIRE_SLEEP_FROZEN && i->status.sleep != WIRE_SLEEP_RECLAIMED)
		return;
	if (limits_freeze(i->table->o.limits, group_of(i), false, &e) < 0)
		log_error("instance_not_thawed", LOG_STR("instance", i->spec.id), LOG_ERR(&e));
	else
		set_sleep(i, WIRE_SLEEP_AWAKE);
}

void
instance_sleep_follow(struct instance *i)
{
	int want = instance_sleep_wanted(i);

	if (i->job != NULL || i->step != STEP_RUN || want == i->status.sleep)
		return;
	if (want == WIRE_SLEEP_AWAKE)
		instance_sleep_thaw(i);
	else if (want > i->status.sleep && want <= WIRE_SLEEP_RECLAIMED)
		go_down(i, want);
}

void
instance_sleep_adopt(struct instance *i)
{
	i->was_left = false;
	if (limits_is_frozen(i->table->o.limits, group_of(i)))
		i->status.sleep = WIRE_SLEEP_FROZEN;
	else if (i->spec.sleep != WIRE_SLEEP_AWAKE)
		i->status.woken_order = i->spec.sleep_order; /* by the daemon before us */
}

/* --- waking --- */

struct visit {
	struct instance **v;
	size_t n;
};

/* Those of the application that are wanted, in an array that stays while they change. */
static struct visit
collect(const struct instances *is, const char *app_id)
{
	struct visit v = { 0 };

	for (struct instance *i = instances_of_app(is, app_id); i != NULL; i = i->app_next) {
		if (i->spec.want != WIRE_WANT_PRESENT || i->is_forgotten)
			continue;
		v.v = xreallocarray(v.v, v.n + 1, sizeof *v.v);
		v.v[v.n++] = i;
	}
	return v;
}

static bool
is_awake(const struct instance *i)
{
	return i->status.sleep == WIRE_SLEEP_AWAKE &&
	       (i->step == STEP_RUN || i->spec.sleep_order == 0) && i->job == NULL;
}

static void
wake_one(struct instance *i, int64_t order)
{
	int64_t ends = order == 0 ? i->spec.sleep_order : order;

	if (ends > i->status.woken_order) {
		i->status.woken_order = ends;
		i->table->o.on_change(&i->status, i->table->o.arg);
	}
	instance_next(i);
}

bool
instances_wake(struct instances *is, const char *app_id, int64_t order)
{
	struct visit v = collect(is, app_id);
	bool all = true;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t k = 0; k < v.n; k++) {
			if ((v.v[k]->spec.kind == WIRE_INSTANCE_SERVICE) == (pass == 0))
				wake_one(v.v[k], order);
		}
	}
	for (size_t k = 0; k < v.n; k++)
		all = all && is_awake(v.v[k]);
	free(v.v);
	return all;
}

struct thaw {
	const char *gear;
	struct instance *v[64];
	size_t n;
};

static void
find_frozen(const char *key, void *value, void *arg)
{
	struct instance *i = value;
	struct thaw *t = arg;

	(void)key;
	if (strcmp(i->spec.gear, t->gear) == 0 && i->step == STEP_RUN &&
	    instance_sleep_wanted(i) != WIRE_SLEEP_AWAKE && t->n < ARRAY_LEN(t->v))
		t->v[t->n++] = i;
}

void
instances_thaw(struct instances *is, const char *gear)
{
	struct thaw t = { .gear = gear };

	map_each(is->all, find_frozen, &t);
	for (size_t k = 0; k < t.n; k++)
		wake_one(t.v[k], 0);
}

bool
instance_sleep_waits(const struct instance *i)
{
	struct visit v;
	bool waits = false;

	if (i->status.sleep != WIRE_SLEEP_STOPPED || i->spec.kind == WIRE_INSTANCE_SERVICE)
		return false;
	v = collect(i->table, i->spec.app_id);
	for (size_t k = 0; k < v.n && !waits; k++)
		waits = v.v[k]->spec.kind == WIRE_INSTANCE_SERVICE &&
		        v.v[k]->status.sleep == WIRE_SLEEP_STOPPED &&
		        v.v[k]->status.state != WIRE_INSTANCE_FAILED;
	free(v.v);
	return waits;
}

/* --- who waits --- */

void
instances_wait_cancel(struct instances_wait *take_w)
{
	struct instances_wait **p;

	if (take_w == NULL)
		return;
	for (p = &take_w->table->waits; *p != NULL; p = &(*p)->next) {
		if (*p == take_w) {
			*p = take_w->next;
			break;
		}
	}
	loop_timer_cancel(take_w->late);
	free(take_w->app_id);
	free(take_w);
}

static void
end_wait(struct instances_wait *w, const struct err *e)
{
	instances_woken_fn *fn = w->fn;
	void *arg = w->arg;

	instances_wait_cancel(w);
	fn(e, arg);
}

static void
on_late(void *arg)
{
	struct err e = { 0 };

	(void)err_set(&e, ERR_BUSY, NULL, "the application did not start in time");
	end_wait(arg, &e);
}

struct instances_wait *
instances_wait_awake(
    struct instances *is, const char *app_id, int64_t ms, instances_woken_fn *fn, void *arg)
{
	struct instances_wait *w = xcalloc(1, sizeof *w);

	*w = (struct instances_wait){
		.next = is->waits, .table = is, .app_id = xstrdup(app_id), .fn = fn, .arg = arg
	};
	w->late = loop_timer_start(is->o.loop, ms, false, on_late, w);
	is->waits = w;
	return w;
}

/* All of the application is as it must be, or something of it cannot be. false: neither yet. */
static bool
has_settled(struct instances *is, const char *app_id, struct err *e)
{
	struct visit v = collect(is, app_id);
	bool all = true;

	for (size_t k = 0; k < v.n; k++) {
		const struct instance *i = v.v[k];

		if (i->status.state == WIRE_INSTANCE_FAILED ||
		    i->status.state == WIRE_INSTANCE_CRASHED)
			(void)err_set(e, ERR_SYSTEM, NULL, "the application %s",
			    i->status.reason == NULL ? "did not start" : i->status.reason);
		all = all && is_awake(i);
	}
	free(v.v);
	return all || e->code != ERR_NONE;
}

/* Services that are ready let the others start. */
static void
start_others(struct instances *is, const char *app_id)
{
	struct visit v = collect(is, app_id);

	for (size_t k = 0; k < v.n; k++) {
		if (v.v[k]->step == STEP_IDLE && v.v[k]->status.sleep == WIRE_SLEEP_STOPPED)
			instance_next(v.v[k]);
	}
	free(v.v);
}

void
instance_sleep_changed(struct instance *i)
{
	struct instances *is = i->table;
	struct instances_wait *w, *next;

	if (i->spec.kind == WIRE_INSTANCE_SERVICE && i->spec.sleep_order != 0 &&
	    (i->status.state == WIRE_INSTANCE_READY || i->status.state == WIRE_INSTANCE_FAILED))
		start_others(is, i->spec.app_id);
	for (w = is->waits; w != NULL; w = next) {
		struct err e = { 0 };

		next = w->next;
		if (strcmp(w->app_id, i->spec.app_id) != 0 || !has_settled(is, w->app_id, &e))
			continue;
		end_wait(w, e.code == ERR_NONE ? NULL : &e);
		next = is->waits; /* the list may be another */
	}
}
