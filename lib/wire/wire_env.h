/* lib/wire/wire_env.h: names of variables that users may not set. Pure. */
#pragma once

#include <stdbool.h>

/* Names that the platform sets, or that would change the meaning of its own scripts: all of ~/.env,
 * identity, directories and addresses of cartridges, the shell's. Those that tune a cartridge
 * (OPENSHIFT_NODEJS_WATCH, OPENSHIFT_MYSQL_MAX_CONNECTIONS …) are the user's, as in v2. */
bool wire_env_is_reserved(const char *name);
