/* node/gear_hooks.h: action hooks for services. A service's instance has no repository; the hooks
 * of the deployment that serves around actions of all cartridges (pre_start) or of one
 * (pre_start_postgresql) are kept on the gear's volume and are seen there where the repository has
 * them. A gear without a web cartridge has none, as in OpenShift v2. Blocks: for workers. */
#pragma once

#include "lib/base/err.h"

struct container_spec;
struct gear;

/* GEAR/hooks/action_hooks becomes what the layer (host path; NULL: none) has of them, at once;
 * services that run see it. Thread-safe. */
int gear_hooks_publish(const char *gear_dir, const char *app_layer, struct err *e) MUST_CHECK;
/* Into a service's container: read-only at ~/app-root/runtime/repo/.openshift. */
void gear_hooks_bind(const struct gear *g, struct container_spec *s);
