/* lib/loop/child_run.h: a child process run to its end, on a loop of the calling thread's own: for
 * workers, programs' starts and tests. */
#pragma once

#include <stddef.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/loop/child.h"

/* in[0..n) is its standard input when o->has_stdin. stdout is appended to out (NULL: dropped), up
 * to o->out_max. Returns its exit code (128 + signal), or -1 when it could not run; unless 0, e
 * says why, with what it said on stderr. */
int child_run(const struct child_opts *o, const void *in, size_t n, struct buf *out,
    struct err *e) MUST_CHECK;
