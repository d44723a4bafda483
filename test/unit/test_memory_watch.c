#include "router/memory_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/file.h"
#include "test/lib/tree.h"

enum { MB = 1024 * 1024 };

static char *top, *proc, *root; /* owned */

static void
put(const char *path, const char *text)
{
	tree_put(top, path, text, 0);
}

static void
without_limits_there_is_no_level(void **state)
{
	struct memory_use u;

	(void)state;
	put("proc/cgroup", "0::/a/b\n");
	put("cgroup/a/memory.max", "max\n");
	u = memory_watch_look(proc, root, 0);
	assert_int_equal(u.max, 0);
	assert_int_equal(memory_watch_level(u, SHED_NONE), SHED_NONE);
}

static void
the_closest_limit_counts(void **state)
{
	struct memory_use u;

	(void)state;
	put("proc/cgroup", "0::/a/b\n");
	put("cgroup/a/memory.max", "104857600\n");
	put("cgroup/a/memory.current", "52428800\n");
	put("cgroup/a/b/memory.max", "max\n");
	put("cgroup/a/b/memory.current", "1048576\n");
	u = memory_watch_look(proc, root, 1000);
	assert_int_equal(u.max, 100 * MB); /* of the group above */
	assert_int_equal(u.used, 50 * MB);
	u = memory_watch_look(proc, root, 5);
	assert_int_equal(u.max, 5 * MB); /* --memory-max */
	assert_int_equal(u.used, 1000 * sysconf(_SC_PAGESIZE));
}

static void
copies_of_files_are_not_used(void **state)
{
	struct memory_use u;

	(void)state;
	put("proc/cgroup", "0::/c\n");
	put("cgroup/c/memory.max", "104857600\n");
	put("cgroup/c/memory.current", "99614720\n");
	put("cgroup/c/memory.stat", "anon 1\ninactive_file 40000000\nactive_file 9614720\n");
	u = memory_watch_look(proc, root, 0);
	assert_int_equal(u.used, 50000000);
}

static void
groups_of_version_1_count(void **state)
{
	struct memory_use u;

	(void)state;
	put("proc/cgroup", "5:cpu:/x\n4:memory:/d\n");
	put("cgroup/memory/d/memory.limit_in_bytes", "104857600\n");
	put("cgroup/memory/d/memory.usage_in_bytes", "1048576\n");
	u = memory_watch_look(proc, root, 0);
	assert_int_equal(u.max, 100 * MB);
	assert_int_equal(u.used, MB);
}

static void
a_level_ends_below_its_beginning(void **state)
{
	static const struct {
		int percent;
		enum shed_level now, want;
	} rows[] = {
		{ 70, SHED_NONE, SHED_NONE },
		{ 77, SHED_NONE, SHED_IDLE },
		{ 72, SHED_IDLE, SHED_IDLE },
		{ 65, SHED_IDLE, SHED_NONE },
		{ 87, SHED_IDLE, SHED_STALLED },
		{ 97, SHED_NONE, SHED_NEW },
		{ 92, SHED_NEW, SHED_NEW },
		{ 60, SHED_NEW, SHED_NONE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct memory_use u = { (int64_t)rows[i].percent * MB, 100 * (int64_t)MB };

		assert_int_equal(memory_watch_level(u, rows[i].now), rows[i].want);
	}
}

static int
make_dirs(void **state)
{
	(void)state;
	top = tree_new();
	proc = file_join(top, "proc");
	root = file_join(top, "cgroup");
	put("proc/statm", "100000 1000 10 1 0 1 0\n");
	return 0;
}

static int
remove_dirs(void **state)
{
	(void)state;
	free(proc);
	free(root);
	tree_remove(top);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_limits_there_is_no_level),
		cmocka_unit_test(the_closest_limit_counts),
		cmocka_unit_test(copies_of_files_are_not_used),
		cmocka_unit_test(groups_of_version_1_count),
		cmocka_unit_test(a_level_ends_below_its_beginning),
	};

	return cmocka_run_group_tests(tests, make_dirs, remove_dirs);
}
