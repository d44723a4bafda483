/* After a reboot everything starts at once: in order of the gears' start priority, lowest first,
 * services before those who use them, and only some at a time. What still runs is adopted and waits
 * for nobody; what comes later neither. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "node/gear.h"
#include "node/gear_table.h"
#include "node/instance_state.h"

enum {
	GATHER_MS = 50,  /* until all of a revision are named */
	AT_ONCE = 8,     /* starts under way */
	GEAR_MS = 60000, /* a gear that is not ready by then holds up nobody */
};

struct waiting {
	struct instance *i;
	int64_t priority;
};

struct queue {
	struct waiting *v;
	size_t n;
	int active;
};

static bool
is_starting(const struct instance *i)
{
	return i->step >= STEP_PREPARE && i->step <= STEP_POST;
}

static int64_t
priority_of(const struct instance *i)
{
	const struct gear *g = gear_table_find(i->table->o.gears, i->spec.gear);

	return g == NULL ? INT64_MAX : g->start_priority;
}

static void
collect(const char *key, void *value, void *arg)
{
	struct instance *i = value;
	struct queue *q = arg;

	(void)key;
	if (!i->is_boot)
		return;
	if (i->is_granted) {
		q->active += is_starting(i) ? 1 : 0;
		return;
	}
	if (i->step != STEP_IDLE || i->must_check || !instance_wants_running(i))
		return;
	q->v = xreallocarray(q->v, q->n + 1, sizeof *q->v);
	q->v[q->n++] = (struct waiting){ i, priority_of(i) };
}

static int
compare(const void *a, const void *b)
{
	const struct waiting *x = a, *y = b;
	bool x_serves = x->i->spec.kind == WIRE_INSTANCE_SERVICE;
	bool y_serves = y->i->spec.kind == WIRE_INSTANCE_SERVICE;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	if (x_serves != y_serves)
		return x_serves ? -1 : 1;
	return strcmp(x->i->spec.id, y->i->spec.id);
}

/* Its services come first. */
static bool
waits_for_service(const struct instance *i)
{
	const struct instance *k = instances_of_app(i->table, i->spec.app_id);

	if (i->spec.kind == WIRE_INSTANCE_SERVICE)
		return false;
	for (; k != NULL; k = k->app_next) {
		if (k->spec.kind == WIRE_INSTANCE_SERVICE && k->is_boot && k->step != STEP_RUN &&
		    instance_wants_running(k) && k->status.state != WIRE_INSTANCE_FAILED &&
		    k->status.state != WIRE_INSTANCE_CRASHED)
			return true;
	}
	return false;
}

/* Its volume is being mounted: only then is its priority known. */
static bool
waits_for_gear(const struct instance *i)
{
	const struct gear *g = gear_table_find(i->table->o.gears, i->spec.gear);

	return (g == NULL || (g->state != GEAR_READY && g->state != GEAR_FAILED)) &&
	       loop_now_ms() - i->table->opened_ms < GEAR_MS;
}

static void
on_time(void *arg)
{
	struct instances *is = arg;
	struct queue q = { 0 };
	bool is_blocked = false;

	loop_timer_cancel(STEAL(is->boot));
	map_each(is->all, collect, &q);
	for (size_t k = 0; k < q.n && !is_blocked; k++)
		is_blocked = waits_for_gear(q.v[k].i);
	if (q.n > 0)
		qsort(q.v, q.n, sizeof *q.v, compare);
	for (size_t k = 0; !is_blocked && k < q.n && q.active < AT_ONCE; k++) {
		struct instance *i = q.v[k].i;

		if (waits_for_service(i))
			continue;
		i->is_granted = true;
		q.active++;
		log_info("instance_boots", LOG_STR("instance", i->spec.id),
		    LOG_STR("gear", i->spec.gear), LOG_INT("priority", q.v[k].priority));
		instance_next(i);
	}
	if (q.n > 0 && is->boot == NULL) /* gears, services and starts that end: soon again */
		is->boot = loop_timer_start(is->o.loop, GATHER_MS, false, on_time, is);
	free(q.v);
}

void
instance_boot_add(struct instance *i)
{
	struct instances *is = i->table;

	i->is_boot = !is->is_booted && i->spec.kind != WIRE_INSTANCE_RUN;
}

bool
instance_boot_waits(struct instance *i)
{
	struct instances *is = i->table;

	if (!i->is_boot || i->is_granted)
		return false;
	if (i->was_left) { /* it ran all the time: this is no boot */
		i->is_granted = true;
		return false;
	}
	if (is->boot == NULL)
		is->boot = loop_timer_start(is->o.loop, GATHER_MS, false, on_time, is);
	return true;
}
