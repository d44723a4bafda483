#include "node/cart_run.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/gear_env.h"

/* Composing the environment reads files: a worker's job, which owns all that it looks at. */
struct env_job {
	struct cart_run *run; /* for done only */
	struct wire_gear gear;
	const struct cart_dir_entry **carts; /* owned array of borrowed entries */
	size_t carts_n;
	struct str_list homes;
	char *env_dir;
	char *acting;
	struct str_list env; /* the answer */
	int rc;
	struct err e;
};

struct cart_run {
	struct cart_run_opts o; /* only scalars and borrowed handles; the rest is copied below */
	struct container_spec spec;
	struct cart_run_step_list steps;
	struct env_job source; /* what each job is copied from */
	struct str_list extra;
	char *cwd;
	cart_run_out_fn *on_out;
	cart_run_done_fn *done;
	void *arg;
	struct container *container;
	struct child *child;
	struct worker_job *job;
	struct loop_timer *timer;
	size_t next;       /* step under way, or to come */
	bool is_started;   /* the container's start was answered */
	bool is_ending;    /* the container is being removed */
	bool is_forgotten; /* nobody waits for done */
	bool is_paused;
	bool has_failed;
	int exit_code;
	struct err e;
};

void
cart_run_add(struct cart_run_step_list *l, const char *name, const struct str_list *argv)
{
	struct cart_run_step s = { .name = xstrdup(name) };

	str_list_copy(&s.argv, argv);
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n++] = s;
}

void
cart_run_step_list_fini(struct cart_run_step_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].name);
		str_list_fini(&l->v[i].argv);
	}
	free(l->v);
	*l = (struct cart_run_step_list){ 0 };
}

static void
env_job_fini(struct env_job *j)
{
	wire_gear_fini(&j->gear);
	free(j->carts);
	str_list_fini(&j->homes);
	free(j->env_dir);
	free(j->acting);
	str_list_fini(&j->env);
	*j = (struct env_job){ 0 };
}

static void
env_job_free(void *p)
{
	env_job_fini(p);
	free(p);
}

static void
env_job_copy(struct env_job *to, const struct env_job *from)
{
	codec_copy(&wire_gear_codec, &to->gear, &from->gear);
	to->carts = xcalloc(from->carts_n + 1, sizeof *to->carts);
	for (size_t i = 0; i < from->carts_n; i++)
		to->carts[i] = from->carts[i];
	to->carts_n = from->carts_n;
	str_list_copy(&to->homes, &from->homes);
	to->env_dir = xstrdup_null(from->env_dir);
	to->acting = xstrdup_null(from->acting);
}

static void
env_run(void *p)
{
	struct env_job *j = p;
	const struct gear_env in = { .gear = &j->gear,
		.carts = j->carts,
		.carts_n = j->carts_n,
		.env_dir = j->env_dir,
		.homes = &j->homes,
		.acting = j->acting };

	j->rc = gear_env_compose(&in, &j->env, &j->e);
}

static void
run_free(struct cart_run *r)
{
	loop_timer_cancel(r->timer);
	child_free(r->child);
	container_spec_fini(&r->spec);
	cart_run_step_list_fini(&r->steps);
	env_job_fini(&r->source);
	str_list_fini(&r->extra);
	free(r->cwd);
	free(r);
}

static void
finish(struct cart_run *r)
{
	const char *step = r->has_failed && r->next < r->steps.n ? r->steps.v[r->next].name : NULL;

	if (!r->is_forgotten)
		r->done(step, r->exit_code, r->has_failed ? &r->e : NULL, r->arg);
	run_free(r);
}

static void
on_gone(const struct err *e, void *arg)
{
	struct cart_run *r = arg;

	if (e != NULL)
		log_warn("container_remains", LOG_STR("container", r->spec.id), LOG_ERR(e));
	finish(r);
}

/* The end, good or bad: nothing runs on. */
static void
wind_up(struct cart_run *r)
{
	loop_timer_cancel(STEAL(r->timer));
	/* A start under way is let end: what it makes can be removed only then. */
	if (r->is_ending || (r->container != NULL && !r->is_started))
		return;
	r->is_ending = true;
	child_free(STEAL(r->child));
	worker_detach(STEAL(r->job));
	if (r->container == NULL)
		finish(r);
	else
		container_destroy(STEAL(r->container), on_gone, r);
}

static void
fail(struct cart_run *r, const struct err *e)
{
	if (!r->has_failed) {
		r->has_failed = true;
		r->e = *e;
	}
	wind_up(r);
}

static void next_step(struct cart_run *r);

static void
on_out(struct child *c, int fd, const char *p, size_t n, void *arg)
{
	struct cart_run *r = arg;

	(void)c;
	(void)fd;
	r->on_out(p, n, r->arg);
}

static void
on_step_end(struct child *c, const struct child_end *end, void *arg)
{
	struct cart_run *r = arg;
	struct err e = { 0 };

	r->child = NULL;
	if (end->status == 0) {
		child_free(c);
		r->next++;
		next_step(r);
		return;
	}
	r->exit_code = end->status;
	(void)err_set(&e, ERR_INVALID, NULL, "%s failed (%s)", r->steps.v[r->next].name, end->why);
	child_free(c);
	fail(r, &e);
}

static const char **
as_argv(const struct str_list *l, const struct str_list *more)
{
	const char **v = xcalloc(l->n + (more == NULL ? 0 : more->n) + 1, sizeof *v);
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		v[n++] = l->v[i];
	for (size_t i = 0; more != NULL && i < more->n; i++)
		v[n++] = more->v[i];
	return v;
}

static void
on_env(void *p)
{
	struct env_job *j = p;
	struct cart_run *r = j->run;
	struct container_entry entry = { .cwd = r->cwd, .merge_stderr = true };
	const char **argv, **env;
	struct err e = j->e;

	r->job = NULL;
	if (j->rc == 0) {
		argv = as_argv(&r->steps.v[r->next].argv, NULL);
		env = as_argv(&j->env, &r->extra);
		entry.argv = argv;
		entry.env = env;
		r->child = container_enter(r->container, &entry, on_out, on_step_end, r, &e);
		free(argv);
		free(env);
	}
	env_job_free(j);
	if (r->child == NULL)
		fail(r, &e);
	else
		child_pause(r->child, r->is_paused);
}

static void
next_step(struct cart_run *r)
{
	struct env_job *j;

	if (r->next >= r->steps.n) {
		wind_up(r);
		return;
	}
	j = xcalloc(1, sizeof *j);
	env_job_copy(j, &r->source);
	j->run = r;
	r->job = worker_submit(r->o.worker, env_run, on_env, env_job_free, j);
}

static void
on_started(struct container *c, const struct err *e, void *arg)
{
	struct cart_run *r = arg;

	(void)c;
	r->is_started = true;
	if (e != NULL) {
		container_free(STEAL(r->container));
		fail(r, e);
	} else if (r->has_failed) {
		wind_up(r);
	} else {
		next_step(r);
	}
}

static void
on_timeout(void *arg)
{
	struct cart_run *r = arg;
	struct err e = { 0 };

	(void)err_set(
	    &e, ERR_LIMIT, NULL, "it took longer than %lld s", (long long)(r->o.timeout_ms / 1000));
	r->exit_code = 124;
	cart_run_abort(r, &e);
}

static void
copy_spec(struct container_spec *to, const struct container_spec *from)
{
	to->id = xstrdup(from->id); /* what is needed after the start */
	to->gear = xstrdup(from->gear);
}

struct cart_run *
cart_run_start(const struct cart_run_opts *o, cart_run_out_fn *out, cart_run_done_fn *done,
    void *arg, struct err *e)
{
	struct cart_run *r = xcalloc(1, sizeof *r);
	const struct env_job given = { .gear = *o->gear,
		.carts = (const struct cart_dir_entry **)o->carts,
		.carts_n = o->carts_n,
		.homes = *o->homes,
		.env_dir = (char *)o->env_dir,
		.acting = (char *)o->acting };

	r->o = *o;
	copy_spec(&r->spec, o->spec);
	for (size_t i = 0; i < o->steps->n; i++)
		cart_run_add(&r->steps, o->steps->v[i].name, &o->steps->v[i].argv);
	env_job_copy(&r->source, &given);
	if (o->extra != NULL)
		str_list_copy(&r->extra, o->extra);
	r->cwd = xstrdup_null(o->cwd);
	r->on_out = out;
	r->done = done;
	r->arg = arg;
	r->container = container_start(o->containers, o->spec, on_started, r, e);
	if (r->container == NULL) {
		run_free(r);
		return NULL;
	}
	if (o->timeout_ms > 0)
		r->timer = loop_timer_start(o->loop, o->timeout_ms, false, on_timeout, r);
	return r;
}

void
cart_run_pause(struct cart_run *r, bool paused)
{
	r->is_paused = paused;
	if (r->child != NULL)
		child_pause(r->child, paused);
}

static void
on_abort(void *arg)
{
	wind_up(arg);
}

/* Ends a little later, so that no callback comes inside the call. */
void
cart_run_abort(struct cart_run *r, const struct err *why)
{
	if (r->has_failed)
		return;
	r->has_failed = true;
	r->e = *why;
	if (r->is_ending)
		return;
	if (r->container != NULL && r->is_started)
		container_kill(r->container);
	loop_timer_cancel(r->timer);
	r->timer = loop_timer_start(r->o.loop, 0, false, on_abort, r);
}

void
cart_run_free(struct cart_run *take_r)
{
	if (take_r == NULL)
		return;
	take_r->is_forgotten = true;
	if (take_r->is_ending) /* on_gone frees it */
		return;
	worker_detach(STEAL(take_r->job));
	if (take_r->container != NULL)
		container_destroy(STEAL(take_r->container), NULL, NULL);
	run_free(take_r);
}
