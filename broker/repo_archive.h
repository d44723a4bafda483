/* broker/repo_archive.h: a commit's tree as one tar stream, with the submodules that are
 * repositories of this Pinion. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

struct repo_archive;
struct repo_store;

struct repo_archive_part {
	const char *git_dir;
	const char *sha1;
	const char *prefix; /* "" or "PATH/" */
};

/* The bytes of the stream. Return false to be paused until repo_archive_resume. */
typedef bool repo_archive_data_fn(const char *p, size_t n, void *arg);
/* Once. e NULL: the whole stream was given. The archive is gone when this returns. */
typedef void repo_archive_end_fn(const struct err *e, void *arg);

/* Parts are copied. max_bytes bounds the stream, ERR_LIMIT. NULL: ERR_SYSTEM. */
struct repo_archive *repo_archive_start(struct repo_store *rs,
    const struct repo_archive_part *parts, size_t n, int64_t max_bytes,
    repo_archive_data_fn *on_data, repo_archive_end_fn *on_end, void *arg,
    struct err *e) MUST_CHECK;
void repo_archive_resume(struct repo_archive *a);
void repo_archive_cancel(struct repo_archive *take_a); /* NULL is fine */
