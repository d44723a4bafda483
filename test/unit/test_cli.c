/* The command line: parsing, help, variables, tables, remotes, the credential helper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/api_client.h"
#include "cli/cmd.h"
#include "cli/cmd_help.h"
#include "cli/credential.h"
#include "cli/git.h"
#include "cli/output.h"
#include "cli/variables.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

/* --- what a program prints --- */

struct capture {
	FILE *file;
	int saved, fd;
};

static void
capture_start(struct capture *c, int fd)
{
	(void)fflush(NULL);
	c->fd = fd;
	c->saved = dup(fd);
	c->file = tmpfile();
	assert_non_null(c->file);
	assert_true(dup2(fileno(c->file), fd) == fd);
}

/* Caller owns. */
static char *
capture_end(struct capture *c)
{
	char text[16384];

	(void)fflush(NULL);
	(void)dup2(c->saved, c->fd);
	(void)close(c->saved);
	rewind(c->file);
	size_t n = fread(text, 1, sizeof text - 1, c->file);
	text[n] = '\0';
	(void)fclose(c->file);
	return xstrdup(text);
}

/* --- parsing --- */

/* What the last run of a command saw, as "ARG… | NAME=VALUE…". */
static char seen[512];

static int
run_remember(const struct cmd_line *l, struct err *e)
{
	(void)e;
	seen[0] = '\0';
	for (size_t i = 0; i < l->args.n; i++)
		(void)snprintf(
		    seen + strlen(seen), sizeof seen - strlen(seen), "%s ", l->args.v[i]);
	for (size_t i = 0; i < l->names.n; i++)
		(void)snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s=%s;",
		    l->names.v[i], l->values.v[i]);
	return 0;
}

static int
run_fail(const struct cmd_line *l, struct err *e)
{
	return err_set(e, ERR_CONFLICT, "name", "%s is taken", cmd_arg(l, 0));
}

static const struct cmd_option options[] = {
	{ "lines", 'n', "N", "how many" },
	{ "follow", 'f', NULL, "go on" },
	{ "yes", 'y', NULL, "do not ask" },
	{ NULL, 0, NULL, NULL },
};
static const struct cmd table[] = {
	{ "app", "", 0, 0, "not the one below", NULL, run_fail, false },
	{ "app show", "[APP]", 0, 1, "show one\n\nMore than - a line.", options, run_remember,
	    false },
	{ "app take", "NAME", 1, 1, "fails", NULL, run_fail, false },
	{ "many", "WORD…", 1, -1, "any number", options, run_remember, false },
	{ "secret", "", 0, 0, "not listed", NULL, run_remember, true },
	{ 0 },
};
static const struct cmd *const tables[] = { table, NULL };

/* Runs a line of words. Returns the exit code; *out is what it printed to fd. */
static int
run_words(const char *words, int fd, char **out)
{
	char *argv[32] = { (char *)(uintptr_t) "pinion" };
	AUTO(free) char *copy = xstrdup(words);
	char *rest = NULL;
	struct capture c;
	int argc = 1;

	for (char *w = strtok_r(copy, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest))
		argv[argc++] = strcmp(w, "''") == 0 ? w + 2 : w;
	seen[0] = '\0';
	capture_start(&c, fd);
	int rc = cmd_main(tables, argc, argv);
	*out = capture_end(&c);
	return rc;
}

static void
command_lines(void **state)
{
	static const struct {
		const char *words, *seen;
		int rc;
	} cases[] = {
		{ "app show", "", 0 },
		{ "app show a", "a ", 0 },
		{ "app show a -n 5", "a lines=5;", 0 },
		{ "app show -n5 a", "a lines=5;", 0 },
		{ "app show -fn 5 a", "a follow=;lines=5;", 0 },
		{ "app show -fyn5", "follow=;yes=;lines=5;", 0 },
		{ "app show --lines 5 --lines=6", "lines=5;lines=6;", 0 },
		{ "app show --lines= a", "a lines=;", 0 },
		{ "app show --lines -5", "lines=-5;", 0 },
		{ "app show -- -f", "-f ", 0 },
		{ "app show -", "- ", 0 },
		{ "app show --json -q", "json=;quiet=;", 0 },
		{ "many a -f b --yes c", "a b c follow=;yes=;", 0 },
		{ "many ''", " ", 0 },
		{ "app show a b", "", 2 },
		{ "app show --follow=yes", "", 2 },
		{ "app show --lines", "", 2 },
		{ "app show -n", "", 2 },
		{ "app show -fx", "", 2 },
		{ "app show --fol", "", 2 },
		{ "app show -follow", "", 2 },
		{ "many", "", 2 },
		{ "app take n", "", 5 },
		{ "nothing", "", 2 },
		{ "--json app show", "", 2 },
		{ "''", "", 2 },
		{ "", "", 2 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(free) char *out = NULL;
		int rc = run_words(cases[i].words, STDERR_FILENO, &out);

		if (rc != cases[i].rc || strcmp(seen, cases[i].seen) != 0)
			fail_msg("pinion %s: exit %d, saw \"%s\", said \"%s\"", cases[i].words, rc,
			    seen, out);
		assert_int_equal(rc != 0, out[0] != '\0');
	}
}

static void
messages_and_help(void **state)
{
	static const struct {
		const char *words;
		int fd;
		const char *part;
	} cases[] = {
		{ "app take n", 2, "pinion: name: n is taken\n" },
		{ "ap shw", 2, "there is: pinion app, pinion app show, pinion app take" },
		{ "app show --nope", 2, "--nope: is no option of 'pinion app show'" },
		{ "app show --lines", 2, "needs a value: --lines N" },
		{ "--json app", 2, "options follow the command" },
		{ "help app show", 1, "usage: pinion app show [APP] [options]" },
		{ "app show --help", 1, "-n, --lines N" },
		{ "app show x y z -h", 1, "More than - a line." },
		{ "help", 1, "many" },
		{ "-h", 1, "Exit codes:" },
		{ "help ap", 1, "app take" },
		{ "help nope", 2, "no command 'nope'" },
		{ "help --manual", 1, ".SS pinion many WORD...\n" },
		{ "help --manual", 1, "\\fB\\-n\\fP, \\fB\\-\\-lines\\fP \\fIN\\fP\n" },
		{ "--version", 1, "pinion " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(free) char *out = NULL;

		(void)run_words(cases[i].words, cases[i].fd, &out);
		if (strstr(out, cases[i].part) == NULL)
			fail_msg("pinion %s: \"%s\"", cases[i].words, out);
		assert_null(strstr(out, "secret"));
	}
}

/* --- variables --- */

static void
variable_words(void **state)
{
	static const char *const good[] = { "A=1", "_a9=", "A==", "A=b=c", "A=\"x y\"" };
	static const char *const bad[] = { "A", "=1", "9A=1", "A B=1", "A-B=1", "\xc3\xa4=1", "" };
	AUTO_FINI(variables_fini) struct variables vars = { 0 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(variables_add(&vars, bad[i], &e), -1);
	assert_int_equal(vars.n, 0);
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(variables_add(&vars, good[i], &e), 0);
	variables_take(&vars, "GONE", NULL);
	variables_json(&vars, &b);
	assert_string_equal(b.p,
	    "[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"_a9\",\"value\":\"\"},"
	    "{\"name\":\"A\",\"value\":\"=\"},{\"name\":\"A\",\"value\":\"b=c\"},"
	    "{\"name\":\"A\",\"value\":\"\\\"x y\\\"\"},{\"name\":\"GONE\"}]");
}

static void
variable_files(void **state)
{
	static const char text[] = "# comment\n\nA=1\r\n  export B=two words  \nC=\"quo ted\"\n"
	                           "D='a\"b'\nE=\"half\nF=#no comment\nexport=x\n";
	static const char *const want[] = { "A", "1", "B", "two words", "C", "quo ted", "D", "a\"b",
		"E", "\"half", "F", "#no comment", "export", "x" };
	AUTO_FINI(variables_fini) struct variables vars = { 0 };
	char path[] = "/tmp/test_cli.XXXXXX";
	struct err e = { 0 };

	(void)state;
	(void)close(mkstemp(path));
	assert_int_equal(file_replace(path, text, sizeof text - 1, 0600, &e), 0);
	assert_int_equal(variables_from_file(path, &vars, &e), 0);
	assert_int_equal(vars.n, ARRAY_LEN(want) / 2);
	for (size_t i = 0; i < vars.n; i++) {
		assert_string_equal(vars.v[i].name, want[2 * i]);
		assert_string_equal(vars.v[i].value, want[2 * i + 1]);
	}
	assert_int_equal(file_replace(path, "A=1\nB\n", 6, 0600, &e), 0);
	assert_int_equal(variables_from_file(path, &vars, &e), -1);
	assert_non_null(strstr(e.text, "line 2"));
	(void)unlink(path);
}

/* --- output --- */

static char *
print(const char *json, const struct output_column *columns, const char *option, bool is_table)
{
	struct cmd_line l = { .cmd = table };
	struct err e = { 0 };
	struct codec_value *v = codec_parse(json, strlen(json), &e);
	struct capture c;

	assert_non_null(v);
	if (option != NULL) {
		str_list_add(&l.names, option);
		str_list_add(&l.values, "");
	}
	capture_start(&c, STDOUT_FILENO);
	if (is_table)
		output_table(&l, v, columns);
	else
		output_object(&l, v, columns);
	char *out = capture_end(&c);
	codec_value_free(v);
	str_list_fini(&l.names);
	str_list_fini(&l.values);
	return out;
}

static void
marks_and_last_elements(void **state)
{
	static const struct output_column columns[] = {
		{ "", "id=b" },
		{ "ID", "id" },
		{ "LAST", "times[-1]" },
		{ NULL, NULL },
	};

	(void)state;
	AUTO(free)
	char *out = print("[{\"id\":\"a\",\"times\":[1,2]},{\"id\":\"b\",\"times\":[]},{\"id\":7}]",
	    columns, NULL, true);
	assert_string_equal(out, "   ID  LAST\n   a   2\n*  b   \n   7   \n");
}

static void
tables_and_objects(void **state)
{
	static const struct output_column columns[] = {
		{ "NAME", "name" },
		{ "N", "n" },
		{ "LIST", "list" },
		{ NULL, NULL },
	};
	static const struct {
		const char *json, *option;
		bool is_table;
		const char *want;
	} cases[] = {
		{ "[]", NULL, true, "NAME  N  LIST\n" },
		{ "[]", "quiet", true, "" },
		{ "[{\"name\":\"a\",\"n\":12,\"list\":[\"x\",2]},{\"name\":\"longer\",\"n\":true}]",
		    NULL, true, "NAME    N    LIST\na       12   x, 2\nlonger  yes  \n" },
		{ "[{\"name\":\"\\u00e4\\u00f6\",\"n\":1}]", "quiet", true,
		    "\u00e4\u00f6    1  \n" },
		{ "{\"name\":\"one\",\"n\":null}", "quiet", true, "one   " },
		{ "{\"name\":\"one\",\"n\":0}", NULL, false,
		    "NAME               one\nN                  0\n" },
		/* Escape sequences, C1 controls and newlines of others do not reach the terminal.
		 */
		{ "{\"name\":\"a\\u001b[31;1mb\\u001b[0m\\u009b2J\\u0007c\\nd\\te\"}", NULL, false,
		    "NAME               ab2Jcd\te\n" },
		{ "{\"name\":\"\\u001b[12\"}", NULL, false, "" },
		{ "{\"name\":\"x\"}", "json", false, "{\n" },
		{ "[{\"name\":\"x\"}]", "json", true, "[\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(free)
		char *out = print(cases[i].json, columns, cases[i].option, cases[i].is_table);
		bool is_part = cases[i].want[0] != '\0' && (cases[i].option != NULL) &&
		               str_has_prefix(out, cases[i].want);

		if (!is_part && strcmp(out, cases[i].want) != 0)
			fail_msg("%s: \"%s\"", cases[i].json, out);
	}
}

/* --- git --- */

static void
remotes(void **state)
{
	static const struct {
		const char *broker, *url, *domain, *app;
	} cases[] = {
		{ "http://h:8000", "http://h:8000/git/lab/hello.git", "lab", "hello" },
		{ "http://h:8000", "http://h:8000/git/lab/hello", "lab", "hello" },
		{ "http://h:8000", "http://dev@h:8000/git/lab/hello.git", "lab", "hello" },
		{ "http://h:8000", "http://dev:pw@h:8000/git/lab/hello.git", "lab", "hello" },
		{ "http://[::1]:8000", "http://[::1]:8000/git/lab/hello.git", "lab", "hello" },
		{ "http://h:8000", "https://h:8000/git/lab/hello.git", NULL, NULL },
		{ "http://h:8000", "http://h:8001/git/lab/hello.git", NULL, NULL },
		{ "http://h:8000", "http://h:8000/git/lab", NULL, NULL },
		{ "http://h:8000", "http://h:8000/git/lab/", NULL, NULL },
		{ "http://h:8000", "http://h:8000/git//x.git", NULL, NULL },
		{ "http://h:8000", "http://h:8000/git/lab/a/b.git", NULL, NULL },
		{ "http://h:8000", "http://evil/@h:8000/git/lab/hello.git", NULL, NULL },
		{ "http://h:8000", "git@h:lab/hello.git", NULL, NULL },
		{ "http://h:8000", "", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO(free) char *domain = NULL;
		AUTO(free) char *app = NULL;
		bool found = git_parse_remote(cases[i].broker, str_of(cases[i].url), &domain, &app);

		if (found != (cases[i].app != NULL))
			fail_msg("%s: %sfound", cases[i].url, found ? "" : "not ");
		if (found) {
			assert_string_equal(domain, cases[i].domain);
			assert_string_equal(app, cases[i].app);
		}
	}
}

/* What the helper answers to this description, "ERROR" for a failure. Caller owns. */
static char *
ask_helper(const char *operation, const char *description)
{
	char *answer = NULL;
	size_t n = 0;
	struct err e = { 0 };
	FILE *in = fmemopen((void *)(uintptr_t)description, strlen(description), "r");
	FILE *out = open_memstream(&answer, &n);
	int rc = credential_answer(operation, in, out, &e);

	(void)fclose(in);
	(void)fclose(out);
	if (rc == 0)
		return answer;
	assert_int_equal(e.code, ERR_UNAUTHENTICATED);
	free(answer);
	return xstrdup("ERROR");
}

static void
credentials(void **state)
{
	static const char answer[] = "username=dev\npassword=tok\n";
	static const struct {
		const char *url, *operation, *description, *want;
	} cases[] = {
		{ "http://h:8000", "get", "protocol=http\nhost=h:8000\n\n", answer },
		{ "http://h:8000", "get", "host=h:8000\npath=git/a/b.git\n", answer },
		{ "https://h", "get", "protocol=https\nhost=h\n\n", answer },
		{ "http://[::1]:8000", "get", "protocol=http\nhost=[::1]:8000\n\n", answer },
		{ "http://h:8000", "store", "protocol=http\nhost=h:8000\n\n", "" },
		{ "http://h:8000", "erase", "protocol=http\nhost=h:8000\n\n", "" },
		{ "http://h:8000", "get", "protocol=http\nhost=h\n\n", "" },
		{ "http://h:8000", "get", "protocol=http\nhost=other:8000\n\n", "" },
		{ "https://h", "get", "protocol=http\nhost=h\n\n", "" },
		{ "http://h:8000", "get", "protocol=http\n\nhost=h:8000\n", "" },
		{ NULL, "get", "protocol=http\nhost=h:8000\n\n", "ERROR" },
	};
	char dir[] = "/tmp/test_cli.XXXXXX";
	struct err e = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(setenv("XDG_CONFIG_HOME", dir, 1), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FINI(api_login_fini) struct api_login login = { 0 };

		assert_int_equal(api_login_forget(&e), 0);
		login.url = xstrdup_null(cases[i].url);
		login.user = xstrdup("dev");
		login.token = xstrdup("tok");
		if (login.url != NULL)
			assert_int_equal(api_login_save(&login, &e), 0);
		AUTO(free) char *got = ask_helper(cases[i].operation, cases[i].description);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: \"%s\"", cases[i].description, got);
	}
	AUTO(free) char *sub = file_join(dir, "pinion");
	(void)rmdir(sub);
	(void)rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(command_lines),
		cmocka_unit_test(messages_and_help),
		cmocka_unit_test(variable_words),
		cmocka_unit_test(variable_files),
		cmocka_unit_test(tables_and_objects),
		cmocka_unit_test(marks_and_last_elements),
		cmocka_unit_test(remotes),
		cmocka_unit_test(credentials),
	};

	return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
