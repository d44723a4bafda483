#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/fd.h"
#include "lib/base/mem.h"

int
file_raise(int take_fd)
{
	int fd = take_fd < 0 ? -1 : fcntl(take_fd, F_DUPFD_CLOEXEC, 1024);

	if (fd < 0)
		return take_fd;
	(void)close(take_fd);
	return fd;
}

void
file_close(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

static int
cannot(struct err *e, const char *what, const char *path)
{
	return err_set(
	    e, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, NULL, "cannot %s %s", what, path);
}

int
file_read(const char *path, size_t max, struct buf *b, struct err *e)
{
	AUTO(file_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t start = b->n;
	char chunk[16384];
	ssize_t got;

	if (fd < 0)
		return cannot(e, "open", path);
	while ((got = read(fd, chunk, sizeof chunk)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 || b->n - start + (size_t)got > max) {
			buf_truncate(b, start);
			return got < 0 ? cannot(e, "read", path)
			               : err_set(e, ERR_LIMIT, NULL, "%s has more than %zu bytes",
			                     path, max);
		}
		buf_add(b, chunk, (size_t)got);
	}
	return 0;
}

int
file_write_all(int fd, const void *p, size_t n, struct err *e)
{
	return fd_write_all(fd, p, n) ? 0 : err_set(e, ERR_SYSTEM, NULL, "cannot write");
}

static int
sync_dir_of(const char *path, struct err *e)
{
	AUTO(free) char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');

	if (slash != NULL)
		slash[slash == dir ? 1 : 0] = '\0';
	AUTO(file_close)
	int fd = open(slash == NULL ? "." : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot sync the directory of %s", path);
	return 0;
}

static int
replace(const char *path, const void *p, size_t n, mode_t mode, bool sync, struct err *e)
{
	AUTO(free) char *tmp = xasprintf("%s.XXXXXX", path);
	AUTO(file_close) int fd = mkostemp(tmp, O_CLOEXEC);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a file beside %s", path);
	if (file_write_all(fd, p, n, e) < 0 || fchmod(fd, mode) < 0 || (sync && fsync(fd) < 0) ||
	    rename(tmp, path) < 0) {
		(void)err_set(e, ERR_SYSTEM, NULL, "cannot write %s", path);
		(void)unlink(tmp);
		return -1;
	}
	return sync ? sync_dir_of(path, e) : 0;
}

int
file_replace(const char *path, const void *p, size_t n, mode_t mode, struct err *e)
{
	return replace(path, p, n, mode, true, e);
}

int
file_replace_fast(const char *path, const void *p, size_t n, mode_t mode, struct err *e)
{
	return replace(path, p, n, mode, false, e);
}

int
file_mkdirs(const char *path, mode_t mode, struct err *e)
{
	AUTO(free) char *p = xstrdup(path);

	for (char *at = p + 1;; at++) {
		char was = *at;

		if (was != '/' && was != '\0')
			continue;
		*at = '\0';
		if (mkdir(p, mode) < 0 && errno != EEXIST)
			return err_set(e, ERR_SYSTEM, NULL, "cannot make the directory %s", p);
		*at = was;
		if (was == '\0')
			return 0;
	}
}

static int remove_entry(int dir_fd, const char *name, dev_t dev);

static int
remove_content(int fd, dev_t dev)
{
	DIR *d = fdopendir(fd); /* takes fd */
	struct dirent *entry;
	int rc = 0;

	if (d == NULL) {
		file_close(fd);
		return -1;
	}
	while ((entry = readdir(d)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    remove_entry(dirfd(d), entry->d_name, dev) < 0)
			rc = -1;
	int sys = errno;
	(void)closedir(d);
	errno = sys;
	return rc;
}

static int
remove_entry(int dir_fd, const char *name, dev_t dev)
{
	struct stat st;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || (dev != 0 && st.st_dev != dev)) {
		file_close(fd);
		errno = EXDEV;
		return -1;
	}
	if (remove_content(fd, st.st_dev) < 0)
		return -1;
	return unlinkat(dir_fd, name, AT_REMOVEDIR);
}

int
file_remove_tree(const char *path, struct err *e)
{
	if (remove_entry(AT_FDCWD, path, 0) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot remove %s", path);
	return 0;
}

bool
file_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

int
file_open_beneath(int root_fd, const char *rel, int flags, mode_t mode, struct err *e)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC),
		.mode = (flags & O_CREAT) != 0 ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, root_fd, rel, &how, sizeof how);

	return fd < 0 ? cannot(e, "open", rel) : fd;
}

int
file_lock(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot open the lock file %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		(void)err_set(e, errno == EWOULDBLOCK ? ERR_BUSY : ERR_SYSTEM, NULL,
		    "another process holds %s", path);
		file_close(fd);
		return -1;
	}
	return fd;
}

char *
file_join(const char *dir, const char *name)
{
	size_t n = strlen(dir);

	return xasprintf("%s%s%s", dir, n > 0 && dir[n - 1] == '/' ? "" : "/", name);
}
