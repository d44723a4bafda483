/* cli/variables.h: environment variables as typed: NAME=VALUE words, files, secrets. */
#pragma once

#include <stdbool.h>

#include "cli/cmd.h"
#include "lib/base/buf.h"

struct variable {
	char *name;
	char *value; /* NULL: to be unset */
};
struct variables {
	struct variable *v;
	size_t n;
};
void variables_fini(struct variables *vars);
/* "NAME=VALUE"; ERR_INVALID names what is wrong. */
int variables_add(struct variables *vars, const char *word, struct err *e) MUST_CHECK;
void variables_take(struct variables *vars, const char *name, char *take_value);
/* Every value of an option that may be given several times. */
int variables_from_options(
    const struct cmd_line *l, const char *option, struct variables *vars, struct err *e) MUST_CHECK;
/* Lines NAME=VALUE; blank lines and those with # are skipped; quotes around a value are dropped. */
int variables_from_file(const char *path, struct variables *vars, struct err *e) MUST_CHECK;
/* [{"name":…,"value":…},…] */
void variables_json(const struct variables *vars, struct buf *b);
