/* node/net_ns.h: network namespaces bound to files, and work done inside one. The calling thread
 * changes its namespace for the call and is back afterwards; a thread that cannot come back aborts
 * the process. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

/* Runs in the namespace; must not change it. */
typedef int net_ns_fn(void *arg, struct err *e);

/* Makes a new namespace, binds it at path (made; must not exist), runs fn in it. On failure nothing
 * is left. Returns an fd on the namespace or -1. */
int net_ns_make(const char *path, net_ns_fn *fn, void *arg, struct err *e) MUST_CHECK;
/* ERR_NOT_FOUND: nothing is bound at path. */
int net_ns_open(const char *path, struct err *e) MUST_CHECK;
int net_ns_run(int ns_fd, net_ns_fn *fn, void *arg, struct err *e) MUST_CHECK;
bool net_ns_is_bound(const char *path);
/* Removes binding and file; processes inside keep the namespace. Absent is fine. */
int net_ns_unbind(const char *path, struct err *e) MUST_CHECK;
