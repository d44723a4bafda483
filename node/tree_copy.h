/* node/tree_copy.h: copies a tree; all becomes the gear user's. Blocks. Links are copied as they
 * are and never followed; devices, sockets and pipes are left out. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "lib/base/err.h"

struct tree_copy_opts {
	mode_t (*mode)(const char *rel, mode_t mode); /* of a file; NULL: as it is */
	bool (*is_left_out)(const char *rel);         /* NULL: nothing is */
	bool keeps;                                   /* files and links that are there stay */
};

/* All below the directory from into the directory to, where directories may be there already. */
int tree_copy(int from, int to, const struct tree_copy_opts *o, struct err *e) MUST_CHECK;
