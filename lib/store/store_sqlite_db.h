/* lib/store/store_sqlite_db.h: one connection to the database file: schema, statements, errors. */
#pragma once

#include "lib/store/store_commit.h"

struct sqlite3;
struct sqlite3_stmt;

/* A row of the log has the number revision * STORE_SQLITE_SEQ + position in the transaction. */
enum { STORE_SQLITE_SEQ = 65536 };

enum store_sqlite_sql {
	SQL_BEGIN,
	SQL_BEGIN_READ,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_META_GET,
	SQL_META_SET,
	SQL_REV,
	SQL_KV_GET,
	SQL_KV_PUT,
	SQL_KV_DELETE,
	SQL_KV_OF_LEASE,
	SQL_KV_LOAD,
	SQL_LOG_PUT,
	SQL_LOG_READ,
	SQL_LOG_AT,
	SQL_LOG_WINDOW,
	SQL_LOG_PURGE_OLD,
	SQL_LOG_PURGE_DELETED,
	SQL_LEASE_GET,
	SQL_LEASE_PUT,
	SQL_LEASE_DELETE,
	SQL_LEASE_LOAD,
	SQL_COUNT,
};

struct store_sqlite_db {
	struct sqlite3 *db;                    /* owned */
	struct sqlite3_stmt *stmts[SQL_COUNT]; /* owned; prepared when first used */
	char *path;                            /* owned */
	int wal_frames; /* in the write-ahead log after the last commit here */
};

/* Opens the file and brings its schema up to date. d stays where it is until fini.
 * ERR_INVALID: not ours, or newer than this program. */
int store_sqlite_db_open(struct store_sqlite_db *d, const char *path, struct err *e) MUST_CHECK;
/* A second connection to a file that is open already, for reading. */
int store_sqlite_db_open_reader(
    struct store_sqlite_db *d, const char *path, struct err *e) MUST_CHECK;
void store_sqlite_db_fini(struct store_sqlite_db *d);

/* A statement, ready for binding; NULL: ERR_SYSTEM. Give it back by _end. */
struct sqlite3_stmt *store_sqlite_db_begin(
    struct store_sqlite_db *d, enum store_sqlite_sql which, struct err *e);
/* 1: a row, 0: no more, -1. */
int store_sqlite_db_step(
    struct store_sqlite_db *d, struct sqlite3_stmt *st, struct err *e) MUST_CHECK;
void store_sqlite_db_end(struct sqlite3_stmt *st); /* NULL is fine */
DEFINE_AUTO(struct sqlite3_stmt *, store_sqlite_db_end)
/* Runs a statement without values or rows. */
int store_sqlite_db_run(
    struct store_sqlite_db *d, enum store_sqlite_sql which, struct err *e) MUST_CHECK;
/* Sets ERR_SYSTEM from the connection's last error. */
int store_sqlite_db_err(struct store_sqlite_db *d, const char *what, struct err *e);

/* Numbers by name; *out stays as it is when there is none. */
int store_sqlite_db_meta(
    struct store_sqlite_db *d, const char *name, int64_t *out, struct err *e) MUST_CHECK;
int store_sqlite_db_set_meta(
    struct store_sqlite_db *d, const char *name, int64_t val, struct err *e) MUST_CHECK;
/* The revision of the last commit. */
int store_sqlite_db_rev(struct store_sqlite_db *d, int64_t *out, struct err *e) MUST_CHECK;
/* Moves what the write-ahead log holds into the database; *out_done: all of it. Readers and later
 * writers are not kept waiting. */
int store_sqlite_db_checkpoint(struct store_sqlite_db *d, bool *out_done, struct err *e) MUST_CHECK;
