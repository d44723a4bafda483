/* broker/api_env.h: environment variables in parameters. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/wire/wire_gear.h"

struct codec_value;

enum { API_ENV_STRUCTURE = 186, API_ENV_NAME = 188, API_ENV_VALUE = 190 };

/* [{name, value}…] appended to out; without value = unset, when that is allowed. -1: out_exit is
 * the exit code of what is wrong. */
int api_env_parse(const struct codec_value *v, bool may_unset, struct wire_var_list *out,
    int *out_exit, struct err *e) MUST_CHECK;
int api_env_check_name(const char *name, struct err *e) MUST_CHECK;
/* name: for the platform's own variables, whose values are seconds. */
int api_env_check_value(const char *name, const char *value, struct err *e) MUST_CHECK;
void api_env_fini(struct wire_var_list *l);
