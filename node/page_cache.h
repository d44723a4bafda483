/* node/page_cache.h: keeps the programs that gears share in the page cache when a gear's memory is
 * reclaimed: pages belong to who read them first, and go with its memory. Blocks. */
#pragma once

#include "lib/base/str.h"
#include "node/limits.h"

struct page_cache_files {
	struct str_list paths; /* below /usr, relative to it */
};
void page_cache_files_fini(struct page_cache_files *f);

/* The files of the system that processes of the group have mapped; bounded. */
void page_cache_find(const struct limits *l, struct limits_group g, struct page_cache_files *out);
/* Reads them into the page cache, on our account. */
void page_cache_warm(const struct page_cache_files *f);
