/* node/cart_files.h: what the platform itself does to a gear's files when a cartridge is
 * configured: its own variables, dependency directories, locked files (OpenShift v2's unlock and
 * lock), and the checks of what the scripts left. Users' files are in reach: no link is ever
 * followed out of the gear. All calls block. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct cart_dir_entry;

struct cart_files {
	const struct cart_dir_entry *cart; /* borrowed, as all */
	const char *uuid;
	const char *gear_dir; /* GEARS/UUID: data, logs, env lie in it */
	const char *up;       /* upper of the home */
	const char *own;      /* directory that holds <Name>/ of a service; NULL: the upper */
	const struct str_list *lowers; /* of the home, top first: what is there already */
};

/* Unlock: <Name>/env/ with _DIR and _IDENT, links of dependency_dirs, locked_files made where they
 * are missing and given to the user. */
int cart_files_unlock(const struct cart_files *f, struct err *e) MUST_CHECK;
/* Lock: locked_files and what is immutable belong to root, the group is the gear's. */
int cart_files_lock(const struct cart_files *f, struct err *e) MUST_CHECK;
/* ERR_INVALID: the scripts made visible entries in the home (others: names of the gear's further
 * cartridges), or variables that the gear has already. */
int cart_files_check(
    const struct cart_files *f, const struct str_list *others, struct err *e) MUST_CHECK;

/* Paths that the patterns mean below root; what has no '*' is there as it is. */
void cart_files_expand(const char *root, const struct str_list *patterns, struct str_list *out);
/* Is path such as the pattern means ('*' within a name, '**' over directories)? */
bool cart_files_match(const char *pattern, const char *path);
