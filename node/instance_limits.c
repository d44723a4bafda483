#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/instance_state.h"

/* The profile of a running instance's gear may change: its limits follow at once. */
struct limits_job {
	struct instance *owner; /* done only */
	struct container_host *containers;
	struct net *net;
	char *gear, *id; /* owned */
	struct wire_limits limits;
	struct err e;
};

static void
free_job(void *take_job)
{
	struct limits_job *j = take_job;

	free(j->gear);
	free(j->id);
	free(j);
}

static void
run(void *job)
{
	struct limits_job *j = job;

	if (container_set_limits(j->containers, j->gear, j->id, &j->limits, &j->e) < 0 ||
	    net_set_rate(j->net, j->id, j->limits.net_kbit, &j->e) < 0)
		(void)err_wrap(&j->e, "limits of %s", j->id);
}

static void
done(void *job)
{
	struct limits_job *j = job;
	struct instance *i = j->owner;

	i->job = NULL;
	/* Not tried again until they change or it starts anew: a limit below what is in use. */
	if (j->e.code != ERR_NONE) {
		log_warn("instance_limits_kept", LOG_STR("instance", j->id), LOG_ERR(&j->e));
		instance_note(i, "its new limits apply from the next start: %s", j->e.text);
	} else {
		log_info("instance_limits", LOG_STR("instance", j->id),
		    LOG_INT("memory_mb", j->limits.memory_mb));
	}
	free_job(j);
	instance_next(i);
}

bool
instance_follow_limits(struct instance *i)
{
	const struct wire_limits *now = i->gear == NULL ? NULL : &i->gear->spec.limits;
	struct limits_job *j;

	if (now == NULL || i->container == NULL || i->gear->state != GEAR_READY ||
	    codec_equal(&wire_limits_codec, &i->limits, now))
		return false;
	j = xcalloc(1, sizeof *j);
	*j = (struct limits_job){
		.owner = i,
		.containers = i->table->o.containers,
		.net = i->table->o.net,
		.gear = xstrdup(i->spec.gear),
		.id = xstrdup(i->spec.id),
		.limits = *now,
	};
	i->limits = *now;
	i->job = worker_submit(i->table->o.worker, run, done, free_job, j);
	return true;
}

void
instance_limits_adopt(struct instance *i)
{
	const char *text = container_note(i->container, "limits");
	struct err e = { 0 };

	/* Without: they are set anew. */
	if (text != NULL &&
	    codec_decode(&wire_limits_codec, text, strlen(text), &i->limits, CODEC_IGNORE, &e) < 0)
		i->limits = (struct wire_limits){ 0 };
}
