#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/file.h"
#include "lib/cart/cart_dir.h"
#include "lib/loop/child.h"
#include "lib/loop/worker.h"
#include "node/cart_action.h"
#include "node/cart_message.h"
#include "node/cart_store.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/gear_log.h"
#include "node/gear_table.h"
#include "node/instance_state.h"
#include "node/node_dirs.h"

enum {
	START_LINES = 500,
	POST_MS = 120000,
	RELEASE_MS = 600000,
	OUTPUT_MAX = 64 * 1024,
	TAIL_MAX = 4096
};

/* NULL-terminated view; the caller frees the array. */
static const char **
view(const struct str_list *l)
{
	const char **v = xcalloc(l->n + 1, sizeof *v);

	for (size_t i = 0; i < l->n; i++)
		v[i] = l->v[i];
	return v;
}

static struct child *
run(struct instance *i, const struct str_list *args, int64_t timeout_ms, child_end_fn *on_end,
    struct err *e)
{
	AUTO(free_ptr) const char **argv = view(args);
	AUTO(free_ptr) const char **env = view(&i->env);
	const struct container_entry entry = {
		.argv = argv,
		.env = env,
		.merge_stderr = true,
		.out_max = OUTPUT_MAX,
		.timeout_ms = timeout_ms,
	};

	return container_enter(i->container, &entry, NULL, on_end, i, e);
}

/* The last lines of what it said, for the pusher. */
static void
keep_output(struct instance *i, const struct child_end *end)
{
	size_t from = end->out_len > TAIL_MAX ? end->out_len - TAIL_MAX : 0;

	mem_set_str(&i->output, end->out_len == 0 ? NULL : end->out + from);
}

/* --- what the first start of a cartridge tells its user --- */

struct told_job {
	struct instance *owner; /* done only */
	char *logs, *gear, *id; /* owned */
	char *output;           /* owned: of post_install */
	size_t output_len;
	struct cart_message said;
};

static void
free_told(void *take_job)
{
	struct told_job *j = take_job;

	cart_message_fini(&j->said);
	free(j->logs);
	free(j->gear);
	free(j->id);
	free(j->output);
	free(j);
}

/* The start's output is in the log, that of post_install was caught. */
static void
run_told(void *job)
{
	struct told_job *j = job;
	AUTO_FINI(gear_log_lines_fini) struct gear_log_lines lines = { 0 };
	struct err e = { 0 };

	if (gear_log_tail(j->logs, j->gear, j->id, START_LINES, &lines, &e) < 0)
		log_warn("instance_log_unread", LOG_STR("instance", j->id), LOG_ERR(&e));
	for (size_t i = 0; i < lines.n; i++) {
		cart_message_feed(&j->said, lines.v[i].line, strlen(lines.v[i].line));
		cart_message_feed(&j->said, "\n", 1);
	}
	cart_message_feed(&j->said, j->output, j->output_len);
	cart_message_end(&j->said, false);
}

/* All come from one output: the first of the cartridges that are new tells them. */
static void
done_told(void *job)
{
	struct told_job *j = job;
	struct instance *i = j->owner;
	struct gear_cart *c = gear_cart_find(i->gear, i->installs.v[0]);

	i->job = NULL;
	for (size_t k = 0; c != NULL && k < j->said.lines.n; k++) {
		if (c->messages.n < CART_MESSAGE_LINES_MAX &&
		    !str_list_has(&c->messages, j->said.lines.v[k]))
			str_list_add(&c->messages, j->said.lines.v[k]);
	}
	free_told(j);
	gear_table_installed(i->table->o.gears, i->gear, &i->installs);
	if (i->has_ended || i->is_late || !instance_wants_running(i))
		instance_next(i);
	else
		instance_post_done(i);
}

static void
keep_told(struct instance *i, const struct child_end *end)
{
	struct told_job *j = xcalloc(1, sizeof *j);

	*j = (struct told_job){
		.owner = i,
		.logs = file_join(i->gear->dir, "logs"),
		.gear = xstrdup(i->spec.gear),
		.id = xstrdup(i->spec.id),
		.output = xstrndup(end->out_len == 0 ? "" : end->out, end->out_len),
		.output_len = end->out_len,
	};
	i->job = worker_submit(i->table->o.worker, run_told, done_told, free_told, j);
}

/* --- after the start --- */

static void
on_post_end(struct child *c, const struct child_end *end, void *arg)
{
	struct instance *i = arg;

	i->child = NULL;
	if (end->status == 0) {
		if (i->installs.n > 0)
			keep_told(i, end);
		else
			instance_post_done(i);
		child_free(c);
		return;
	}
	keep_output(i, end);
	instance_fail(i, "%s failed: %s",
	    i->installs.n > 0 ? "post-deploy or post_install" : "post-deploy", end->why);
	child_free(c);
}

bool
instance_run_post(struct instance *i)
{
	struct err e = { 0 };

	if (i->post.n == 0)
		return false;
	i->step = STEP_POST;
	i->child = run(i, &i->post, POST_MS, on_post_end, &e);
	if (i->child == NULL)
		instance_fail(i, "post-deploy: %s", e.text);
	return true;
}

static void
on_release_end(struct child *c, const struct child_end *end, void *arg)
{
	struct instance *i = arg;

	i->child = NULL;
	if (end->status == 0) {
		child_free(c);
		log_info("instance_released", LOG_STR("instance", i->spec.id));
		instance_released(i);
		return;
	}
	keep_output(i, end);
	instance_fail(i, "the release command failed: %s", end->why);
	child_free(c);
}

void
instance_run_release(struct instance *i)
{
	AUTO_FINI(str_list_fini) struct str_list args = { 0 };
	struct err e = { 0 };

	cart_action_release_argv(i->spec.release, &args);
	i->child = run(i, &args, RELEASE_MS, on_release_end, &e);
	if (i->child == NULL)
		instance_fail(i, "the release command: %s", e.text);
}
