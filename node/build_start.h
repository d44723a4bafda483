/* node/build_start.h: how an application starts, found in its source tree, and said with the why.
 * Order: .openshift/action_hooks/start (diy), Procfile `web:`, package.json `start` (run directly,
 * not through npm start, unless the marker use_npm says so), the language's usual names, a folder
 * with an index.html. Blocks. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/wire_gear.h"

struct build_start {
	int repo;         /* the tree; borrowed */
	const char *lang; /* name of the web cartridge */
	bool is_stock;    /* one with a `Pinion` map; others know themselves how to start */
	const struct wire_var_list *env; /* of the user: PINION_DOCROOT … */
};

/* out, release: zeroed; release: the Procfile's `release:` command, or NULL. notes: lines for the
 * pusher. ERR_INVALID: there is no way to start; the text says what to add. */
int build_start_find(const struct build_start *in, struct wire_start *out, char **release,
    struct str_list *notes, struct err *e) MUST_CHECK;

/* The Procfile's process types beside web and release, at most 20; of a name that is there twice
 * the first, as with web. Appended. */
void build_start_processes(int repo, struct wire_var_list *out);
/* The same of a text. */
void build_start_procfile(const char *text, struct wire_var_list *out);

/* A variable of the list, or NULL. */
const char *build_start_var(const struct wire_var_list *env, const char *name);
/* A small file of the tree (also through links that stay inside), whole, NUL-terminated; NULL: not
 * there, or larger than 1 MiB. Caller owns. */
char *build_start_file(int repo, const char *rel);
bool build_start_is_dir(int repo, const char *rel);
bool build_start_is_file(int repo, const char *rel);
