#include "cli/cmd_help.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/codec/conf.h"

const struct cmd_option cmd_help_common[] = {
	{ "json", 0, NULL, "print the API's data as JSON" },
	{ "quiet", 'q', NULL, "print nothing but the result" },
	{ "help", 'h', NULL, "show this help" },
	{ NULL, 0, NULL, NULL },
};

static const struct {
	int code;
	const char *meaning;
} exits[] = {
	{ 0, "done" },
	{ 1, "the system failed: network, disk, a program" },
	{ 2, "wrong input: the message names what and the fix" },
	{ 4, "not found, or not visible to you" },
	{ 5, "conflict: exists already, or changed meanwhile" },
	{ 6, "not permitted, or you answered no" },
	{ 7, "not logged in, or the login is not accepted" },
	{ 8, "a limit: quota, size or rate" },
	{ 9, "busy: try again" },
};

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

void
cmd_help_print(const struct cmd *c)
{
	(void)printf("usage: pinion %s%s%s [options]\n\n%s\n\n", c->words,
	    c->args[0] == '\0' ? "" : " ", c->args, c->help);
	print_options(c->options);
	print_options(cmd_help_common);
}

static void
print_exits(FILE *out)
{
	(void)fprintf(out, "\nExit codes:\n");
	for (size_t i = 0; i < sizeof exits / sizeof exits[0]; i++)
		(void)fprintf(out, "  %d  %s\n", exits[i].code, exits[i].meaning);
}

bool
cmd_help_list(const struct cmd *const *tables, const char *prefix, FILE *out)
{
	bool any = false;

	for (; *tables != NULL; tables++) {
		for (const struct cmd *c = *tables; c->words != NULL; c++) {
			struct str summary;

			if (c->is_hidden || !str_has_prefix(c->words, prefix))
				continue;
			if (!any)
				(void)fprintf(
				    out, "usage: pinion COMMAND [arguments] [options]\n\n");
			any = true;
			(void)str_cut(str_of(c->help), '\n', &summary);
			(void)fprintf(out, "  %-26s  %.*s\n", c->words, (int)summary.n, summary.p);
		}
	}
	if (any && prefix[0] == '\0')
		print_exits(out);
	if (any)
		(void)fprintf(out, "\n'pinion help COMMAND' tells more.\n");
	return any;
}

static void
manual_options(const struct cmd_option *o, struct buf *b)
{
	for (; o != NULL && o->name != NULL; o++) {
		buf_adds(b, ".TP\n");
		if (o->letter != 0)
			buf_addf(b, "\\fB\\-%c\\fP, ", o->letter);
		buf_adds(b, "\\fB\\-\\-");
		conf_add_troff(b, o->name);
		buf_adds(b, "\\fP");
		if (o->value != NULL) {
			buf_adds(b, " \\fI");
			conf_add_troff(b, o->value);
			buf_adds(b, "\\fP");
		}
		buf_addc(b, '\n');
		conf_add_troff(b, o->help);
		buf_addc(b, '\n');
	}
}

static void
manual_command(const struct cmd *c, struct buf *b)
{
	buf_adds(b, ".SS pinion ");
	conf_add_troff(b, c->words);
	buf_addc(b, ' ');
	conf_add_troff(b, c->args);
	buf_addc(b, '\n');
	for (struct str rest = str_of(c->help), line; rest.p != NULL;) {
		char text[512];

		rest = str_cut(rest, '\n', &line);
		(void)snprintf(text, sizeof text, "%.*s", (int)line.n, line.p);
		if (line.n == 0) {
			buf_adds(b, ".PP\n");
			continue;
		}
		conf_add_troff(b, text);
		buf_addc(b, '\n');
	}
	manual_options(c->options, b);
}

void
cmd_help_manual(const struct cmd *const *tables)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_adds(&b, ".SH COMMANDS\n");
	for (; *tables != NULL; tables++)
		for (const struct cmd *c = *tables; c->words != NULL; c++)
			if (!c->is_hidden)
				manual_command(c, &b);
	buf_adds(&b, ".SH OPTIONS OF EVERY COMMAND\n");
	manual_options(cmd_help_common, &b);
	buf_adds(&b, ".SH EXIT STATUS\n");
	for (size_t i = 0; i < sizeof exits / sizeof exits[0]; i++)
		buf_addf(&b, ".TP\n.B %d\n%s\n", exits[i].code, exits[i].meaning);
	(void)fputs(b.p, stdout);
}
