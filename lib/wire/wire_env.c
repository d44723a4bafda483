#include "lib/wire/wire_env.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { HEALTH_INTERVAL_S = 10, HEALTH_FAILURES = 3 };

static const char *const names[] = {
	/* the shell's and the loader's */
	"PATH",
	"HOME",
	"USER",
	"LOGNAME",
	"SHELL",
	"HOSTNAME",
	"PWD",
	"IFS",
	"ENV",
	"BASH_ENV",
	"LD_PRELOAD",
	"LD_AUDIT",
	"LD_LIBRARY_PATH",
	"X_SCLS",
	/* ~/.env */
	"PORT",
	"HOST",
	"TMP",
	"TMPDIR",
	"TMP_DIR",
	"HISTFILE",
	"GEM_HOME",
	"SSL_TO_GEAR",
	"OPENSHIFT_HOMEDIR",
	"OPENSHIFT_APP_NAME",
	"OPENSHIFT_APP_UUID",
	"OPENSHIFT_APP_DNS",
	"OPENSHIFT_GEAR_NAME",
	"OPENSHIFT_GEAR_UUID",
	"OPENSHIFT_GEAR_DNS",
	"OPENSHIFT_NAMESPACE",
	"OPENSHIFT_PRIMARY_CARTRIDGE_DIR",
	"OPENSHIFT_GEAR_MEMORY_MB",
	"OPENSHIFT_SECRET_TOKEN",
	"OPENSHIFT_APP_SSH_KEY",
	"OPENSHIFT_APP_SSH_PUBLIC_KEY",
	"OPENSHIFT_AUTO_DEPLOY",
	"OPENSHIFT_DEPLOYMENT_BRANCH",
	"OPENSHIFT_KEEP_DEPLOYMENTS",
	"OPENSHIFT_DEPLOYMENT_TYPE",
	/* of the node */
	"OPENSHIFT_CARTRIDGE_SDK_BASH",
	"OPENSHIFT_CARTRIDGE_SDK_RUBY",
	"OPENSHIFT_BROKER_HOST",
	"OPENSHIFT_CLOUD_DOMAIN",
	"OPENSHIFT_UMASK",
	"OPENSHIFT_LOGIN",
	"OPENSHIFT_BUILD_REF",
	/* what a build found */
	"PINION_START_KIND",
	"PINION_START_COMMAND",
	"PINION_DEPLOYMENT_ID",
	"PINION_FOREGROUND",
	"PINION_CACHE_DIR",
	"PINION_FILES",
};

/* OPENSHIFT_<…><ending>: what the platform derives from manifests. */
static const char *const endings[] = { "_IDENT", "_DIR", "_IP", "_PORT", "_HOST", "_PATH_ELEMENT" };

bool
wire_env_is_reserved(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(endings) && str_has_prefix(name, "OPENSHIFT_"); i++) {
		if (str_has_suffix(name, endings[i]))
			return true;
	}
	return false;
}

bool
wire_env_is_seconds(const char *name)
{
	return strcmp(name, WIRE_ENV_START_TIMEOUT) == 0 ||
	       strcmp(name, WIRE_ENV_STOP_TIMEOUT) == 0;
}

const char *
wire_env_get(const struct wire_var_list *vars, const char *name)
{
	for (size_t i = vars->n; i-- > 0;)
		if (strcmp(vars->v[i].name, name) == 0)
			return vars->v[i].value;
	return NULL;
}

int64_t
wire_env_seconds(const struct wire_var_list *vars, const char *name, int64_t dflt)
{
	const char *text = wire_env_get(vars, name);
	struct err ignored = { 0 };
	int64_t seconds;

	if (text == NULL ||
	    str_to_i64(str_of(text), 1, WIRE_ENV_SECONDS_MAX, name, &seconds, &ignored) < 0)
		return dflt;
	return seconds;
}

void
wire_env_health(const struct wire_var_list *vars, bool has_path, struct wire_instance *out)
{
	const char *interval = wire_env_get(vars, WIRE_ENV_HEALTH_INTERVAL);
	const char *status = wire_env_get(vars, WIRE_ENV_HEALTH_STATUS);

	out->health_status = status != NULL && strcmp(status, "true") == 0;
	out->health_failures = wire_env_seconds(vars, WIRE_ENV_HEALTH_FAILURES, HEALTH_FAILURES);
	out->health_interval_s = 0;
	if ((has_path || out->health_status) && (interval == NULL || strcmp(interval, "off") != 0))
		out->health_interval_s =
		    wire_env_seconds(vars, WIRE_ENV_HEALTH_INTERVAL, HEALTH_INTERVAL_S);
}
