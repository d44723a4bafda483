#include "node/instance_env.h"

#include <stdlib.h>

#include "lib/base/file.h"
#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/worker.h"
#include "node/cart_code.h"
#include "node/cart_find.h"
#include "node/container.h"
#include "node/gear.h"
#include "node/gear_env.h"
#include "node/instance_state.h"
#include "node/node_dirs.h"

/* Layers in the shape of a home, top first: what the instance wrote, its deployment, the gear's. A
 * service cartridge's directory is bound from svc/. */
static int
list_homes(const struct instances_opts *o, const struct gear *g, const struct wire_instance *spec,
    const struct cart_dir_entry *const *carts, struct str_list *out, struct err *e)
{
	const char *const layers[] = { spec->layers.app, spec->layers.deps, spec->layers.rest };
	AUTO(free) char *dir = gear_instance_dir(g, spec->id);
	AUTO_FINI(str_list_fini) struct str_list code = { 0 };
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };

	str_list_take(out, file_join(g->dir, "svc"));
	str_list_take(out, file_join(dir, "up"));
	for (size_t i = 0; i < ARRAY_LEN(layers); i++) {
		if (layers[i] != NULL && layers[i][0] != '\0')
			str_list_take(out, node_dirs_layer(o->dirs, layers[i]));
	}
	for (size_t i = 0; i < g->spec.cartridges.n; i++) {
		char *path = cart_code_layer(o->dirs, carts[i], e);

		if (path == NULL)
			return -1;
		str_list_take(&code, path);
	}
	gear_add_lowers(g, &code, NULL, &s);
	for (size_t i = 0; i < s.lowers.n; i++)
		str_list_add(out, s.lowers.v[i]);
	return 0;
}

int
instance_env_compose(const struct instances_opts *o, const struct gear *g,
    const struct wire_instance *spec, const char *acting, struct str_list *out, struct err *e)
{
	AUTO(free) char *env_dir = file_join(g->dir, "env");
	AUTO_FINI(str_list_fini) struct str_list homes = { 0 };
	AUTO(free_ptr)
	const struct cart_dir_entry **carts = cart_find_all(o->carts, &g->spec.cartridges, e);
	struct gear_env in = {
		.gear = &g->spec,
		.carts = carts,
		.carts_n = g->spec.cartridges.n,
		.env_dir = env_dir,
		.homes = &homes,
		.acting = acting,
		.start = &spec->start,
		.deployment_id = spec->deployment_id,
	};

	if (carts == NULL || list_homes(o, g, spec, carts, &homes, e) < 0)
		return -1;
	return gear_env_compose(&in, out, e);
}

struct env_job {
	struct instance_env *owner; /* done only */
	struct instances_opts o;
	struct gear gear; /* spec, record, dir owned */
	struct wire_instance spec;
	char *acting; /* owned */
	struct str_list env;
	struct err e;
};

struct instance_env {
	struct worker_job *job;
	instance_env_fn *fn;
	void *arg;
};

static void
free_job(void *take_job)
{
	struct env_job *j = take_job;

	wire_instance_fini(&j->spec);
	wire_gear_fini(&j->gear.spec);
	gear_record_fini(&j->gear.record);
	free(j->gear.dir);
	free(j->acting);
	str_list_fini(&j->env);
	free(j);
}

static void
run_job(void *job)
{
	struct env_job *j = job;

	if (instance_env_compose(&j->o, &j->gear, &j->spec, j->acting, &j->env, &j->e) < 0)
		str_list_fini(&j->env);
}

static void
done_job(void *job)
{
	struct env_job *j = job;
	struct instance_env *v = j->owner;
	bool ok = j->e.code == ERR_NONE;

	v->fn(ok ? &j->env : NULL, ok ? NULL : &j->e, v->arg);
	free(v);
	free_job(j);
}

struct instance_env *
instance_env_start(struct instances *is, const char *instance, const char *acting,
    instance_env_fn *fn, void *arg, struct err *e)
{
	const struct instance *i = map_get(is->all, instance);
	struct instance_env *v;
	struct env_job *j;

	if (i == NULL || i->gear == NULL) {
		(void)err_set(
		    e, ERR_NOT_FOUND, "instance", "the instance %s does not run", instance);
		return NULL;
	}
	v = xcalloc(1, sizeof *v);
	j = xcalloc(1, sizeof *j);
	*v = (struct instance_env){ .fn = fn, .arg = arg };
	*j = (struct env_job){
		.owner = v,
		.o = is->o,
		.gear.dir = xstrdup(i->gear->dir),
		.acting = xstrdup_null(acting),
	};
	codec_copy(&wire_instance_codec, &j->spec, &i->spec);
	codec_copy(&wire_gear_codec, &j->gear.spec, &i->gear->spec);
	codec_copy(&gear_record_codec, &j->gear.record, &i->gear->record);
	gear_keep_configured(&j->gear);
	v->job = worker_submit(is->o.worker, run_job, done_job, free_job, j);
	return v;
}

void
instance_env_cancel(struct instance_env *take_v)
{
	if (take_v == NULL)
		return;
	worker_detach(take_v->job);
	free(take_v);
}
