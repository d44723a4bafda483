#include "node/disk_guard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/gear.h"
#include "node/gear_table.h"
#include "node/limits.h"
#include "node/node_dirs.h"
#include "node/tree_size.h"

enum {
	LOOK_MS = 1000,   /* a gear beyond its quota is stopped within 5 s */
	FREEZE_MAX = 3,   /* gears in one look */
	GROWTH_KB = 1024, /* less is no growth */
	OVER_PERCENT = 110,
	THAW_MORE = 2, /* percent free above critical */
};

/* One gear in a look. */
struct sample {
	char *uuid, *dir; /* owned */
	bool is_plain;
	int64_t disk_mb;
	int64_t kb, before_kb; /* on the node's disk; before -1: the first look */
	bool is_frozen, was_frozen;
	bool is_over, was_over;
};

struct look {
	struct disk_guard *owner; /* done only */
	const struct limits *limits;
	const struct node_dirs *dirs;
	int64_t critical_percent;
	int64_t free_percent;
	struct sample *v; /* owned */
	size_t n;
};

/* What is remembered of a gear. */
struct seen {
	int64_t kb;
	bool is_frozen, is_over;
};

struct disk_guard {
	struct disk_guard_opts o;
	struct loop_timer *timer;
	struct worker_job *job;
	struct map *seen; /* uuid → struct seen, owned */
};

/* --- the look, on a worker --- */

static void
look_free(void *p)
{
	struct look *l = p;

	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].uuid);
		free(l->v[i].dir);
	}
	free(l->v);
	free(l);
}

static void
measure(const struct look *l, struct sample *s)
{
	AUTO(free) char *image = xasprintf("%s.img", s->dir);
	int64_t limit = s->disk_mb * 1024 * 1024;
	struct stat st;

	if (s->is_plain)
		s->kb = tree_size(s->dir, limit * 2) / 1024;
	else
		s->kb = stat(image, &st) < 0 ? 0 : (int64_t)st.st_blocks / 2;
	/* Frozen by an earlier daemon? */
	if (s->before_kb < 0 &&
	    limits_is_frozen(l->limits, (struct limits_group){ .gear = s->uuid }))
		s->is_frozen = s->was_frozen = true;
	s->is_over = s->is_plain && s->kb * 1024 > limit / 100 * OVER_PERCENT;
}

static void
set_frozen(const struct look *l, struct sample *s, bool frozen)
{
	struct err e = { 0 };

	if (limits_freeze(l->limits, (struct limits_group){ .gear = s->uuid }, frozen, &e) < 0)
		log_warn("gear_not_frozen", LOG_STR("gear", s->uuid), LOG_ERR(&e));
	else
		s->is_frozen = frozen;
}

/* The fastest of those that grow and run. */
static struct sample *
fastest(struct look *l)
{
	struct sample *best = NULL;

	for (size_t i = 0; i < l->n; i++) {
		struct sample *s = &l->v[i];

		if (s->is_frozen || s->before_kb < 0 || s->kb - s->before_kb < GROWTH_KB)
			continue;
		if (best == NULL || s->kb - s->before_kb > best->kb - best->before_kb)
			best = s;
	}
	return best;
}

static void
look_run(void *p)
{
	struct look *l = p;
	struct err e = { 0 };

	l->free_percent = node_dirs_free_percent(l->dirs);
	for (size_t i = 0; i < l->n; i++) {
		struct sample *s = &l->v[i];

		measure(l, s);
		if (s->is_over &&
		    limits_kill(l->limits, (struct limits_group){ .gear = s->uuid }, &e) < 0)
			log_warn("gear_not_stopped", LOG_STR("gear", s->uuid), LOG_ERR(&e));
		if (s->is_frozen && l->free_percent >= l->critical_percent + THAW_MORE)
			set_frozen(l, s, false);
	}
	for (int i = 0; i < FREEZE_MAX && l->free_percent < l->critical_percent; i++) {
		struct sample *s = fastest(l);

		if (s == NULL)
			break;
		set_frozen(l, s, true);
		s->before_kb = s->kb;
	}
}

/* --- on the loop --- */

static void
tell(struct disk_guard *g, const struct sample *s)
{
	struct gear *gear = gear_table_find(g->o.gears, s->uuid);

	if (gear == NULL)
		return;
	if (s->is_plain)
		gear->disk_used_kb = s->kb;
	if (s->is_frozen == s->was_frozen && s->is_over == s->was_over)
		return;
	gear->is_over_quota = s->is_over;
	gear->is_frozen = s->is_frozen;
	if (s->is_over)
		mem_set_str(&gear->notice,
		    "stopped: it uses more than 110 % of its disk (remove files in "
		    "~/app-root/data)");
	else if (s->is_frozen)
		mem_set_str(&gear->notice,
		    "frozen: the node's disk is nearly full, and this gear writes most");
	else
		mem_set_str(&gear->notice, NULL);
	log_warn("gear_disk", LOG_STR("gear", s->uuid),
	    LOG_STR("notice", gear->notice == NULL ? "" : gear->notice));
	g->o.on_change(gear, g->o.arg);
}

static void
look_done(void *p)
{
	struct look *l = p;
	struct disk_guard *g = l->owner;

	g->job = NULL;
	for (size_t i = 0; i < l->n; i++) {
		const struct sample *s = &l->v[i];
		struct seen *seen = xcalloc(1, sizeof *seen);

		*seen = (struct seen){ s->kb, s->is_frozen, s->is_over };
		map_set(g->seen, s->uuid, seen);
		tell(g, s);
	}
	look_free(l);
}

static void
add_gear(struct gear *gear, void *arg)
{
	struct look *l = arg;
	const struct seen *seen = map_get(l->owner->seen, gear->spec.uuid);
	bool is_plain = gear->record.volume != NULL && strcmp(gear->record.volume, "plain") == 0;
	struct sample *s;

	if (!gear->record.is_made)
		return;
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	s = &l->v[l->n++];
	*s = (struct sample){
		.uuid = xstrdup(gear->spec.uuid),
		.dir = xstrdup(gear->dir),
		.is_plain = is_plain,
		.disk_mb = gear->record.disk_mb,
		.before_kb = seen == NULL ? -1 : seen->kb,
		.is_frozen = seen != NULL && seen->is_frozen,
		.was_frozen = seen != NULL && seen->is_frozen,
		.was_over = seen != NULL && seen->is_over,
	};
}

static void
on_look(void *arg)
{
	struct disk_guard *g = arg;
	struct look *l;

	if (g->job != NULL)
		return;
	l = xcalloc(1, sizeof *l);
	*l = (struct look){
		.owner = g,
		.limits = g->o.limits,
		.dirs = g->o.dirs,
		.critical_percent = g->o.critical_percent,
	};
	gear_table_each(g->o.gears, add_gear, l);
	g->job = worker_submit(g->o.worker, look_run, look_done, look_free, l);
}

struct disk_guard *
disk_guard_new(const struct disk_guard_opts *o)
{
	struct disk_guard *g = xcalloc(1, sizeof *g);

	g->o = *o;
	g->seen = map_new(free);
	g->timer = loop_timer_start(o->loop, LOOK_MS, true, on_look, g);
	return g;
}

void
disk_guard_free(struct disk_guard *take_g)
{
	if (take_g == NULL)
		return;
	loop_timer_cancel(take_g->timer);
	worker_detach(take_g->job);
	map_free(take_g->seen);
	free(take_g);
}
