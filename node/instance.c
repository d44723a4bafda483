#include "node/instance.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/gear_hooks.h"
#include "node/gear_repo.h"
#include "node/gear_table.h"
#include "node/instance_state.h"
#include "node/layer_fetch.h"
#include "node/node_dirs.h"

enum {
	START_S = 60,
	STOP_S = 30,
	STOP_GRACE_MS = 3000, /* beyond init's own limit */
	BACKOFF_MIN_MS = 200,
	BACKOFF_MAX_MS = 60000,
	STABLE_MS = 60000, /* up for that long: the next crash begins with the smallest backoff */
	RETRY_CLEAN_MS = 5000,
	NOTES_MAX = 20,
};

/* Its code is replaced: it starts again once that is done, or has failed. */
static bool
is_upgraded(const struct instance *i)
{
	const struct gear *g = i->spec.kind == WIRE_INSTANCE_SERVICE
	                           ? gear_table_find(i->table->o.gears, i->spec.gear)
	                           : NULL;

	return g != NULL && g->upgrading != NULL && i->spec.cart != NULL &&
	       strcmp(g->upgrading, i->spec.cart) == 0;
}

bool
instance_wants_running(const struct instance *i)
{
	return i->spec.want == WIRE_WANT_PRESENT && !i->is_forgotten && !i->is_stopping_node &&
	       instance_sleep_wanted(i) != WIRE_SLEEP_STOPPED && !is_upgraded(i);
}

static int64_t
unix_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void
instance_report(struct instance *i)
{
	if (!i->is_stopping_node)
		i->table->o.on_change(&i->status, i->table->o.arg);
}

void
instance_set_state(struct instance *i, int state)
{
	/* What has not the deployment yet that it is to have does not answer. */
	int64_t generation = i->spec.generation - (instance_hot_is_due(i) ? 1 : 0);

	if (i->status.state == state && i->status.generation == generation)
		return;
	log_info("instance_state", LOG_STR("gear", i->spec.gear), LOG_STR("instance", i->spec.id),
	    LOG_STR("from", wire_instance_state_names[i->status.state].name),
	    LOG_STR("to", wire_instance_state_names[state].name),
	    LOG_STR("reason", i->status.reason == NULL ? "" : i->status.reason));
	i->status.state = state;
	i->status.generation = generation;
	if (state == WIRE_INSTANCE_READY && i->spec.kind == WIRE_INSTANCE_WEB)
		gear_repos_want(i->table->o.repos, i->spec.gear, i->spec.deployment_id);
	instance_report(i);
	instance_links_changed(i);
	instance_sleep_changed(i);
}

void
instance_note(struct instance *i, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (i->status.notes.n < NOTES_MAX && !str_list_has(&i->status.notes, text))
		str_list_add(&i->status.notes, text);
}

/* --- ends --- */

static void
stop_waiting(struct instance *i)
{
	instance_live_stop(i);
	instance_hot_stop(i);
	instance_probe_stop(i);
	loop_timer_cancel(STEAL(i->limit));
	child_free(STEAL(i->child));
}

static void
on_retry_clean(void *arg)
{
	struct instance *i = arg;

	loop_timer_cancel(STEAL(i->timer));
	i->step = STEP_IDLE;
	instance_next(i);
}

/* What must go cannot be made to go: again later, for it is ours. */
static void
retry_clean(struct instance *i, const struct err *e)
{
	log_error("instance_left", LOG_STR("instance", i->spec.id), LOG_ERR(e));
	loop_timer_cancel(i->timer);
	i->timer = loop_timer_start(i->table->o.loop, RETRY_CLEAN_MS, false, on_retry_clean, i);
}

/* It stops only to sleep: what it wrote is there when it wakes. */
static bool
is_put_to_sleep(const struct instance *i)
{
	return i->spec.want == WIRE_WANT_PRESENT && !i->is_forgotten && i->was_ready &&
	       instance_sleep_wanted(i) == WIRE_SLEEP_STOPPED;
}

static void
on_cleaned(const struct err *e, void *arg)
{
	struct instance *i = arg;
	bool keeps_upper =
	    i->is_releasing || (instance_wants_running(i) && i->was_ready) || is_put_to_sleep(i);

	if (e != NULL) {
		retry_clean(i, e);
		return;
	}
	fault_point("instance_cleaned");
	i->step = STEP_REMOVE;
	instance_remove(i, !keeps_upper);
}

static void
clean(struct instance *i)
{
	struct container *c = STEAL(i->container);

	stop_waiting(i);
	i->step = STEP_CLEAN;
	if (c != NULL)
		container_destroy(c, on_cleaned, i);
	else
		container_clean(i->table->o.containers, i->spec.gear, i->spec.id, on_cleaned, i);
}

static void
on_backoff(void *arg)
{
	struct instance *i = arg;

	loop_timer_cancel(STEAL(i->timer));
	i->step = STEP_IDLE;
	instance_next(i);
}

static void
back_off(struct instance *i)
{
	i->backoff_ms = i->backoff_ms == 0 ? BACKOFF_MIN_MS : i->backoff_ms * 2;
	if (i->backoff_ms > BACKOFF_MAX_MS)
		i->backoff_ms = BACKOFF_MAX_MS;
	i->step = STEP_BACKOFF;
	i->status.restarts++;
	i->timer = loop_timer_start(i->table->o.loop, i->backoff_ms, false, on_backoff, i);
}

void
instance_removed(struct instance *i, const struct err *e)
{
	if (e != NULL) {
		i->step = STEP_CLEAN;
		retry_clean(i, e);
		return;
	}
	i->has_remains = false;
	i->step = STEP_IDLE;
	if (i->is_failing && instance_wants_running(i) && i->was_ready) {
		i->is_failing = false;
		back_off(i);
		return;
	}
	i->is_failing = false;
	instance_next(i);
}

/* --- failures --- */

static void
set_reason(struct instance *i, const struct init_status *in)
{
	double s = (double)(loop_now_ms() - i->begun_ms) / 1000;

	if (i->status.reason != NULL)
		return;
	if (in != NULL && in->error != NULL && in->error[0] != '\0')
		i->status.reason = xasprintf("could not be started: %s", in->error);
	else if (in != NULL && in->exit_signal > 0)
		i->status.reason = xasprintf("was killed by signal %" PRId64 " (%s) after %.1f s",
		    in->exit_signal, sigabbrev_np((int)in->exit_signal), s);
	else if (in != NULL && in->exit_code == 0)
		i->status.reason = xasprintf("ended by itself after %.1f s, without an error", s);
	else if (in != NULL && in->exit_code > 0)
		i->status.reason =
		    xasprintf("exited with status %" PRId64 " after %.1f s", in->exit_code, s);
	else
		i->status.reason = xasprintf("was killed after %.1f s", s);
}

/* The kernel's SIGKILL says nothing to the one whom it hits. */
static void
blame_memory(struct instance *i, const struct init_status *in)
{
	int64_t mb = i->gear == NULL ? 0 : i->gear->spec.limits.memory_mb;
	AUTO(free) char *before = NULL;

	/* A worker of its own, which it survived. */
	if (in != NULL && in->start_ended && in->exit_code == 0)
		return;
	before = STEAL(i->status.reason);
	i->status.reason =
	    xasprintf("ran out of memory (its profile has %" PRId64 " MB): %s", mb, before);
}

void
instance_log_collected(struct instance *i, const struct init_status *in, bool ran_out_of_memory,
    const struct str_list *lines)
{
	set_reason(i, in);
	if (ran_out_of_memory)
		blame_memory(i, in);
	str_list_fini(&i->status.log_tail);
	if (i->output != NULL)
		str_list_take(&i->status.log_tail, STEAL(i->output));
	else
		str_list_copy(&i->status.log_tail, lines);
	mem_set_str(&i->status.address, "");
	if (instance_wants_running(i) && i->was_ready) {
		mem_set_str(&i->status.crash, i->status.reason);
		i->status.crash_ms = unix_ms();
	}
	if (instance_wants_running(i))
		instance_set_state(i, i->was_ready ? WIRE_INSTANCE_CRASHED : WIRE_INSTANCE_FAILED);
	clean(i);
}

static void
begin_failing(struct instance *i)
{
	stop_waiting(i);
	if (i->step == STEP_RUN && loop_now_ms() - i->ready_ms > STABLE_MS)
		i->backoff_ms = 0;
	i->is_failing = true;
	i->is_releasing = false;
	i->step = STEP_FAIL;
	if (i->container != NULL)
		container_on_end(i->container, NULL, NULL);
	instance_collect_log(i);
}

void
instance_fail(struct instance *i, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	mem_set_str(&i->status.reason, text);
	begin_failing(i);
}

static void
on_container_end(struct container *c, void *arg)
{
	struct instance *i = arg;

	(void)c;
	if (i->step == STEP_STOP) {
		clean(i);
		return;
	}
	if (i->job != NULL) { /* a look is under way: it ends first */
		i->has_ended = true;
		instance_probe_stop(i);
		return;
	}
	mem_set_str(&i->status.reason, NULL);
	begin_failing(i);
}

static void
fail_by_status(struct instance *i, int64_t s)
{
	AUTO(free) char *why = STEAL(i->status_why);

	instance_fail(i, "was not well within %" PRId64 " s: %s", s, why);
}

static void
on_limit(void *arg)
{
	struct instance *i = arg;
	int64_t s = i->spec.start_timeout_s > 0 ? i->spec.start_timeout_s : START_S;

	loop_timer_cancel(STEAL(i->limit));
	i->is_late = true;
	if (i->job != NULL)
		return; /* instance_next, after it */
	if (i->step != STEP_START && i->spec.kind == WIRE_INSTANCE_SERVICE)
		instance_fail(i, "the %s cartridge did not %s within %" PRId64 " s", i->spec.cart,
		    i->other_port_ms == 0 ? "open its port" : "end its start", s);
	else if (i->status_why != NULL)
		fail_by_status(i, s);
	else if (i->step == STEP_START)
		instance_fail(i, "its container could not be started within %" PRId64 " s", s);
	else if (i->health_status != 0)
		instance_fail(i, "GET %s answered %d", i->spec.health_path, i->health_status);
	else if (i->forward_port != 0)
		instance_fail(
		    i, "did not answer on port %d within %" PRId64 " s", i->forward_port, s);
	else if (i->v6_port != 0)
		instance_fail(i,
		    "listened on [::1]:%d only, where no request can come: listen on $HOST and "
		    "$PORT",
		    i->v6_port);
	else
		instance_fail(i, "never listened on a port within %" PRId64 " s", s);
}

/* --- ready --- */

struct mark_job {
	char *path, *deployment; /* owned */
	char *gear_dir, *layer;  /* owned; layer: NULL if its hooks are not those of the services */
};

static void
free_mark(void *take_job)
{
	struct mark_job *j = take_job;

	free(j->path);
	free(j->deployment);
	free(j->gear_dir);
	free(j->layer);
	free(j);
}

static void
run_mark(void *job)
{
	const struct mark_job *j = job;
	struct err e = { 0 };

	instance_mark(j->path, j->deployment);
	if (j->layer != NULL && gear_hooks_publish(j->gear_dir, j->layer, &e) < 0)
		log_warn("hooks_not_published", LOG_STR("gear_dir", j->gear_dir), LOG_ERR(&e));
}

/* Its deployment is the one that serves. */
static bool
gives_hooks(const struct instance *i)
{
	return i->spec.kind == WIRE_INSTANCE_WEB && !i->spec.retires &&
	       i->spec.layers.app != NULL && i->spec.layers.app[0] != '\0' && i->deployed != NULL &&
	       strcmp(i->deployed, i->spec.deployment_id) == 0;
}

/* So that the next daemon knows that it was ready. Services get its hooks. */
static void
mark_ready(const struct instance *i)
{
	struct mark_job *j = xcalloc(1, sizeof *j);

	j->gear_dir = node_dirs_gear(i->table->o.dirs, i->spec.gear);
	j->path = xasprintf("%s/inst/%s/ready", j->gear_dir, i->spec.id);
	if (gives_hooks(i))
		j->layer = node_dirs_layer(i->table->o.dirs, i->spec.layers.app);
	j->deployment = xstrdup(i->deployed == NULL ? "" : i->deployed);
	worker_submit(i->table->o.worker, run_mark, free_mark, free_mark, j);
}

static void
serve(struct instance *i)
{
	char ip[16];
	bool is_stock;

	stop_waiting(i);
	str_list_fini(&i->env);
	i->step = STEP_RUN;
	i->was_ready = true;
	i->ready_ms = loop_now_ms();
	mem_set_str(&i->status.reason, NULL);
	str_list_fini(&i->status.log_tail);
	mem_set_str(&i->status.address, i->link.address);
	i->status.port = NET_PORT;
	if (i->spec.kind == WIRE_INSTANCE_SERVICE)
		i->status.port = instance_links_endpoint(i, ip, &is_stock);
	mark_ready(i);
	log_info("instance_ready", LOG_STR("instance", i->spec.id),
	    LOG_INT("platform_us", i->platform_us),
	    LOG_INT("ready_us", i->was_adopted ? 0 : loop_now_us() - i->begun_us));
	i->status.sleep = WIRE_SLEEP_AWAKE;
	if (i->was_left)
		instance_sleep_adopt(i);
	fault_point("instance_ready");
	instance_set_state(i, WIRE_INSTANCE_READY);
	instance_live_start(i);
	instance_next(i); /* its limits may have changed; it may be put to sleep at once */
}

void
instance_is_ready(struct instance *i)
{
	/* Hooks after readiness run before anyone is sent here. */
	if (!instance_run_post(i))
		serve(i);
}

void
instance_post_done(struct instance *i)
{
	serve(i);
}

/* --- start --- */

static void
on_started(struct container *c, const struct err *e, void *arg)
{
	struct instance *i = arg;

	if (e != NULL) {
		container_free(STEAL(i->container));
		if (instance_wants_running(i))
			instance_fail(i, "%s", e->text);
		else
			clean(i);
		return;
	}
	container_on_end(c, on_container_end, i);
	i->platform_us = loop_now_us() - i->begun_us;
	i->status.started_ms = unix_ms();
	if (!instance_wants_running(i)) {
		i->step = STEP_PROBE;
		instance_next(i);
		return;
	}
	if (i->is_releasing) {
		i->step = STEP_RELEASE;
		instance_run_release(i);
		return;
	}
	/* One idles until somebody enters; of the other nobody can tell more than that it runs. */
	if (i->spec.kind == WIRE_INSTANCE_RUN || i->spec.kind == WIRE_INSTANCE_WORKER) {
		serve(i);
		return;
	}
	i->step = STEP_PROBE;
	instance_probe(i);
}

/* The application's gears on other nodes are let in before its first process asks for them. */
static void
tell_address(struct instance *i)
{
	const struct gear *g = gear_table_find(i->table->o.gears, i->spec.gear);

	if (g == NULL || !g->spec.is_scalable)
		return;
	mem_set_str(&i->status.address, i->link.address);
	instance_report(i);
}

void
instance_prepared(struct instance *i, const struct err *e, const struct container_spec *s)
{
	struct err failed = { 0 };

	if (!instance_wants_running(i)) {
		i->step = STEP_IDLE;
		instance_next(i);
		return;
	}
	if (e != NULL) {
		instance_fail(i, "%s", e->text);
		return;
	}
	i->step = STEP_START;
	instance_links_update(i);
	tell_address(i);
	i->container = container_start(i->table->o.containers, s, on_started, i, &failed);
	if (i->container == NULL)
		instance_fail(i, "%s", failed.text);
}

static void
start(struct instance *i)
{
	int64_t s = i->spec.start_timeout_s > 0 ? i->spec.start_timeout_s : START_S;

	i->step = STEP_PREPARE;
	/* Nobody waits for a worker: one that cannot start is started again, like one that ends. */
	i->was_ready = i->was_ready || i->spec.kind == WIRE_INSTANCE_WORKER;
	i->has_remains = true;
	i->has_ended = i->is_late = false;
	i->begun_ms = loop_now_ms();
	i->begun_us = loop_now_us();
	i->has_nat = i->was_adopted = false;
	i->is_releasing = i->spec.runs_release && i->spec.release != NULL &&
	                  i->spec.release[0] != '\0' && !i->has_released && !i->was_ready;
	loop_timer_cancel(i->limit);
	/* A release command has its own limit. */
	i->limit = i->is_releasing
	               ? NULL
	               : loop_timer_start(i->table->o.loop, s * 1000, false, on_limit, i);
	str_list_fini(&i->status.notes);
	if (i->status.state != WIRE_INSTANCE_CRASHED)
		mem_set_str(&i->status.reason, NULL);
	if (!i->was_ready || i->status.state != WIRE_INSTANCE_CRASHED)
		instance_set_state(i, WIRE_INSTANCE_STARTING);
	instance_prepare(i);
}

void
instance_released(struct instance *i)
{
	/* The same directory again, now with the application as PID 1's child. */
	i->has_released = true;
	clean(i);
}

/* --- adoption --- */

static void
hold_gear(struct instance *i)
{
	struct gear *g = gear_table_find(i->table->o.gears, i->spec.gear);

	if (i->gear == NULL && g != NULL && g->spec.want != WIRE_WANT_GONE) {
		gear_table_hold(i->table->o.gears, g);
		i->gear = g;
	}
}

void
instance_rejoined(struct instance *i, const struct err *e)
{
	if (e != NULL) {
		instance_fail(i, "its network is broken: %s", e->text);
		return;
	}
	i->step = STEP_PROBE;
	i->begun_ms = loop_now_ms();
	i->was_adopted = true;
	instance_links_update(i);
	hold_gear(i);
	if (i->container == NULL || container_pid(i->container) == 0) {
		begin_failing(i);
	} else if (!instance_wants_running(i)) {
		instance_next(i);
	} else if (i->was_ready) {
		serve(i);
	} else {
		instance_set_state(i, WIRE_INSTANCE_STARTING);
		i->limit = loop_timer_start(i->table->o.loop, START_S * 1000, false, on_limit, i);
		instance_probe(i);
	}
}

static void
on_adopted(struct container *c, void *arg)
{
	struct instance *i = arg;

	i->must_check = false;
	i->has_remains = true;
	i->was_left = c != NULL;
	if (c != NULL && i->spec.sleep == WIRE_SLEEP_STOPPED) /* woken by the daemon before us */
		i->status.woken_order = i->spec.sleep_order;
	if (c == NULL || container_note(c, "release") != NULL) {
		i->container = c;
		hold_gear(i);
		clean(i);
		return;
	}
	i->container = c;
	container_on_end(c, on_container_end, i);
	instance_limits_adopt(i);
	instance_rejoin(i);
}

/* --- what comes next --- */

static void
on_stop_limit(void *arg)
{
	struct instance *i = arg;

	loop_timer_cancel(STEAL(i->timer));
	log_warn("instance_killed", LOG_STR("instance", i->spec.id));
	container_kill(i->container);
}

static void
begin_stop(struct instance *i)
{
	int64_t s = i->spec.stop_timeout_s > 0 ? i->spec.stop_timeout_s : STOP_S;
	bool is_release = i->step == STEP_RELEASE;

	stop_waiting(i);
	instance_sleep_thaw(i); /* else it would not hear of it */
	i->step = STEP_STOP;
	instance_set_state(i, WIRE_INSTANCE_STOPPING);
	mem_set_str(&i->status.address, "");
	if (is_release || i->has_ended || i->spec.kills ||
	    container_signal(i->container, SIGTERM) < 0) {
		clean(i);
		return;
	}
	i->timer =
	    loop_timer_start(i->table->o.loop, s * 1000 + STOP_GRACE_MS, false, on_stop_limit, i);
}

/* A deployment that was ready and did not come to serve: services get the hooks of the one that
 * does. */
static void
return_hooks(const struct instance *i)
{
	const char *id =
	    i->spec.kind == WIRE_INSTANCE_WEB ? instances_pick(i->table, i->spec.gear, NULL) : NULL;
	const struct instance *serving = id == NULL ? NULL : map_get(i->table->all, id);

	if (serving != NULL && serving->step == STEP_RUN && gives_hooks(serving))
		mark_ready(serving);
}

static void
end(struct instance *i)
{
	return_hooks(i);
	if (i->gear != NULL) {
		gear_table_release(i->table->o.gears, i->gear);
		i->gear = NULL;
	}
	if (i->is_forgotten) {
		instances_drop(i);
		return;
	}
	i->status.sleep = is_put_to_sleep(i) ? WIRE_SLEEP_STOPPED : WIRE_SLEEP_AWAKE;
	instance_set_state(
	    i, i->spec.want == WIRE_WANT_GONE ? WIRE_INSTANCE_GONE : WIRE_INSTANCE_STOPPED);
	instances_check_stopped(i->table);
}

static void
on_fetched(const struct err *e, void *arg)
{
	struct instance *i = arg;

	i->fetch = NULL;
	i->step = STEP_IDLE;
	if (e != NULL && instance_wants_running(i))
		instance_fail(i, "%s", e->text);
	else
		instance_next(i);
}

/* The deployment was built on another node: its layers come first. */
static bool
fetch_layers(struct instance *i)
{
	i->fetch = layer_fetch_start(i->table->o.fetch, &i->spec.layers, on_fetched, i);
	if (i->fetch == NULL)
		return false;
	i->step = STEP_FETCH;
	instance_set_state(i, WIRE_INSTANCE_STARTING);
	return true;
}

static void
next_when_idle(struct instance *i)
{
	if (i->must_check) {
		i->step = STEP_ADOPT;
		container_adopt(i->table->o.containers, i->spec.gear, i->spec.id, on_adopted, i);
	} else if (!instance_wants_running(i)) {
		hold_gear(i);
		if (i->has_remains && i->gear != NULL && i->gear->state <= GEAR_MAKING)
			return; /* its paths may want what is left of it */
		if (i->has_remains)
			clean(i);
		else
			end(i);
	} else if (i->status.state == WIRE_INSTANCE_FAILED &&
	           i->status.generation == i->spec.generation) {
		return; /* the broker decides */
	} else {
		hold_gear(i);
		if (instance_sleep_waits(i) || instance_boot_waits(i))
			return;
		if (i->gear != NULL && i->gear->state == GEAR_READY && !fetch_layers(i))
			start(i);
		else if (i->gear != NULL && i->gear->state == GEAR_FAILED && !i->was_ready)
			instance_fail(i, "%s", i->gear->reason);
	}
}

void
instance_next(struct instance *i)
{
	switch (i->step) {
	case STEP_IDLE:
		next_when_idle(i);
		break;
	case STEP_FETCH:
		if (!instance_wants_running(i)) {
			layer_fetch_cancel(STEAL(i->fetch));
			i->step = STEP_IDLE;
			next_when_idle(i);
		}
		break;
	case STEP_BACKOFF:
		if (!instance_wants_running(i)) {
			loop_timer_cancel(STEAL(i->timer));
			i->step = STEP_IDLE;
			next_when_idle(i);
		}
		break;
	case STEP_RELEASE:
	case STEP_PROBE:
	case STEP_POST:
	case STEP_RUN:
		if (i->job != NULL)
			break;
		if (!instance_wants_running(i))
			begin_stop(i);
		else if (i->has_ended)
			on_container_end(i->container, i);
		else if (i->is_late && i->step != STEP_RUN)
			on_limit(i);
		else if (i->step == STEP_RUN && instance_hot_is_due(i))
			instance_hot_start(i);
		else if (i->step == STEP_RUN && !instance_follow_limits(i))
			instance_sleep_follow(i);
		break;
	case STEP_STOP:
		if (i->spec.kills && i->container != NULL)
			container_kill(i->container);
		break;
	default: /* one thing at a time: its end comes here */
		break;
	}
}
