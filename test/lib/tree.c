#include "test/lib/tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

static void
must(int is_ok, const char *what)
{
	if (is_ok)
		return;
	perror(what);
	abort();
}

char *
tree_new(void)
{
	char *dir = xstrdup("/tmp/pinion-test-tree.XXXXXX");

	must(mkdtemp(dir) != NULL, dir);
	return dir;
}

static char *
with_parents(const char *dir, const char *path)
{
	AUTO(free) char *full = file_join(dir, path);
	AUTO(free) char *above = xstrdup(full);
	struct err e = { 0 };

	*strrchr(above, '/') = '\0';
	must(file_mkdirs(above, 0755, &e) == 0, above);
	return STEAL(full);
}

void
tree_put(const char *dir, const char *path, const char *content, mode_t mode)
{
	AUTO(free) char *full = with_parents(dir, path);
	FILE *f = fopen(full, "w");

	must(f != NULL, full);
	must(fwrite(content, 1, strlen(content), f) == strlen(content), full);
	must(fclose(f) == 0 && chmod(full, mode == 0 ? 0644 : mode) == 0, full);
}

void
tree_link(const char *dir, const char *path, const char *target)
{
	AUTO(free) char *full = with_parents(dir, path);

	must(symlink(target, full) == 0, full);
}

void
tree_put_all(const char *dir, const char *const *files)
{
	for (; *files != NULL; files++) {
		size_t n = strcspn(*files, "\n");
		int is_executable = n > 0 && (*files)[n - 1] == '*';
		AUTO(free) char *path = xstrndup(*files, n - (is_executable ? 1 : 0));

		tree_put(dir, path, (*files)[n] == '\0' ? "" : *files + n + 1,
		    is_executable ? 0755 : 0644);
	}
}

int
tree_open(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(fd >= 0, dir);
	return fd;
}

void
tree_remove(char *take_dir)
{
	struct err e = { 0 };

	must(file_remove_tree(take_dir, &e) == 0, take_dir);
	free(take_dir);
}
