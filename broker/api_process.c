/* Processes: what runs of an application (`pinion ps`), and how many of each background process of
 * its Procfile are to run. */
#include <inttypes.h>
#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/event_log.h"
#include "broker/record.h"
#include "broker/worker_plan.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"
#include "lib/wire/wire_env.h"

enum { EXIT_SCALE = 168, NAME_MAX_LEN = 64 };

/* --- list --- */

struct listing {
	struct api_call *c;
	const struct wire_app *a;
	int64_t webs;
};

static void
add_ms(struct api_json *j, const char *key, int64_t ms)
{
	if (ms == 0)
		api_json_null(j, key);
	else
		api_json_time(j, key, ms / 1000);
}

static bool
write_one(const char *key, int64_t rev, void *rec, void *arg)
{
	const struct wire_instance_record *r = rec;
	AUTO_FINI(wire_instance_status_fini) struct wire_instance_status st = { 0 };
	const char *at = key + strlen(STORE_PREFIX_INSTANCE);
	AUTO(free) char *node = xstrndup(at, strcspn(at, "/"));
	AUTO(free) char *name = NULL;
	struct listing *l = arg;
	struct api_json *j = &l->c->json;
	struct err e = { 0 };

	(void)rev;
	if (strcmp(r->spec.app_id, l->a->id) != 0 || r->spec.want == WIRE_WANT_GONE)
		return true;
	if (record_get(l->c->b->store, store_key_instance_status(node, r->spec.id),
	        &wire_instance_status_codec, &st, NULL, &e) < 0)
		st = (struct wire_instance_status){ 0 };
	name = r->spec.kind == WIRE_INSTANCE_WEB ? xasprintf("web.%" PRId64, ++l->webs)
	       : r->spec.kind == WIRE_INSTANCE_WORKER
	           ? xasprintf("%s.%" PRId64, r->spec.process, r->spec.process_index)
	       : r->spec.kind == WIRE_INSTANCE_SERVICE ? xstrdup(r->spec.cart)
	                                               : xstrdup("run");
	api_json_obj(j, NULL);
	api_json_str(j, "name", name);
	api_json_str(j, "kind", wire_instance_kind_names[r->spec.kind].name);
	api_json_str(j, "state",
	    st.sleep != WIRE_SLEEP_AWAKE ? wire_sleep_names[st.sleep].name
	                                 : wire_instance_state_names[st.state].name);
	api_json_str(j, "command", r->spec.start.command);
	api_json_str(j, "deployment_id", r->spec.deployment_id);
	if (r->spec.kind == WIRE_INSTANCE_WEB)
		api_json_int(j, "share", app_share(l->a, r->spec.deployment_id));
	else
		api_json_null(j, "share");
	add_ms(j, "started_at", st.started_ms);
	api_json_int(j, "restarts", st.restarts);
	api_json_str(j, "last_crash", st.crash);
	add_ms(j, "last_crash_at", st.crash_ms);
	api_json_str(j, "reason", st.reason);
	api_json_str(j, "gear", r->spec.gear);
	api_json_str(j, "instance", r->spec.id);
	api_json_str(j, "node", node);
	api_json_end_obj(j);
	return true;
}

static bool
load_deployment(const struct api_call *c, const struct wire_app *a, struct wire_deployment *d)
{
	struct err e = { 0 };

	return a->status.deployment != NULL && *a->status.deployment != '\0' &&
	       record_get(c->b->store, store_key_deployment(a->id, a->status.deployment),
	           &wire_deployment_codec, d, NULL, &e) == 0;
}

static int64_t
count_of(const struct wire_app *a, const char *name)
{
	for (size_t i = 0; i < a->processes.n; i++) {
		if (strcmp(a->processes.v[i].name, name) == 0)
			return a->processes.v[i].count;
	}
	return 0;
}

/* The types there are, and how many of each are wanted. */
static void
write_types(struct api_call *c, const struct wire_app *a)
{
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	bool has = load_deployment(c, a, &d);

	api_json_arr(&c->json, "types");
	api_json_obj(&c->json, NULL);
	api_json_str(&c->json, "name", "web");
	api_json_str(&c->json, "command", has ? d.start.command : "");
	api_json_int(&c->json, "count", a->spec.gears);
	api_json_end_obj(&c->json);
	for (size_t i = 0; has && i < d.processes.n; i++) {
		api_json_obj(&c->json, NULL);
		api_json_str(&c->json, "name", d.processes.v[i].name);
		api_json_str(&c->json, "command", d.processes.v[i].value);
		api_json_int(&c->json, "count", count_of(a, d.processes.v[i].name));
		api_json_end_obj(&c->json);
	}
	api_json_end_arr(&c->json);
}

static void
send_processes(struct api_call *c, const struct wire_app *a)
{
	struct listing l = { .c = c, .a = a };

	api_json_obj(api_data(c, "processes"), NULL);
	write_types(c, a);
	api_json_arr(&c->json, "instances");
	record_each_with(
	    c->b->store, STORE_PREFIX_INSTANCE, a->id, &wire_instance_record_codec, write_one, &l);
	api_json_end_arr(&c->json);
	api_json_end_obj(&c->json);
	api_send(c, 200);
}

void
api_process_list(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };

	if (api_load_app(c, ACCESS_VIEW, &a))
		send_processes(c, &a);
}

/* --- scale --- */

struct change {
	char *app_id, *name; /* owned */
	int64_t count;
};

static void
change_free(void *p)
{
	struct change *x = p;

	free(x->app_id);
	free(x->name);
	free(x);
}

static int
apply(struct wire_app *a, void *arg, struct err *e)
{
	const struct change *x = arg;
	struct wire_process *found = NULL;
	int64_t all = x->count;

	for (size_t i = 0; i < a->processes.n; i++) {
		if (strcmp(a->processes.v[i].name, x->name) == 0)
			found = &a->processes.v[i];
		else
			all += a->processes.v[i].count;
	}
	if (all > WORKER_PLAN_MAX)
		return err_set(e, ERR_LIMIT, "count",
		    "An application can have %d background processes at most, all types together.",
		    WORKER_PLAN_MAX);
	if (found == NULL) {
		found = codec_list_add(&wire_process_codec, &a->processes);
		found->name = xstrdup(x->name);
	}
	found->count = x->count;
	return 0;
}

static void
on_settled(struct api_call *c, const struct err *e)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	const struct change *x = c->state;
	struct err bad = { 0 };

	if (e != NULL) {
		api_load_fail_rollout(c, e);
		return;
	}
	if (record_app_by_id(c->b->store, x->app_id, &a, NULL, &bad) < 0) {
		api_fail_err(c, &bad, 101);
		return;
	}
	api_message(c, "result", 0, NULL, "%s runs %" PRId64 " times.", x->name, x->count);
	send_processes(c, &a);
}

static void
on_stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct change *x = c->state;

	if (e != NULL) {
		api_fail_err(c, e, EXIT_SCALE);
		return;
	}
	event_log_add(c->b, x->app_id, "scaled", "Process type %s was scaled to %" PRId64 ".",
	    x->name, x->count);
	api_load_settle(c, x->app_id, on_settled);
}

void
api_process_scale(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_deployment_fini) struct wire_deployment d = { 0 };
	const char *name = NULL;
	struct change *x;
	struct err e = { 0 };
	int64_t count = -1;

	if (!api_load_app(c, ACCESS_SCALE, &a))
		return;
	if (api_param_str(c->params, "type", NAME_MAX_LEN, &name, &e) < 0 ||
	    api_param_int(c->params, "count", 0, WORKER_PLAN_MAX, &count, &e) < 0) {
		api_fail_err(c, &e, EXIT_SCALE);
		return;
	}
	if (name == NULL || count < 0) {
		api_fail(c, 422, EXIT_SCALE, name == NULL ? "type" : "count",
		    "Give 'type', a process type of the Procfile, and 'count'.");
		return;
	}
	if (!load_deployment(c, &a, &d) || wire_env_get(&d.processes, name) == NULL) {
		api_fail(c, 422, EXIT_SCALE, "type",
		    "The Procfile of application %s has no process type '%.64s'%s.", a.name, name,
		    strcmp(name, "web") == 0 ? "; for web, scale the gears: pinion scale N" : "");
		return;
	}
	x = xcalloc(1, sizeof *x);
	*x = (struct change){ .app_id = xstrdup(a.id), .name = xstrdup(name), .count = count };
	api_call_keep(c, x, change_free);
	app_change(c->b, a.id, apply, x, on_stored, c);
}
