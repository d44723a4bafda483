#include "node/gear_table.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/cart_install.h"
#include "node/cart_store.h"
#include "node/container.h"
#include "node/gear_carts.h"
#include "node/gear_move.h"
#include "node/gear_usage.h"
#include "node/gear_work.h"
#include "node/limits.h"
#include "node/node_dirs.h"
#include "node/volume.h"

enum {
	RECORD_MAX = 64 * 1024,
	UID_FIRST = 16, /* × 65536: beyond the host's users and their sub-ids */
	UID_LAST = 65535,
	RETRY_MIN_MS = 1000,
	RETRY_MAX_MS = 60000,
	REMOVE_MS = 10000,
	USAGE_STEP_KB = 1024, /* smaller changes are not told */
};

/* A gear and what is under way for it. */
struct entry {
	struct gear gear; /* first: what others see */
	struct gear_table *table;
	int users;       /* instances that hold it */
	bool is_applied; /* the broker named it since the start */
	bool is_unknown; /* the broker has said all, and did not name it: set aside */
	bool is_mounted;
	bool needs_env; /* the spec changed since .env was written */
	struct worker_job *job;
	struct gear_carts *carts; /* owned: what is done for its cartridges */
	struct gear_move *move;   /* its volume comes from another node */
	bool has_come;            /* it came: prepared next */
	struct loop_timer *retry;
	int64_t retry_ms;
	int cleaning;    /* containers being cleaned before the end */
	bool needs_save; /* the record changed in memory */
};

struct gear_table {
	struct gear_table_opts o;
	struct map *entries; /* uuid → struct entry */
	int64_t uid_next;
	struct gear_usage *usage;
};

static const char *const state_names[] = { "new", "making", "configuring", "ready", "failed",
	"going", "gone" };

static void step(struct entry *g);
static void on_carts(const struct err *e, void *arg);
static bool stop_service(struct gear *g, void *arg);

static void
set_state(struct entry *g, int state, const char *reason)
{
	if (g->gear.state == state)
		return;
	log_info("gear_state", LOG_STR("gear", g->gear.record.uuid),
	    LOG_STR("from", state_names[g->gear.state]), LOG_STR("to", state_names[state]),
	    LOG_STR("reason", reason == NULL ? "" : reason));
	g->gear.state = state;
	mem_set_str(&g->gear.reason, reason);
	g->table->o.on_change(&g->gear, g->table->o.arg);
}

static void
free_entry(void *p)
{
	struct entry *g = p;

	worker_detach(g->job);
	gear_carts_free(g->carts);
	for (size_t i = 0; i < g->gear.failed.n; i++)
		wire_gear_cart_status_fini(&g->gear.failed.v[i]);
	free(g->gear.failed.v);
	gear_move_cancel(g->move);
	loop_timer_cancel(g->retry);
	codec_fini(&wire_gear_codec, &g->gear.spec);
	codec_fini(&gear_record_codec, &g->gear.record);
	free(g->gear.dir);
	free(g->gear.reason);
	free(g->gear.notice);
	free(g->gear.upgrading);
	free(g);
}

static struct entry *
add_entry(struct gear_table *t, const char *uuid)
{
	struct entry *g = xcalloc(1, sizeof *g);

	const struct cart_install_opts carts = {
		.loop = t->o.loop,
		.worker = t->o.worker,
		.containers = t->o.containers,
		.dirs = t->o.dirs,
		.carts = t->o.carts,
		.net = t->o.net,
		.resolver = t->o.resolver,
		.stop_service = stop_service,
		.arg = t,
	};

	g->table = t;
	g->carts = gear_carts_new(&carts, &g->gear, on_carts, g);
	g->gear.dir = node_dirs_gear(t->o.dirs, uuid);
	g->gear.record.format = 2;
	g->gear.record.uuid = xstrdup(uuid);
	map_set(t->entries, uuid, g);
	return g;
}

/* --- uid ranges --- */

struct uid_search {
	int64_t base;
	bool is_taken;
};

static void
compare_uid(const char *key, void *value, void *arg)
{
	const struct entry *g = value;
	struct uid_search *s = arg;

	(void)key;
	if (g->gear.record.uid_base == s->base)
		s->is_taken = true;
}

/* Ranges are taken in turn from a start that differs by node, so that two nodes on one machine
 * rarely share one. */
static int64_t
allocate_uids(struct gear_table *t)
{
	for (;;) {
		struct uid_search s = { .base = t->uid_next * CONTAINER_IDS };

		t->uid_next = t->uid_next >= UID_LAST - 1 ? UID_FIRST : t->uid_next + 1;
		map_each(t->entries, compare_uid, &s);
		if (!s.is_taken)
			return s.base;
	}
}

/* --- jobs --- */

static void
submit(struct entry *g, worker_fn *run, worker_fn *done)
{
	struct gear_work *w = gear_work_new(&g->table->o, &g->gear, g);

	w->writes_env = g->needs_env;
	w->is_first = !g->is_mounted;
	w->has_come = g->has_come;
	g->job = worker_submit(g->table->o.worker, run, done, gear_work_free, w);
}

static void
on_retry(void *arg)
{
	struct entry *g = arg;

	loop_timer_cancel(STEAL(g->retry));
	step(g);
}

static void
fail(struct entry *g, const struct err *e)
{
	log_warn("gear_failed", LOG_STR("gear", g->gear.record.uuid), LOG_ERR(e));
	g->retry_ms = g->retry_ms == 0 ? RETRY_MIN_MS : g->retry_ms * 2;
	if (g->retry_ms > RETRY_MAX_MS)
		g->retry_ms = RETRY_MAX_MS;
	loop_timer_cancel(g->retry);
	g->retry = loop_timer_start(g->table->o.loop, g->retry_ms, false, on_retry, g);
	if (g->gear.spec.want != WIRE_WANT_GONE && !g->is_unknown)
		set_state(g, GEAR_FAILED, e->text);
}

static void
done_prepare(void *work)
{
	struct gear_work *w = work;
	struct entry *g = w->owner;
	struct err e = w->e;

	g->job = NULL;
	if (e.code == ERR_NONE) {
		g->is_mounted = true;
		g->gear.start_priority = w->gear.start_priority;
		if (w->writes_env && codec_equal(&wire_gear_codec, &w->gear.spec, &g->gear.spec))
			g->needs_env = false;
		g->gear.record.is_made = true;
		g->gear.record.disk_mb = w->gear.record.disk_mb;
		mem_set_str(&g->gear.record.volume, w->gear.record.volume);
		g->retry_ms = 0;
	}
	gear_work_free(w);
	if (e.code != ERR_NONE)
		fail(g, &e);
	else
		step(g);
}

/* Its instance hears of it. */
static bool
stop_service(struct gear *g, void *arg)
{
	const struct gear_table *t = arg;

	t->o.on_change(g, t->o.arg);
	return !t->o.is_served(g, g->upgrading, t->o.arg);
}

static void
on_carts(const struct err *e, void *arg)
{
	struct entry *g = arg;

	if (e != NULL) {
		fail(g, e);
		return;
	}
	g->retry_ms = 0;
	step(g);
}

/* --- from another node --- */

static void
on_come(const struct err *e, void *arg)
{
	struct entry *g = arg;

	g->move = NULL;
	g->has_come = e == NULL;
	if (e != NULL && g->gear.spec.want != WIRE_WANT_GONE && !g->is_unknown)
		fail(g, e);
	else
		step(g);
}

/* Its volume lies on another node, or was not taken over yet. */
static bool
must_come(const struct entry *g)
{
	return g->gear.spec.moved_from != NULL && g->gear.spec.moved_from[0] != '\0' &&
	       !g->gear.record.is_made && !g->has_come;
}

/* --- the end --- */

static void
done_destroy(void *work)
{
	struct gear_work *w = work;
	struct entry *g = w->owner;
	struct err e = w->e;

	g->job = NULL;
	gear_work_free(w);
	if (e.code != ERR_NONE)
		fail(g, &e);
	else
		set_state(g, GEAR_GONE, NULL);
}

static void
on_cleaned(const struct err *e, void *arg)
{
	struct entry *g = arg;

	(void)e;
	if (--g->cleaning == 0)
		submit(g, gear_work_destroy, done_destroy);
}

/* Builders and what an earlier daemon left may still use the volume. */
static void
start_destroy(struct entry *g)
{
	AUTO_FINI(str_list_fini) struct str_list ids = { 0 };
	struct err e = { 0 };

	if (limits_list(g->table->o.limits, g->gear.record.uuid, &ids, &e) < 0) {
		fail(g, &e);
		return;
	}
	g->cleaning = (int)ids.n + 1;
	for (size_t i = 0; i < ids.n; i++)
		container_clean(
		    g->table->o.containers, g->gear.record.uuid, ids.v[i], on_cleaned, g);
	on_cleaned(NULL, g);
}

/* --- unknown to the broker: no order to destroy, but out of the way --- */

static void
done_aside(void *work)
{
	struct gear_work *w = work;
	struct entry *g = w->owner;
	struct gear_table *t = g->table;
	struct err e = w->e;

	g->job = NULL;
	g->is_mounted = false;
	if (e.code != ERR_NONE) {
		gear_work_free(w);
		fail(g, &e);
		return;
	}
	if (g->is_applied) { /* named again meanwhile: made anew; its data is in aside */
		g->gear.record.is_made = false;
		gear_forget_carts(&g->gear);
		gear_work_free(w);
		step(g);
		return;
	}
	(void)map_remove(t->entries, w->gear.record.uuid);
	gear_work_free(w);
}

static void
start_aside(struct entry *g)
{
	submit(g, gear_work_set_aside, done_aside);
}

/* --- steps --- */

static void
done_save(void *work)
{
	struct gear_work *w = work;
	struct entry *g = w->owner;

	g->job = NULL;
	if (w->e.code != ERR_NONE)
		log_warn("gear_unsaved", LOG_STR("gear", g->gear.record.uuid), LOG_ERR(&w->e));
	gear_work_free(w);
	step(g);
}

/* Does the one thing that comes next. */
static void
step(struct entry *g)
{
	if (g->job != NULL || gear_carts_is_busy(g->carts) || g->move != NULL || g->retry != NULL ||
	    g->cleaning > 0 || g->gear.state == GEAR_GONE)
		return;
	if (g->is_unknown) {
		if (g->users == 0)
			start_aside(g);
		return;
	}
	if (g->gear.spec.want == WIRE_WANT_GONE) {
		set_state(g, GEAR_GOING, NULL);
		if (g->users == 0 && !(g->is_mounted && gear_carts_step_down(g->carts)))
			start_destroy(g);
		return;
	}
	if (must_come(g)) {
		set_state(g, GEAR_MAKING, NULL);
		g->move =
		    gear_move_start(g->table->o.fetch, g->table->o.volumes, &g->gear, on_come, g);
		return;
	}
	if (!g->is_mounted || g->needs_env) {
		set_state(
		    g, GEAR_MAKING, NULL); /* also for a new environment: starts wait for it */
		submit(g, gear_work_prepare, done_prepare);
		return;
	}
	if (gear_carts_step(g->carts)) {
		set_state(g, GEAR_CONFIGURING, NULL);
		return;
	}
	if (!g->gear.record.was_ready)
		g->gear.record.was_ready = g->needs_save = true;
	if (g->needs_save) {
		g->needs_save = false;
		submit(g, gear_work_save, done_save);
	}
	set_state(g, GEAR_READY, NULL);
}

/* A configure run in the way of the end is cut short. */
static void
stop_install(struct entry *g)
{
	if (g->gear.spec.want != WIRE_WANT_GONE)
		return;
	gear_carts_stop(g->carts);
	if (g->move != NULL)
		gear_move_stop(g->move);
	loop_timer_cancel(STEAL(g->retry));
}

static bool
has_same_carts(const struct wire_gear *a, const struct wire_gear *b)
{
	if (a->cartridges.n != b->cartridges.n || a->cart_rev != b->cart_rev)
		return false;
	for (size_t i = 0; i < a->cartridges.n; i++) {
		if (!codec_equal(&wire_gear_cart_codec, &a->cartridges.v[i], &b->cartridges.v[i]))
			return false;
	}
	return true;
}

void
gear_table_apply(struct gear_table *t, const struct wire_gear *spec)
{
	struct entry *g = map_get(t->entries, spec->uuid);

	if (g == NULL && spec->want == WIRE_WANT_GONE) {
		/* Nothing was ever made here, or its end was not yet heard. */
		g = add_entry(t, spec->uuid);
	} else if (g == NULL) {
		g = add_entry(t, spec->uuid);
		g->gear.record.uid_base = allocate_uids(t);
		g->gear.record.disk_mb = spec->limits.disk_mb;
		mem_set_str(&g->gear.record.app_id, spec->app_id);
	}
	if (g->is_applied && codec_equal(&wire_gear_codec, &g->gear.spec, spec)) {
		/* The broker has not heard of its end. */
		if (g->gear.state == GEAR_GONE)
			t->o.on_change(&g->gear, t->o.arg);
		return;
	}
	gear_carts_changed(g->carts, !has_same_carts(&g->gear.spec, spec));
	codec_fini(&wire_gear_codec, &g->gear.spec);
	codec_copy(&wire_gear_codec, &g->gear.spec, spec);
	g->is_applied = true;
	g->is_unknown = false;
	g->needs_env = true;
	if (g->gear.state == GEAR_GONE && spec->want != WIRE_WANT_GONE)
		set_state(g, GEAR_NEW, NULL);
	loop_timer_cancel(STEAL(g->retry));
	stop_install(g);
	step(g);
}

void
gear_table_forget(struct gear_table *t, const char *uuid)
{
	struct entry *g = map_get(t->entries, uuid);

	if (g == NULL)
		return;
	if (g->gear.state == GEAR_GONE) {
		(void)map_remove(t->entries, uuid);
		return;
	}
	log_warn("gear_unknown", LOG_STR("gear", uuid));
	g->is_applied = false;
	g->is_unknown = true;
	gear_carts_stop(g->carts);
	if (g->move != NULL)
		gear_move_stop(g->move);
	loop_timer_cancel(STEAL(g->retry));
	step(g);
}

struct gear *
gear_table_find(const struct gear_table *t, const char *uuid)
{
	struct entry *g = map_get(t->entries, uuid);

	return g == NULL || !g->is_applied ? NULL : &g->gear;
}

bool
gear_table_has(const struct gear_table *t, const char *uuid)
{
	return map_get(t->entries, uuid) != NULL;
}

static void
add_id(const char *key, void *value, void *arg)
{
	(void)value;
	str_list_add(arg, key);
}

void
gear_table_ids(const struct gear_table *t, struct str_list *out)
{
	map_each(t->entries, add_id, out);
}

struct visit {
	gear_table_each_fn *fn;
	void *arg;
};

static void
visit_one(const char *key, void *value, void *arg)
{
	struct entry *g = value;
	struct visit *v = arg;

	(void)key;
	if (g->is_applied)
		v->fn(&g->gear, v->arg);
}

void
gear_table_each(const struct gear_table *t, gear_table_each_fn *fn, void *arg)
{
	struct visit v = { fn, arg };

	map_each(t->entries, visit_one, &v);
}

void
gear_table_hold(struct gear_table *t, struct gear *gear)
{
	struct entry *g = (struct entry *)gear;

	(void)t;
	g->users++;
}

void
gear_table_release(struct gear_table *t, struct gear *gear)
{
	struct entry *g = (struct entry *)gear;

	if (--g->users == 0 && (g->gear.spec.want == WIRE_WANT_GONE || g->is_unknown))
		step(g);
	else if (g->gear.upgrading != NULL && !t->o.is_served(gear, g->gear.upgrading, t->o.arg))
		gear_carts_go_on(g->carts);
}

int
gear_table_users(const struct gear_table *t, const struct gear *gear)
{
	(void)t;
	return ((const struct entry *)gear)->users;
}

void
gear_table_installed(struct gear_table *t, struct gear *gear, const struct str_list *carts)
{
	struct entry *g = (struct entry *)gear;

	for (size_t i = 0; i < carts->n; i++) {
		struct gear_cart *c = gear_cart_find(gear, carts->v[i]);

		if (c != NULL)
			c->is_installed = g->needs_save = true;
	}
	if (!g->needs_save)
		return;
	t->o.on_change(gear, t->o.arg);
	step(g);
}

/* --- disk usage --- */

static void
add_mounted(const char *key, void *value, void *arg)
{
	const struct entry *g = value;

	if (g->is_mounted && g->gear.record.is_made)
		str_list_add(arg, key);
}

static void
list_mounted(struct str_list *uuids, void *arg)
{
	const struct gear_table *t = arg;

	map_each(t->entries, add_mounted, uuids);
}

static void
on_usage(const char *uuid, int64_t used_kb, void *arg)
{
	struct gear_table *t = arg;
	struct entry *g = map_get(t->entries, uuid);
	int64_t change = g == NULL ? 0 : used_kb - g->gear.disk_used_kb;

	if (g == NULL || !g->is_mounted || (change < USAGE_STEP_KB && change > -USAGE_STEP_KB))
		return;
	g->gear.disk_used_kb = used_kb;
	if (g->gear.state == GEAR_READY)
		t->o.on_change(&g->gear, t->o.arg);
}

/* --- all --- */

static int
load_record(struct gear_table *t, const char *uuid, struct err *e)
{
	AUTO(free) char *path = xasprintf("%s/%s.json", t->o.dirs->gears, uuid);
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	AUTO_FINI(gear_record_fini) struct gear_record r = { 0 };
	struct entry *g;

	if (file_read(path, RECORD_MAX, &text, e) < 0 ||
	    codec_decode(&gear_record_codec, text.p, text.n, &r, CODEC_IGNORE, e) < 0)
		return err_wrap(e, "%s", path);
	if (strcmp(r.uuid, uuid) != 0)
		return err_set(e, ERR_INVALID, "uuid", "%s names another gear", path);
	g = add_entry(t, uuid);
	codec_fini(&gear_record_codec, &g->gear.record);
	g->gear.record = r;
	r = (struct gear_record){ 0 };
	gear_migrate(&g->gear);
	return 0;
}

static int
load_all(struct gear_table *t, struct err *e)
{
	DIR *d = opendir(t->o.dirs->gears);
	struct dirent *de;
	int rc = 0;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", t->o.dirs->gears);
	while (rc == 0 && (de = readdir(d)) != NULL) {
		if (strstr(de->d_name, ".json.") != NULL) /* a write that was cut short */
			(void)unlinkat(dirfd(d), de->d_name, 0);
		if (de->d_name[0] == '.' || !str_has_suffix(de->d_name, ".json"))
			continue;
		AUTO(free) char *uuid = xstrndup(de->d_name, strlen(de->d_name) - strlen(".json"));
		rc = load_record(t, uuid, e);
	}
	closedir(d);
	return rc;
}

/* Where this node begins to give out uid ranges. */
static int64_t
first_uid(const struct node_dirs *d)
{
	int64_t n = strtol(d->tag, NULL, 16) & 0xffff;

	return n < UID_FIRST || n >= UID_LAST ? UID_FIRST : n;
}

DEFINE_AUTO(struct gear_table *, gear_table_close)

struct gear_table *
gear_table_open(const struct gear_table_opts *o, struct err *e)
{
	AUTO(gear_table_close) struct gear_table *t = xcalloc(1, sizeof *t);

	t->o = *o;
	t->entries = map_new(free_entry);
	t->uid_next = first_uid(o->dirs);
	t->usage = gear_usage_new(&(struct gear_usage_opts){
	    .loop = o->loop,
	    .worker = o->worker,
	    .volumes = o->volumes,
	    .list = list_mounted,
	    .fn = on_usage,
	    .arg = t,
	});
	return load_all(t, e) < 0 ? NULL : STEAL(t);
}

void
gear_table_close(struct gear_table *take_t)
{
	if (take_t == NULL)
		return;
	gear_usage_free(take_t->usage);
	map_free(take_t->entries);
	free(take_t);
}

static void
mark_unknown(const char *key, void *value, void *arg)
{
	struct entry *g = value;
	struct str_list *l = arg;

	if (g->is_applied)
		return;
	g->is_unknown = true;
	str_list_add(l, key);
}

void
gear_table_set_aside_unknown(struct gear_table *t)
{
	AUTO_FINI(str_list_fini) struct str_list l = { 0 };

	map_each(t->entries, mark_unknown, &l);
	for (size_t i = 0; i < l.n; i++)
		step(map_get(t->entries, l.v[i]));
}

struct unmount {
	struct gear_table *table;
	struct err *e;
	int rc;
};

static void
unmount_one(const char *key, void *value, void *arg)
{
	struct entry *g = value;
	struct unmount *u = arg;

	if (volume_unmount(u->table->o.volumes, key, REMOVE_MS, u->e) < 0)
		u->rc = -1;
	else
		g->is_mounted = false;
}

int
gear_table_unmount_all(struct gear_table *t, struct err *e)
{
	struct unmount u = { .table = t, .e = e };

	map_each(t->entries, unmount_one, &u);
	return u.rc;
}
