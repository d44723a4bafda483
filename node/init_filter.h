/* node/init_filter.h: pinion-init under another name: `logshifter -tag TAG` (OpenShift v2's log
 * filter: stdin to ~/app-root/logs/TAG.log, rotated) and `cart-relay -tag TAG` (the output of an
 * action in a living instance). Part of the static program: libc only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Is that its name? */
bool init_filter_is(const char *argv0);
/* Runs until the end of stdin; the exit code. */
int init_filter_run(int argc, char **argv);

/* "10M", "512K", "0" (never) → bytes; false: not such a size. For the tests too. */
bool init_filter_size(const char *text, int64_t *out);
