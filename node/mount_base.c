#include "node/mount_base.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

/* In the child, between fork and its end: system calls only. */
static int
leave(const char *const *dirs, int n)
{
	int i;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return errno;
	for (i = 0; i < n; i++) {
		if (umount2(dirs[i], MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return errno;
	}
	return 0;
}

static void
run_child(const char *const *dirs, int n, int out, int hold)
{
	int why = leave(dirs, n);
	char c;

	if (write(out, &why, sizeof why) == (ssize_t)sizeof why)
		(void)!read(hold, &c, 1);
	_exit(0);
}

/* Once the child has said that it is there. */
static int
open_ns(pid_t pid, int in, struct err *e)
{
	char path[48];
	int why = EPIPE, fd;

	if (read(in, &why, sizeof why) != (ssize_t)sizeof why || why != 0) {
		errno = why;
		return err_set(e, ERR_SYSTEM, NULL, "make a mount namespace without gears");
	}
	(void)snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(e, ERR_SYSTEM, NULL, "open %s", path);
}

int
mount_base_make(const char *const *dirs, int n, struct err *e)
{
	int said[2] = { -1, -1 }, hold[2] = { -1, -1 }, fd = -1;
	pid_t pid = -1;

	if (pipe2(said, O_CLOEXEC) < 0 || pipe2(hold, O_CLOEXEC) < 0 || (pid = fork()) < 0)
		(void)err_set(e, ERR_SYSTEM, NULL, "make a process");
	if (pid == 0) {
		(void)close(hold[1]);
		run_child(dirs, n, said[1], hold[0]);
	}
	file_close(said[1]);
	file_close(hold[0]);
	if (pid > 0)
		fd = open_ns(pid, said[0], e);
	file_close(said[0]);
	file_close(hold[1]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}
