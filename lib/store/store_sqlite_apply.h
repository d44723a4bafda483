/* lib/store/store_sqlite_apply.h: requests that write, as SQL. Inside a transaction of SQLite,
 * which the caller begins and ends. Writer's thread. */
#pragma once

#include "lib/store/store_request.h"
#include "lib/store/store_sqlite_db.h"

/* Does what r asks for, from revision *rev on, which it raises. A refusal (a compare that fails, an
 * unknown lease) is r's own answer, and has written nothing. -1: the database failed, and all of
 * its transaction must be rolled back. May be repeated after that. */
int store_sqlite_apply(
    struct store_sqlite_db *d, struct store_request *r, int64_t *rev, struct err *e) MUST_CHECK;
/* After the durable commit: r->commits is what it changed. */
void store_sqlite_apply_finish(struct store_request *r);

/* Removes log rows that compaction at compact_rev made superfluous, a window at a time, from *seq
 * on, which it moves on; *out_done: that was the last. Inside a transaction. */
int store_sqlite_apply_purge(struct store_sqlite_db *d, int64_t compact_rev, int64_t *seq,
    bool *out_done, struct err *e) MUST_CHECK;
