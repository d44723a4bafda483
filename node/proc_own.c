#include "node/proc_own.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

int
proc_own_open(void)
{
	int fs = fsopen("proc", FSOPEN_CLOEXEC), fd = -1;

	if (fs >= 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		fd = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	if (fs >= 0)
		(void)close(fs);
	return fd >= 0 ? fd : open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
}
