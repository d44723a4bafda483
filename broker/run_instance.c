#include "broker/run_instance.h"

#include <string.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/change.h"
#include "broker/record.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/loop/loop.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_app.h"

enum { LOOK_MS = 20, PATIENCE_MS = 60 * 1000, STOP_S = 5, OF_GEAR_MAX = 8 };

struct run_instance {
	struct broker *b;       /* borrowed */
	char *gear, *node, *id; /* owned */
	struct loop_timer *look;
	int64_t until_ms;
	bool is_made;    /* the record is there */
	bool has_failed; /* there is no record */
	bool is_ended;   /* nobody waits; freed once its record says so */
	run_instance_fn *fn;
	void *arg;
};

static void
release(struct run_instance *r)
{
	loop_timer_cancel(STEAL(r->look));
	free(r->gear);
	free(r->node);
	free(r->id);
	free(r);
}

/* --- the end --- */

static int
build_gone(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	const struct run_instance *r = arg;
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
	int64_t rev;

	(void)e;
	if (record_get(b->store, store_key_instance(r->node, r->id), &wire_instance_record_codec,
	        &rec, &rev, e) < 0 ||
	    rec.spec.want == WIRE_WANT_GONE)
		return 0;
	rec.spec.want = WIRE_WANT_GONE;
	rec.spec.generation++;
	record_put_cas(
	    t, store_key_instance(r->node, r->id), rev, &wire_instance_record_codec, &rec);
	return 0;
}

static void
on_gone(const struct err *e, void *arg)
{
	if (e != NULL)
		log_error("run_instance_left", LOG_ERR(e)); /* until the next start */
	release(arg);
}

void
run_instance_end(struct run_instance *take_r)
{
	if (take_r == NULL || take_r->is_ended)
		return;
	take_r->is_ended = true;
	loop_timer_cancel(STEAL(take_r->look));
	if (take_r->is_made)
		change_start(take_r->b, build_gone, on_gone, take_r);
	else if (take_r->has_failed)
		release(take_r);
}

/* --- the start --- */

struct count {
	const char *gear;
	int n;
};

static bool
count_one(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_instance_record *i = rec;
	struct count *c = arg;

	(void)key;
	(void)rev;
	c->n += i->spec.kind == WIRE_INSTANCE_RUN && strcmp(i->spec.gear, c->gear) == 0 &&
	        i->spec.want != WIRE_WANT_GONE;
	return true;
}

static void
fill(struct wire_instance_record *rec, const struct run_instance *r, const struct wire_app *a,
    const struct wire_deployment *d)
{
	struct wire_instance *s = &rec->spec;
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	s->id = xstrdup(r->id);
	s->gear = xstrdup(r->gear);
	s->app_id = xstrdup(a->id);
	s->kind = WIRE_INSTANCE_RUN;
	s->deployment_id = xstrdup(d->id);
	codec_copy(&wire_layers_codec, &s->layers, &d->layers);
	codec_copy(&wire_start_codec, &s->start, &d->start);
	s->stop_timeout_s = STOP_S;
	s->generation = 1;
	s->want = WIRE_WANT_PRESENT;
	rec->restart_gen = a->status.restart_gen;
	rec->env_rev = a->status.env_rev;
	rec->created_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int
build_made(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	struct run_instance *r = arg;
	AUTO_FINI(wire_instance_record_fini) struct wire_instance_record rec = { 0 };
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	AUTO_FINI(wire_gear_fini) struct wire_gear gear = { 0 };
	AUTO(free) char *node = NULL;
	struct count c = { .gear = r->gear };
	const char *deployment;
	int64_t app_rev;

	if (record_gear(b->store, r->gear, &gear, &node, e) < 0)
		return -1;
	mem_set_str(&r->node, node);
	if (record_app_by_id(b->store, gear.app_id, &app, &app_rev, e) < 0 || app.spec.deleted)
		return err_set(e, ERR_NOT_FOUND, "gear", "there is no gear %s", r->gear);
	record_each_with(
	    b->store, STORE_PREFIX_INSTANCE, r->gear, &wire_instance_record_codec, count_one, &c);
	if (c.n >= OF_GEAR_MAX)
		return err_set(e, ERR_LIMIT, NULL,
		    "%d instances for single commands run in this gear already", OF_GEAR_MAX);
	deployment = app.status.deployment != NULL && *app.status.deployment != '\0'
	                 ? app.status.deployment
	                 : app.spec.deployment;
	if (deployment == NULL || *deployment == '\0' ||
	    record_get(b->store, store_key_deployment(app.id, deployment), &wire_deployment_codec,
	        &d, NULL, e) < 0)
		return err_set(
		    e, ERR_CONFLICT, NULL, "%s has no deployment yet: push one first", app.name);
	fill(&rec, r, &app, &d);
	AUTO(free) char *app_key = store_key_app(app.domain, app.name);
	store_txn_if_rev(t, app_key, app_rev);
	record_put_cas(t, store_key_instance(r->node, r->id), 0, &wire_instance_record_codec, &rec);
	return 0;
}

static void
answer(struct run_instance *r, const char *id, const struct err *e)
{
	loop_timer_cancel(STEAL(r->look));
	r->fn(id, e, r->arg);
}

static void
on_look(void *arg)
{
	struct run_instance *r = arg;
	AUTO_FINI(wire_instance_status_fini) struct wire_instance_status st = { 0 };
	struct err e = { 0 };

	if (record_get(r->b->store, store_key_instance_status(r->node, r->id),
	        &wire_instance_status_codec, &st, NULL, &e) < 0)
		st.state = WIRE_INSTANCE_NEW;
	e = (struct err){ 0 };
	if (st.state == WIRE_INSTANCE_READY) {
		answer(r, r->id, NULL);
	} else if (st.state == WIRE_INSTANCE_FAILED) {
		(void)err_set(&e, ERR_SYSTEM, NULL, "the instance could not be made: it %s",
		    st.reason == NULL ? "failed" : st.reason);
		answer(r, NULL, &e);
	} else if (loop_now_ms() > r->until_ms) {
		(void)err_set(&e, ERR_BUSY, NULL, "the node did not make an instance in time");
		answer(r, NULL, &e);
	}
}

static void
on_made(const struct err *e, void *arg)
{
	struct run_instance *r = arg;

	if (e != NULL && r->is_ended) {
		release(r);
	} else if (e != NULL) {
		r->has_failed = true;
		answer(r, NULL, e);
	} else {
		r->is_made = true;
		log_info("run_instance", LOG_STR("gear", r->gear), LOG_STR("instance", r->id));
		if (r->is_ended)
			change_start(r->b, build_gone, on_gone, r);
		else
			r->look = loop_timer_start(r->b->loop, LOOK_MS, true, on_look, r);
	}
}

struct run_instance *
run_instance_start(
    struct broker *b, const char *gear, run_instance_fn *fn, void *arg, struct err *e)
{
	struct run_instance *r = xcalloc(1, sizeof *r);
	AUTO(free) char *salt = secret_random_hex(3);

	(void)e;
	*r = (struct run_instance){
		.b = b,
		.gear = xstrdup(gear),
		.id = xasprintf("%.8s-%s", gear, salt),
		.until_ms = loop_now_ms() + PATIENCE_MS,
		.fn = fn,
		.arg = arg,
	};
	change_start(b, build_made, on_made, r);
	return r;
}

/* --- after a crash --- */

static bool
collect(const char *key, int64_t rev, void *rec, void *arg)
{
	struct wire_instance_record *i = rec;
	struct store_txn *t = arg;

	if (i->spec.kind != WIRE_INSTANCE_RUN || i->spec.want == WIRE_WANT_GONE ||
	    store_txn_count(t) >= 80)
		return true;
	i->spec.want = WIRE_WANT_GONE;
	i->spec.generation++;
	record_put_cas(t, xstrdup(key), rev, &wire_instance_record_codec, i);
	return true;
}

static void
on_swept(const struct err *e, void *arg)
{
	(void)arg;
	if (e != NULL)
		log_error("run_instances_left", LOG_ERR(e));
}

static int
build_sweep(struct broker *b, struct store_txn *t, void *arg, struct err *e)
{
	(void)arg;
	(void)e;
	record_each_with(
	    b->store, STORE_PREFIX_INSTANCE, "\"run\"", &wire_instance_record_codec, collect, t);
	return 0;
}

void
run_instance_sweep(struct broker *b)
{
	change_start(b, build_sweep, on_swept, NULL);
}
