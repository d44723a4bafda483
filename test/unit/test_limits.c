/* Cgroups: the real ones of this machine under a tag of this process, and v2 on plain files. */
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
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/str.h"
#include "node/limits.h"
#include "node/limits_tree.h"
#include "test/lib/ok.h"

static const struct limits_group gear = { "g1", NULL }, inst = { "g1", "i1" };

static int
setup(void **state)
{
	struct limits *l;
	struct err e = { 0 };
	char tag[32];

	if (geteuid() != 0) {
		*state = NULL;
		return 0;
	}
	(void)snprintf(tag, sizeof tag, "test%d", (int)getpid());
	l = limits_open(tag, NULL, &e);
	if (l == NULL)
		print_error("%s\n", e.text);
	*state = l;
	return l == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	struct limits *l = *state;
	struct limits_group all = { NULL, NULL };
	struct err e = { 0 };
	int rc;

	if (l == NULL)
		return 0;
	rc = limits_kill(l, all, &e);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (rc == 0)
		rc = limits_wait_empty(l, all, 5000, &e);
	if (rc == 0)
		rc = limits_remove(l, all, 5000, &e);
	if (rc < 0)
		print_error("%s\n", e.text);
	limits_close(l);
	return rc;
}

typedef void child_fn(void);

static pid_t
start(struct limits *l, child_fn *fn)
{
	struct limits_entry en;
	struct err e = { 0 };
	pid_t pid;

	assert_ok(limits_entry_open(l, inst, &en, &e), &e);
	pid = fork();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < en.n; i++) {
			if (write(en.fd[i], "0", 1) != 1)
				_exit(1);
		}
		fn();
		_exit(0);
	}
	limits_entry_close(&en);
	return pid;
}

static void
wait_forever(void)
{
	for (;;)
		(void)pause();
}

static void
wait_member(struct limits *l, pid_t pid)
{
	AUTO_FINI(limits_pid_list_fini) struct limits_pid_list pids = { 0 };
	struct err e = { 0 };
	int i;

	for (i = 0; i < 1000; i++) {
		limits_pid_list_fini(&pids);
		assert_ok(limits_pids(l, inst, &pids, &e), &e);
		if (pids.n == 1 && pids.v[0] == pid && limits_populated(l, gear))
			return;
		(void)usleep(1000);
	}
	fail_msg("the process never came into its cgroup");
}

/* What the group may see of itself is there, with the limits of its own. */
static void
expect_view(struct limits *l)
{
	AUTO_FINI(limits_view_list_fini) struct limits_view_list views = { 0 };
	bool has_memory = false;
	size_t i;

	limits_view(l, inst, &views);
	assert_true(views.n > 0);
	for (i = 0; i < views.n; i++) {
		AUTO(free) char *v1 = file_join(views.v[i].dir, "memory.limit_in_bytes");
		AUTO(free) char *v2 = file_join(views.v[i].dir, "memory.max");

		assert_true(str_has_prefix(views.v[i].target, "/sys/fs/cgroup"));
		assert_true(str_has_suffix(views.v[i].dir, "/g1/i1"));
		assert_true(file_exists(views.v[i].dir));
		has_memory = has_memory || file_exists(v1) || file_exists(v2);
	}
	assert_true(has_memory);
}

static void
a_group_lives_and_dies(void **state)
{
	struct limits *l = *state;
	struct limits_spec spec = { 64 << 20, 50, 512, 20, 0 };
	struct limits_spec more = { 128 << 20, 200, 1024, 40, 100 },
	                   less = { 32 << 20, 10, 2, 10, 100 };
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	struct limits_usage u;
	struct err e = { 0 };
	pid_t pid;

	if (l == NULL)
		skip();
	assert_ok(limits_make(l, gear, &more, &e), &e);
	assert_ok(limits_make(l, inst, &spec, &e), &e);
	assert_false(limits_populated(l, inst));
	pid = start(l, wait_forever);
	wait_member(l, pid);
	assert_ok(limits_make(l, inst, &more, &e), &e);
	assert_ok(limits_make(l, inst, &less, &e), &e);
	expect_view(l);
	assert_ok(limits_usage(l, inst, &u, &e), &e);
	assert_int_equal(u.pids, 1);
	assert_true(u.memory_bytes > 0);
	assert_int_equal(u.oom_kills, 0);
	assert_int_equal(limits_remove(l, gear, 10, &e), -1);
	assert_int_equal(e.code, ERR_BUSY);
	e = (struct err){ 0 };
	assert_ok(limits_list(l, "g1", &names, &e), &e);
	assert_true(str_list_has(&names, "i1"));
	assert_ok(limits_kill(l, gear, &e), &e);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_ok(limits_wait_empty(l, gear, 5000, &e), &e);
	assert_ok(limits_remove(l, gear, 5000, &e), &e);
	assert_ok(limits_remove(l, gear, 5000, &e), &e);
	assert_ok(limits_kill(l, gear, &e), &e);
	str_list_fini(&names);
	assert_ok(limits_list(l, NULL, &names, &e), &e);
	assert_false(str_list_has(&names, "g1"));
}

static void
eat_memory(void)
{
	size_t n = 64 << 20, i;
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (i = 0; i < n; i += 4096)
		p[i] = 1;
}

static void
out_of_memory_is_counted(void **state)
{
	struct limits *l = *state;
	struct limits_spec spec = { 16 << 20, 0, 0, 20, 0 };
	struct limits_usage u;
	struct err e = { 0 };
	int status;
	pid_t pid;

	if (l == NULL)
		skip();
	assert_ok(limits_make(l, inst, &spec, &e), &e);
	pid = start(l, eat_memory);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_ok(limits_usage(l, inst, &u, &e), &e);
	assert_int_equal(u.oom_kills, 1);
}

static void
fork_for_ever(void)
{
	for (;;)
		(void)fork();
}

static void
a_fork_bomb_is_held_and_killed(void **state)
{
	struct limits *l = *state;
	struct limits_spec spec = { 64 << 20, 50, 100, 20, 0 };
	struct limits_usage u = { 0 };
	struct err e = { 0 };
	pid_t pid;
	int i;

	if (l == NULL)
		skip();
	assert_ok(limits_make(l, inst, &spec, &e), &e);
	pid = start(l, fork_for_ever);
	for (i = 0; i < 2000 && u.pids < 20; i++) {
		assert_ok(limits_usage(l, inst, &u, &e), &e);
		(void)usleep(1000);
	}
	assert_int_equal(u.pids, 20);
	assert_ok(limits_kill(l, inst, &e), &e);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_ok(limits_wait_empty(l, inst, 5000, &e), &e);
	assert_ok(limits_remove(l, inst, 5000, &e), &e);
}

static void
a_frozen_one_is_killed(void **state)
{
	struct limits *l = *state;
	struct err e = { 0 };
	pid_t pid;

	if (l == NULL)
		skip();
	assert_ok(limits_make(l, inst, NULL, &e), &e);
	pid = start(l, wait_forever);
	wait_member(l, pid);
	assert_ok(limits_freeze(l, inst, true, &e), &e);
	assert_ok(limits_kill(l, inst, &e), &e);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_ok(limits_wait_empty(l, inst, 5000, &e), &e);
}

static void
be_parent_of_init(void)
{
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		_exit(1);
	pid = fork();
	if (pid == 0)
		wait_forever();
	(void)waitpid(pid, NULL, 0);
}

static void
init_is_found(void **state)
{
	struct limits *l = *state;
	struct err e = { 0 };
	pid_t pid, found = 0;
	int i;

	if (l == NULL)
		skip();
	assert_ok(limits_make(l, inst, NULL, &e), &e);
	assert_int_equal(limits_init_pid(l, inst), 0);
	pid = start(l, be_parent_of_init);
	for (i = 0; i < 2000 && found == 0; i++) {
		found = limits_init_pid(l, inst);
		(void)usleep(1000);
	}
	assert_true(found > 0 && found != pid);
	assert_ok(limits_kill(l, inst, &e), &e);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void
names_are_checked(void **state)
{
	struct limits *l = *state;
	static const char *const bad[] = { "", "..", "a/b", "a b", "\xc3\xa4" };
	struct err e = { 0 };
	size_t i;

	if (l == NULL)
		skip();
	for (i = 0; i < ARRAY_LEN(bad); i++) {
		struct limits_group g = { bad[i], NULL };

		assert_int_equal(limits_make(l, g, NULL, &e), -1);
		assert_int_equal(e.code, ERR_INVALID);
		assert_int_equal(limits_remove(l, g, 0, &e), -1);
	}
}

/* --- v2, on plain files --- */

static void
expect(const char *dir, const char *file, const char *value)
{
	AUTO(free) char *path = file_join(dir, file);
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	assert_ok(file_read(path, 4096, &b, &e), &e);
	assert_string_equal(b.p, value);
}

static void
v2_writes_its_files(void **state)
{
	char dir[] = "/tmp/test limits-XXXXXX";
	struct limits_spec spec = { 512 << 20, 150, 1024, 256, 50 }, none = { 0 };
	AUTO(limits_close) struct limits *l = NULL;
	AUTO(free) char *info = NULL;
	AUTO(free) char *group = NULL;
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	struct limits_usage u;
	struct err e = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	info = file_join(dir, "mountinfo");
	group = xasprintf("%s/pinion/beef/g1/i1", dir);
	assert_ok(
	    limits_tree_write(dir, "cgroup.controllers", "cpuset cpu io memory pids\n", &e), &e);
	buf_addf(&text, "30 23 0:26 / /tmp/test\\040%s rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
	    dir + strlen("/tmp/test "));
	assert_ok(file_replace_fast(info, text.p, text.n, 0600, &e), &e);
	l = limits_open("beef", info, &e);
	assert_non_null(l);
	assert_string_equal(limits_layout(l), "v2");
	assert_null(limits_hide_mount(l));
	assert_ok(limits_make(l, inst, &spec, &e), &e);
	{
		AUTO(free) char *above = xasprintf("%s/pinion/beef/g1", dir);

		expect(above, "cgroup.subtree_control", "+io"); /* the last of the four writes */
	}
	expect(group, "memory.max", "536870912");
	expect(group, "memory.swap.max", "536870912");
	expect(group, "cpu.max", "150000 100000");
	expect(group, "cpu.max.burst", "50000");
	expect(group, "cpu.weight", "39");
	expect(group, "pids.max", "256");
	assert_ok(limits_make(l, inst, &none, &e), &e);
	expect(group, "memory.max", "max");
	expect(group, "cpu.max", "max 100000");
	expect(group, "pids.max", "max");
	assert_ok(limits_tree_write(group, "cgroup.events", "populated 1\nfrozen 0\n", &e), &e);
	assert_ok(limits_tree_write(group, "memory.current", "4096\n", &e), &e);
	assert_ok(limits_tree_write(group, "memory.events", "low 0\noom 3\noom_kill 2\n", &e), &e);
	assert_ok(limits_tree_write(group, "cpu.stat", "usage_usec 77\nuser_usec 70\n", &e), &e);
	assert_ok(limits_tree_write(group, "cgroup.procs", "12\n13\n", &e), &e);
	assert_true(limits_populated(l, inst));
	assert_ok(limits_usage(l, inst, &u, &e), &e);
	assert_int_equal(u.memory_bytes, 4096);
	assert_int_equal(u.oom_kills, 2);
	assert_int_equal(u.cpu_usec, 77);
	assert_ok(limits_freeze(l, inst, true, &e), &e);
	expect(group, "cgroup.freeze", "1");
	assert_ok(limits_kill(l, inst, &e), &e);
	expect(group, "cgroup.kill", "1");
	assert_ok(file_remove_tree(dir, &e), &e);
}

static void
layouts_are_told_apart(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} cases[] = {
		{ "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
		  "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup "
		  "rw,cpu,cpuacct\n"
		  "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		  "99 31 0:32 / /mnt/again rw - cgroup cgroup rw,memory\n"
		  "41 31 0:38 / /nonexistent rw - cgroup2 cgroup2 rw,nsdelegate\n",
		    3 },
		{ "30 23 0:26 / /nonexistent rw shared:1 master:2 - cgroup2 cgroup2 rw\n", 1 },
		{ "junk\n\n - \n30 - cgroup\n", 0 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FINI(limits_tree_fini) struct limits_tree t = { 0 };
		struct err e = { 0 };
		int rc = limits_tree_parse(str_of(cases[i].text), &t, &e);

		assert_int_equal(rc, cases[i].n == 0 ? -1 : 0);
		assert_int_equal(t.n, cases[i].n);
		if (cases[i].n == 3) {
			assert_ptr_equal(limits_tree_find(&t, LIMITS_CPUACCT), &t.v[0]);
			assert_ptr_equal(limits_tree_find(&t, LIMITS_MEMORY), &t.v[1]);
			assert_ptr_equal(limits_tree_v2(&t), &t.v[2]);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_group_lives_and_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(out_of_memory_is_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(a_fork_bomb_is_held_and_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_frozen_one_is_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(init_is_found, setup, teardown),
		cmocka_unit_test_setup_teardown(names_are_checked, setup, teardown),
		cmocka_unit_test(v2_writes_its_files),
		cmocka_unit_test(layouts_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
