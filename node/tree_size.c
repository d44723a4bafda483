#include "node/tree_size.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"

enum { DEPTH_MAX = 200, NAME_COST = 512, STAT_BLOCK = 512 };

/* Adds to *sum; false: above stop_at, or too deep. */
static bool
add_dir(int fd, int depth, int64_t stop_at, int64_t *sum)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *de;
	bool goes_on = depth < DEPTH_MAX;

	if (d == NULL) {
		file_close(copy);
		return true;
	}
	while (goes_on && (de = readdir(d)) != NULL) {
		struct stat st;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
		    fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		*sum += (int64_t)st.st_blocks * STAT_BLOCK + NAME_COST;
		if (S_ISDIR(st.st_mode)) {
			int sub =
			    openat(fd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			goes_on = sub < 0 || add_dir(sub, depth + 1, stop_at, sum);
			file_close(sub);
		}
		goes_on = goes_on && (stop_at <= 0 || *sum <= stop_at);
	}
	closedir(d);
	return goes_on;
}

int64_t
tree_size(const char *path, int64_t stop_at)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int64_t sum = 0;

	if (fd < 0)
		return 0;
	(void)add_dir(fd, 0, stop_at, &sum);
	file_close(fd);
	return sum;
}
