#include "node/net_ns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

static const char own_path[] = "/proc/thread-self/ns/net";

static void
go_back(int own)
{
	/* A worker left in a gear's namespace would do the next job there. */
	if (setns(own, CLONE_NEWNET) < 0)
		abort();
}

int
net_ns_run(int ns_fd, net_ns_fn *fn, void *arg, struct err *e)
{
	AUTO(file_close) int own = open(own_path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (own < 0 || setns(ns_fd, CLONE_NEWNET) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot enter a network namespace");
	rc = fn(arg, e);
	go_back(own);
	return rc;
}

static int
bind_and_run(const char *path, net_ns_fn *fn, void *arg, struct err *e)
{
	if (mount(own_path, path, "none", MS_BIND, NULL) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot bind a namespace at %s", path);
	if (fn(arg, e) == 0)
		return 0;
	(void)umount2(path, MNT_DETACH);
	return -1;
}

int
net_ns_make(const char *path, net_ns_fn *fn, void *arg, struct err *e)
{
	AUTO(file_close) int own = open(own_path, O_RDONLY | O_CLOEXEC);
	AUTO(file_close) int target = -1;
	int rc, ns = -1;

	if (own < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open %s", own_path);
	target = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (target < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make %s", path);
	if (unshare(CLONE_NEWNET) < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot make a network namespace");
		(void)unlink(path);
		return -1;
	}
	rc = bind_and_run(path, fn, arg, e);
	if (rc == 0) {
		ns = open(own_path, O_RDONLY | O_CLOEXEC);
		if (ns < 0) {
			(void)err_set(e, ERR_SYSTEM, NULL, "cannot open %s", own_path);
			(void)umount2(path, MNT_DETACH);
		}
	}
	go_back(own);
	if (ns < 0)
		(void)unlink(path);
	return ns;
}

bool
net_ns_is_bound(const char *path)
{
	struct statfs s;

	return statfs(path, &s) == 0 && s.f_type == NSFS_MAGIC;
}

int
net_ns_open(const char *path, struct err *e)
{
	int fd;

	if (!net_ns_is_bound(path))
		return err_set(e, ERR_NOT_FOUND, NULL, "no namespace is bound at %s", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(e, ERR_SYSTEM, NULL, "cannot open %s", path);
}

int
net_ns_unbind(const char *path, struct err *e)
{
	/* Several bindings may lie upon each other; ours is one. Detached: open fds keep it busy.
	 */
	while (net_ns_is_bound(path)) {
		if (umount2(path, MNT_DETACH) < 0)
			return err_set(e, ERR_SYSTEM, NULL, "cannot unmount %s", path);
	}
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, ERR_SYSTEM, NULL, "cannot remove %s", path);
	return 0;
}
