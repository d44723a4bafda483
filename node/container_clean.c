#include <stdlib.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/container_host.h"
#include "node/node_dirs.h"

enum { EMPTY_MS = 10000, REMOVE_MS = 500, REMOVE_TRIES = 20, DELETE_MS = 20000 };

/* What the worker sees of a cleaning. */
struct clean_job {
	struct container_clean *owner; /* for done only */
	const struct container_host *host;
	char *gear, *id; /* owned */
	bool has_state;
	struct err e;
};

struct container_clean {
	struct container_clean *prev, *next;
	struct container_host *host;
	char *gear, *id; /* owned */
	struct worker_job *job;
	struct child *child;
	container_gone_fn *fn;
	void *arg;
	struct err e; /* the first thing that went wrong */
};

static void
free_job(void *take_job)
{
	struct clean_job *j = take_job;

	free(j->gear);
	free(j->id);
	free(j);
}

static struct clean_job *
new_job(struct container_clean *c)
{
	struct clean_job *j = xcalloc(1, sizeof *j);

	*j = (struct clean_job){
		.owner = c,
		.host = c->host,
		.gear = xstrdup(c->gear),
		.id = xstrdup(c->id),
	};
	return j;
}

static void
free_clean(struct container_clean *c)
{
	if (c->prev != NULL)
		c->prev->next = c->next;
	else
		c->host->cleans = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	worker_detach(c->job);
	child_free(c->child);
	free(c->gear);
	free(c->id);
	free(c);
}

void
container_clean_abort_all(struct container_host *h)
{
	while (h->cleans != NULL)
		free_clean(h->cleans);
}

static void
note_error(struct container_clean *c, const struct err *e)
{
	if (c->e.code == ERR_NONE)
		c->e = *e;
}

static void
run_kill(void *job)
{
	struct clean_job *j = job;
	const struct limits_group g = { .gear = j->gear, .instance = j->id };
	AUTO(free) char *state = file_join(j->host->runtime_root, j->id);

	j->has_state = file_exists(state);
	if (limits_kill(j->host->limits, g, &j->e) < 0 ||
	    limits_wait_empty(j->host->limits, g, EMPTY_MS, &j->e) < 0)
		return;
	fault_point("clean_killed");
}

/* A start that was killed may have gone on in a child of the runtime, which joined the group after
 * our first kill. */
static int
remove_cgroups(struct clean_job *j, struct limits_group g)
{
	for (int i = 0;; i++) {
		j->e = (struct err){ 0 };
		if (limits_remove(j->host->limits, g, REMOVE_MS, &j->e) == 0)
			return 0;
		if (j->e.code != ERR_BUSY || i >= REMOVE_TRIES)
			return -1;
		if (limits_kill(j->host->limits, g, &j->e) < 0)
			return -1;
	}
}

/* The runtime had its chance; what it left goes the plain way. */
static void
run_remove(void *job)
{
	struct clean_job *j = job;
	const struct limits_group g = { .gear = j->gear, .instance = j->id };
	AUTO(free) char *state = file_join(j->host->runtime_root, j->id);
	AUTO(free) char *bundle = node_dirs_instance(j->host->dirs, j->id);
	AUTO(free) char *scratch = file_join(j->host->dirs->scratch, j->id);

	if (remove_cgroups(j, g) < 0)
		return;
	fault_point("clean_cgroups");
	if (file_remove_tree(state, &j->e) < 0 || file_remove_tree(scratch, &j->e) < 0)
		return;
	fault_point("clean_state");
	if (file_remove_tree(bundle, &j->e) < 0)
		return;
	fault_point("clean_bundle");
}

static void
done_remove(void *job)
{
	struct clean_job *j = job;
	struct container_clean *c = j->owner;
	container_gone_fn *fn = c->fn;
	void *arg = c->arg;
	struct err e;

	c->job = NULL;
	note_error(c, &j->e);
	e = c->e;
	if (e.code != ERR_NONE)
		log_warn("container_left", LOG_STR("gear", j->gear), LOG_STR("container", j->id),
		    LOG_ERR(&e));
	free_job(j);
	free_clean(c);
	if (fn != NULL)
		fn(e.code == ERR_NONE ? NULL : &e, arg);
}

static void
start_remove(struct container_clean *c)
{
	c->job = worker_submit(c->host->worker, run_remove, done_remove, free_job, new_job(c));
}

static void
on_deleted(struct child *child, const struct child_end *end, void *arg)
{
	struct container_clean *c = arg;

	if (end->status != 0)
		log_debug("runtime_delete", LOG_STR("container", c->id), LOG_STR("why", end->why),
		    LOG_STR("said", end->err));
	child_free(child);
	c->child = NULL;
	start_remove(c);
}

static void
start_delete(struct container_clean *c)
{
	AUTO_FINI(buf_fini) struct buf order = { 0 };
	struct child_opts o = { .timeout_ms = DELETE_MS };
	struct err e = { 0 };

	container_order_delete(c->host, c->id, &order);
	c->child =
	    container_spawn(c->host, "delete", &order, -1, NULL, &o, NULL, on_deleted, c, &e);
	if (c->child == NULL)
		start_remove(c);
}

static void
done_kill(void *job)
{
	struct clean_job *j = job;
	struct container_clean *c = j->owner;
	bool has_state = j->has_state;

	c->job = NULL;
	note_error(c, &j->e);
	free_job(j);
	if (has_state)
		start_delete(c);
	else
		start_remove(c);
}

struct container_clean *
container_clean_start(
    struct container_host *h, const char *gear, const char *id, container_gone_fn *fn, void *arg)
{
	struct container_clean *c = xcalloc(1, sizeof *c);

	*c = (struct container_clean){
		.next = h->cleans,
		.host = h,
		.gear = xstrdup(gear),
		.id = xstrdup(id),
		.fn = fn,
		.arg = arg,
	};
	if (h->cleans != NULL)
		h->cleans->prev = c;
	h->cleans = c;
	c->job = worker_submit(h->worker, run_kill, done_kill, free_job, new_job(c));
	return c;
}

void
container_clean_detach(struct container_clean *c)
{
	if (c != NULL)
		c->fn = NULL;
}

void
container_clean(
    struct container_host *h, const char *gear, const char *id, container_gone_fn *fn, void *arg)
{
	(void)container_clean_start(h, gear, id, fn, arg);
}
