#include "node/page_cache.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"

enum {
	PIDS_MAX = 64,
	FILES_MAX = 256,
	MAPS_MAX = 4 * 1024 * 1024,
	FILE_BYTES_MAX = 256 * 1024 * 1024,
	CHUNK = 256 * 1024,
};

static const char root[] = "/usr";

void
page_cache_files_fini(struct page_cache_files *f)
{
	str_list_fini(&f->paths);
}

/* ADDRESS PERMS OFFSET DEV INODE PATH; the stack's /usr is the host's. */
static void
take_line(struct str line, struct page_cache_files *out)
{
	const char *at = memchr(line.p, '/', line.n);
	size_t n = at == NULL ? 0 : line.n - (size_t)(at - line.p);
	struct str path = { at, n };

	if (n <= sizeof root || memcmp(at, root, sizeof root - 1) != 0 ||
	    at[sizeof root - 1] != '/')
		return;
	path = (struct str){ at + sizeof root, n - sizeof root };
	AUTO(free) char *name = xstrndup(path.p, path.n);
	if (out->paths.n < FILES_MAX && !str_list_has(&out->paths, name))
		str_list_take(&out->paths, STEAL(name));
}

void
page_cache_find(const struct limits *l, struct limits_group g, struct page_cache_files *out)
{
	AUTO_FINI(limits_pid_list_fini) struct limits_pid_list pids = { 0 };
	struct err e = { 0 };

	if (limits_pids(l, g, &pids, &e) < 0)
		return;
	for (size_t i = 0; i < pids.n && i < PIDS_MAX; i++) {
		AUTO_FINI(buf_fini) struct buf maps = { 0 };
		char path[64];
		struct str rest, line;

		(void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pids.v[i]);
		if (file_read(path, MAPS_MAX, &maps, &e) < 0)
			continue;
		for (rest = buf_str(&maps); rest.n > 0;) {
			rest = str_cut(rest, '\n', &line);
			take_line(line, out);
		}
	}
}

/* What the names say comes from the kernel, but of a gear's own mounts: nothing but plain files of
 * the system is read, and nobody sees what. */
static void
warm_one(int dir, const char *name, char *chunk)
{
	struct stat st;
	int fd = strstr(name, "..") != NULL
	             ? -1
	             : openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_BYTES_MAX) {
		while (read(fd, chunk, CHUNK) > 0)
			;
	}
	file_close(fd);
}

void
page_cache_warm(const struct page_cache_files *f)
{
	int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(free) char *chunk = dir < 0 ? NULL : xmalloc(CHUNK);

	for (size_t i = 0; dir >= 0 && i < f->paths.n; i++)
		warm_one(dir, f->paths.v[i], chunk);
	file_close(dir);
}
