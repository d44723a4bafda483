#include "cli/variables.h"

#include <string.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum { ENV_FILE_MAX = 1024 * 1024 };

void
variables_fini(struct variables *vars)
{
	for (size_t i = 0; i < vars->n; i++) {
		free(vars->v[i].name);
		secret_free(vars->v[i].value);
	}
	free(vars->v);
	*vars = (struct variables){ 0 };
}

void
variables_take(struct variables *vars, const char *name, char *take_value)
{
	vars->v = xreallocarray(vars->v, vars->n + 1, sizeof *vars->v);
	vars->v[vars->n++] = (struct variable){ xstrdup(name), take_value };
}

int
variables_add(struct variables *vars, const char *word, struct err *e)
{
	const char *equals = strchr(word, '=');

	if (equals == NULL)
		return err_set(e, ERR_INVALID, word, "must be NAME=VALUE");
	AUTO(free) char *name = xstrndup(word, (size_t)(equals - word));
	if (!str_is_env_name(name))
		return err_set(e, ERR_INVALID, name,
		    "is no name of a variable: letters, digits and _, at most 128, no digit first");
	variables_take(vars, name, xstrdup(equals + 1));
	return 0;
}

int
variables_from_options(
    const struct cmd_line *l, const char *option, struct variables *vars, struct err *e)
{
	for (size_t i = 0; i < l->names.n; i++)
		if (strcmp(l->names.v[i], option) == 0 &&
		    variables_add(vars, l->values.v[i], e) < 0)
			return -1;
	return 0;
}

static int
add_line(struct variables *vars, struct str line, struct err *e)
{
	struct str name, value;

	line = str_trim(line);
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	if (line.n > 7 && memcmp(line.p, "export ", 7) == 0)
		line = str_trim((struct str){ line.p + 7, line.n - 7 });
	value = str_cut(line, '=', &name);
	if (value.p != NULL && value.n >= 2 && (value.p[0] == '"' || value.p[0] == '\'') &&
	    value.p[value.n - 1] == value.p[0])
		value = (struct str){ value.p + 1, value.n - 2 };
	AUTO(free)
	char *word = value.p == NULL
	                 ? xstrndup(name.p, name.n)
	                 : xasprintf("%.*s=%.*s", (int)name.n, name.p, (int)value.n, value.p);
	return variables_add(vars, word, e);
}

int
variables_from_file(const char *path, struct variables *vars, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	int number = 1;

	if (file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, ENV_FILE_MAX, &b, e) < 0)
		return -1;
	for (struct str rest = buf_str(&b), line; rest.p != NULL; number++) {
		rest = str_cut(rest, '\n', &line);
		if (add_line(vars, line, e) < 0)
			return err_wrap(e, "%s line %d", path, number);
	}
	secret_wipe(b.p, b.n);
	return 0;
}

void
variables_json(const struct variables *vars, struct buf *b)
{
	buf_addc(b, '[');
	for (size_t i = 0; i < vars->n; i++) {
		buf_adds(b, i == 0 ? "{\"name\":" : ",{\"name\":");
		buf_add_json_str(b, vars->v[i].name);
		if (vars->v[i].value != NULL) {
			buf_adds(b, ",\"value\":");
			buf_add_json_str(b, vars->v[i].value);
		}
		buf_addc(b, '}');
	}
	buf_addc(b, ']');
}
