/* cli/cmd_help.h: help and manual, from the command table. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "cli/cmd.h"

/* Options that every command takes; ends with name NULL. */
extern const struct cmd_option cmd_help_common[];

/* `pinion help COMMAND` */
void cmd_help_print(const struct cmd *c);
/* The commands that begin with prefix, a line each. False: there are none. */
bool cmd_help_list(const struct cmd *const *tables, const char *prefix, FILE *out);
/* All of it as troff, for pinion(1). */
void cmd_help_manual(const struct cmd *const *tables);
