#include "node/confine.h"

#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/container_ids.h"

int
confine_to(int dir_fd, struct err *e)
{
	if (fchdir(dir_fd) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot enter the directory on fd %d", dir_fd);
	if (geteuid() == 0 && (chroot(".") < 0 || setgroups(0, NULL) < 0 ||
	                          setresgid(CONTAINER_UID, CONTAINER_UID, CONTAINER_UID) < 0 ||
	                          setresuid(CONTAINER_UID, CONTAINER_UID, CONTAINER_UID) < 0))
		return err_set(e, ERR_SYSTEM, NULL, "cannot give up privileges");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot give up privileges");
	umask(022);
#ifndef __SANITIZE_ADDRESS__
	{
		struct rlimit memory = { 512L * 1024 * 1024, 512L * 1024 * 1024 };

		(void)setrlimit(RLIMIT_AS, &memory);
	}
#endif
	return 0;
}
