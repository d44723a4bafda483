#include "node/gear_usage.h"

#include <stdlib.h>
#include <string.h>

#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/volume.h"

enum { USAGE_MS = 10000 };

struct gear_usage {
	struct gear_usage_opts o;
	struct loop_timer *timer;
	struct worker_job *job;
};

struct usage_job {
	struct gear_usage *owner; /* done only */
	struct volumes *volumes;
	struct str_list uuids;
	int64_t *used_kb; /* owned: of each; -1: unknown */
};

static void
free_job(void *take_job)
{
	struct usage_job *j = take_job;

	str_list_fini(&j->uuids);
	free(j->used_kb);
	free(j);
}

static void
run_usage(void *job)
{
	struct usage_job *j = job;
	int64_t room;

	for (size_t i = 0; i < j->uuids.n; i++) {
		struct err e = { 0 };

		if (volume_usage(j->volumes, j->uuids.v[i], &j->used_kb[i], &room, &e) < 0)
			j->used_kb[i] = -1;
	}
}

static void
done_usage(void *job)
{
	struct usage_job *j = job;
	struct gear_usage *u = j->owner;

	u->job = NULL;
	for (size_t i = 0; i < j->uuids.n; i++) {
		if (j->used_kb[i] >= 0)
			u->o.fn(j->uuids.v[i], j->used_kb[i], u->o.arg);
	}
	free_job(j);
}

static void
on_usage(void *arg)
{
	struct gear_usage *u = arg;
	struct usage_job *j;

	if (u->job != NULL || strcmp(volumes_kind(u->o.volumes), "image") != 0)
		return;
	j = xcalloc(1, sizeof *j);
	j->owner = u;
	j->volumes = u->o.volumes;
	u->o.list(&j->uuids, u->o.arg);
	j->used_kb = xcalloc(j->uuids.n + 1, sizeof *j->used_kb);
	u->job = worker_submit(u->o.worker, run_usage, done_usage, free_job, j);
}

struct gear_usage *
gear_usage_new(const struct gear_usage_opts *o)
{
	struct gear_usage *u = xcalloc(1, sizeof *u);

	u->o = *o;
	u->timer = loop_timer_start(o->loop, USAGE_MS, true, on_usage, u);
	return u;
}

void
gear_usage_free(struct gear_usage *take_u)
{
	if (take_u == NULL)
		return;
	loop_timer_cancel(take_u->timer);
	worker_detach(take_u->job);
	free(take_u);
}
