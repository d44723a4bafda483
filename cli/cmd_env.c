/* Environment variables of an application. */
#include <stdio.h>
#include <string.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/prompt.h"
#include "cli/variables.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

static int
send_variables(
    const struct cmd_line *l, const struct variables *vars, const char *done, struct err *e)
{
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO_FINI(buf_fini) struct buf body = { 0 };
	AUTO(free) char *app = api_app_path(l, NULL, e);

	if (app == NULL)
		return -1;
	AUTO(free) char *path = xasprintf("%s/environment-variables", app);
	buf_adds(&body, "{\"environment_variables\":");
	variables_json(vars, &body);
	buf_adds(&body, cmd_has(l, "no-restart") ? ",\"restart\":false}" : "}");
	int rc = api_call(l, "PATCH", path, body.p, &r, e);
	secret_wipe(body.p, body.n);
	if (rc == 0)
		output_note(l, "%s%s", done,
		    cmd_has(l, "no-restart") ? " It is in force after the next restart." : "");
	return rc;
}

/* `env set K=V…`; a bare K is a secret, read from the terminal, standard input or --file. */
static int
run_set(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(variables_fini) struct variables vars = { 0 };

	if (cmd_has(l, "env-file") && variables_from_file(cmd_option(l, "env-file"), &vars, e) < 0)
		return -1;
	for (size_t i = 0; i < l->args.n; i++) {
		const char *word = l->args.v[i];

		if (strchr(word, '=') != NULL) {
			if (variables_add(&vars, word, e) < 0)
				return -1;
			continue;
		}
		if (!str_is_env_name(word))
			return err_set(e, ERR_INVALID, word, "must be NAME=VALUE, or a NAME alone");
		AUTO(free) char *question = xasprintf("Value of %s: ", word);
		char *value = prompt_secret(cmd_option(l, "value-file"), question, e);
		if (value == NULL)
			return -1;
		variables_take(&vars, word, value);
	}
	if (vars.n == 0)
		return err_set(e, ERR_INVALID, NULL, "nothing to set: pinion env set NAME=VALUE");
	return send_variables(l, &vars, "Set.", e);
}

static int
run_unset(const struct cmd_line *l, struct err *e)
{
	AUTO_FINI(variables_fini) struct variables vars = { 0 };

	for (size_t i = 0; i < l->args.n; i++)
		variables_take(&vars, l->args.v[i], NULL);
	return send_variables(l, &vars, "Unset.", e);
}

static int
run_list(const struct cmd_line *l, struct err *e)
{
	static const struct output_column columns[] = {
		{ "NAME", "name" },
		{ "VALUE", "value" },
		{ NULL, NULL },
	};
	AUTO_FINI(api_reply_fini) struct api_reply r = { 0 };
	AUTO(free) char *app = api_app_path(l, cmd_arg(l, 0), e);

	if (app == NULL)
		return -1;
	AUTO(free) char *path = xasprintf("%s/environment-variables", app);
	if (api_call(l, "GET", path, NULL, &r, e) < 0)
		return -1;
	output_table(l, r.data, columns);
	return 0;
}

static const struct cmd_option set_options[] = {
	CMD_APP_OPTIONS,
	{ "env-file", 0, "FILE", "read NAME=VALUE lines from FILE; - is standard input" },
	{ "value-file", 0, "FILE", "the value of a bare NAME" },
	{ "no-restart", 0, NULL, "leave the running instances as they are" },
	{ NULL, 0, NULL, NULL },
};

const struct cmd cmd_env_table[] = {
	{ "env set", "NAME=VALUE… | NAME", 0, -1,
	    "set environment variables and roll the application\n\nA NAME without a value is a "
	    "secret: its "
	    "value is asked for on the terminal, or read\nfrom standard input or --value-file.",
	    set_options, run_set, false },
	{ "env unset", "NAME…", 1, -1, "remove environment variables", set_options, run_unset,
	    false },
	{ "env list", "[APP]", 0, 1, "list the environment variables", cmd_app_options, run_list,
	    false },
	{ 0 },
};
