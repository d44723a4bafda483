#include "lib/store/store_sqlite_db.h"

#include "lib/base/file.h"
#include "lib/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

enum { APPLICATION_ID = 0x50696e69 /* "Pini" */, BUSY_TIMEOUT_MS = 5000 };

/* From version i to i + 1. Never change one that was released: add another. */
static const char *const migrations[] = {
	/* A key's present version is the row of log that kv names; that row names the one before
	 * it, if the key existed then; older ones stay until compaction. Writes append to log and
	 * touch the key's page in kv, no others. */
	"create table meta(name text primary key, val) without rowid;"
	"create table log(seq integer primary key, prev integer not null, key text not null,"
	" create_rev integer not null, version integer not null, lease integer not null,"
	" deleted integer not null, val blob);"
	"create table kv(key text primary key, seq integer not null, create_rev integer not null,"
	" version integer not null, lease integer not null) without rowid;"
	"create index kv_lease on kv(lease) where lease <> 0;"
	"create table lease(id integer primary key, ttl_s integer not null);",
};

#define SEQ "65536"

static const char *const sql[SQL_COUNT] = {
	[SQL_BEGIN] = "begin immediate",
	[SQL_BEGIN_READ] = "begin",
	[SQL_COMMIT] = "commit",
	[SQL_ROLLBACK] = "rollback",
	[SQL_META_GET] = "select val from meta where name = ?1",
	[SQL_META_SET] = "insert into meta(name, val) values(?1, ?2)"
	                 " on conflict(name) do update set val = ?2",
	/* Compaction may drop the newest row (a deletion), but notes its revision. */
	[SQL_REV] = "select max(coalesce((select max(seq) from log), 0) / " SEQ ","
	            " coalesce((select val from meta where name = 'compact_rev'), 0))",
	[SQL_KV_GET] = "select seq, create_rev, version from kv where key = ?1",
	[SQL_KV_PUT] = "insert into kv(key, seq, create_rev, version, lease)"
	               " values(?1, ?2, ?3, ?4, ?5) on conflict(key) do update set"
	               " seq = ?2, create_rev = ?3, version = ?4, lease = ?5",
	[SQL_KV_DELETE] = "delete from kv where key = ?1",
	[SQL_KV_OF_LEASE] =
	    "select key from kv where lease = ?1 and lease <> 0 order by key limit ?2",
	[SQL_KV_LOAD] =
	    "select kv.key, log.val, kv.seq / " SEQ ", kv.create_rev, kv.version, kv.lease"
	    " from kv join log on log.seq = kv.seq order by kv.key",
	[SQL_LOG_PUT] = "insert into log(seq, prev, key, create_rev, version, lease, deleted, val)"
	                " values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[SQL_LOG_READ] = "select key, val, seq / " SEQ ", create_rev, version, lease, deleted"
	                 " from log where seq >= ?1 and seq < ?2 order by seq",
	/* What has not changed since, and what the first change since replaced. */
	[SQL_LOG_AT] =
	    "select key, val, seq / " SEQ ", create_rev, version, lease, deleted from log"
	    " where seq in (select seq from kv"
	    "  where key >= ?1 and (?2 is null or key < ?2) and seq < ?3"
	    "  union all select prev from log where seq >= ?3 and prev > 0 and prev < ?3"
	    "  and key >= ?1 and (?2 is null or key < ?2)) order by key",
	/* The end of the next window of rows to look at. */
	[SQL_LOG_WINDOW] = "select max(seq) from (select seq from log where seq > ?1 and seq < ?2"
	                   " order by seq limit ?3)",
	[SQL_LOG_PURGE_OLD] = "delete from log where seq in"
	                      " (select prev from log where seq > ?1 and seq <= ?2 and prev > 0)",
	[SQL_LOG_PURGE_DELETED] = "delete from log where seq > ?1 and seq <= ?2 and deleted <> 0",
	[SQL_LEASE_GET] = "select ttl_s from lease where id = ?1",
	[SQL_LEASE_PUT] = "insert into lease(id, ttl_s) values(?1, ?2)",
	[SQL_LEASE_DELETE] = "delete from lease where id = ?1",
	[SQL_LEASE_LOAD] = "select id, ttl_s from lease",
};

int
store_sqlite_db_err(struct store_sqlite_db *d, const char *what, struct err *e)
{
	int code = sqlite3_errcode(d->db);

	errno = sqlite3_system_errno(d->db);
	if (code == SQLITE_FULL) {
		errno = ENOSPC;
		return err_set(e, ERR_SYSTEM, NULL, "%s: make room for %s", what, d->path);
	}
	return err_set(e, ERR_SYSTEM, NULL, "%s: %s: %s", what, d->path, sqlite3_errmsg(d->db));
}

struct sqlite3_stmt *
store_sqlite_db_begin(struct store_sqlite_db *d, enum store_sqlite_sql which, struct err *e)
{
	if (d->stmts[which] == NULL &&
	    sqlite3_prepare_v3(d->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, &d->stmts[which],
	        NULL) != SQLITE_OK) {
		(void)store_sqlite_db_err(d, "cannot prepare a statement", e);
		return NULL;
	}
	return d->stmts[which];
}

int
store_sqlite_db_step(struct store_sqlite_db *d, struct sqlite3_stmt *st, struct err *e)
{
	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	default:
		return store_sqlite_db_err(d, "the store's database refused an operation", e);
	}
}

void
store_sqlite_db_end(struct sqlite3_stmt *st)
{
	if (st == NULL)
		return;
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

int
store_sqlite_db_run(struct store_sqlite_db *d, enum store_sqlite_sql which, struct err *e)
{
	AUTO(store_sqlite_db_end) struct sqlite3_stmt *st = store_sqlite_db_begin(d, which, e);

	return st == NULL || store_sqlite_db_step(d, st, e) < 0 ? -1 : 0;
}

int
store_sqlite_db_meta(struct store_sqlite_db *d, const char *name, int64_t *out, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_META_GET, e);
	int rc;

	if (st == NULL)
		return -1;
	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	rc = store_sqlite_db_step(d, st, e);
	if (rc > 0)
		*out = sqlite3_column_int64(st, 0);
	return rc < 0 ? -1 : 0;
}

int
store_sqlite_db_set_meta(struct store_sqlite_db *d, const char *name, int64_t val, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_META_SET, e);

	if (st == NULL)
		return -1;
	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, val);
	return store_sqlite_db_step(d, st, e);
}

int
store_sqlite_db_rev(struct store_sqlite_db *d, int64_t *out, struct err *e)
{
	AUTO(store_sqlite_db_end) struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_REV, e);

	if (st == NULL || store_sqlite_db_step(d, st, e) < 0)
		return -1;
	*out = sqlite3_column_int64(st, 0);
	return 0;
}

int
store_sqlite_db_checkpoint(struct store_sqlite_db *d, bool *out_done, struct err *e)
{
	int frames = 0, moved = 0;

	if (sqlite3_wal_checkpoint_v2(d->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &moved) !=
	    SQLITE_OK)
		return store_sqlite_db_err(d, "cannot checkpoint the store", e);
	*out_done = frames == moved;
	return 0;
}

/* --- schema --- */

static int
exec(struct store_sqlite_db *d, const char *text, struct err *e)
{
	if (sqlite3_exec(d->db, text, NULL, NULL, NULL) != SQLITE_OK)
		return store_sqlite_db_err(d, "cannot set up the store", e);
	return 0;
}

static int
get_pragma(struct store_sqlite_db *d, const char *text, int64_t *out, struct err *e)
{
	struct sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(d->db, text, -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		rc = store_sqlite_db_err(d, "cannot read the store's schema", e);
	else
		*out = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

/* Inside a transaction. */
static int
found_cluster(struct store_sqlite_db *d, struct err *e)
{
	AUTO(free) char *id = secret_random_hex(16);
	AUTO(free)
	char *text = xasprintf("insert into meta(name, val) values('cluster_id', '%s'),"
	                       " ('epoch', 1), ('compact_rev', 0), ('repairs', 0);"
	                       "pragma application_id = %d",
	    id, APPLICATION_ID);

	return exec(d, text, e);
}

/* Inside a transaction. */
static int
migrate(struct store_sqlite_db *d, struct err *e)
{
	int64_t version = 0, id = 0, known = (int64_t)ARRAY_LEN(migrations), tables = 0;

	if (get_pragma(d, "pragma user_version", &version, e) < 0 ||
	    get_pragma(d, "pragma application_id", &id, e) < 0 ||
	    get_pragma(d, "select count(*) from sqlite_schema", &tables, e) < 0)
		return -1;
	if (id != APPLICATION_ID && tables > 0)
		return err_set(e, ERR_INVALID, NULL,
		    "%s is a database, but not a store of Pinion: move it away, or name another "
		    "directory",
		    d->path);
	if (version > known)
		return err_set(e, ERR_INVALID, NULL,
		    "%s has schema version %lld, this program knows up to %lld: run the newer "
		    "Pinion "
		    "that wrote it, or restore a backup from before the upgrade",
		    d->path, (long long)version, (long long)known);
	for (int64_t v = version; v < known; v++) {
		AUTO(free) char *set = xasprintf("pragma user_version = %lld", (long long)v + 1);

		if (exec(d, migrations[v], e) < 0 || exec(d, set, e) < 0)
			return -1;
	}
	return tables == 0 ? found_cluster(d, e) : 0;
}

static int
migrate_all(struct store_sqlite_db *d, struct err *e)
{
	struct err ignored = { 0 };

	if (store_sqlite_db_run(d, SQL_BEGIN, e) < 0)
		return -1;
	if (migrate(d, e) == 0 && store_sqlite_db_run(d, SQL_COMMIT, e) == 0)
		return 0;
	if (!sqlite3_get_autocommit(d->db))
		(void)!store_sqlite_db_run(d, SQL_ROLLBACK, &ignored);
	return -1;
}

/* --- open --- */

static int
on_commit(void *arg, struct sqlite3 *db, const char *name, int frames)
{
	struct store_sqlite_db *d = arg;

	(void)db;
	(void)name;
	d->wal_frames = frames;
	return SQLITE_OK;
}

static int
connect_file(struct store_sqlite_db *d, const char *path, struct err *e)
{
	d->path = xstrdup(path);
	if (sqlite3_open_v2(path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
	    SQLITE_OK)
		return store_sqlite_db_err(d, "cannot open the store", e);
	sqlite3_extended_result_codes(d->db, 0);
	sqlite3_busy_timeout(d->db, BUSY_TIMEOUT_MS);
	return 0;
}

/* An empty file that only we may read (SQLite gives its other files the same mode), and that a
 * power cut does not take away. */
static int
create_file(const char *path, struct err *e)
{
	AUTO(free) char *copy = xstrdup(path);
	AUTO_FINI(file_close_auto) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	AUTO_FINI(file_close_auto)
	int dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || dir < 0 || fsync(dir) < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot create the store's file %s", path);
	return 0;
}

int
store_sqlite_db_open(struct store_sqlite_db *d, const char *path, struct err *e)
{
	*d = (struct store_sqlite_db){ 0 };
	if (create_file(path, e) < 0 || connect_file(d, path, e) < 0)
		return -1;
	/* A commit is on the disk before it is acknowledged: FULL, and EXTRA for the switch to WAL,
	 * whose rollback journal must not come back after a power cut. Checkpoints are our own. */
	if (exec(d,
	        "pragma synchronous = extra; pragma journal_mode = wal;"
	        "pragma wal_autocheckpoint = 0; pragma journal_size_limit = 67108864;"
	        "pragma cache_size = -4096; pragma temp_store = memory;"
	        "pragma trusted_schema = off",
	        e) < 0)
		return -1;
	sqlite3_wal_hook(d->db, on_commit, d);
	return migrate_all(d, e);
}

int
store_sqlite_db_open_reader(struct store_sqlite_db *d, const char *path, struct err *e)
{
	*d = (struct store_sqlite_db){ 0 };
	if (connect_file(d, path, e) < 0)
		return -1;
	return exec(d,
	    "pragma query_only = on; pragma wal_autocheckpoint = 0; pragma cache_size = -1024;"
	    "pragma temp_store = memory; pragma trusted_schema = off",
	    e);
}

void
store_sqlite_db_fini(struct store_sqlite_db *d)
{
	for (int i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(d->stmts[i]);
	sqlite3_close(d->db);
	free(d->path);
	*d = (struct store_sqlite_db){ 0 };
}
