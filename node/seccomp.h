/* node/seccomp.h: the profile of containers-common (seccomp.json) → the "seccomp" object of an OCI
 * config, for a container without capabilities. Tightened: no namespaces, mounts, keys or io_uring
 * inside; clone3 answers ENOSYS, so that libc falls back to clone, of which flags can be seen. */
#pragma once

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

/* arch: as uname -m ("x86_64", "aarch64"). Appends to out; ERR_INVALID names what is wrong. */
int seccomp_convert(
    struct str profile, const char *arch, struct buf *out, struct err *e) MUST_CHECK;

/* Reads path, or when NULL the first that exists of Debian's and our own copy; converts for this
 * machine. Caller owns. Blocks. */
char *seccomp_load(const char *path, struct err *e);
