#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cmd_help.h"
#include "config.h"
#include "lib/base/mem.h"

const struct cmd_option cmd_app_options[] = {
	CMD_APP_OPTIONS,
	{ NULL, 0, NULL, NULL },
};

static void
line_fini(struct cmd_line *l)
{
	str_list_fini(&l->args);
	str_list_fini(&l->names);
	str_list_fini(&l->values);
}

const char *
cmd_option(const struct cmd_line *l, const char *name)
{
	for (size_t i = l->names.n; i-- > 0;)
		if (strcmp(l->names.v[i], name) == 0)
			return l->values.v[i];
	return NULL;
}

bool
cmd_has(const struct cmd_line *l, const char *name)
{
	return cmd_option(l, name) != NULL;
}

const char *
cmd_arg(const struct cmd_line *l, size_t i)
{
	return i < l->args.n ? l->args.v[i] : NULL;
}

/* Number of argv words that name the command, 0: another. */
static int
words_match(const struct cmd *c, int argc, char **argv)
{
	struct str rest = str_of(c->words), word;
	int n = 0;

	while (rest.p != NULL) {
		rest = str_cut(rest, ' ', &word);
		if (n >= argc || !str_eq(word, argv[n]))
			return 0;
		n++;
	}
	return n;
}

static const struct cmd *
find(const struct cmd *const *tables, int argc, char **argv, int *out_words)
{
	const struct cmd *best = NULL;

	*out_words = 0;
	for (; *tables != NULL; tables++) {
		for (const struct cmd *c = *tables; c->words != NULL; c++) {
			int n = words_match(c, argc, argv);

			if (n > *out_words) {
				best = c;
				*out_words = n;
			}
		}
	}
	return best;
}

/* letter 0: by name. */
static const struct cmd_option *
find_option(const struct cmd_option *o, struct str name, char letter)
{
	for (; o != NULL && o->name != NULL; o++)
		if (letter == 0 ? str_eq(name, o->name) : letter == o->letter)
			return o;
	return NULL;
}

static const struct cmd_option *
option_of(const struct cmd_line *l, struct str name, char letter)
{
	const struct cmd_option *o = find_option(l->cmd->options, name, letter);

	return o != NULL ? o : find_option(cmd_help_common, name, letter);
}

static int
no_option(const struct cmd_line *l, const char *word, struct err *e)
{
	return err_set(e, ERR_INVALID, word, "is no option of 'pinion %s': see pinion help %s",
	    l->cmd->words, l->cmd->words);
}

/* value NULL: the next word, if the option takes one. */
static int
add_option(struct cmd_line *l, const struct cmd_option *o, const char *value, int argc, char **argv,
    int *i, struct err *e)
{
	const char *word = argv[*i];

	if (o->value != NULL && value == NULL && ++*i < argc)
		value = argv[*i];
	if (o->value != NULL && value == NULL)
		return err_set(e, ERR_INVALID, word, "needs a value: --%s %s", o->name, o->value);
	str_list_add(&l->names, o->name);
	str_list_add(&l->values, o->value == NULL ? "" : value);
	return 0;
}

/* --name, --name value, --name=value */
static int
parse_long(struct cmd_line *l, int argc, char **argv, int *i, struct err *e)
{
	struct str name;
	struct str after = str_cut(str_of(argv[*i] + 2), '=', &name);
	const struct cmd_option *o = option_of(l, name, 0);

	if (o == NULL)
		return no_option(l, argv[*i], e);
	if (o->value == NULL && after.p != NULL)
		return err_set(e, ERR_INVALID, argv[*i], "takes no value");
	return add_option(l, o, after.p, argc, argv, i, e);
}

/* -f, -fn 5, -n5 */
static int
parse_short(struct cmd_line *l, int argc, char **argv, int *i, struct err *e)
{
	const struct str no_name = { NULL, 0 };

	for (const char *p = argv[*i] + 1; *p != '\0'; p++) {
		const struct cmd_option *o = option_of(l, no_name, *p);

		if (o == NULL)
			return no_option(l, argv[*i], e);
		if (o->value != NULL)
			return add_option(l, o, p[1] == '\0' ? NULL : p + 1, argc, argv, i, e);
		if (add_option(l, o, NULL, argc, argv, i, e) < 0)
			return -1;
	}
	return 0;
}

static int
parse(struct cmd_line *l, int argc, char **argv, struct err *e)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (++i < argc)
				str_list_add(&l->args, argv[i]);
		} else if (argv[i][0] == '-' && argv[i][1] != '\0') {
			int rc = argv[i][1] == '-' ? parse_long(l, argc, argv, &i, e)
			                           : parse_short(l, argc, argv, &i, e);

			if (rc < 0)
				return -1;
		} else {
			str_list_add(&l->args, argv[i]);
		}
	}
	if (cmd_has(l, "help"))
		return 0;
	if ((int)l->args.n < l->cmd->min_args)
		return err_set(e, ERR_INVALID, NULL, "too few arguments: pinion %s %s",
		    l->cmd->words, l->cmd->args);
	if (l->cmd->max_args >= 0 && (int)l->args.n > l->cmd->max_args)
		return err_set(e, ERR_INVALID, l->args.v[l->cmd->max_args],
		    "is one argument too many: pinion %s %s", l->cmd->words, l->cmd->args);
	return 0;
}

static bool
is_help(const char *word)
{
	return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Every command whose words begin with this one, or no such command at all. */
static int
unknown(const struct cmd *const *tables, int argc, char **argv)
{
	bool any = false;

	if (argv[0][0] == '-') {
		(void)fprintf(stderr,
		    "pinion: %s: options follow the command: pinion COMMAND [options]\n", argv[0]);
		return 2;
	}
	(void)fprintf(stderr, "pinion: no command '%s%s%s'", argv[0], argc > 1 ? " " : "",
	    argc > 1 ? argv[1] : "");
	for (; *tables != NULL; tables++) {
		for (const struct cmd *c = *tables; c->words != NULL; c++) {
			if (c->is_hidden || !str_has_prefix(c->words, argv[0]))
				continue;
			(void)fprintf(stderr, "%s pinion %s", any ? "," : "; there is:", c->words);
			any = true;
		}
	}
	(void)fprintf(stderr, "%s\n", any ? "" : ": see pinion help");
	return 2;
}

/* `help [COMMAND]`; `help app` lists the commands that begin with it. */
static int
help(const struct cmd *const *tables, int argc, char **argv)
{
	int words;
	const struct cmd *c = find(tables, argc, argv, &words);

	if (argc > 0 && strcmp(argv[0], "--manual") == 0) {
		cmd_help_manual(tables);
		return 0;
	}
	if (c != NULL) {
		cmd_help_print(c);
		return 0;
	}
	if (cmd_help_list(tables, argc == 0 ? "" : argv[0], stdout))
		return 0;
	(void)fprintf(stderr, "pinion: no command '%s': see pinion help\n", argv[0]);
	return 2;
}

static int
run(struct cmd_line *l, int argc, char **argv, struct err *e)
{
	if (parse(l, argc, argv, e) < 0)
		return -1;
	if (cmd_has(l, "help")) {
		cmd_help_print(l->cmd);
		return 0;
	}
	return l->cmd->run(l, e);
}

/* A reader that went away (`pinion app list | head -1`) is no failure; a full disk is. */
static bool
has_lost_output(void)
{
	struct stat st;

	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return false;
	return fstat(STDOUT_FILENO, &st) < 0 || !S_ISFIFO(st.st_mode);
}

int
cmd_main(const struct cmd *const *tables, int argc, char **argv)
{
	AUTO_FINI(line_fini) struct cmd_line l = { 0 };
	struct err e = { 0 };
	int words;

	if (argc < 2) {
		(void)cmd_help_list(tables, "", stderr);
		return 2;
	}
	if (is_help(argv[1]))
		return help(tables, argc - 2, argv + 2);
	if (strcmp(argv[1], "--version") == 0) {
		(void)printf("pinion %s\n", PACKAGE_VERSION);
		return 0;
	}
	l.cmd = find(tables, argc - 1, argv + 1, &words);
	if (l.cmd == NULL)
		return unknown(tables, argc - 1, argv + 1);
	int rc = run(&l, argc - 1 - words, argv + 1 + words, &e);
	if (has_lost_output() && rc == 0)
		rc = err_set(&e, ERR_SYSTEM, NULL, "cannot write the output");
	if (rc >= 0)
		return rc;
	(void)fprintf(stderr, "pinion: %s%s%s\n", e.field, e.field[0] == '\0' ? "" : ": ", e.text);
	return err_exit_code(e.code);
}
