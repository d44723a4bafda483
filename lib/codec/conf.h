/* lib/codec/conf.h: settings of a daemon: one table; file < environment < option. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

enum conf_kind { CONF_END, CONF_STR, CONF_INT, CONF_BOOL, CONF_STRS };

struct conf_item {
	enum conf_kind kind;
	const char *name; /* option --name; file key name; environment <PROGRAM>_<NAME>, upper case,
	                     "_" for "-" */
	size_t offset;
	int64_t min, max;
	const char *dflt; /* as text; NULL = none */
	const char *help; /* one sentence, with units */
	bool required;
};

#define CONF_STR(T, m, name_, dflt_, help_)                                                        \
	{                                                                                          \
		CONF_STR, name_, offsetof(T, m), 0, 4096, dflt_, help_, false                      \
	}
#define CONF_INT(T, m, name_, min_, max_, dflt_, help_)                                            \
	{                                                                                          \
		CONF_INT, name_, offsetof(T, m), min_, max_, dflt_, help_, false                   \
	}
#define CONF_BOOL(T, m, name_, dflt_, help_)                                                       \
	{                                                                                          \
		CONF_BOOL, name_, offsetof(T, m), 0, 1, dflt_, help_, false                        \
	}
#define CONF_STRS(T, m, name_, help_)                                                              \
	{                                                                                          \
		CONF_STRS, name_, offsetof(T, m), 0, 64, NULL, help_, false                        \
	}
#define CONF_LAST                                                                                  \
	{                                                                                          \
		CONF_END, NULL, 0, 0, 0, NULL, NULL, false                                         \
	}

/* Fills out (zeroed) from defaults, the file named by --config (KEY = VALUE lines), the environment
 * and argv. --help, --version and --manual print and return 1. Unknown keys are ERR_INVALID. */
int conf_load(const char *program, const struct conf_item *items, int argc, char **argv, void *out,
    struct err *e) MUST_CHECK;
void conf_fini(const struct conf_item *items, void *conf);
/* Appends text with what troff would take for its own escaped. */
void conf_add_troff(struct buf *b, const char *text);
/* Appends the options as troff for the man page. */
void conf_manual(const struct conf_item *items, struct buf *b);
