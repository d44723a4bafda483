/* logshifter: v2's log filter, its files and the variables that it heeds. */
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/init_filter.h"

struct world {
	char dir[64];
	struct buf out; /* what came to stdout */
	int status;
};

static int
world_new(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);

	(void)snprintf(w->dir, sizeof w->dir, "/tmp/pinion-filter.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	*state = w;
	return 0;
}

static int
world_free(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	assert_int_equal(file_remove_tree(w->dir, &e), 0);
	buf_fini(&w->out);
	free(w);
	return 0;
}

static void
filter(char **argv, const char *const *env, const char *dir)
{
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	(void)clearenv();
	(void)setenv("OPENSHIFT_LOG_DIR", dir, 1);
	for (; *env != NULL; env += 2)
		(void)setenv(env[0], env[1], 1);
	_exit(init_filter_run(argc, argv));
}

/* env: names and values in turn, ended by NULL. */
static void
shift(struct world *w, char *tag, const char *const *env, const char *in, size_t n)
{
	char name[] = "logshifter", flag[] = "-tag";
	char *argv[] = { name, flag, tag, NULL };
	int to[2], from[2];
	pid_t pid;

	buf_clear(&w->out);
	assert_int_equal(pipe2(to, O_CLOEXEC) | pipe2(from, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(to[0], 0);
		(void)dup2(from[1], 1);
		(void)close(to[1]);
		filter(argv, env, w->dir);
	}
	(void)close(to[0]);
	(void)close(from[1]);
	assert_int_equal(write(to[1], in, n), n);
	(void)close(to[1]);
	for (;;) {
		char part[4096];
		ssize_t got = read(from[0], part, sizeof part);

		if (got <= 0)
			break;
		buf_add(&w->out, part, (size_t)got);
	}
	(void)close(from[0]);
	assert_int_equal(waitpid(pid, &w->status, 0), pid);
	w->status = WEXITSTATUS(w->status);
}

static void
assert_file(const struct world *w, const char *name, const char *want)
{
	AUTO(free) char *path = file_join(w->dir, name);
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	assert_int_equal(file_read(path, 1 << 20, &b, &e), 0);
	assert_int_equal(b.n, strlen(want));
	assert_memory_equal(b.p, want, b.n);
}

static void
put(const struct world *w, const char *name, size_t size)
{
	AUTO(free) char *path = file_join(w->dir, name);
	AUTO(free) char *text = xcalloc(1, size + 1);
	struct err e = { 0 };

	assert_int_equal(file_replace(path, memset(text, 'x', size), size, 0600, &e), 0);
}

static size_t
count(const struct world *w, const char *pattern)
{
	AUTO(free) char *path = file_join(w->dir, pattern);
	glob_t g;
	size_t n = glob(path, 0, NULL, &g) == 0 ? g.gl_pathc : 0;

	globfree(&g);
	return n;
}

static void
test_writes_to_the_end(void **state)
{
	struct world *w = *state;
	const char *const none[] = { NULL };

	shift(w, "app", none, "one\ntwo\nrest", 12);
	assert_int_equal(w->status, 0);
	assert_file(w, "app.log", "one\ntwo\nrest");
	assert_int_equal(w->out.n, 12);
	shift(w, "app", none, "three\n", 6);
	assert_file(w, "app.log", "one\ntwo\nrestthree\n");
}

static void
test_rotates(void **state)
{
	struct world *w = *state;
	const char *const env[] = { "LOGSHIFTER_MY_APP_MAX_FILESIZE", "4K",
		"LOGSHIFTER_MY_APP_MAX_FILES", "2", NULL };

	put(w, "my-app.log", 4096);
	put(w, "my-app.log-20200101000000", 1);
	put(w, "my-app.log-20210101000000", 1);
	put(w, "my-app.log-20220101000000", 1);
	put(w, "my-app.log-20230101000000", 1);
	put(w, "other.log-20200101000000", 1);
	shift(w, "my-app", env, "new\n", 4);
	assert_file(w, "my-app.log", "new\n");
	assert_int_equal(count(w, "my-app.log-*"), 2);
	assert_int_equal(count(w, "my-app.log-20230101000000"), 1);
	assert_int_equal(count(w, "other.log-*"), 1);
}

static void
test_never_rotates(void **state)
{
	struct world *w = *state;
	const char *const env[] = { "LOGSHIFTER_APP_MAX_FILESIZE", "0", NULL };

	put(w, "app.log", 11 << 20);
	shift(w, "app", env, "new\n", 4);
	assert_int_equal(count(w, "app.log-*"), 0);
}

static void
test_output_types(void **state)
{
	struct world *w = *state;
	const char *const file[] = { "LOGSHIFTER_OUTPUT_TYPE", "file", NULL };
	const char *const log[] = { "LOGSHIFTER_OUTPUT_TYPE", "syslog", NULL };

	shift(w, "app", file, "a\n", 2);
	assert_file(w, "app.log", "a\n");
	assert_int_equal(w->out.n, 0);
	shift(w, "app", log, "b\n", 2);
	assert_file(w, "app.log", "a\n");
	assert_int_equal(w->out.n, 2);
}

static void
test_refuses_tags(void **state)
{
	struct world *w = *state;
	const char *const none[] = { NULL };

	shift(w, "../up", none, "", 0);
	assert_int_equal(w->status, 64);
	shift(w, "", none, "", 0);
	assert_int_equal(w->status, 64);
	assert_int_equal(count(w, "*"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_writes_to_the_end, world_new, world_free),
		cmocka_unit_test_setup_teardown(test_rotates, world_new, world_free),
		cmocka_unit_test_setup_teardown(test_never_rotates, world_new, world_free),
		cmocka_unit_test_setup_teardown(test_output_types, world_new, world_free),
		cmocka_unit_test_setup_teardown(test_refuses_tags, world_new, world_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
