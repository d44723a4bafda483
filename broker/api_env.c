#include "broker/api_env.h"

#include <string.h>

#include "broker/api_call.h"
#include "broker/api_handlers.h"
#include "broker/api_load.h"
#include "broker/api_view.h"
#include "broker/app.h"
#include "broker/broker.h"
#include "broker/record.h"
#include "lib/base/fault.h"
#include "lib/base/mem.h"
#include "lib/wire/wire_env.h"

enum {
	NAME_BYTES_MAX = 128,
	VALUE_BYTES_MAX = 4096, /* v2 took 512 in the end; keys and certificates are longer */
	EXIT_BOOL = 167,
};

static const char list_name[] = "environment_variables";

void
api_env_fini(struct wire_var_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		wire_var_fini(&l->v[i]);
	free(l->v);
	*l = (struct wire_var_list){ 0 };
}

int
api_env_check_name(const char *name, struct err *e)
{
	if (!str_is_env_name(name) || strlen(name) > NAME_BYTES_MAX)
		return err_set(e, ERR_INVALID, "name",
		    "'%.64s' is no name for an environment variable: it must be 1 to %d letters, "
		    "digits or "
		    "underscores and not begin with a digit.",
		    name, NAME_BYTES_MAX);
	if (wire_env_is_reserved(name))
		return err_set(e, ERR_INVALID, "name",
		    "The environment variable '%s' is set by the platform and cannot be changed. "
		    "Choose "
		    "another name.",
		    name);
	return 0;
}

int
api_env_check_value(const char *name, const char *value, struct err *e)
{
	size_t n = strlen(value);
	int64_t seconds;

	if (wire_env_is_seconds(name)) {
		if (str_to_i64(str_of(value), 1, WIRE_ENV_SECONDS_MAX, "value", &seconds, e) < 0)
			return err_wrap(e, "The seconds in %s", name);
		return 0;
	}

	if (n > VALUE_BYTES_MAX)
		return err_set(e, ERR_INVALID, "value",
		    "The value of an environment variable can have %d bytes; this has %zu.",
		    VALUE_BYTES_MAX, n);
	if (strstr(value, "\\000") != NULL)
		return err_set(e, ERR_INVALID, "value",
		    "The value of an environment variable cannot contain the null character.");
	return 0;
}

static int
parse_one(const struct codec_value *item, bool may_unset, struct wire_var_list *out, int *out_exit,
    struct err *e)
{
	const struct codec_value *name = codec_get(item, "name");
	const struct codec_value *value = codec_get(item, "value");
	bool has_value = value != NULL && codec_type(value) != CODEC_NULL;
	struct wire_var *v;

	*out_exit = API_ENV_STRUCTURE;
	if (codec_type(item) != CODEC_OBJECT || name == NULL ||
	    codec_count(item) > (value != NULL ? 2u : 1u))
		return err_set(e, ERR_INVALID, list_name,
		    "Each environment variable must be an object with 'name' and 'value' and "
		    "nothing else.");
	if (!has_value && !may_unset)
		return err_set(e, ERR_INVALID, list_name,
		    "Each environment variable needs a 'value' here: there is nothing to unset "
		    "yet.");
	*out_exit = API_ENV_NAME;
	if (codec_string(name) == NULL)
		return err_set(e, ERR_INVALID, list_name,
		    "The name of an environment variable must be a string.");
	if (api_env_check_name(codec_string(name), e) < 0)
		return -1;
	for (size_t i = 0; i < out->n; i++) {
		if (strcmp(out->v[i].name, codec_string(name)) == 0)
			return err_set(e, ERR_INVALID, list_name,
			    "The environment variable '%s' is given twice.", codec_string(name));
	}
	*out_exit = API_ENV_VALUE;
	if (has_value && codec_string(value) == NULL)
		return err_set(e, ERR_INVALID, list_name,
		    "The value of the environment variable '%s' must be a string.",
		    codec_string(name));
	if (has_value && api_env_check_value(codec_string(name), codec_string(value), e) < 0)
		return -1;
	v = codec_list_add(&wire_var_codec, out);
	v->name = xstrdup(codec_string(name));
	v->value = has_value ? xstrdup(codec_string(value)) : NULL;
	return 0;
}

int
api_env_parse(const struct codec_value *v, bool may_unset, struct wire_var_list *out, int *out_exit,
    struct err *e)
{
	*out_exit = API_ENV_STRUCTURE;
	if (codec_type(v) != CODEC_ARRAY)
		return err_set(e, ERR_INVALID, list_name,
		    "The parameter '%s' must be an array of objects with 'name' and 'value'.",
		    list_name);
	if (codec_count(v) > APP_VARS_MAX)
		return err_set(e, ERR_INVALID, list_name,
		    "At most %d environment variables at once.", APP_VARS_MAX);
	for (size_t i = 0; i < codec_count(v); i++) {
		if (parse_one(codec_at(v, i), may_unset, out, out_exit, e) < 0)
			return -1;
	}
	return 0;
}

/* --- reading --- */

static const struct wire_var *
find(const struct wire_env *env, const char *name)
{
	for (size_t i = 0; i < env->vars.n; i++) {
		if (strcmp(env->vars.v[i].name, name) == 0)
			return &env->vars.v[i];
	}
	return NULL;
}

/* Application and variables of the path; false: the call has ended. Reading them needs the right to
 * edit, for they hold secrets. */
static bool
load(struct api_call *c, struct wire_app *a, struct wire_env *env)
{
	struct err e = { 0 };

	if (!api_load_app(c, ACCESS_EDIT, a))
		return false;
	if (app_vars(c->b, a->id, env, NULL, &e) == 0)
		return true;
	api_fail_err(c, &e, API_ENV_NAME);
	return false;
}

void
api_env_list(struct api_call *c)
{
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_env_fini) struct wire_env env = { 0 };

	if (!load(c, &a, &env))
		return;
	api_json_arr(api_data(c, "environment-variables"), NULL);
	for (size_t i = 0; i < env.vars.n; i++)
		api_view_var(c, &c->json, NULL, &a, &env.vars.v[i]);
	api_json_end_arr(&c->json);
	api_send(c, 200);
}

static void
fail_missing(struct api_call *c, const char *name)
{
	api_fail(c, 404, API_ENV_NAME, NULL, "Environment variable '%.80s' not found.", name);
}

void
api_env_show(struct api_call *c)
{
	const char *name = api_param_of_path(c->params, "name");
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_env_fini) struct wire_env env = { 0 };

	if (!load(c, &a, &env))
		return;
	if (find(&env, name) == NULL) {
		fail_missing(c, name);
		return;
	}
	api_view_var(c, api_data(c, "environment-variable"), NULL, &a, find(&env, name));
	api_send(c, 200);
}

/* --- changing --- */

enum answer { ANSWER_LIST, ANSWER_ONE, ANSWER_DELETED };

struct state {
	struct wire_app app;
	struct wire_var_list vars; /* as asked */
	enum answer answer;
	int status;
	bool rolls;
};

static void
state_free(void *p)
{
	struct state *s = p;

	wire_app_fini(&s->app);
	api_env_fini(&s->vars);
	free(s);
}

static void
send_done(struct api_call *c)
{
	const struct state *s = c->state;
	struct api_json *j;

	if (s->answer == ANSWER_DELETED) {
		api_send_deleted(c, "Environment variable '%s' was removed.", s->vars.v[0].name);
		return;
	}
	if (s->answer == ANSWER_ONE) {
		api_view_var(c, api_data(c, "environment-variable"), NULL, &s->app, &s->vars.v[0]);
		api_send(c, s->status);
		return;
	}
	j = api_data(c, "environment-variables");
	api_json_arr(j, NULL);
	for (size_t i = 0; i < s->vars.n; i++) {
		if (s->vars.v[i].value != NULL)
			api_view_var(c, j, NULL, &s->app, &s->vars.v[i]);
	}
	api_json_end_arr(j);
	api_send(c, s->status);
}

/* Processes serve with the new variables, or the old ones were put back with the rollout. */
static void
rolled(struct api_call *c, const struct err *e)
{
	if (e == NULL) {
		send_done(c);
		return;
	}
	api_message(c, "result", 0, NULL, "The environment variables are as they were.");
	api_load_fail_rollout(c, e);
}

static void
stored(const struct err *e, void *arg)
{
	struct api_call *c = arg;
	const struct state *s = c->state;

	if (e != NULL)
		api_fail_err(c, e, e->code == ERR_NOT_FOUND ? 101 : API_ENV_STRUCTURE);
	if (e != NULL)
		return;
	fault_point("app_vars_set");
	if (!s->rolls)
		send_done(c);
	else
		api_load_settle(c, s->app.id, rolled);
}

/* Takes a and vars out of the caller's hands. */
static void
start(struct api_call *c, struct wire_app *a, struct wire_var_list *vars, enum answer answer,
    int status)
{
	struct state *s = xcalloc(1, sizeof *s);
	struct err e = { 0 };

	s->app = *a;
	s->vars = *vars;
	memset(a, 0, sizeof *a);
	memset(vars, 0, sizeof *vars);
	s->answer = answer;
	s->status = status;
	s->rolls = true;
	api_call_keep(c, s, state_free);
	if (api_param_bool(c->params, "restart", &s->rolls, &e) < 0) {
		api_fail_err(c, &e, EXIT_BOOL);
		return;
	}
	app_set_vars(c->b, s->app.id, &s->vars, s->rolls, stored, c);
}

/* name + value. */
static void
set_one(struct api_call *c, struct wire_app *a, const struct wire_env *env)
{
	AUTO_FINI(api_env_fini) struct wire_var_list vars = { 0 };
	const char *name = NULL;
	const char *value = NULL;
	struct err e = { 0 };
	struct wire_var *v;

	if (api_param_str(c->params, "name", 4096, &name, &e) < 0 ||
	    api_env_check_name(name, &e) < 0) {
		api_fail(c, 422, API_ENV_NAME, "name", "%s", e.text);
		return;
	}
	if (api_param_str(c->params, "value", SIZE_MAX, &value, &e) < 0 ||
	    (value != NULL && api_env_check_value(name, value, &e) < 0)) {
		api_fail(c, 422, API_ENV_VALUE, "value", "%s", e.text);
		return;
	}
	if (value == NULL) {
		api_fail(c, 422, API_ENV_VALUE, "value",
		    "The parameter 'value' is required for the environment variable '%s'.", name);
		return;
	}
	if (find(env, name) != NULL) {
		api_fail(c, 422, API_ENV_NAME, "name",
		    "The environment variable '%s' exists already. Change it with PUT or PATCH.",
		    name);
		return;
	}
	v = codec_list_add(&wire_var_codec, &vars);
	v->name = xstrdup(name);
	v->value = xstrdup(value);
	start(c, a, &vars, ANSWER_ONE, 201);
}

void
api_env_set(struct api_call *c)
{
	const struct codec_value *list = api_param_value(c->params, list_name);
	bool has_name = api_param_has(c->params, "name");
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_env_fini) struct wire_env env = { 0 };
	AUTO_FINI(api_env_fini) struct wire_var_list vars = { 0 };
	struct err e = { 0 };
	int exit_code;

	if (!load(c, &a, &env))
		return;
	if ((list != NULL) == has_name) {
		api_fail(c, 422, API_ENV_STRUCTURE, NULL,
		    "Send either 'name' and 'value', or the array '%s'.", list_name);
		return;
	}
	if (has_name) {
		set_one(c, &a, &env);
		return;
	}
	if (api_env_parse(list, true, &vars, &exit_code, &e) < 0) {
		api_fail(c, 422, exit_code, e.field, "%s", e.text);
		return;
	}
	start(c, &a, &vars, ANSWER_LIST, 201);
}

void
api_env_update(struct api_call *c)
{
	const char *name = api_param_of_path(c->params, "name");
	const char *value = NULL;
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_env_fini) struct wire_env env = { 0 };
	AUTO_FINI(api_env_fini) struct wire_var_list vars = { 0 };
	struct err e = { 0 };
	struct wire_var *v;

	if (!load(c, &a, &env))
		return;
	if (find(&env, name) == NULL) {
		fail_missing(c, name);
		return;
	}
	if (api_param_str(c->params, "value", SIZE_MAX, &value, &e) < 0 ||
	    (value != NULL && api_env_check_value(name, value, &e) < 0)) {
		api_fail(c, 422, API_ENV_VALUE, "value", "%s", e.text);
		return;
	}
	if (value == NULL) {
		api_fail(c, 422, API_ENV_VALUE, "value", "The parameter 'value' is required.");
		return;
	}
	v = codec_list_add(&wire_var_codec, &vars);
	v->name = xstrdup(name);
	v->value = xstrdup(value);
	start(c, &a, &vars, ANSWER_ONE, 200);
}

/* A name that is not there is no error. */
void
api_env_delete(struct api_call *c)
{
	const char *name = api_param_of_path(c->params, "name");
	AUTO_FINI(wire_app_fini) struct wire_app a = { 0 };
	AUTO_FINI(wire_env_fini) struct wire_env env = { 0 };
	AUTO_FINI(api_env_fini) struct wire_var_list vars = { 0 };
	struct wire_var *v;

	if (!load(c, &a, &env))
		return;
	if (find(&env, name) == NULL) {
		api_send_deleted(c, "Environment variable '%.80s' was not set.", name);
		return;
	}
	v = codec_list_add(&wire_var_codec, &vars);
	v->name = xstrdup(name);
	start(c, &a, &vars, ANSWER_DELETED, 200);
}
