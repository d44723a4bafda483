/* lib/wire/wire_env.h: names of variables that users may not set, and those with which they tell
 * the platform what to do. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/wire/wire_gear.h"

/* Seconds, 1 … WIRE_ENV_SECONDS_MAX; and a path. */
#define WIRE_ENV_START_TIMEOUT "PINION_START_TIMEOUT"
#define WIRE_ENV_STOP_TIMEOUT "PINION_STOP_TIMEOUT"
#define WIRE_ENV_HEALTH_PATH "PINION_HEALTH_PATH"
/* Liveness: seconds between two looks, or "off"; how many bad ones end it; "true": ask `status`. */
#define WIRE_ENV_HEALTH_INTERVAL "PINION_HEALTH_INTERVAL"
#define WIRE_ENV_HEALTH_FAILURES "PINION_HEALTH_FAILURES"
#define WIRE_ENV_HEALTH_STATUS "PINION_HEALTH_STATUS"
enum { WIRE_ENV_SECONDS_MAX = 3600 };

/* Names that the platform sets, or that would change the meaning of its own scripts: all of ~/.env,
 * identity, directories and addresses of cartridges, the shell's. Those that tune a cartridge
 * (OPENSHIFT_NODEJS_WATCH, OPENSHIFT_MYSQL_MAX_CONNECTIONS …) are the user's, as in v2. */
bool wire_env_is_reserved(const char *name);

/* Does the variable hold seconds? */
bool wire_env_is_seconds(const char *name);
/* What the variables say of an instance's liveness; has_path: it answers an HTTP check. */
void wire_env_health(const struct wire_var_list *vars, bool has_path, struct wire_instance *out);
/* Value of the last variable of that name, or NULL; borrowed. */
const char *wire_env_get(const struct wire_var_list *vars, const char *name);
/* Its seconds, or dflt when it is absent or holds none. */
int64_t wire_env_seconds(const struct wire_var_list *vars, const char *name, int64_t dflt);
