/* router/route_file.h: a static table: lines `HOST ADDRESS:PORT…`, # comments; NAME=VALUE sets
 * an option of the route; behind canary=PERCENT are the canary's endpoints. */
#pragma once

#include <stddef.h>

#include "lib/base/err.h"

struct buf;
struct host_table;

/* Makes the table what the text says: routes that it does not name go. A malformed line is
 * ERR_INVALID with its number, and nothing was changed. */
int route_file_apply(struct host_table *t, const char *p, size_t n, struct err *e) MUST_CHECK;
/* The same of lines behind those that it has: no other route goes. */
int route_file_add(struct host_table *t, const char *p, size_t n, struct err *e) MUST_CHECK;
/* The file's bytes; blocks. */
int route_file_read(const char *path, struct buf *out, struct err *e) MUST_CHECK;
