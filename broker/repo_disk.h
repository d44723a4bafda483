/* broker/repo_disk.h: the files of a bare repository. Blocks: at start and on workers. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/wire/wire_app.h"

/* The configuration that all git processes of the broker read. */
int repo_disk_config(
    const char *path, const char *hooks, int64_t pack_max_mb, struct err *e) MUST_CHECK;
/* An empty bare repository at dir, unless one is there. */
int repo_disk_make(const char *dir, struct err *e) MUST_CHECK;
/* Removes what git processes that were killed have left: no process may work in dir now. */
void repo_disk_sweep(const char *dir);
/* Makes the refs on disk those of the record: all in packed-refs, HEAD symbolic. */
int repo_disk_refs(const char *dir, const struct wire_refs *refs, struct err *e) MUST_CHECK;
