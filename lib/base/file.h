/* lib/base/file.h: bounded reads, atomic replacement, opening beneath a root. All block: call
 * from workers, children or at start. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

/* Whole file into b (appended); more than max bytes is ERR_LIMIT; absent is ERR_NOT_FOUND. */
int file_read(const char *path, size_t max, struct buf *b, struct err *e) MUST_CHECK;
/* Writes all, by a temporary file beside it, fsync of file and directory, rename. */
int file_replace(const char *path, const void *p, size_t n, mode_t mode, struct err *e) MUST_CHECK;
/* Same without fsync: for files that may be lost in a power cut. */
int file_replace_fast(
    const char *path, const void *p, size_t n, mode_t mode, struct err *e) MUST_CHECK;
/* mkdir -p; existing directories keep their mode. */
int file_mkdirs(const char *path, mode_t mode, struct err *e) MUST_CHECK;
/* Removes a tree without following links or leaving its file system's root; absent is fine. */
int file_remove_tree(const char *path, struct err *e) MUST_CHECK;
bool file_exists(const char *path);
/* Opens rel inside the directory root: no link or ".." leaves it (openat2 RESOLVE_IN_ROOT |
 * RESOLVE_NO_MAGICLINKS). Returns an fd or -1. */
int file_open_beneath(
    int root_fd, const char *rel, int flags, mode_t mode, struct err *e) MUST_CHECK;
/* Takes an exclusive lock on path (made if absent) for the life of the returned fd;
 * ERR_BUSY when another process holds it. */
int file_lock(const char *path, struct err *e) MUST_CHECK;
/* Writes all n bytes to fd, over partial writes and EINTR. */
int file_write_all(int fd, const void *p, size_t n, struct err *e) MUST_CHECK;
/* dir + "/" + name; caller owns. */
char *file_join(const char *dir, const char *name);
void file_close(int fd); /* -1 is fine */
/* Moves a descriptor that stays open for long to a number from 1024 on: libraries that use
 * select(2) need the low ones. As it was where the limit leaves no room; -1 stays -1. */
int file_raise(int take_fd);
static inline __attribute__((unused)) void
file_close_auto(int *fd)
{
	file_close(*fd);
}
