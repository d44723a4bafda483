#include "node/loopdev.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <linux/major.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { TRIES = 64 };

static bool
is_backed_by(const char *name, const char *path)
{
	AUTO(free) char *file = xasprintf("/sys/block/%s/loop/backing_file", name);
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	struct err e = { 0 };
	size_t n = strlen(path);

	if (file_read(file, PATH_MAX, &text, &e) < 0)
		return false;
	return text.n >= n && memcmp(text.p, path, n) == 0 &&
	       (text.p[n] == '\n' || text.p[n] == '\0');
}

bool
loopdev_find(const char *path, char out[LOOPDEV_NAME_MAX])
{
	DIR *d = opendir("/sys/block");
	struct dirent *de;
	bool is_found = false;

	if (d == NULL)
		return false;
	while (!is_found && (de = readdir(d)) != NULL) {
		if (strncmp(de->d_name, "loop", 4) != 0 || strlen(de->d_name) > 12 ||
		    !is_backed_by(de->d_name, path))
			continue;
		(void)snprintf(out, LOOPDEV_NAME_MAX, "/dev/%.12s", de->d_name);
		is_found = true;
	}
	closedir(d);
	return is_found;
}

bool
loopdev_mounted(const char *dir, char out[LOOPDEV_NAME_MAX])
{
	struct stat st;

	if (stat(dir, &st) < 0 || major(st.st_dev) != LOOP_MAJOR)
		return false;
	(void)snprintf(out, LOOPDEV_NAME_MAX, "/dev/loop%u", minor(st.st_dev));
	return true;
}

bool
loopdev_has(const char *device, const char *path)
{
	return str_has_prefix(device, "/dev/loop") && is_backed_by(device + strlen("/dev/"), path);
}

/* One try: -1 and EBUSY when another took the free one. */
static int
attach_free(int control, int file, const char *path, char out[LOOPDEV_NAME_MAX])
{
	struct loop_config c = { .fd = (unsigned)file };
	int number = ioctl(control, LOOP_CTL_GET_FREE), fd;

	if (number < 0)
		return -1;
	(void)snprintf(out, LOOPDEV_NAME_MAX, "/dev/loop%d", number);
	fd = open(out, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	c.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	(void)snprintf((char *)c.info.lo_file_name, sizeof c.info.lo_file_name, "%.63s", path);
	if (ioctl(fd, LOOP_CONFIGURE, &c) == 0)
		return fd;
	file_close(fd);
	return -1;
}

int
loopdev_open(const char *path, bool is_new, char out[LOOPDEV_NAME_MAX], struct err *e)
{
	AUTO(file_close) int control = -1;
	AUTO(file_close) int file = -1;
	int fd = -1;

	if (!is_new && loopdev_find(path, out)) {
		fd = open(out, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && loopdev_has(out, path)) /* still the same one, held by fd */
			return fd;
		file_close(fd);
	}
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open /dev/loop-control");
	file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open %s", path);
	for (int i = 0; i < TRIES; i++) {
		fd = attach_free(control, file, path, out);
		if (fd >= 0)
			return fd;
		if (errno != EBUSY)
			break;
	}
	return err_set(e, ERR_SYSTEM, NULL, "attach %s to a loop device", path);
}

int
loopdev_resized(const char *device, struct err *e)
{
	AUTO(file_close) int fd = open(device, O_RDWR | O_CLOEXEC);

	if (fd < 0 || ioctl(fd, LOOP_SET_CAPACITY, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "set the size of %s", device);
	return 0;
}
