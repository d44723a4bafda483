#include "node/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/loop/child_run.h"
#include "lib/loop/loop.h"
#include "node/gear_home.h"
#include "node/loopdev.h"
#include "node/node_dirs.h"
#include "node/volume_size.h"

enum {
	DISK_MB_MIN = 32,
	JOURNAL_MB = 4,
	FILES_PER_MB_USUAL = 64,
	FILES_PER_MB_MAX = 256, /* a block for each, and inodes take a sixteenth of the disk */
	SMALL_MB = 512,         /* below, mkfs takes blocks of 1 KiB */
	SMALL_GROUP_MB = 8,
	GROUP_MB = 128,
	INODES_STEP = 8, /* a group's number of them is rounded down to that */
	PROGRAM_MS = 120000,
	POLL_MS = 10,
	HELD_MS = 3000, /* for mount namespaces that end */
};

struct volumes {
	const struct node_dirs *dirs; /* borrowed */
	char *templates;              /* owned: DATA/templates */
	bool is_image;
	bool can_hold;        /* file systems may be larger than their disks */
	pthread_mutex_t lock; /* guards the making of templates */
};

static char *
image_path(const struct volumes *v, const char *uuid)
{
	return xasprintf("%s/%s.img", v->dirs->gears, uuid);
}

/* Runs a program to its end. Returns its exit code. */
static int
run_program(const char *const *argv, struct err *e)
{
	const struct child_opts o = { .argv = argv, .timeout_ms = PROGRAM_MS };

	return child_run(&o, NULL, 0, NULL, e);
}

/* --- templates --- */

/* Inode tables are not written, so that the image stays sparse; nor is room kept for a larger table
 * of groups in each copy of it. */
static int
format(const char *path, int64_t image_mb, int64_t files, struct err *e)
{
	AUTO(free) char *journal = xasprintf("size=%d", JOURNAL_MB);
	AUTO(free)
	char *percent = xasprintf("%.4f", VOLUME_SIZE_RESERVED_MB * 100.0 / (double)image_mb);
	int64_t groups = image_mb / (image_mb < SMALL_MB ? SMALL_GROUP_MB : GROUP_MB) + 1;
	AUTO(free) char *inodes = xasprintf("%" PRId64, files + groups * INODES_STEP);
	const char *argv[] = { "/sbin/mkfs.ext4", "-q", "-F", "-J", journal, "-m", percent, "-O",
		"^resize_inode", "-E", "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0",
		"-N", inodes, "-L", "gear", path, NULL };
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -1 : ftruncate(fd, image_mb * 1024 * 1024);

	file_close(fd);
	if (rc < 0)
		return err_set(e, ERR_SYSTEM, NULL, "make %s", path);
	return run_program(argv, e) == 0 ? 0 : -1;
}

static int
mount_image(const char *image, bool is_new, const char *target, struct err *e)
{
	char device[LOOPDEV_NAME_MAX];
	AUTO(file_close) int fd = -1;

	if (file_mkdirs(target, 0711, e) < 0)
		return -1;
	fd = loopdev_open(image, is_new, device, e);
	if (fd < 0)
		return -1;
	fault_point("volume_attached");
	if (mount(device, target, "ext4", MS_NOSUID | MS_NODEV | MS_NOATIME,
	        "noinit_itable,discard") < 0)
		return err_set(e, ERR_SYSTEM, NULL, "mount %s on %s", image, target);
	return 0;
}

/* A formatted image with the skeleton of a home, for volumes of that size. */
static int
make_template(
    const struct volumes *v, const char *path, int64_t image_mb, int64_t files, struct err *e)
{
	AUTO(free) char *fresh = xasprintf("%s.new", path);
	AUTO(free) char *at = xasprintf("%s.mnt", path);
	int rc;

	(void)umount2(at, MNT_DETACH);
	if (file_mkdirs(v->templates, 0700, e) < 0 || format(fresh, image_mb, files, e) < 0 ||
	    mount_image(fresh, true, at, e) < 0)
		return -1;
	rc = gear_home_skeleton(at, e);
	if (umount2(at, 0) < 0 && rc == 0)
		rc = err_set(e, ERR_SYSTEM, NULL, "unmount %s", at);
	(void)rmdir(at);
	if (rc < 0)
		return -1;
	if (rename(fresh, path) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "rename %s", fresh);
	return 0;
}

static int
copy_sparse(const char *from, const char *to, struct err *e)
{
	AUTO(file_close) int in = open(from, O_RDONLY | O_CLOEXEC);
	AUTO(file_close) int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	off_t size = in < 0 ? -1 : lseek(in, 0, SEEK_END), at = 0, end;

	if (in < 0 || out < 0 || size < 0 || ftruncate(out, size) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "copy %s to %s", from, to);
	while (at < size && (at = lseek(in, at, SEEK_DATA)) >= 0) {
		off_t to_at = at;

		end = lseek(in, at, SEEK_HOLE);
		while (at < end) {
			ssize_t n = copy_file_range(in, &at, out, &to_at, (size_t)(end - at), 0);

			if (n <= 0)
				return err_set(e, ERR_SYSTEM, NULL, "copy %s to %s", from, to);
		}
	}
	return 0;
}

static char *
get_template(struct volumes *v, int64_t disk_mb, int64_t files, struct err *e)
{
	int64_t image_mb = v->can_hold ? volume_size_image_mb(disk_mb) : disk_mb;
	AUTO(free)
	char *path =
	    xasprintf("%s/home2-%" PRId64 "-%" PRId64 ".img", v->templates, image_mb, files);
	int rc = 0;

	pthread_mutex_lock(&v->lock);
	if (!file_exists(path))
		rc = make_template(v, path, image_mb, files, e);
	pthread_mutex_unlock(&v->lock);
	return rc < 0 ? NULL : STEAL(path);
}

/* --- volumes --- */

static int64_t
least_mb(int64_t disk_mb)
{
	return disk_mb < DISK_MB_MIN ? DISK_MB_MIN : disk_mb;
}

/* How many files, 0: what suits the size. */
static int64_t
files_of(int64_t disk_mb, int64_t files)
{
	if (files <= 0)
		return least_mb(disk_mb) * FILES_PER_MB_USUAL;
	return files > disk_mb * FILES_PER_MB_MAX ? disk_mb * FILES_PER_MB_MAX : files;
}

bool
volume_is_mounted(const struct volumes *v, const char *uuid)
{
	AUTO(free) char *dir = node_dirs_gear(v->dirs, uuid);
	struct stat st, parent;

	if (stat(dir, &st) < 0 || stat(v->dirs->gears, &parent) < 0)
		return false;
	return st.st_dev != parent.st_dev;
}

int
volume_make(struct volumes *v, const char *uuid, int64_t disk_mb, int64_t files, struct err *e)
{
	AUTO(free) char *image = image_path(v, uuid);
	AUTO(free) char *dir = node_dirs_gear(v->dirs, uuid);
	AUTO(free) char *template = NULL;
	int64_t mb;

	if (volume_remove(v, uuid, e) < 0)
		return -1;
	if (!v->is_image)
		return file_mkdirs(dir, 0711, e) < 0 ? -1 : gear_home_skeleton(dir, e);
	template = get_template(v, least_mb(disk_mb), files_of(disk_mb, files), e);
	if (template == NULL || copy_sparse(template, image, e) < 0)
		return -1;
	fault_point("volume_copied");
	return mount_image(image, true, dir, e) < 0 ? -1
	                                            : volume_fit(v, uuid, disk_mb, files, &mb, e);
}

static int
check_image(const char *image, const char *uuid, struct err *e)
{
	const char *const argv[] = { "/sbin/e2fsck", "-p", image, NULL };
	int rc = run_program(argv, e);

	if (rc < 0 || rc >= 4)
		return err_wrap(e, "the gear's disk needs repair by hand");
	e->code = ERR_NONE;
	log_info("volume_checked", LOG_STR("gear", uuid), LOG_INT("repaired", rc));
	return 0;
}

int
volume_mount(struct volumes *v, const char *uuid, struct err *e)
{
	AUTO(free) char *image = image_path(v, uuid);
	AUTO(free) char *dir = node_dirs_gear(v->dirs, uuid);
	char device[LOOPDEV_NAME_MAX];
	bool is_held;

	if (volume_is_mounted(v, uuid))
		return 0;
	if (!file_exists(image)) {
		AUTO(free) char *base = file_join(dir, "base/0");

		if (file_exists(base))
			return 0; /* a plain directory, or the kind was changed */
		return err_set(e, ERR_NOT_FOUND, NULL, "gear %s has no volume", uuid);
	}
	/* While something uses the device, the file system is alive and must not be touched. */
	is_held = loopdev_find(image, device);
	if (!is_held && volume_size_needs_check(image) && check_image(image, uuid, e) < 0)
		return -1;
	return mount_image(image, !is_held, dir, e);
}

int
volume_unmount(struct volumes *v, const char *uuid, int64_t timeout_ms, struct err *e)
{
	AUTO(free) char *image = image_path(v, uuid);
	AUTO(free) char *dir = node_dirs_gear(v->dirs, uuid);
	int64_t deadline = loop_now_ms() + timeout_ms;
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	char device[LOOPDEV_NAME_MAX];
	bool is_known = volume_is_mounted(v, uuid) && loopdev_mounted(dir, device);

	if (!is_known && !(file_exists(image) && loopdev_find(image, device)))
		device[0] = '\0';
	while (volume_is_mounted(v, uuid)) {
		if (umount2(dir, 0) == 0)
			continue;
		if (errno != EBUSY)
			return err_set(e, ERR_SYSTEM, NULL, "unmount %s", dir);
		if (loop_now_ms() > deadline)
			return err_set(e, ERR_BUSY, NULL, "unmount %s", dir);
		nanosleep(&pause, NULL);
	}
	/* Unmounted here, it may live on in a mount namespace that still ends. One that does not
	 * end is another program's, which holds the device but has no use for it: the next mount
	 * takes the same device. */
	while (loopdev_has(device, image) && loop_now_ms() <= deadline)
		nanosleep(&pause, NULL);
	if (loopdev_has(device, image))
		log_warn("volume_held", LOG_STR("gear", uuid), LOG_STR("device", device));
	return 0;
}

int
volume_remove(struct volumes *v, const char *uuid, struct err *e)
{
	AUTO(free) char *image = image_path(v, uuid);
	AUTO(free) char *dir = node_dirs_gear(v->dirs, uuid);

	if (volume_unmount(v, uuid, HELD_MS, e) < 0)
		return -1;
	fault_point("volume_unmounted");
	if (unlink(image) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, NULL, "remove %s", image);
	fault_point("volume_unlinked");
	return file_remove_tree(dir, e);
}

int
volume_grow(struct volumes *v, const char *uuid, int64_t disk_mb, int64_t files, struct err *e)
{
	AUTO(free) char *image = image_path(v, uuid);

	if (!file_exists(image) || volume_is_mounted(v, uuid))
		return 0;
	if (volume_size_grow(image, NULL, least_mb(disk_mb), files_of(disk_mb, files), e) < 0)
		return err_wrap(e, "grow the disk of gear %s", uuid);
	return 0;
}

int
volume_fit(struct volumes *v, const char *uuid, int64_t disk_mb, int64_t files, int64_t *out_mb,
    struct err *e)
{
	AUTO(free) char *image = image_path(v, uuid);
	AUTO(free) char *dir = node_dirs_gear(v->dirs, uuid);
	char device[LOOPDEV_NAME_MAX];
	struct err why = { 0 };
	int64_t mb = 0;

	*out_mb = disk_mb;
	if (!v->can_hold || !volume_is_mounted(v, uuid) || !loopdev_mounted(dir, device))
		return 0;
	if (volume_size_grow(image, device, least_mb(disk_mb), files_of(disk_mb, files), &why) < 0)
		log_info("volume_grows_later", LOG_STR("gear", uuid), LOG_ERR(&why));
	if (volume_size_hold(device, least_mb(disk_mb), &mb, e) < 0)
		return err_wrap(e, "the disk of gear %s", uuid);
	*out_mb = mb < disk_mb ? mb : disk_mb;
	return 0;
}

static int
move_aside(const struct volumes *v, const char *path, const char *name, struct err *e)
{
	AUTO(free) char *to = xasprintf("%s/%s.%lld", v->dirs->aside, name, (long long)time(NULL));

	if (rename(path, to) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, NULL, "move %s to %s", path, to);
	return 0;
}

int
volume_set_aside(struct volumes *v, const char *uuid, struct err *e)
{
	AUTO(free) char *image = image_path(v, uuid);
	AUTO(free) char *image_name = xasprintf("%s.img", uuid);
	AUTO(free) char *dir = node_dirs_gear(v->dirs, uuid);

	if (volume_unmount(v, uuid, HELD_MS, e) < 0 || move_aside(v, image, image_name, e) < 0)
		return -1;
	return rmdir(dir) == 0 || errno == ENOENT ? 0 : move_aside(v, dir, uuid, e);
}

int
volume_purge_aside(struct volumes *v, int64_t max_age_s, struct err *e)
{
	DIR *d = opendir(v->dirs->aside);
	struct dirent *de;
	int rc = 0;

	if (d == NULL)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", v->dirs->aside);
	while ((de = readdir(d)) != NULL) {
		const char *dot = strrchr(de->d_name, '.');
		AUTO(free) char *path = file_join(v->dirs->aside, de->d_name);

		if (dot == NULL || dot == de->d_name || dot[1] == '\0' ||
		    time(NULL) - strtoll(dot + 1, NULL, 10) <= max_age_s)
			continue;
		log_info("volume_purged", LOG_STR("name", de->d_name));
		if (file_remove_tree(path, e) < 0)
			rc = -1;
	}
	closedir(d);
	return rc;
}

int
volume_usage(const struct volumes *v, const char *uuid, int64_t *out_used_kb, int64_t *out_free_kb,
    struct err *e)
{
	AUTO(free) char *dir = node_dirs_gear(v->dirs, uuid);
	struct statvfs fs;

	if (statvfs(dir, &fs) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "look at %s", dir);
	*out_used_kb = (int64_t)((fs.f_blocks - fs.f_bfree) * fs.f_frsize / 1024);
	*out_free_kb = (int64_t)(fs.f_bavail * fs.f_frsize / 1024);
	return 0;
}

/* --- all of them --- */

/* Can this machine hold back a part of a file system? One is mounted to see. */
static bool
can_hold(const struct volumes *v, const char *image)
{
	AUTO(free) char *at = xasprintf("%s.mnt", image);
	char device[LOOPDEV_NAME_MAX];
	struct err e = { 0 };
	int64_t mb;
	bool is_held;

	if (mount_image(image, false, at, &e) < 0)
		return false;
	is_held =
	    loopdev_mounted(at, device) && volume_size_hold(device, DISK_MB_MIN, &mb, &e) == 0;
	(void)umount2(at, 0);
	(void)rmdir(at);
	if (!is_held)
		log_warn(
		    "disks_grow_at_the_next_start", LOG_STR("data", v->dirs->data), LOG_ERR(&e));
	return is_held;
}

/* Can this machine mount an image of ours? Proved by making the smallest template. */
static bool
can_mount_images(struct volumes *v)
{
	struct err e = { 0 };
	AUTO(free) char *path = NULL;

	if (access("/dev/loop-control", R_OK | W_OK) == 0)
		path = get_template(v, DISK_MB_MIN, 0, &e);
	else
		(void)err_set(&e, ERR_SYSTEM, NULL, "open /dev/loop-control");
	if (path == NULL)
		log_warn("volumes_without_limit",
		    LOG_STR("fix", "a kernel with loop devices and ext4"), LOG_ERR(&e));
	else
		v->can_hold = can_hold(v, path);
	return path != NULL;
}

struct volumes *
volumes_open(const struct node_dirs *dirs, const char *kind, struct err *e)
{
	AUTO(volumes_close) struct volumes *v = xcalloc(1, sizeof *v);

	if (strcmp(kind, "auto") != 0 && strcmp(kind, "image") != 0 && strcmp(kind, "plain") != 0) {
		(void)err_set(e, ERR_INVALID, "volumes", "must be auto, image or plain");
		return NULL;
	}
	v->dirs = dirs;
	v->templates = file_join(dirs->data, "templates");
	pthread_mutex_init(&v->lock, NULL);
	v->can_hold = true;
	v->is_image = strcmp(kind, "plain") != 0 && can_mount_images(v);
	if (!v->is_image && strcmp(kind, "image") == 0) {
		(void)err_set(e, ERR_SYSTEM, "volumes", "this machine cannot mount images");
		return NULL;
	}
	return STEAL(v);
}

void
volumes_close(struct volumes *take_v)
{
	if (take_v == NULL)
		return;
	pthread_mutex_destroy(&take_v->lock);
	free(take_v->templates);
	free(take_v);
}

const char *
volumes_kind(const struct volumes *v)
{
	return v->is_image ? "image" : "plain";
}
