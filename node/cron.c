#include "node/cron.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/gear_table.h"
#include "node/instance.h"
#include "node/instance_env.h"

/* The script itself ends its jobs after 20 minutes (MAX_RUN_TIME). */
enum { RUNS_MAX = 5, QUEUE_MAX = 10000, TIMEOUT_MS = 21 * 60 * 1000, MINUTE_MS = 60 * 1000 };
enum {
	MINUTE_S = 60,
	DAY_S = 86400,
	EARLY_S = 300, /* so long may applications take to be up after the daemon's start */
	EARLY_LOOK_MS = 1000,
};

static const char cartridge[] = "cron";
static const char runner[] = "/usr/lib/pinion/cron-run";

const char *const cron_names[] = { "minutely", "hourly", "daily", "weekly", "monthly", NULL };

struct cron_job {
	struct cron *cron;
	struct cron_job *next;
	char *gear; /* owned */
	enum cron_frequency frequency;
	struct instance_env *env;
	struct child *child;
	char *instance; /* owned */
};

struct cron {
	struct cron_opts o;
	struct loop_timer *timer;
	struct cron_job *waiting, **waiting_end; /* owned, oldest first */
	struct cron_job *running;                /* owned */
	size_t waiting_n, running_n;
	time_t last; /* minute that was looked at */
	/* Soon after the start: the gears from before that were not up yet (no values are kept),
	 * and the minute from which on they are looked at then. NULL: none. */
	struct map *owed;
	time_t from, early_until;
	struct worker_job *save;
};

/* --- what is due --- */

static unsigned
minute_of(const char *gear)
{
	uint32_t h = 2166136261u;

	for (; *gear != '\0'; gear++)
		h = (h ^ (unsigned char)*gear) * 16777619u;
	return h % 60;
}

bool
cron_is_due(enum cron_frequency f, const char *gear, const struct tm *minute)
{
	bool is_minute = minute->tm_min == (int)minute_of(gear);

	switch (f) {
	case CRON_MINUTELY:
		return true;
	case CRON_HOURLY:
		return minute->tm_min == 1;
	case CRON_DAILY:
		return minute->tm_hour == 3 && is_minute;
	case CRON_WEEKLY:
		return minute->tm_wday == 0 && minute->tm_hour == 4 && is_minute;
	case CRON_MONTHLY:
		return minute->tm_mday == 1 && minute->tm_hour == 5 && is_minute;
	default:
		return false;
	}
}

bool
cron_was_due(enum cron_frequency f, const char *gear, time_t from, time_t to)
{
	struct tm tm;

	if (from < to - DAY_S)
		from = to - DAY_S;
	for (time_t t = from - from % MINUTE_S + MINUTE_S; t <= to; t += MINUTE_S) {
		if (gmtime_r(&t, &tm) != NULL && cron_is_due(f, gear, &tm))
			return true;
	}
	return false;
}

/* --- one job --- */

static void start_more(struct cron *c);

static void
job_free(struct cron_job *take_j)
{
	instance_env_cancel(take_j->env);
	child_free(take_j->child);
	free(take_j->gear);
	free(take_j->instance);
	free(take_j);
}

static void
end_job(struct cron_job *j, const char *why)
{
	struct cron *c = j->cron;
	struct cron_job **at = &c->running;

	if (why != NULL)
		log_warn("cron_failed", LOG_STR("gear", j->gear),
		    LOG_STR("frequency", cron_names[j->frequency]), LOG_STR("error", why));
	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	c->running_n--;
	job_free(j);
	start_more(c);
}

/* The script writes to the gear's log itself. */
static void
on_out(struct child *child, int fd, const char *p, size_t n, void *arg)
{
	(void)child;
	(void)fd;
	(void)p;
	(void)n;
	(void)arg;
}

static void
on_end(struct child *child, const struct child_end *end, void *arg)
{
	struct cron_job *j = arg;

	(void)child;
	log_debug("cron_ran", LOG_STR("gear", j->gear),
	    LOG_STR("frequency", cron_names[j->frequency]), LOG_INT("status", end->status));
	end_job(j, end->status == 0 ? NULL : end->why);
}

static void
on_env(const struct str_list *env, const struct err *e, void *arg)
{
	struct cron_job *j = arg;
	AUTO_FINI(str_list_fini) struct str_list all = { 0 };
	const char *argv[] = { runner, cron_names[j->frequency], NULL };
	struct container_entry entry = { .argv = argv, .timeout_ms = TIMEOUT_MS };
	struct err failed = { 0 };

	j->env = NULL;
	if (e != NULL) {
		end_job(j, e->text);
		return;
	}
	str_list_copy(&all, env);
	str_list_add(&all, "PINION_CALL=1");
	str_list_take(&all, xasprintf("PINION_INSTANCE=%s", j->instance));
	str_list_take(&all, NULL); /* as execve wants it */
	entry.env = (const char *const *)all.v;
	j->child =
	    instances_enter(j->cron->o.instances, j->instance, &entry, on_out, on_end, j, &failed);
	if (j->child == NULL)
		end_job(j, failed.text);
}

/* Where a gear's jobs would run; NULL: nothing of it is up and awake. */
static const char *
find_instance(const struct cron *c, const char *gear)
{
	const char *id = instances_pick(c->o.instances, gear, NULL);

	return id != NULL && instances_is_awake(c->o.instances, id) ? id : NULL;
}

/* false: there is nothing that it could run in. */
static bool
start_job(struct cron *c, struct cron_job *j)
{
	const char *instance = find_instance(c, j->gear);
	struct err e = { 0 };

	if (instance == NULL)
		return false;
	j->instance = xstrdup(instance);
	j->env = instance_env_start(c->o.instances, instance, cartridge, on_env, j, &e);
	return j->env != NULL;
}

static void
start_more(struct cron *c)
{
	while (c->waiting != NULL && c->running_n < RUNS_MAX) {
		struct cron_job *j = c->waiting;

		c->waiting = j->next;
		if (c->waiting == NULL)
			c->waiting_end = &c->waiting;
		c->waiting_n--;
		if (!start_job(c, j)) {
			job_free(j);
			continue;
		}
		j->next = c->running;
		c->running = j;
		c->running_n++;
	}
}

/* --- a look at all gears --- */

static bool
is_under_way(const struct cron_job *list, const char *gear, enum cron_frequency f)
{
	for (; list != NULL; list = list->next) {
		if (list->frequency == f && strcmp(list->gear, gear) == 0)
			return true;
	}
	return false;
}

/* Head gears whose cron is not stopped and that can run it now. */
static bool
has_cron(const struct cron *c, const struct gear *g)
{
	const struct wire_gear_cart_list *l = &g->spec.cartridges;

	if (g->state != GEAR_READY || g->spec.app_id == NULL ||
	    strcmp(g->spec.app_id, g->spec.uuid) != 0)
		return false;
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].name, cartridge) == 0)
			return !l->v[i].is_stopped && find_instance(c, g->spec.uuid) != NULL;
	}
	return false;
}

struct look {
	struct cron *cron;
	time_t from, to; /* minutes after from up to to; to 0: only, whatever the time */
	enum cron_frequency only;
	size_t queued;
};

static void
queue_job(struct look *k, const char *gear, enum cron_frequency f)
{
	struct cron *c = k->cron;
	struct cron_job *j;

	if (c->waiting_n >= QUEUE_MAX || is_under_way(c->waiting, gear, f) ||
	    is_under_way(c->running, gear, f))
		return;
	j = xcalloc(1, sizeof *j);
	*j = (struct cron_job){ .cron = c, .gear = xstrdup(gear), .frequency = f };
	*c->waiting_end = j;
	c->waiting_end = &j->next;
	c->waiting_n++;
	k->queued++;
}

static void
look_at(struct gear *g, void *arg)
{
	struct look *k = arg;
	struct cron *c = k->cron;
	time_t from = k->from;

	if (!has_cron(c, g))
		return;
	if (k->to != 0 && c->owed != NULL && map_remove(c->owed, g->spec.uuid))
		from = c->from;
	for (int f = 0; f < CRON_FREQUENCIES; f++) {
		if (k->to == 0 ? f == (int)k->only
		               : cron_was_due((enum cron_frequency)f, g->spec.uuid, from, k->to))
			queue_job(k, g->spec.uuid, (enum cron_frequency)f);
	}
}

size_t
cron_run(struct cron *c, enum cron_frequency f)
{
	struct look k = { .cron = c, .only = f };

	gear_table_each(c->o.gears, look_at, &k);
	start_more(c);
	return k.queued;
}

/* --- the minute that is kept --- */

struct save {
	struct cron *cron; /* done only */
	char *path;        /* owned */
	time_t minute;
};

static void
save_free(void *p)
{
	struct save *s = p;

	free(s->path);
	free(s);
}

static void
save_run(void *p)
{
	const struct save *s = p;
	AUTO(free) char *text = xasprintf("%lld\n", (long long)s->minute);
	struct err e = { 0 };

	if (file_replace_fast(s->path, text, strlen(text), 0600, &e) < 0)
		log_warn("cron_not_kept", LOG_ERR(&e));
}

static void
save_done(void *p)
{
	struct save *s = p;

	s->cron->save = NULL;
	save_free(s);
}

static void
save_last(struct cron *c)
{
	struct save *s;

	if (c->save != NULL)
		return;
	s = xcalloc(1, sizeof *s);
	*s = (struct save){ .cron = c, .path = xstrdup(c->o.state), .minute = c->last };
	c->save = worker_submit(c->o.worker, save_run, save_done, save_free, s);
}

/* The minute that an earlier daemon looked at last; without one, or from the future: now. */
static time_t
read_last(const char *path, time_t now)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	int64_t n;

	if (file_read(path, 64, &b, &e) < 0 || b.n == 0)
		return now;
	if (b.p[b.n - 1] == '\n')
		buf_truncate(&b, b.n - 1);
	return str_to_i64(buf_str(&b), 0, now, NULL, &n, &e) < 0 ? now : (time_t)n;
}

/* --- the clock --- */

static void
set_timer(struct cron *c)
{
	struct timespec now;
	int64_t ms;

	clock_gettime(CLOCK_REALTIME, &now);
	ms = MINUTE_MS - (now.tv_sec % MINUTE_S) * 1000 - now.tv_nsec / 1000000;
	if (c->owed != NULL && ms > EARLY_LOOK_MS)
		ms = EARLY_LOOK_MS;
	loop_timer_again(c->timer, ms > 0 ? ms : 1);
}

static void
on_minute(void *arg)
{
	struct cron *c = arg;
	time_t now = time(NULL);
	struct look k = { .cron = c, .from = c->last, .to = now - now % MINUTE_S };

	/* A timer that came a moment early waits for the minute; a clock set back repeats none, and
	 * one set forward skips what it jumped over. */
	if (k.to != c->last || c->owed != NULL) {
		if (k.to - k.from != MINUTE_S)
			k.from = k.to == c->last ? k.to : k.to - MINUTE_S;
		gear_table_each(c->o.gears, look_at, &k);
		start_more(c);
	}
	if (k.to != c->last) {
		c->last = k.to;
		save_last(c);
	}
	if (c->owed != NULL && (now >= c->early_until || map_count(c->owed) == 0))
		map_free(STEAL(c->owed));
	set_timer(c);
}

struct cron *
cron_new(const struct cron_opts *o)
{
	struct cron *c = xcalloc(1, sizeof *c);
	AUTO_FINI(str_list_fini) struct str_list ids = { 0 };
	time_t now = time(NULL);

	c->o = *o;
	c->waiting_end = &c->waiting;
	c->last = now - now % MINUTE_S;
	c->from = read_last(o->state, c->last);
	c->early_until = now + EARLY_S;
	c->owed = map_new(NULL);
	gear_table_ids(o->gears, &ids);
	for (size_t i = 0; i < ids.n; i++)
		map_set(c->owed, ids.v[i], c);
	c->timer = loop_timer_start(o->loop, MINUTE_MS, false, on_minute, c);
	save_last(c);
	set_timer(c);
	return c;
}

static void
free_list(struct cron_job *take_list)
{
	while (take_list != NULL) {
		struct cron_job *j = take_list;

		take_list = j->next;
		job_free(j);
	}
}

void
cron_free(struct cron *take_c)
{
	if (take_c == NULL)
		return;
	loop_timer_cancel(take_c->timer);
	worker_detach(take_c->save);
	map_free(take_c->owed);
	free_list(take_c->waiting);
	free_list(take_c->running);
	free(take_c);
}
