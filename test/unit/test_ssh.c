/* SSH's pure parts: bounds of sources, git's commands, the orders of streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "broker/gear_word.h"
#include "broker/push_ssh.h"
#include "broker/ssh_source.h"
#include "lib/base/mem.h"
#include "lib/wire/wire_exec.h"

static const struct ssh_source_opts limits = { 4, 3, 10, 5 };

static struct sockaddr_in6
from(const char *address)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 };

	assert_int_equal(inet_pton(AF_INET6, address, &a.sin6_addr), 1);
	return a;
}

static struct ssh_source *
begin(struct ssh_source_set *s, const char *address, int64_t now)
{
	struct sockaddr_in6 a = from(address);

	return ssh_source_begin(s, (const struct sockaddr *)&a, now);
}

static void
test_logins_of_a_source(void **state)
{
	struct ssh_source_set *s = ssh_source_set_new(&limits);
	struct ssh_source *a[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_non_null(a[i] = begin(s, "::ffff:192.0.2.1", 0));
	assert_null(begin(s, "::ffff:192.0.2.1", 0)); /* three are not in yet */
	assert_non_null(begin(s, "::ffff:192.0.2.2", 0));
	ssh_source_logged_in(a[0]);
	assert_non_null(begin(s, "::ffff:192.0.2.1", 0));
	ssh_source_logged_in(a[1]);
	assert_null(begin(s, "::ffff:192.0.2.1", 1000)); /* four connections */
	ssh_source_end(a[0], true);
	assert_non_null(begin(s, "::ffff:192.0.2.1", 1000));
	ssh_source_set_free(s);
}

static void
test_rate(void **state)
{
	struct ssh_source_set *s = ssh_source_set_new(&limits);
	struct ssh_source *a;

	(void)state;
	for (int i = 0; i < 5; i++) {
		assert_non_null(a = begin(s, "2001:db8::1", 0));
		ssh_source_end(a, false);
	}
	assert_null(begin(s, "2001:db8::1", 50));
	assert_null(begin(s, "2001:db8::ffff", 50)); /* the same /64 */
	assert_non_null(a = begin(s, "2001:db8:0:1::1", 50));
	ssh_source_end(a, false);
	assert_non_null(a = begin(s, "2001:db8::1", 200));
	ssh_source_end(a, false);
	ssh_source_sweep(s, 100000);
	assert_non_null(begin(s, "2001:db8::1", 100000));
	ssh_source_set_free(s);
}

struct git_case {
	const char *command;
	const char *service, *path; /* NULL: no command of git's */
	bool is_repo;
};
static const struct git_case git_cases[] = {
	{ "git-upload-pack '/~/git/web.git/'", "git-upload-pack", "/~/git/web.git/", true },
	{ "git-receive-pack '~/git/web.git'", "git-receive-pack", "~/git/web.git", true },
	{ "git upload-pack git/Web", "git-upload-pack", "git/Web", true },
	{ "git-upload-pack '/var/lib/openshift/0123/git/web.git'", "git-upload-pack",
	    "/var/lib/openshift/0123/git/web.git", true },
	{ "git-upload-pack 'git/web'\\''x.git'", "git-upload-pack", "git/web'x.git", false },
	{ "git-upload-pack '/~/git/web.git/../other.git'", "git-upload-pack",
	    "/~/git/web.git/../other.git", false },
	{ "git-upload-pack '/~/git/webother.git'", "git-upload-pack", "/~/git/webother.git",
	    false },
	{ "git-upload-pack '/etc/passwd'", "git-upload-pack", "/etc/passwd", false },
	{ "git-upload-pack", NULL, NULL, false },
	{ "git-upload-archive 'x'", NULL, NULL, false },
	{ "git-upload-packx 'git/web'", NULL, NULL, false },
	{ "ls", NULL, NULL, false },
};

static void
test_git_commands(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(git_cases); i++) {
		const struct git_case *c = &git_cases[i];
		AUTO(free) char *service = NULL;
		AUTO(free) char *path = NULL;

		assert_int_equal(push_ssh_parse(c->command, &service, &path), c->service != NULL);
		if (c->service == NULL)
			continue;
		assert_string_equal(service, c->service);
		assert_string_equal(path, c->path);
		assert_int_equal(push_ssh_is_repo(path, "0123", "web"), c->is_repo);
	}
}

static void
test_ports(void **state)
{
	static const char *const own[] = { "127.0.0.1", "127.1.244.3", "localhost" };
	static const char *const others[] = { "127.0.0.53", "10.0.0.1", "169.254.169.254", "::1",
		"0.0.0.0", "100.64.0.7", "localhost.", "127.1", "", "web.apps.localhost" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		assert_non_null(wire_port_address(own[i]));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_null(wire_port_address(others[i]));
}

static void
test_orders(void **state)
{
	AUTO_FINI(wire_exec_fini) struct wire_exec x = { 0 };
	struct err e = { 0 };
	struct wire_var *v;

	(void)state;
	str_list_add(&x.args, "");
	assert_int_equal(wire_exec_check(&x, &e), -1);
	assert_string_equal(e.field, "args[0]");
	str_list_fini(&x.args);
	v = codec_list_add(&wire_var_codec, &x.env);
	v->name = xstrdup("A=B");
	v->value = xstrdup("");
	assert_int_equal(wire_exec_check(&x, &e), -1);
	assert_string_equal(e.field, "env");
	mem_set_str(&v->name, "LC_ALL");
	assert_int_equal(wire_exec_check(&x, &e), 0);
}

struct word_case {
	const char *command;
	const char *name; /* NULL: refused */
	const char *cart, *arg;
	const char *says; /* of a refusal */
};
static const struct word_case words[] = {
	{ "gear start", "gear start", NULL, NULL, NULL },
	{ "gear  restart   --all-cartridges ", "gear restart", NULL, NULL, NULL },
	{ "gear restart --cart nodejs-20", "gear restart", "nodejs-20", NULL, NULL },
	{ "gear stop --cart=mysql --conditional --git-ref abc", "gear stop", "mysql", NULL, NULL },
	{ "ctl_app stop mysql", "ctl_app stop", "mysql", NULL, NULL },
	{ "ctl_app stop", "ctl_app stop", NULL, NULL, NULL },
	{ "gear deploy topic/x --hot-deploy", "gear deploy", NULL, "topic/x", NULL },
	{ "gear activate --all 1a2b3c4d --no-rotation", "gear activate", NULL, "1a2b3c4d", NULL },
	{ "restore INCLUDE_GIT", "restore", NULL, NULL, NULL },
	{ "gear", NULL, NULL, NULL, "Usage: gear start" },
	{ "gear fly", NULL, NULL, NULL, "Usage: gear start" },
	{ "gear restart --cart", NULL, NULL, NULL, "Usage" },
	{ "gear restart nodejs", NULL, NULL, NULL, "Usage" },
	{ "gear activate", NULL, NULL, NULL, "Usage" },
	{ "gear activate a b", NULL, NULL, NULL, "Usage" },
	{ "gear deploy --upload-pack=x", NULL, NULL, NULL, "Usage" },
	{ "gear build", NULL, NULL, NULL, "gear deploy REF" },
	{ "gear binary-deploy x.tar.gz", NULL, NULL, NULL, "Usage" },
	{ "gear binary-deploy --hot-deploy", "gear binary-deploy", NULL, NULL, NULL },
	{ "oo-binary-deploy --force-clean-build", "oo-binary-deploy", NULL, NULL, NULL },
	{ "gear archive-deployment", "gear archive-deployment", NULL, NULL, NULL },
	{ "gear archive-deployment --deployment-id 1a2b3c4d", "gear archive-deployment", NULL,
	    "1a2b3c4d", NULL },
	{ "gear archive-deployment --deployment-id", NULL, NULL, NULL, "Usage" },
	{ "ctl_all dance", NULL, NULL, NULL, "Usage: ctl_all" },
	{ "snapshot x", NULL, NULL, NULL, "Usage: ctl_all" },
	{ "gearbox start", NULL, NULL, NULL, "no such command" },
};

static bool
is_same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
test_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		const struct word_case *c = &words[i];
		AUTO_FINI(str_list_fini) struct str_list argv = { 0 };
		AUTO_FINI(gear_word_fini) struct gear_word w = { 0 };
		struct err e = { 0 };

		assert_true(gear_word_split(c->command, &argv));
		if ((gear_word_parse(&argv, &w, &e) == 0) != (c->name != NULL))
			fail_msg("%s: %s", c->command, e.text);
		if (c->name == NULL && strstr(e.text, c->says) == NULL)
			fail_msg("%s: %s", c->command, e.text);
		if (!is_same(w.name, c->name) || !is_same(w.cart, c->cart) ||
		    !is_same(w.arg, c->arg))
			fail_msg("%s: %s %s %s", c->command, w.name, w.cart, w.arg);
	}
}

/* A shell's affair: the words in it are said by the programs of these names. */
static void
test_words_of_a_shell(void **state)
{
	static const char *const commands[] = { "gear status; ls", "gear status | cat",
		"gear status $(x)", "gear 'status'", "gear status\ngear stop", "gear stop *" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		AUTO_FINI(str_list_fini) struct str_list argv = { 0 };

		assert_false(gear_word_split(commands[i], &argv));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_logins_of_a_source),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_words_of_a_shell),
		cmocka_unit_test(test_git_commands),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
