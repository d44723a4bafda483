/* lib/store/store_sqlite_read.h: history, for watches that begin in the past and ranges at an old
 * revision. Reader's thread. */
#pragma once

#include "lib/store/store_request.h"
#include "lib/store/store_sqlite_db.h"

/* Answers a LOG or AT request in one snapshot of the database. A LOG is answered up to out_rev,
 * which may be less than rev_end. ERR_NOT_FOUND: compacted. */
int store_sqlite_read(struct store_sqlite_db *d, struct store_request *r, struct err *e) MUST_CHECK;
/* Visits all live keys in order. */
typedef void store_sqlite_read_fn(const struct store_row *row, void *arg);
int store_sqlite_read_all(
    struct store_sqlite_db *d, store_sqlite_read_fn *fn, void *arg, struct err *e) MUST_CHECK;
