/* cli/run_stream.h: a program far away on this terminal: its output here, keys, window size and
 * signals there. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct wire_exec;

/* Runs x by POST /broker/rest/PATH/exec with the remembered login. Fills in the terminal, if there
 * is one and it is wanted. Returns the program's exit status (128 + signal), or -1. */
int run_stream(const char *path, struct wire_exec *x, bool no_terminal, struct err *e) MUST_CHECK;
