#include "cli/cmd.h"

#include <stdio.h>
#include <string.h>

#include "config.h"
#include "lib/base/mem.h"

static const struct cmd_option common_options[] = {
	{ "json", 0, NULL, "print the API's data as JSON" },
	{ "quiet", 'q', NULL, "print nothing but the result" },
	{ "help", 'h', NULL, "show this help" },
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

static const struct cmd_option *
find_option(const struct cmd_option *o, struct str name)
{
	for (; o != NULL && o->name != NULL; o++)
		if (str_eq(name, o->name) || (name.n == 1 && name.p[0] == o->letter))
			return o;
	return NULL;
}

static int
parse_option(struct cmd_line *l, int argc, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i];
	bool is_long = word[1] == '-';
	struct str name;
	struct str after = str_cut(str_of(word + (is_long ? 2 : 1)), '=', &name);
	const struct cmd_option *o = find_option(l->cmd->options, name);

	if (o == NULL)
		o = find_option(common_options, name);
	if (o == NULL)
		return err_set(e, ERR_INVALID, word,
		    "is no option of 'pinion %s': see pinion help %s", l->cmd->words,
		    l->cmd->words);
	if (o->value == NULL && after.p != NULL)
		return err_set(e, ERR_INVALID, word, "takes no value");
	const char *value = after.p;
	if (o->value != NULL && value == NULL && ++*i < argc)
		value = argv[*i];
	if (o->value != NULL && value == NULL)
		return err_set(e, ERR_INVALID, word, "needs a value: %s %s", word, o->value);
	str_list_add(&l->names, o->name);
	str_list_add(&l->values, o->value == NULL ? "" : value);
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
			if (parse_option(l, argc, argv, &i, e) < 0)
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

static void
print_options(const struct cmd_option *o)
{
	for (; o != NULL && o->name != NULL; o++) {
		char left[64];

		(void)snprintf(left, sizeof left, "--%s%s%s", o->name, o->value == NULL ? "" : " ",
		    o->value == NULL ? "" : o->value);
		if (o->letter != 0)
			(void)printf("  -%c, %-26s %s\n", o->letter, left, o->help);
		else
			(void)printf("      %-26s %s\n", left, o->help);
	}
}

static void
print_help(const struct cmd *c)
{
	(void)printf("usage: pinion %s%s%s [options]\n\n%s\n\n", c->words,
	    c->args[0] == '\0' ? "" : " ", c->args, c->help);
	print_options(c->options);
	print_options(common_options);
}

static void
print_commands(const struct cmd *const *tables, FILE *out)
{
	(void)fprintf(out, "usage: pinion COMMAND [arguments] [options]\n\n");
	for (; *tables != NULL; tables++) {
		for (const struct cmd *c = *tables; c->words != NULL; c++) {
			struct str summary;

			if (c->is_hidden)
				continue;
			(void)str_cut(str_of(c->help), '\n', &summary);
			(void)fprintf(out, "  %-22s %.*s\n", c->words, (int)summary.n, summary.p);
		}
	}
	(void)fprintf(out,
	    "\n'pinion help COMMAND' tells more. Exit codes: 0 done, 1 the system failed, "
	    "2 wrong input,\n4 not found, 5 conflict, 6 not permitted, 7 not logged in, "
	    "8 a limit, 9 busy: try again.\n");
}

static int
help(const struct cmd *const *tables, int argc, char **argv)
{
	int words;
	const struct cmd *c = find(tables, argc, argv, &words);

	if (c != NULL)
		print_help(c);
	else if (argc == 0)
		print_commands(tables, stdout);
	else
		(void)fprintf(stderr, "pinion: no command '%s': see pinion help\n", argv[0]);
	return c != NULL || argc == 0 ? 0 : 2;
}

static int
unknown(const struct cmd *const *tables, int argc, char **argv)
{
	size_t n = strlen(argv[0]);
	bool any = false;

	(void)fprintf(stderr, "pinion: no command '%s%s%s'", argv[0], argc > 1 ? " " : "",
	    argc > 1 ? argv[1] : "");
	for (; *tables != NULL; tables++) {
		for (const struct cmd *c = *tables; c->words != NULL; c++) {
			if (c->is_hidden || strncmp(c->words, argv[0], n) != 0)
				continue;
			(void)fprintf(stderr, "%s pinion %s", any ? "," : "; there is:", c->words);
			any = true;
		}
	}
	(void)fprintf(stderr, "%s\n", any ? "" : ": see pinion help");
	return 2;
}

int
cmd_main(const struct cmd *const *tables, int argc, char **argv)
{
	AUTO_FINI(line_fini) struct cmd_line l = { 0 };
	struct err e = { 0 };
	int words, rc;

	if (argc < 2) {
		print_commands(tables, stderr);
		return 2;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
		return help(tables, argc - 2, argv + 2);
	if (strcmp(argv[1], "--version") == 0) {
		(void)printf("pinion %s\n", PACKAGE_VERSION);
		return 0;
	}
	l.cmd = find(tables, argc - 1, argv + 1, &words);
	if (l.cmd == NULL)
		return unknown(tables, argc - 1, argv + 1);
	rc = parse(&l, argc - 1 - words, argv + 1 + words, &e);
	if (rc == 0 && cmd_has(&l, "help")) {
		print_help(l.cmd);
		return 0;
	}
	if (rc == 0)
		rc = l.cmd->run(&l, &e);
	(void)fflush(stdout);
	if (rc >= 0)
		return rc;
	(void)fprintf(stderr, "pinion: %s%s%s\n", e.field, e.field[0] == '\0' ? "" : ": ", e.text);
	return err_exit_code(e.code);
}
