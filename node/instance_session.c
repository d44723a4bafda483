#include "node/instance_session.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/instance_env.h"
#include "node/instance_state.h"
#include "node/limits.h"

enum { SESSIONS_MAX = 64 /* in one gear */ };

struct instance_session {
	LIST_ENTRY(instance_session) link;
	struct instances *table; /* borrowed */
	char *id, *gear;         /* owned: the instance's */
	struct instance_env *env;
	const struct instance_session_calls *calls;
	void *arg;
};

struct search {
	const struct instance_session_opts *o;
	struct instance *best;
	bool has_some; /* though not ready */
};

static bool
is_newer(const struct instance *a, const struct instance *b)
{
	if (a->spec.retires != b->spec.retires)
		return !a->spec.retires;
	return a->status.started_ms > b->status.started_ms;
}

static void
consider(const char *key, void *value, void *arg)
{
	struct instance *i = value;
	struct search *s = arg;
	int kind = s->o->cart == NULL ? WIRE_INSTANCE_WEB : WIRE_INSTANCE_SERVICE;

	(void)key;
	if (strcmp(i->spec.gear, s->o->gear) != 0)
		return;
	if (s->o->instance != NULL ? strcmp(i->spec.id, s->o->instance) != 0 : i->spec.kind != kind)
		return;
	if (s->o->instance == NULL && s->o->cart != NULL &&
	    (i->spec.cart == NULL || strcmp(i->spec.cart, s->o->cart) != 0))
		return;
	s->has_some = true;
	if (i->container == NULL || container_pid(i->container) == 0 || i->gear == NULL ||
	    (s->o->instance == NULL && i->step != STEP_RUN))
		return;
	if (s->best == NULL || is_newer(i, s->best))
		s->best = i;
}

static struct instance *
pick(struct instances *is, const struct instance_session_opts *o, struct err *e)
{
	struct search s = { .o = o };

	map_each(is->all, consider, &s);
	if (s.best != NULL)
		return s.best;
	if (o->instance != NULL && !s.has_some)
		(void)err_set(
		    e, ERR_NOT_FOUND, "instance", "the gear has no instance %s here", o->instance);
	else if (s.has_some)
		(void)err_set(e, ERR_BUSY, "instance",
		    "no instance of the gear is ready: see why with 'pinion events'");
	else
		(void)err_set(e, ERR_NOT_FOUND, "instance", "the gear has no such instance");
	return NULL;
}

static size_t
count(const struct instances *is, const char *gear, const char *id)
{
	const struct instance_session *s;
	size_t n = 0;

	LIST_FOREACH (s, &is->sessions, link)
		n += strcmp(s->gear, gear) == 0 && (id == NULL || strcmp(s->id, id) == 0);
	return n;
}

/* Tells the broker when the first one comes and the last one goes. */
static void
tell(struct instances *is, const char *gear, const char *id)
{
	struct instance *i = map_get(is->all, id);
	bool has = count(is, gear, id) > 0;

	if (i == NULL || i->status.has_sessions == has)
		return;
	i->status.has_sessions = has;
	instance_report(i);
}

static void
on_env(const struct str_list *env, const struct err *e, void *arg)
{
	struct instance_session *s = arg;

	s->env = NULL;
	s->calls->ready(env, e, s->arg);
}

struct instance_session *
instance_session_open(struct instances *is, const struct instance_session_opts *o,
    const struct instance_session_calls *calls, void *arg, struct err *e)
{
	struct instance *i = pick(is, o, e);
	struct instance_session *s;

	if (i == NULL)
		return NULL;
	instances_thaw(is, o->gear);
	if (count(is, o->gear, NULL) >= SESSIONS_MAX) {
		(void)err_set(
		    e, ERR_LIMIT, NULL, "the gear has %d sessions already: end some", SESSIONS_MAX);
		return NULL;
	}
	s = xcalloc(1, sizeof *s);
	*s = (struct instance_session){
		.table = is,
		.id = xstrdup(i->spec.id),
		.gear = xstrdup(i->spec.gear),
		.calls = calls,
		.arg = arg,
	};
	LIST_INSERT_HEAD(&is->sessions, s, link);
	s->env = instance_env_start(is, s->id, NULL, on_env, s, e);
	if (s->env == NULL) {
		instance_session_close(s);
		return NULL;
	}
	tell(is, s->gear, s->id);
	return s;
}

void
instance_session_close(struct instance_session *take_s)
{
	struct instance_session *s = take_s;

	if (s == NULL)
		return;
	instance_env_cancel(s->env);
	LIST_REMOVE(s, link);
	tell(s->table, s->gear, s->id);
	free(s->id);
	free(s->gear);
	free(s);
}

const char *
instance_session_id(const struct instance_session *s)
{
	return s->id;
}

static struct container *
find_container(struct instance_session *s, struct err *e)
{
	struct instance *i = map_get(s->table->all, s->id);

	if (i != NULL && i->container != NULL)
		return i->container;
	(void)err_set(e, ERR_BUSY, NULL, "the instance has just ended: try again");
	return NULL;
}

int
instance_session_terminal(
    struct instance_session *s, int *out_master, int *out_slave, struct err *e)
{
	struct container *c = find_container(s, e);

	return c == NULL ? -1 : container_terminal(c, out_master, out_slave, e);
}

struct child *
instance_session_enter(struct instance_session *s, const struct container_entry *entry,
    child_end_fn *on_end, void *arg, struct err *e)
{
	struct container *c = find_container(s, e);

	return c == NULL ? NULL : container_enter(c, entry, NULL, on_end, arg, e);
}

static void
retire_one(struct instance_session *s, int64_t seconds)
{
	if (s->calls->retires != NULL)
		s->calls->retires(seconds, s->arg);
}

void
instance_sessions_retire(const struct instance *i)
{
	struct instance_session *next;

	for (struct instance_session *s = LIST_FIRST(&i->table->sessions); s != NULL; s = next) {
		next = LIST_NEXT(s, link);
		if (strcmp(s->id, i->spec.id) == 0)
			retire_one(s, i->spec.grace_s);
	}
}

/* --- killing what a session left --- */

struct kill_job {
	const struct limits *limits;
	char *gear, *id; /* owned */
	int leader;
};

static void
free_kill(void *take_job)
{
	struct kill_job *j = take_job;

	free(j->gear);
	free(j->id);
	free(j);
}

/* The session id of a process: field 6 of its stat, behind the name in parentheses. */
static int
session_of(pid_t pid)
{
	AUTO(free) char *path = xasprintf("/proc/%d/stat", (int)pid);
	AUTO_FINI(buf_fini) struct buf stat = { 0 };
	struct err e = { 0 };
	const char *p;
	int id = 0;

	if (file_read(path, 4096, &stat, &e) < 0 || (p = strrchr(stat.p, ')')) == NULL ||
	    sscanf(p + 1, " %*c %*d %*d %d", &id) != 1)
		return 0;
	return id;
}

static void
run_kill(void *job)
{
	struct kill_job *j = job;
	AUTO_FINI(limits_pid_list_fini) struct limits_pid_list pids = { 0 };
	struct err e = { 0 };

	if (limits_pids(j->limits, (struct limits_group){ .gear = j->gear, .instance = j->id },
	        &pids, &e) < 0)
		log_warn("session_not_killed", LOG_STR("instance", j->id), LOG_ERR(&e));
	for (size_t i = 0; i < pids.n; i++) {
		if (session_of(pids.v[i]) == j->leader)
			(void)kill(pids.v[i], SIGKILL);
	}
}

void
instance_session_kill(struct instance_session *s, int leader)
{
	struct kill_job *j = xcalloc(1, sizeof *j);

	*j = (struct kill_job){
		.limits = s->table->o.limits,
		.gear = xstrdup(s->gear),
		.id = xstrdup(s->id),
		.leader = leader,
	};
	worker_submit(s->table->o.worker, run_kill, free_kill, free_kill, j);
}
