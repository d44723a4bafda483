/* cli/cart_lint.h: looks through a cartridge's directory for what would hinder it: a manifest that
 * is refused, files in the wrong place, scripts that do not parse, traps of the format. Nothing of
 * the cartridge is run. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/err.h"

struct cart_lint_finding {
	bool is_error; /* it will not install or not work; else it may surprise */
	char *file;    /* relative to the directory; owned */
	char *text;    /* owned */
};
struct cart_lint {
	struct cart_lint_finding *v; /* owned */
	size_t n, errors;
	char *name; /* of the cartridge, once the manifest could be read; owned */
	bool is_web;
};
void cart_lint_fini(struct cart_lint *l);

/* out: zeroed. ERR_NOT_FOUND: no such directory. */
int cart_lint(const char *dir, struct cart_lint *out, struct err *e) MUST_CHECK;
