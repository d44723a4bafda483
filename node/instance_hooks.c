#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"
#include "lib/loop/child.h"
#include "node/cart_action.h"
#include "node/cart_store.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/gear_table.h"
#include "node/instance_state.h"

enum { POST_MS = 120000, RELEASE_MS = 600000, OUTPUT_MAX = 64 * 1024, TAIL_MAX = 4096 };

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

static void
on_post_end(struct child *c, const struct child_end *end, void *arg)
{
	struct instance *i = arg;

	i->child = NULL;
	if (end->status == 0) {
		child_free(c);
		gear_table_installed(i->table->o.gears, i->gear, &i->installs);
		instance_post_done(i);
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
