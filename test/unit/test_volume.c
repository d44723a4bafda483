#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/gear_home.h"
#include "node/loopdev.h"
#include "node/node_dirs.h"
#include "node/volume.h"
#include "node/volume_size.h"

#define GEAR "5f0000000000000000000001"
enum { WAIT_MS = 5000 };

struct world {
	char root[64];
	struct node_dirs dirs;
	struct volumes *v;
};

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	struct err e = { 0 };

	(void)snprintf(w->root, sizeof w->root, "/tmp/pinion-test-volume.XXXXXX");
	assert_non_null(mkdtemp(w->root));
	AUTO(free) char *data = file_join(w->root, "node");
	AUTO(free) char *run = file_join(w->root, "run");
	assert_int_equal(node_dirs_init(&w->dirs, data, run, w->root, w->root, w->root, &e), 0);
	w->v = volumes_open(&w->dirs, "auto", &e);
	assert_non_null(w->v);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	assert_int_equal(volume_remove(w->v, GEAR, &e), 0);
	volumes_close(w->v);
	node_dirs_fini(&w->dirs);
	assert_int_equal(file_remove_tree(w->root, &e), 0);
	free(w);
	return 0;
}

static bool
is_root(void)
{
	return geteuid() == 0;
}

static void
test_life(void **state)
{
	struct world *w = *state;
	AUTO(free) char *dir = node_dirs_gear(&w->dirs, GEAR);
	AUTO(free) char *image = xasprintf("%s.img", dir);
	AUTO(free) char *data = file_join(dir, "data");
	char device[LOOPDEV_NAME_MAX];
	int64_t used = 0, room = 0;
	struct err e = { 0 };
	struct stat st;

	if (strcmp(volumes_kind(w->v), "image") != 0)
		skip();
	assert_int_equal(volume_mount(w->v, GEAR, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(volume_make(w->v, GEAR, 40, 0, &e), 0);
	assert_true(volume_is_mounted(w->v, GEAR));
	assert_true(loopdev_find(image, device));
	assert_int_equal(stat(data, &st), 0);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_int_equal(volume_usage(w->v, GEAR, &used, &room, &e), 0);
	assert_true(room > 20 * 1024 && room < 40 * 1024);
	assert_int_equal(stat(image, &st), 0);
	assert_true(st.st_blocks * 512 < 8 * 1024 * 1024); /* sparse */
	assert_int_equal(volume_mount(w->v, GEAR, &e), 0); /* again: nothing */
	assert_int_equal(volume_unmount(w->v, GEAR, WAIT_MS, &e), 0);
	assert_false(loopdev_find(image, device));
	assert_int_equal(volume_mount(w->v, GEAR, &e), 0);
	assert_int_equal(volume_remove(w->v, GEAR, &e), 0);
	assert_false(file_exists(image));
	assert_false(file_exists(dir));
}

/* Unmounted here while another mount namespace still has it: the device must be used again. */
static void
test_busy_device(void **state)
{
	struct world *w = *state;
	AUTO(free) char *dir = node_dirs_gear(&w->dirs, GEAR);
	AUTO(free) char *image = xasprintf("%s.img", dir);
	char first[LOOPDEV_NAME_MAX], second[LOOPDEV_NAME_MAX];
	AUTO(file_close) int held = -1;
	struct err e = { 0 };

	if (strcmp(volumes_kind(w->v), "image") != 0)
		skip();
	assert_int_equal(volume_make(w->v, GEAR, 40, 0, &e), 0);
	assert_true(loopdev_find(image, first));
	held = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(umount2(dir, MNT_DETACH), 0);
	assert_int_equal(volume_unmount(w->v, GEAR, 100, &e), 0);
	assert_int_equal(volume_mount(w->v, GEAR, &e), 0);
	assert_true(loopdev_find(image, second));
	assert_string_equal(first, second);
}

/* What the gear can use at most, in KiB. */
static int64_t
room_of(struct world *w)
{
	int64_t used = 0, room = 0;
	struct err e = { 0 };

	assert_int_equal(volume_usage(w->v, GEAR, &used, &room, &e), 0);
	return used + room;
}

/* A mounted disk becomes larger and smaller at once; beyond what the image has room for when it is
 * mounted next, if not at once. */
static void
test_fit(void **state)
{
	struct world *w = *state;
	AUTO(free) char *dir = node_dirs_gear(&w->dirs, GEAR);
	int64_t first, mb = 0;
	struct statvfs before, after;
	struct err e = { 0 };

	if (strcmp(volumes_kind(w->v), "image") != 0)
		skip();
	assert_int_equal(volume_make(w->v, GEAR, 40, 2000, &e), 0);
	first = room_of(w);
	assert_true(first > 25 * 1024 && first < 40 * 1024);
	assert_int_equal(statvfs(dir, &before), 0);
	assert_true(before.f_files >= 2000 && before.f_files < 2700);
	assert_int_equal(volume_fit(w->v, GEAR, 120, 2000, &mb, &e), 0);
	assert_int_equal(mb, 120);
	assert_true(room_of(w) >= first + 75 * 1024 && room_of(w) < 120 * 1024);
	assert_int_equal(volume_fit(w->v, GEAR, 40, 2000, &mb, &e), 0);
	assert_int_equal(mb, 40);
	assert_true(room_of(w) <= first + 2048 && room_of(w) >= first - 2048);
	/* as many files as before or more, the disk as large as the file system or larger */
	assert_int_equal(volume_fit(w->v, GEAR, 8000, 40000, &mb, &e), 0);
	assert_true(mb >= 4000 && mb <= 8000);
	assert_int_equal(volume_unmount(w->v, GEAR, WAIT_MS, &e), 0);
	if (volume_grow(w->v, GEAR, 8000, 40000, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(volume_mount(w->v, GEAR, &e), 0);
	assert_int_equal(volume_fit(w->v, GEAR, 8000, 40000, &mb, &e), 0);
	assert_int_equal(mb, 8000);
	assert_true(room_of(w) > 7800 * 1024 && room_of(w) <= 8000 * 1024);
	assert_int_equal(statvfs(dir, &after), 0);
	assert_true(after.f_files >= 40000);
}

/* What a node with CAP_SYS_RESOURCE does while the disk is mounted: image, device and file system
 * grow. Here the file system is not mounted, which needs no capability: the kernel's own part of it
 * is what this leaves out. */
static void
test_grow_by_device(void **state)
{
	struct world *w = *state;
	AUTO(free) char *dir = node_dirs_gear(&w->dirs, GEAR);
	AUTO(free) char *image = xasprintf("%s.img", dir);
	AUTO(file_close) int fd = -1;
	char device[LOOPDEV_NAME_MAX];
	struct err e = { 0 };
	struct statvfs fs;
	struct stat st;

	if (strcmp(volumes_kind(w->v), "image") != 0)
		skip();
	assert_int_equal(volume_make(w->v, GEAR, 40, 2000, &e), 0);
	assert_int_equal(volume_unmount(w->v, GEAR, WAIT_MS, &e), 0);
	/* checked since it was mounted, as resize2fs wants it */
	assert_int_equal(volume_grow(w->v, GEAR, 5000, 2000, &e), 0);
	fd = loopdev_open(image, false, device, &e);
	assert_true(fd >= 0);
	if (volume_size_grow(image, device, 25000, 40000, &e) < 0)
		fail_msg("%s", e.text);
	file_close(fd);
	fd = -1;
	assert_int_equal(stat(image, &st), 0);
	assert_true(st.st_size >= 25000LL << 20);
	assert_int_equal(volume_mount(w->v, GEAR, &e), 0);
	assert_int_equal(statvfs(dir, &fs), 0);
	assert_true(fs.f_files >= 40000);
	assert_true((int64_t)fs.f_blocks * (int64_t)fs.f_frsize > 24000LL << 20);
}

static void
test_aside(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	assert_int_equal(volume_make(w->v, GEAR, 40, 0, &e), 0);
	assert_int_equal(volume_set_aside(w->v, GEAR, &e), 0);
	assert_int_equal(volume_purge_aside(w->v, 1000, &e), 0);
	assert_int_equal(volume_mount(w->v, GEAR, &e), -1);
}

static void
test_instance_dir(void **state)
{
	struct world *w = *state;
	AUTO(free) char *dir = node_dirs_gear(&w->dirs, GEAR);
	AUTO(free) char *up = xasprintf("%s/inst/abc-1/up", dir);
	AUTO(free) char *spare = xasprintf("%s/inst/%s/work/work", dir, GEAR_HOME_SPARE);
	struct err e = { 0 };
	struct stat st;

	assert_int_equal(volume_make(w->v, GEAR, 40, 0, &e), 0);
	assert_true(file_exists(spare));
	assert_int_equal(gear_home_make_instance(dir, "abc-1", &e), 0);
	assert_int_equal(gear_home_make_instance(dir, "abc-1", &e), 0);
	assert_false(file_exists(spare));
	assert_int_equal(gear_home_make_instance(dir, "abc-2", &e), 0);
	assert_int_equal(gear_home_make_spare(dir, &e), 0);
	assert_int_equal(stat(up, &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_gid, 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_busy_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_grow_by_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_aside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_instance_dir, setup, teardown),
	};

	if (!is_root()) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
