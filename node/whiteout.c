#include "node/whiteout.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

bool
whiteout_is(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

bool
whiteout_is_opaque(int fd)
{
	char v = 0;

	return fgetxattr(fd, "trusted.overlay.opaque", &v, 1) == 1 && v == 'y';
}

bool
whiteout_hides(int layer, const char *rel)
{
	AUTO(file_close) int fd = -1;
	struct str rest = str_of(rel), part;
	struct stat st;

	while (rest.p != NULL) {
		AUTO(free) char *name = NULL;
		int next;

		rest = str_cut(rest, '/', &part);
		name = xstrndup(part.p, part.n);
		if (fstatat(fd < 0 ? layer : fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return false;
		if (!S_ISDIR(st.st_mode))
			return whiteout_is(&st);
		next = openat(
		    fd < 0 ? layer : fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		file_close(fd);
		fd = next;
		if (fd < 0 || whiteout_is_opaque(fd))
			return fd >= 0;
	}
	return false;
}
