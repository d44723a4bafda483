#include "broker/build.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/app_view.h"
#include "broker/broker.h"
#include "broker/build_order.h"
#include "broker/build_record.h"
#include "broker/record.h"
#include "broker/repo.h"
#include "broker/rollout.h"
#include "lib/base/fault.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"

enum {
	TRIES_MAX = 20,
	RUNNING_MAX = 8, /* builds on a node at once, until its result; others wait their turn */
};

struct build {
	struct build_queue *q; /* borrowed */
	struct build_record rec;
	build_line_fn *on_line; /* NULL: the asker is gone */
	build_done_fn *done;
	void *arg;
	struct build_order *order; /* while the node builds */
	struct rollout_wait *wait; /* while it rolls */
	int tries;
	bool is_counted;            /* among those that run */
	int64_t start_us, built_us; /* CLOCK_MONOTONIC */
};

/* Of one application: the build under way and the one that waits. */
struct lane {
	struct build *active, *waiting; /* owned */
	struct lane *next;              /* of those whose build waits for a place on the node */
	bool is_queued;
};

struct build_queue {
	struct broker *b;  /* borrowed */
	struct map *lanes; /* app id → struct lane, owned */
	int running;
	struct lane *first, **last; /* in line for a place on the node */
};

static void
build_free(struct build *x)
{
	if (x == NULL)
		return;
	build_order_cancel(STEAL(x->order));
	rollout_wait_cancel(STEAL(x->wait));
	build_record_fini(&x->rec);
	free(x);
}

static void
lane_free(void *p)
{
	struct lane *l = p;

	build_free(l->active);
	build_free(l->waiting);
	free(l);
}

struct build_queue *
build_queue_new(struct broker *b)
{
	struct build_queue *q = xcalloc(1, sizeof *q);

	q->b = b;
	q->lanes = map_new(lane_free);
	q->last = &q->first;
	return q;
}

void
build_queue_free(struct build_queue *take_q)
{
	if (take_q == NULL)
		return;
	map_free(take_q->lanes);
	free(take_q);
}

static void
say(struct build *x, const char *line)
{
	if (x->on_line != NULL)
		x->on_line(line, x->arg);
}

static void begin(void *arg);

/* The node has done its part: the next in line may begin. */
static void
uncount(struct build *x)
{
	struct build_queue *q = x->q;
	struct lane *l = q->first;

	if (!x->is_counted)
		return;
	x->is_counted = false;
	q->running--;
	if (l == NULL)
		return;
	q->first = l->next;
	if (q->first == NULL)
		q->last = &q->first;
	l->next = NULL;
	l->is_queued = false;
	loop_post(q->b->loop, begin, l);
}

/* Is there no place? Then the lane is in line for one. */
static bool
must_queue(struct lane *l)
{
	struct build_queue *q = l->active->q;

	if (l->is_queued)
		return true;
	if (q->running < RUNNING_MAX)
		return false;
	say(l->active, "Many builds are under way: this one begins when one of them ends.");
	l->is_queued = true;
	*q->last = l;
	q->last = &l->next;
	return true;
}

/* Where the time went. */
static void
log_done(const struct build *x)
{
	int64_t now = loop_now_us(), image = x->rec.result.us.seal;
	int64_t switched = rollout_switch_us(x->q->b->rollout, x->rec.app_id);

	log_info("build_done", LOG_STR("app", x->rec.app_id),
	    LOG_STR("deployment", x->rec.deployment_id), LOG_INT("ms", (now - x->start_us) / 1000));
	if (x->rec.begin_us == 0 || switched < x->built_us)
		return;
	log_info("push_live", LOG_STR("app", x->rec.app_id),
	    LOG_INT("receive_us", x->start_us - x->rec.begin_us),
	    LOG_INT("build_us", x->built_us - x->start_us - image), LOG_INT("image_us", image),
	    LOG_INT("start_us", switched - x->built_us), LOG_INT("route_us", now - switched));
}

/* The build ended, well (e NULL) or not: tells the asker, lets the next begin. */
static void
finish(struct build *x, const struct err *e)
{
	struct build_queue *q = x->q;
	struct lane *l = map_get(q->lanes, x->rec.app_id);

	uncount(x);
	if (e == NULL)
		log_done(x);
	else
		log_info("build_failed", LOG_STR("app", x->rec.app_id), LOG_ERR(e));
	if (x->done != NULL)
		x->done(e == NULL ? x->rec.deployment_id : NULL, e, x->arg);
	l->active = STEAL(l->waiting);
	build_free(x);
	if (l->active != NULL)
		loop_post(q->b->loop, begin, l);
}

/* --- the records' way --- */

/* It failed: the build's record says so; nothing else was changed. */
static void
fail(struct build *x, const struct err *e)
{
	build_record_fail(x->q->b, &x->rec, e->text);
	finish(x, e);
}

static void
on_rolled(const struct err *e, void *arg)
{
	struct build *x = arg;
	struct err bad = { 0 };

	x->wait = NULL;
	if (e != NULL) {
		bad = *e;
		fail(x, &bad);
		return;
	}
	if (!build_record_is_active(x->q->b, &x->rec)) {
		(void)err_set(&bad, ERR_CONFLICT, NULL, "another deployment was wanted meanwhile");
		fail(x, &bad);
		return;
	}
	finish(x, NULL);
}

static void
on_roll_line(const char *line, void *arg)
{
	say(arg, line);
}

static void roll(struct build *x);

static void
on_wanted(int64_t rev, const struct err *e, void *arg)
{
	struct build *x = arg;

	(void)rev;
	if (e != NULL && e->code == ERR_CONFLICT && ++x->tries < TRIES_MAX) {
		roll(x);
		return;
	}
	if (e != NULL) {
		fail(x, e);
		return;
	}
	fault_point("build_wanted");
	say(x, "Activating deployment");
	x->wait = rollout_wait(x->q->b->rollout, x->rec.app_id, on_roll_line, on_rolled, x);
}

/* The result becomes what the application is to run. */
static void
roll(struct build *x)
{
	struct store_txn *t = store_txn_new();
	struct err e = { 0 };

	if (build_record_want(x->q->b, &x->rec, t, &e) < 0) {
		store_txn_free(t);
		fail(x, &e);
		return;
	}
	fault_point("build_want");
	store_txn_submit(x->q->b->store, t, on_wanted, x);
}

static void
on_built(const struct wire_build_result *res, const struct err *e, void *arg)
{
	struct build *x = arg;
	AUTO(free) char *line = NULL;
	struct err bad = { 0 };

	x->order = NULL;
	x->built_us = loop_now_us();
	uncount(x);
	if (e != NULL) {
		bad = *e;
		fail(x, &bad);
		return;
	}
	codec_copy(&wire_build_result_codec, &x->rec.result, res);
	fault_point("build_built");
	say(x, "Preparing build for deployment");
	line = xasprintf("Deployment id is %s", x->rec.deployment_id);
	say(x, line);
	roll(x);
}

static void
on_build_line(const char *line, void *arg)
{
	say(arg, line);
}

static void
begin(void *arg)
{
	struct lane *l = arg;
	struct build *x = l->active;
	struct err e = { 0 };

	if (x == NULL || x->order != NULL || x->start_us != 0 || must_queue(l))
		return;
	x->start_us = loop_now_us();
	x->is_counted = true;
	x->q->running++;
	if (build_record_begin(x->q->b, &x->rec, &e) < 0) {
		finish(x, &e);
		return;
	}
	fault_point("build_begin");
	x->order = build_order_start(x->q->b, &x->rec, on_build_line, on_built, x);
}

/* --- the queue --- */

static void
replace_waiting(struct lane *l)
{
	struct build *old = STEAL(l->waiting);
	struct err e = { 0 };

	if (old == NULL)
		return;
	(void)err_set(&e, ERR_CONFLICT, NULL, "replaced by a newer push");
	log_info("build_replaced", LOG_STR("app", old->rec.app_id));
	if (old->done != NULL)
		old->done(NULL, &e, old->arg);
	build_free(old);
}

struct build *
build_start(struct build_queue *q, const struct build_source *src, build_line_fn *on_line,
    build_done_fn *done, void *arg)
{
	struct build *x = xcalloc(1, sizeof *x);
	struct lane *l = map_get(q->lanes, src->app_id);

	if (l == NULL) {
		l = xcalloc(1, sizeof *l);
		map_set(q->lanes, src->app_id, l);
	}
	*x = (struct build){ .q = q, .on_line = on_line, .done = done, .arg = arg };
	build_record_init(&x->rec, src);
	if (l->active == NULL) {
		l->active = x;
		loop_post(q->b->loop, begin, l);
		return x;
	}
	say(x, "Another deployment of this application is under way: this one is next in line.");
	replace_waiting(l);
	l->waiting = x;
	return x;
}

void
build_detach(struct build *b)
{
	b->on_line = NULL;
	b->done = NULL;
}
