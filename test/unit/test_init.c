/* pinion-init as it runs: PID 1 of a new pid namespace, with real commands. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/sched.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "node/init_control.h"
#include "test/lib/ok.h"

struct world {
	char dir[64], control[80], logs[80];
	struct str_list start, stop, env;
	struct init_settings settings;
	pid_t pid;
};

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);

	(void)snprintf(w->dir, sizeof w->dir, "/tmp/test-init-XXXXXX");
	if (mkdtemp(w->dir) == NULL)
		return -1;
	(void)snprintf(w->control, sizeof w->control, "%s/control", w->dir);
	(void)snprintf(w->logs, sizeof w->logs, "%s/logs", w->dir);
	if (mkdir(w->control, 0700) < 0 || mkdir(w->logs, 0700) < 0)
		return -1;
	w->settings = (struct init_settings){ .start = &w->start,
		.stop = &w->stop,
		.env = &w->env,
		.log_dir = w->logs,
		.source = "web" };
	str_list_add(&w->env, "PATH=/usr/bin:/bin");
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	if (w->pid > 0) {
		(void)kill(w->pid, SIGKILL);
		(void)waitpid(w->pid, NULL, 0);
	}
	(void)umount2(w->logs, MNT_DETACH); /* of the full disk */
	str_list_fini(&w->start);
	str_list_fini(&w->stop);
	str_list_fini(&w->env);
	if (file_remove_tree(w->dir, &e) < 0)
		return -1;
	free(w);
	return 0;
}

static void
sh(struct str_list *l, const char *script)
{
	str_list_add(l, "/bin/sh");
	str_list_add(l, "-c");
	str_list_add(l, script);
}

/* In new pid and mount namespaces. */
static void
start(struct world *w)
{
	AUTO(free)
	char *program = xasprintf(
	    "%s/pinion-init", getenv("PINION_BUILDDIR") != NULL ? getenv("PINION_BUILDDIR") : ".");
	struct clone_args args = { .flags = CLONE_NEWPID | CLONE_NEWNS, .exit_signal = SIGCHLD };
	struct err e = { 0 };
	long pid;

	assert_ok(init_control_write(w->control, &w->settings, &e), &e);
	pid = syscall(SYS_clone3, &args, sizeof args);
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
		(void)mount("proc", "/proc", "proc", 0, NULL);
		(void)execl(program, program, w->control, NULL);
		_exit(99);
	}
	w->pid = (pid_t)pid;
}

/* Exit code of init, or 128 + signal. */
static int
finish(struct world *w)
{
	int status, i;

	for (i = 0; i < 20000; i++) {
		pid_t pid = waitpid(w->pid, &status, WNOHANG);

		if (pid == w->pid) {
			w->pid = 0;
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
		(void)usleep(1000);
	}
	fail_msg("init does not end");
	return -1;
}

static void
read_status(struct world *w, struct init_status *st)
{
	struct err e = { 0 };

	init_status_fini(st);
	assert_ok(init_control_status(w->control, st, &e), &e);
}

static void
read_log(struct world *w, const char *name, struct buf *b)
{
	AUTO(free) char *path = file_join(w->logs, name);
	struct err e = { 0 };

	if (file_read(path, 64 << 20, b, &e) < 0)
		buf_adds(b, "");
}

/* Waits until the log holds the text. */
static void
wait_log(struct world *w, const char *text)
{
	int i;

	for (i = 0; i < 10000; i++) {
		AUTO_FINI(buf_fini) struct buf b = { 0 };

		read_log(w, "web.log", &b);
		if (b.p != NULL && strstr(b.p, text) != NULL)
			return;
		(void)usleep(1000);
	}
	fail_msg("no \"%s\" in the log", text);
}

static void
wait_phase(struct world *w, int phase)
{
	AUTO_FINI(init_status_fini) struct init_status st = { 0 };
	struct err e = { 0 };
	int i;

	for (i = 0; i < 10000; i++) {
		init_status_fini(&st);
		if (init_control_status(w->control, &st, &e) == 0 && st.phase == phase)
			return;
		(void)usleep(1000);
	}
	fail_msg("phase %d never came", phase);
}

static void
output_and_exit_code_are_kept(void **state)
{
	struct world *w = *state;
	AUTO_FINI(init_status_fini) struct init_status st = { 0 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	str_list_add(&w->env, "GREETING=hello there");
	sh(&w->start, "echo \"$GREETING\"; echo to stderr >&2; printf unfinished; exit 7");
	start(w);
	assert_int_equal(finish(w), 7);
	read_status(w, &st);
	assert_int_equal(st.phase, INIT_EXITED);
	assert_true(st.start_ended);
	assert_int_equal(st.exit_code, 7);
	assert_int_equal(st.exit_signal, 0);
	assert_true(st.began_ms > 0 && st.start_ended_ms >= st.began_ms &&
	            st.exited_ms >= st.start_ended_ms);
	assert_string_equal(st.error, "");
	read_log(w, "web.log", &b);
	assert_non_null(strstr(b.p, "Z hello there\n"));
	assert_non_null(strstr(b.p, "Z to stderr\n"));
	assert_non_null(strstr(b.p, "Z unfinished\n"));
	assert_int_equal(b.p[4], '-');
	assert_int_equal(b.p[10], 'T');
	assert_int_equal(b.p[23], 'Z');
}

/* Who looks for the words of a start that failed looks as soon as it is told. */
static void
words_come_before_the_failure(void **state)
{
	struct world *w = *state;
	AUTO_FINI(init_status_fini) struct init_status st = { 0 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	sh(&w->start, "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i + 1)); done; "
	              "echo last words; exit 9");
	start(w);
	for (int i = 0; i < 5000000 && !st.start_ended; i++) {
		init_status_fini(&st);
		if (init_control_status(w->control, &st, &e) < 0)
			st.start_ended = false; /* there is none yet */
	}
	read_log(w, "web.log", &b);
	assert_non_null(strstr(b.p, "Z last words\n"));
	assert_int_equal(finish(w), 9);
}

static void
a_signal_is_told(void **state)
{
	struct world *w = *state;
	AUTO_FINI(init_status_fini) struct init_status st = { 0 };

	sh(&w->start, "kill -9 $$");
	start(w);
	assert_int_equal(finish(w), 128 + 9);
	read_status(w, &st);
	assert_int_equal(st.exit_signal, 9);
	assert_int_equal(st.exit_code, -1);
}

static void
a_missing_program_is_told(void **state)
{
	struct world *w = *state;
	AUTO_FINI(init_status_fini) struct init_status st = { 0 };

	str_list_add(&w->start, "/nonexistent/\"start\"");
	start(w);
	assert_int_equal(finish(w), 127);
	read_status(w, &st);
	assert_string_equal(
	    st.error, "cannot run /nonexistent/\"start\": No such file or directory");
}

static void
daemons_live_on(void **state)
{
	struct world *w = *state;
	AUTO_FINI(init_status_fini) struct init_status st = { 0 };
	int i;

	sh(&w->start,
	    "(trap 'echo ending; exit 0' TERM; echo daemon; while :; do sleep 0.01; done) & "
	    "exit 0");
	start(w);
	wait_log(w, "Z daemon\n");
	for (i = 0; i < 5000 && !st.start_ended; i++) {
		read_status(w, &st);
		(void)usleep(1000);
	}
	assert_true(st.start_ended);
	assert_int_equal(st.exit_code, 0);
	assert_int_equal(st.phase, INIT_RUNNING);
	assert_int_equal(kill(w->pid, SIGTERM), 0);
	assert_int_equal(finish(w), 0);
	wait_log(w, "Z ending\n");
}

static void
the_last_daemons_end_ends_it(void **state)
{
	struct world *w = *state;

	sh(&w->start, "(sleep 0.05; echo gone) & exit 0");
	start(w);
	assert_int_equal(finish(w), 0);
	wait_log(w, "Z gone\n");
}

static void
a_failed_start_takes_its_daemons_along(void **state)
{
	struct world *w = *state;

	sh(&w->start, "sleep 1000 & exit 3");
	start(w);
	assert_int_equal(finish(w), 3);
}

static void
the_stop_command_runs_first(void **state)
{
	struct world *w = *state;

	sh(&w->start, "trap 'echo got term' TERM; echo ready; while :; do sleep 0.01; done");
	sh(&w->stop, "echo stopping");
	w->settings.stop_timeout_ms = 300;
	start(w);
	wait_log(w, "Z ready\n");
	assert_int_equal(kill(w->pid, SIGTERM), 0);
	wait_phase(w, INIT_STOPPING);
	/* It ignores SIGTERM: killed at the end of the time. */
	assert_int_equal(finish(w), 128 + 9);
	{
		AUTO_FINI(buf_fini) struct buf b = { 0 };
		const char *a, *c;

		read_log(w, "web.log", &b);
		a = strstr(b.p, "Z stopping\n");
		c = strstr(b.p, "Z got term\n");
		assert_non_null(a);
		assert_non_null(c);
		assert_true(a < c);
	}
}

static void
idle_waits_for_term(void **state)
{
	struct world *w = *state;

	start(w);
	wait_phase(w, INIT_RUNNING);
	assert_int_equal(kill(w->pid, SIGTERM), 0);
	assert_int_equal(finish(w), 0);
	wait_phase(w, INIT_EXITED);
}

static void
orphans_are_reaped(void **state)
{
	struct world *w = *state;

	sh(&w->start, "for i in 1 2 3 4 5; do (sleep 0.01 &) ; done; sleep 0.2; "
	              "ps -e -o stat= | grep -c Z; exit 0");
	start(w);
	assert_int_equal(finish(w), 0);
	wait_log(w, "Z 0\n");
}

static void
logs_are_rotated_and_bounded(void **state)
{
	struct world *w = *state;
	static const char *const kept[] = { "web.log", "web.log.1", "web.log.2" };
	AUTO(free) char *gone = file_join(w->logs, "web.log.3");
	AUTO_FINI(buf_fini) struct buf last = { 0 };
	size_t i;

	w->settings.log_size = 65536;
	w->settings.log_count = 3;
	sh(&w->start, "i=0; while [ $i -lt 8000 ]; do echo line $i of many; i=$((i+1)); done; "
	              "head -c 20000 /dev/zero | tr '\\0' x; echo; echo the end");
	start(w);
	assert_int_equal(finish(w), 0);
	for (i = 0; i < ARRAY_LEN(kept); i++) {
		AUTO(free) char *path = file_join(w->logs, kept[i]);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size <= 65536 && st.st_size > 0);
	}
	assert_false(file_exists(gone));
	read_log(w, "web.log", &last);
	assert_non_null(strstr(last.p, "Z the end\n"));
	assert_non_null(strstr(last.p, "xxxx\n"));
}

static void
a_full_disk_holds_nobody_up(void **state)
{
	struct world *w = *state;
	AUTO_FINI(init_status_fini) struct init_status st = { 0 };
	AUTO(free) char *filler = file_join(w->logs, "filler");
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	char zero[4096] = { 0 };
	int fd, i;

	if (mount("tmpfs", w->logs, "tmpfs", 0, "size=256k") < 0)
		skip();
	fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, zero, sizeof zero) > 0)
		;
	(void)close(fd);
	sh(&w->start,
	    "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo done >&2; "
	    "while [ ! -e $GO ]; do sleep 0.01; done; echo room again; exit 0");
	{
		AUTO(free) char *go = xasprintf("GO=%s/go", w->control);

		str_list_add(&w->env, go);
	}
	start(w);
	wait_phase(w, INIT_RUNNING);
	for (i = 0; i < 10000 && st.lines_dropped < 3001; i++) {
		read_status(w, &st);
		(void)usleep(1000);
	}
	assert_int_equal(st.lines_dropped, 3001);
	assert_int_equal(unlink(filler), 0);
	{
		AUTO(free) char *go = file_join(w->control, "go");
		struct err e = { 0 };

		assert_ok(file_replace_fast(go, "", 0, 0600, &e), &e);
	}
	assert_int_equal(finish(w), 0);
	read_log(w, "web.log", &b);
	assert_int_equal(umount2(w->logs, MNT_DETACH), 0);
	assert_non_null(strstr(b.p, "[pinion] 3001 lines of output are missing here"));
	assert_non_null(strstr(b.p, "Z room again\n"));
}

static void
the_application_cannot_look_into_it(void **state)
{
	struct world *w = *state;

	/* As another user: not dumpable means that /proc/1 belongs to root. */
	sh(&w->start, "stat -c %u:%a /proc/1/mem; exit 0");
	start(w);
	assert_int_equal(finish(w), 0);
	wait_log(w, "Z 0:600\n");
}

static void
bad_settings_are_told(void **state)
{
	static const struct {
		const char *text;
		size_t n;
		const char *why;
	} cases[] = {
		{ "start=x", 7, "settings: does not end with a NUL" },
		{ "start", 6, "settings: no '=' in a record" },
		{ "colour=red", 11, "settings: unknown key" },
		{ "log_count=1", 12, "settings: value out of bounds" },
		{ "log_size=99999999999999999999", 30, "settings: value out of bounds" },
		{ "source=../x", 12, "settings: value out of bounds" },
	};
	struct world *w = *state;
	AUTO(free) char *path = file_join(w->control, "settings");
	size_t i;

	for (i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FINI(init_status_fini) struct init_status st = { 0 };
		AUTO(free)
		char *program = xasprintf("%s/pinion-init",
		    getenv("PINION_BUILDDIR") != NULL ? getenv("PINION_BUILDDIR") : ".");
		struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
		struct err e = { 0 };

		assert_ok(file_replace_fast(path, cases[i].text, cases[i].n, 0600, &e), &e);
		w->pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
		if (w->pid == 0) {
			(void)execl(program, program, w->control, NULL);
			_exit(99);
		}
		assert_int_equal(finish(w), 64);
		read_status(w, &st);
		assert_string_equal(st.error, cases[i].why);
	}
}

static void
a_status_that_is_no_file_is_refused(void **state)
{
	struct world *w = *state;
	AUTO(free) char *path = file_join(w->control, "status");
	struct init_status st = { 0 };
	struct err e = { 0 };

	assert_int_equal(init_control_status(w->control, &st, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(init_control_status(w->control, &st, &e), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(init_control_status(w->control, &st, &e), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(output_and_exit_code_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(words_come_before_the_failure, setup, teardown),
		cmocka_unit_test_setup_teardown(a_signal_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_program_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(daemons_live_on, setup, teardown),
		cmocka_unit_test_setup_teardown(the_last_daemons_end_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_failed_start_takes_its_daemons_along, setup, teardown),
		cmocka_unit_test_setup_teardown(the_stop_command_runs_first, setup, teardown),
		cmocka_unit_test_setup_teardown(idle_waits_for_term, setup, teardown),
		cmocka_unit_test_setup_teardown(orphans_are_reaped, setup, teardown),
		cmocka_unit_test_setup_teardown(logs_are_rotated_and_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_disk_holds_nobody_up, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    the_application_cannot_look_into_it, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_settings_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_status_that_is_no_file_is_refused, setup, teardown),
	};

	if (geteuid() != 0) {
		puts("1..0 # skipped: needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
