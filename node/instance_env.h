/* node/instance_env.h: the environment of a process that is to run in an instance: an action, a
 * hook, a session. Composed from the gear's files as they are then (node/gear_env.h). */
#pragma once

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"

struct gear;
struct instance_env;
struct instances;
struct instances_opts;

/* "NAME=value"; env borrowed for the call; e: why there is none. The handle is gone then. */
typedef void instance_env_fn(const struct str_list *env, const struct err *e, void *arg);
/* acting: name of the cartridge that acts, or NULL: a session. fn: once, later, not after cancel.
 * NULL: ERR_NOT_FOUND (no such instance, or it has no gear yet). */
struct instance_env *instance_env_start(struct instances *is, const char *instance,
    const char *acting, instance_env_fn *fn, void *arg, struct err *e) MUST_CHECK;
void instance_env_cancel(struct instance_env *take_v); /* NULL is fine */

/* The same at once; blocks. Of o only what is thread-safe or constant is used; of g spec, record
 * and dir. */
int instance_env_compose(const struct instances_opts *o, const struct gear *g,
    const struct wire_instance *spec, const char *acting, struct str_list *out,
    struct err *e) MUST_CHECK;
