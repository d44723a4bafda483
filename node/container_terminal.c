#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "node/container.h"
#include "node/container_host.h"

enum { PTMX_MAJOR = 5, PTMX_MINOR = 2, TTY_GROUP = 5 };

/* The container's own multiplexer; nothing that its user could put in its place. */
static int
open_master(struct container *c, struct err *e)
{
	AUTO(free) char *path = xasprintf("/proc/%d/root/dev/pts/ptmx", (int)container_pid(c));
	AUTO(file_close)
	int fd = open(path, O_RDWR | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	struct statfs fs;
	int master;

	if (fd < 0 && (errno == ENOSPC || errno == EMFILE))
		return err_set(e, ERR_LIMIT, NULL, "the instance has too many terminals");
	if (fd < 0 || fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open a terminal");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(PTMX_MAJOR, PTMX_MINOR) ||
	    fs.f_type != DEVPTS_SUPER_MAGIC)
		return err_set(e, ERR_DENIED, NULL, "the instance has no devpts of its own");
	master = fd;
	fd = -1;
	return master;
}

/* The first host uid of its user namespace. */
static int
find_base(struct container *c, long *out, struct err *e)
{
	AUTO(free) char *path = xasprintf("/proc/%d/uid_map", (int)container_pid(c));
	AUTO_FINI(buf_fini) struct buf map = { 0 };
	long inside;

	if (file_read(path, 4096, &map, e) < 0)
		return -1;
	if (sscanf(map.p, "%ld %ld", &inside, out) != 2 || inside != 0)
		return err_set(e, ERR_SYSTEM, NULL, "%s is not understood", path);
	return 0;
}

int
container_terminal(struct container *c, int *out_master, int *out_slave, struct err *e)
{
	AUTO(file_close) int master = -1;
	AUTO(file_close) int slave = -1;
	int unlock = 0;
	long base;

	if (container_pid(c) == 0)
		return err_set(e, ERR_NOT_FOUND, NULL, "the container does not run");
	if ((master = open_master(c, e)) < 0 || find_base(c, &base, e) < 0)
		return -1;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0 ||
	    (slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "open a terminal");
	if (fchown(slave, (uid_t)(base + CONTAINER_UID), (gid_t)(base + TTY_GROUP)) < 0 ||
	    fchmod(slave, 0620) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "give the terminal to the gear");
	/* Was it that container all the time, and not one that got its number? */
	if (container_signal(c, 0) < 0)
		return err_set(e, ERR_NOT_FOUND, NULL, "the container has ended");
	*out_master = master;
	*out_slave = slave;
	master = slave = -1;
	return 0;
}
