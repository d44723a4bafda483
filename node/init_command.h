/* node/init_command.h: pinion-init under another name: `gear`, `ctl_all`, `ctl_app`: says its words
 * to the platform through the gear's socket, passes output and input, ends with its exit status.
 * Part of the static program: libc only. */
#pragma once

#include <stdbool.h>

/* Is that its name? */
bool init_command_is(const char *argv0);
/* Runs until the answer is there; the exit code. */
int init_command_run(int argc, char **argv);
