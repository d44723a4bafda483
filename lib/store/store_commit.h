/* lib/store/store_commit.h: versions of keys, and what one revision changed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/mem.h"
#include "lib/store/store.h"

/* One version of one key. */
struct store_row {
	char *key; /* owned */
	char *val; /* owned, NUL-terminated; NULL when deleted */
	size_t n;
	int64_t create_rev, mod_rev, version, lease;
	bool deleted;
	bool skipped; /* deletion of a key that was not there: changes nothing */
};

void store_row_fini(struct store_row *r);
struct store_kv store_row_kv(const struct store_row *r); /* borrows from r */

/* What one revision changed, in the order of the transaction. Immutable once it left the thread
 * that made it; counted references, on the loop only. */
struct store_commit {
	struct store_commit *next; /* owned, while in a list of results */
	int refs;
	int64_t rev;
	struct store_row *rows; /* owned */
	size_t n;
	size_t bytes; /* of keys and values, for bounds */
};

/* Takes the rows; the skipped ones are dropped. One reference, the caller's. */
struct store_commit *store_commit_new(int64_t rev, struct store_row *take_rows, size_t n);
struct store_commit *store_commit_ref(struct store_commit *c);
void store_commit_unref(struct store_commit *take_c);
/* Drops a reference to each of a list. */
void store_commit_list_free(struct store_commit *take_list);
DEFINE_AUTO(struct store_commit *, store_commit_unref)

/* Rows that grow one by one. */
struct store_commit_rows {
	struct store_row *v; /* owned */
	size_t n, cap;
};
/* A zeroed row at the end, borrowed until the next call. */
struct store_row *store_commit_rows_add(struct store_commit_rows *r);
void store_commit_rows_fini(struct store_commit_rows *r);
