#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/gear_table.h"
#include "node/instance_state.h"
#include "node/layer_fetch.h"
#include "node/node_dirs.h"

/* --- those of an application --- */

static const char *
app_of(const struct instance *i)
{
	return i->spec.app_id == NULL ? "" : i->spec.app_id;
}

struct instance *
instances_of_app(const struct instances *is, const char *app_id)
{
	return app_id == NULL ? NULL : map_get(is->by_app, app_id);
}

static void
join_app(struct instance *i)
{
	i->app_prev = NULL;
	i->app_next = map_get(i->table->by_app, app_of(i));
	if (i->app_next != NULL)
		i->app_next->app_prev = i;
	map_set(i->table->by_app, app_of(i), i);
}

static void
leave_app(struct instance *i)
{
	if (i->app_next != NULL)
		i->app_next->app_prev = i->app_prev;
	if (i->app_prev != NULL)
		i->app_prev->app_next = i->app_next;
	else if (i->app_next != NULL)
		map_set(i->table->by_app, app_of(i), i->app_next);
	else
		(void)map_take(i->table->by_app, app_of(i));
}

/* --- one --- */

static void
free_instance(void *p)
{
	struct instance *i = p;

	worker_detach(i->job);
	worker_detach(i->nat_job);
	net_nat_fini(&i->nat);
	child_free(i->child);
	instance_probe_stop(i);
	instance_live_stop(i);
	instance_hot_stop(i);
	free(i->deployed);
	layer_fetch_cancel(i->fetch);
	loop_timer_cancel(i->timer);
	loop_timer_cancel(i->limit);
	container_free(i->container);
	codec_fini(&wire_instance_codec, &i->spec);
	codec_fini(&wire_instance_status_codec, &i->status);
	str_list_fini(&i->env);
	str_list_fini(&i->post);
	str_list_fini(&i->installs);
	free(i->output);
	free(i);
}

static void
free_later(void *p)
{
	free_instance(p);
}

void
instances_drop(struct instance *i)
{
	struct instances *is = i->table;

	(void)map_take(is->all, i->spec.id);
	leave_app(i);
	loop_free_later(is->o.loop, free_later, i);
	instances_check_stopped(is);
}

/* Was something of it left by an earlier daemon? Claimed: not an orphan. */
static bool
claim(struct instances *is, const char *gear, const char *id)
{
	AUTO(free) char *name = xasprintf("%s/%s", gear, id);
	/* A bundle that a kill left without its config does not say whose it is. */
	AUTO(free) char *nameless = xasprintf("unknown/%s", id);
	bool is_left = str_list_has(&is->leftovers, name) || str_list_has(&is->leftovers, nameless);

	str_list_remove(&is->leftovers, name);
	str_list_remove(&is->leftovers, nameless);
	return is_left;
}

static struct instance *
add(struct instances *is, const struct wire_instance *spec)
{
	struct instance *i = xcalloc(1, sizeof *i);

	i->table = is;
	codec_copy(&wire_instance_codec, &i->spec, spec);
	i->status.id = xstrdup(spec->id);
	i->status.gear = xstrdup(spec->gear);
	i->status.address = xstrdup("");
	i->status.generation = spec->generation;
	i->must_check = claim(is, spec->gear, spec->id);
	/* An end that an earlier daemon may have begun is brought to its end. */
	i->has_remains = spec->want != WIRE_WANT_PRESENT;
	map_set(is->all, spec->id, i);
	join_app(i);
	instance_boot_add(i);
	return i;
}

void
instances_apply(struct instances *is, const struct wire_instance *spec)
{
	struct instance *i = map_get(is->all, spec->id);

	if (i == NULL) {
		i = add(is, spec);
	} else if (codec_equal(&wire_instance_codec, &i->spec, spec)) {
		if (i->is_forgotten)
			i->is_forgotten = false;
		else
			return;
	} else {
		bool retires = spec->retires && !i->spec.retires;

		if (strcmp(spec->deployment_id, i->spec.deployment_id) != 0)
			mem_set_str(&i->status.hot_failure, NULL);
		leave_app(i);
		codec_fini(&wire_instance_codec, &i->spec);
		codec_copy(&wire_instance_codec, &i->spec, spec);
		join_app(i);
		i->is_forgotten = false;
		if (retires)
			instance_sessions_retire(i);
		/* What runs answers the new generation as it is. */
		if (i->step == STEP_RUN && instance_wants_running(i))
			instance_set_state(i, i->status.state);
	}
	instance_next(i);
}

void
instances_forget(struct instances *is, const char *id)
{
	struct instance *i = map_get(is->all, id);

	if (i == NULL || i->is_forgotten)
		return;
	i->is_forgotten = true;
	if (i->status.state != WIRE_INSTANCE_GONE)
		log_warn("instance_unknown", LOG_STR("instance", id));
	instance_next(i);
}

struct collected {
	struct instance **v;
	size_t n;
};

static void
collect(const char *key, void *value, void *arg)
{
	struct collected *c = arg;

	(void)key;
	c->v[c->n++] = value;
}

/* All, in an array that stays while they change; the caller frees it. */
static struct collected
collect_all(const struct instances *is)
{
	struct collected c = { .v = xcalloc(map_count(is->all) + 1, sizeof(struct instance *)) };

	map_each(is->all, collect, &c);
	return c;
}

void
instances_gear_changed(struct instances *is, const struct gear *g)
{
	struct collected c = collect_all(is);

	for (size_t k = 0; k < c.n; k++) {
		if (strcmp(c.v[k]->spec.gear, g->record.uuid) == 0)
			instance_next(c.v[k]);
	}
	free(c.v);
}

/* --- orphans --- */

struct orphan_job {
	struct instances_opts o;
	char *gear, *id;             /* owned */
	struct container_host *host; /* loop only */
	struct err e;
};

static void
free_orphan(void *take_job)
{
	struct orphan_job *j = take_job;

	free(j->gear);
	free(j->id);
	free(j);
}

static void
run_orphan(void *job)
{
	struct orphan_job *j = job;
	AUTO(free) char *gear_dir = node_dirs_gear(j->o.dirs, j->gear);
	AUTO(free) char *dir = xasprintf("%s/inst/%s", gear_dir, j->id);

	if (net_detach(j->o.net, j->id, &j->e) < 0 || file_remove_tree(dir, &j->e) < 0)
		log_warn("orphan_left", LOG_STR("container", j->id), LOG_ERR(&j->e));
}

static void
on_orphan_cleaned(const struct err *e, void *arg)
{
	struct orphan_job *j = arg;

	if (e == NULL)
		log_info("orphan_removed", LOG_STR("gear", j->gear), LOG_STR("container", j->id));
	worker_submit(j->o.worker, run_orphan, free_orphan, free_orphan, j);
}

static void
remove_orphan(struct instances *is, const char *gear, const char *id)
{
	struct orphan_job *j = xcalloc(1, sizeof *j);

	j->o = is->o;
	j->gear = xstrdup(gear);
	j->id = xstrdup(id);
	container_clean(is->o.containers, gear, id, on_orphan_cleaned, j);
}

void
instances_sweep(struct instances *is)
{
	is->is_booted = true;
	for (size_t k = 0; k < is->leftovers.n; k++) {
		const char *name = is->leftovers.v[k];
		const char *slash = strchr(name, '/');
		AUTO(free) char *gear = xstrndup(name, (size_t)(slash - name));

		remove_orphan(is, gear, slash + 1);
	}
	str_list_fini(&is->leftovers);
	for (size_t k = 0; k < is->bare_links.n; k++) {
		const char *id = is->bare_links.v[k];
		struct orphan_job *j;

		if (map_get(is->all, id) != NULL)
			continue;
		j = xcalloc(1, sizeof *j);
		j->o = is->o;
		j->gear = xstrdup("none");
		j->id = xstrdup(id);
		worker_submit(is->o.worker, run_orphan, free_orphan, free_orphan, j);
	}
	str_list_fini(&is->bare_links);
}

/* Networks without a container: of which gear, only a bundle could tell. */
static int
find_leftovers(struct instances *is, struct err *e)
{
	AUTO_FINI(net_link_list_fini) struct net_link_list links = { 0 };

	if (container_list(is->o.containers, &is->leftovers, e) < 0 ||
	    net_list(is->o.net, &links, e) < 0)
		return -1;
	for (size_t k = 0; k < links.n; k++) {
		bool is_known = false;

		for (size_t m = 0; m < is->leftovers.n; m++)
			is_known =
			    is_known || str_has_suffix(is->leftovers.v[m], links.v[k].instance);
		if (!is_known && links.v[k].instance[0] != '\0')
			str_list_take(&is->bare_links, xstrdup(links.v[k].instance));
	}
	return 0;
}

/* --- the table --- */

DEFINE_AUTO(struct instances *, instances_close)

struct instances *
instances_open(const struct instances_opts *o, struct err *e)
{
	AUTO(instances_close) struct instances *is = xcalloc(1, sizeof *is);

	is->o = *o;
	is->all = map_new(free_instance);
	is->by_app = map_new(NULL);
	is->opened_ms = loop_now_ms();
	return find_leftovers(is, e) < 0 ? NULL : STEAL(is);
}

void
instances_close(struct instances *take_is)
{
	if (take_is == NULL)
		return;
	loop_timer_cancel(take_is->boot);
	while (take_is->waits != NULL)
		instances_wait_cancel(take_is->waits);
	map_free(take_is->all);
	map_free(take_is->by_app);
	str_list_fini(&take_is->leftovers);
	str_list_fini(&take_is->bare_links);
	free(take_is);
}

static void
check_one(const char *key, void *value, void *arg)
{
	const struct instance *i = value;
	bool *all = arg;

	(void)key;
	if (i->step != STEP_IDLE || i->has_remains || i->must_check)
		*all = false;
}

void
instances_check_stopped(struct instances *is)
{
	bool all = true;
	instances_done_fn *done = is->on_stopped;

	if (done == NULL)
		return;
	map_each(is->all, check_one, &all);
	if (!all)
		return;
	is->on_stopped = NULL;
	done(is->stopped_arg);
}

void
instances_stop_all(struct instances *is, instances_done_fn *done, void *arg)
{
	struct collected c = collect_all(is);

	is->on_stopped = done;
	is->stopped_arg = arg;
	for (size_t k = 0; k < c.n; k++)
		c.v[k]->is_stopping_node = true;
	for (size_t k = 0; k < c.n; k++)
		instance_next(c.v[k]);
	free(c.v);
	instances_check_stopped(is);
}

void
instances_hosts(const struct instances *is, instances_host_fn *fn, void *arg)
{
	struct collected c = collect_all(is);

	for (size_t k = 0; k < c.n; k++) {
		const struct instance *i = c.v[k];
		const struct instances_host host = {
			.id = i->spec.id,
			.app = i->spec.app_id,
			.gear = i->spec.gear,
			.address = i->link.address,
			.port = NET_PORT,
			.is_ready = i->step == STEP_RUN,
			.is_web = i->spec.kind == WIRE_INSTANCE_WEB,
			.was_asleep = i->spec.sleep_order != 0,
		};

		if (i->container != NULL && i->link.address[0] != '\0')
			fn(&host, arg);
	}
	free(c.v);
}

static const char *
note_of(const struct instance *i, const char *key)
{
	return i->container == NULL ? NULL : container_note(i->container, key);
}

static void
find_unknown(const char *key, void *value, void *arg)
{
	const struct instance *i = value;
	bool *are_known = arg;

	(void)key;
	*are_known = *are_known && !i->must_check && i->step != STEP_ADOPT;
}

bool
instances_are_known(const struct instances *is)
{
	bool are_known = true;

	map_each(is->all, find_unknown, &are_known);
	return are_known;
}

void
instances_layers(const struct instances *is, struct str_list *out)
{
	struct collected c = collect_all(is);

	for (size_t k = 0; k < c.n; k++) {
		const struct instance *i = c.v[k];
		const struct wire_layers *l = &i->spec.layers;
		/* Those that are mounted may be of the deployment before. */
		const char *const all[] = { l->app, l->deps, l->rest, note_of(i, "app"),
			note_of(i, "deps"), note_of(i, "rest") };

		for (size_t m = 0; m < ARRAY_LEN(all); m++) {
			if (all[m] != NULL && all[m][0] != '\0' && !str_list_has(out, all[m]))
				str_list_add(out, all[m]);
		}
	}
	free(c.v);
}

bool
instances_serve(const struct instances *is, const char *gear, const char *cart)
{
	struct collected c = collect_all(is);
	bool found = false;

	for (size_t k = 0; k < c.n && !found; k++) {
		const struct instance *i = c.v[k];

		found = strcmp(i->spec.gear, gear) == 0 && i->spec.kind == WIRE_INSTANCE_SERVICE &&
		        i->spec.cart != NULL && strcmp(i->spec.cart, cart) == 0 &&
		        (i->step != STEP_IDLE || i->has_remains || i->must_check);
	}
	free(c.v);
	return found;
}

struct choice {
	const char *gear, *cart;
	const struct instance *best;
};

static void
consider(const char *key, void *value, void *arg)
{
	const struct instance *i = value;
	struct choice *c = arg;
	int kind = c->cart == NULL ? WIRE_INSTANCE_WEB : WIRE_INSTANCE_SERVICE;
	bool is_ready = i->step == STEP_RUN, best_ready;

	(void)key;
	if (strcmp(i->spec.gear, c->gear) != 0 || i->spec.kind != kind || i->container == NULL ||
	    container_pid(i->container) == 0 || i->is_releasing || i->gear == NULL ||
	    (c->cart != NULL && (i->spec.cart == NULL || strcmp(i->spec.cart, c->cart) != 0)))
		return;
	best_ready = c->best != NULL && c->best->step == STEP_RUN;
	if (c->best == NULL || is_ready > best_ready ||
	    (is_ready == best_ready && i->status.started_ms > c->best->status.started_ms))
		c->best = i;
}

const char *
instances_pick(const struct instances *is, const char *gear, const char *cart)
{
	struct choice c = { .gear = gear, .cart = cart };

	map_each(is->all, consider, &c);
	return c.best == NULL ? NULL : c.best->spec.id;
}

bool
instances_is_awake(const struct instances *is, const char *id)
{
	const struct instance *i = map_get(is->all, id);

	return i != NULL && i->step == STEP_RUN && i->status.sleep == WIRE_SLEEP_AWAKE &&
	       instance_sleep_wanted(i) == WIRE_SLEEP_AWAKE;
}

struct child *
instances_enter(struct instances *is, const char *id, const struct container_entry *entry,
    child_out_fn *on_out, child_end_fn *on_end, void *arg, struct err *e)
{
	struct instance *i = map_get(is->all, id);

	if (i == NULL || i->container == NULL) {
		(void)err_set(e, ERR_NOT_FOUND, "instance", "the instance %s does not run", id);
		return NULL;
	}
	return container_enter(i->container, entry, on_out, on_end, arg, e);
}
