/* The embedded backend: one file, one thread that writes, one that reads history. All requests that
 * wait while a commit is on its way to the disk go into the next one together. */
#include "lib/store/store_sqlite.h"

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/store/store_backend.h"
#include "lib/store/store_sqlite_apply.h"
#include "lib/store/store_sqlite_db.h"
#include "lib/store/store_sqlite_read.h"

#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>

enum {
	QUEUE_MAX = 20000,
	QUEUE_BYTES = 128 * 1024 * 1024,
	GROUP_MAX = 256,
	GROUP_BYTES = 8 * 1024 * 1024,
	CHECKPOINT_IDLE_MS = 200,
	CHECKPOINT_RETRY_MS = 10000,
	CHECKPOINT_FRAMES = 8192, /* 32 MiB: checkpoint even under load */
};

struct store_sqlite {
	struct store_backend base;
	struct store_queue *answers; /* borrowed from the front */
	struct store_queue *writes;  /* owned */
	struct store_queue *reads;   /* owned */
	int lock_fd;                 /* owned */
	pthread_t writer, reader;
	bool has_writer, has_reader;

	/* the writer's own */
	struct store_sqlite_db db;
	int64_t rev;
	int64_t purge_rev; /* compacted up to here … */
	int64_t purge_seq; /* … and the log is purged up to here */
	bool is_purging;
	bool checkpoint_failed;
	bool is_failing; /* the last write was refused by the disk */

	/* the reader's own */
	struct store_sqlite_db read_db;
};

/* --- group commit --- */

static void
rollback(struct store_sqlite *sq)
{
	struct err e = { 0 };

	if (!sqlite3_get_autocommit(sq->db.db) &&
	    store_sqlite_db_run(&sq->db, SQL_ROLLBACK, &e) < 0)
		log_error("store_rollback_failed", LOG_ERR(&e));
}

/* Logs where it begins and where it ends. */
static void
set_failing(struct store_sqlite *sq, bool is_failing, const struct err *e)
{
	if (is_failing && !sq->is_failing)
		log_error("store_write_failed", LOG_ERR(e));
	else if (!is_failing && sq->is_failing)
		log_info("store_writes_again");
	sq->is_failing = is_failing;
}

/* All requests of the list or none. */
static int
commit_group(struct store_sqlite *sq, struct store_request *list, struct err *e)
{
	int64_t rev = sq->rev;

	if (store_sqlite_db_run(&sq->db, SQL_BEGIN, e) < 0)
		return -1;
	for (struct store_request *r = list; r != NULL; r = r->next) {
		if (store_sqlite_apply(&sq->db, r, &rev, e) < 0) {
			rollback(sq);
			return -1;
		}
	}
	if (store_sqlite_db_run(&sq->db, SQL_COMMIT, e) < 0) {
		rollback(sq);
		return -1;
	}
	if (rev > sq->rev) /* else nothing went to the disk, and that says nothing of it */
		set_failing(sq, false, NULL);
	sq->rev = rev;
	return 0;
}

/* A commit that failed while it was written may still lie in the write-ahead log, complete but for
 * its acknowledgement: another one over it makes sure that it does not come back after a crash. */
static void
bury(struct store_sqlite *sq)
{
	struct err e = { 0 };
	int64_t n = 0;

	if (store_sqlite_db_run(&sq->db, SQL_BEGIN, &e) < 0 ||
	    store_sqlite_db_meta(&sq->db, "repairs", &n, &e) < 0 ||
	    store_sqlite_db_set_meta(&sq->db, "repairs", n + 1, &e) < 0 ||
	    store_sqlite_db_run(&sq->db, SQL_COMMIT, &e) < 0) {
		log_debug("store_bury_failed", LOG_ERR(&e));
		rollback(sq);
	}
}

static void
start_purge(struct store_sqlite *sq, const struct store_request *r)
{
	if (r->kind != STORE_REQUEST_COMPACT || r->has_failed || r->rev <= sq->purge_rev)
		return;
	sq->purge_rev = r->rev;
	sq->purge_seq = 0;
	sq->is_purging = true;
}

static void
finish_group(struct store_sqlite *sq, struct store_request *take_list)
{
	for (struct store_request *r = take_list; r != NULL; r = r->next) {
		store_sqlite_apply_finish(r);
		start_purge(sq, r);
	}
	store_queue_push_always(sq->answers, take_list);
}

/* One by one after the group failed: what can be written is. */
static void
run_each(struct store_sqlite *sq, struct store_request *take_list)
{
	for (struct store_request *r = take_list, *next; r != NULL; r = next) {
		struct err e = { 0 };

		next = r->next;
		r->next = NULL;
		if (commit_group(sq, r, &e) < 0) {
			set_failing(sq, true, &e);
			bury(sq);
			store_request_reset(r);
			store_request_fail(r, &e);
		}
		finish_group(sq, r);
	}
}

static void
run_group(struct store_sqlite *sq, struct store_request *take_list)
{
	struct err e = { 0 };

	if (commit_group(sq, take_list, &e) == 0) {
		finish_group(sq, take_list);
		return;
	}
	log_debug("store_group_failed", LOG_ERR(&e));
	run_each(sq, take_list);
}

/* --- when there is time --- */

static void
purge_some(struct store_sqlite *sq)
{
	struct err e = { 0 };
	bool done = false;

	if (store_sqlite_db_run(&sq->db, SQL_BEGIN, &e) < 0 ||
	    store_sqlite_apply_purge(&sq->db, sq->purge_rev, &sq->purge_seq, &done, &e) < 0 ||
	    store_sqlite_db_run(&sq->db, SQL_COMMIT, &e) < 0) {
		rollback(sq);
		log_warn("store_purge_failed", LOG_ERR(&e)); /* the next compaction does it */
		done = true;
	}
	sq->is_purging = !done;
}

static void
checkpoint(struct store_sqlite *sq)
{
	struct err e = { 0 };
	bool done = false;

	if (store_sqlite_db_checkpoint(&sq->db, &done, &e) < 0) {
		if (!sq->checkpoint_failed)
			log_warn("store_checkpoint_failed", LOG_ERR(&e));
		sq->checkpoint_failed = true;
		return;
	}
	sq->checkpoint_failed = false;
	if (done)
		sq->db.wal_frames = 0;
}

static int
idle_ms(const struct store_sqlite *sq)
{
	if (sq->is_purging)
		return 0;
	if (sq->db.wal_frames == 0)
		return -1;
	return sq->checkpoint_failed ? CHECKPOINT_RETRY_MS : CHECKPOINT_IDLE_MS;
}

static void *
writer_main(void *arg)
{
	struct store_sqlite *sq = arg;
	bool is_closed = false;
	int frames_at_checkpoint = 0;

	for (;;) {
		struct store_request *list =
		    store_queue_take(sq->writes, GROUP_MAX, GROUP_BYTES, idle_ms(sq), &is_closed);

		if (list != NULL)
			run_group(sq, list);
		else if (is_closed)
			return NULL;
		else if (sq->is_purging)
			purge_some(sq);
		else
			checkpoint(sq);
		if (sq->db.wal_frames < frames_at_checkpoint)
			frames_at_checkpoint = 0;
		if (sq->db.wal_frames - frames_at_checkpoint > CHECKPOINT_FRAMES) {
			checkpoint(sq);
			frames_at_checkpoint = sq->db.wal_frames;
		}
	}
}

static void *
reader_main(void *arg)
{
	struct store_sqlite *sq = arg;
	bool is_closed = false;

	for (;;) {
		struct store_request *r = store_queue_take(sq->reads, 1, SIZE_MAX, -1, &is_closed);
		struct err e = { 0 };

		if (r == NULL && is_closed)
			return NULL;
		if (r == NULL)
			continue;
		if (store_sqlite_read(&sq->read_db, r, &e) < 0)
			store_request_fail(r, &e);
		store_queue_push_always(sq->answers, r);
	}
}

/* --- backend --- */

static bool
submit(struct store_backend *b, struct store_request *r)
{
	struct store_sqlite *sq = CONTAINER_OF(b, struct store_sqlite, base);

	if (r->kind == STORE_REQUEST_LOG) {
		store_queue_push_always(sq->reads, r); /* as many as there are watches */
		return true;
	}
	return store_queue_push(r->kind == STORE_REQUEST_AT ? sq->reads : sq->writes, r);
}

static void
sqlite_free(struct store_sqlite *take_sq)
{
	if (take_sq == NULL)
		return;
	store_queue_close(take_sq->writes);
	store_queue_close(take_sq->reads);
	if (take_sq->has_writer)
		pthread_join(take_sq->writer, NULL);
	if (take_sq->has_reader)
		pthread_join(take_sq->reader, NULL);
	store_sqlite_db_fini(&take_sq->read_db);
	store_sqlite_db_fini(&take_sq->db); /* the last one: checkpoints, removes the log */
	store_queue_free(take_sq->writes);
	store_queue_free(take_sq->reads);
	file_close(take_sq->lock_fd);
	free(take_sq);
}
DEFINE_AUTO(struct store_sqlite *, sqlite_free)

static void
close_backend(struct store_backend *take_b)
{
	sqlite_free(CONTAINER_OF(take_b, struct store_sqlite, base));
}

static const struct store_backend_ops backend_ops = { .submit = submit, .close = close_backend };

/* --- open --- */

DEFINE_AUTO(struct store *, store_close)

static void
load_row(const struct store_row *row, void *arg)
{
	store_load_row(arg, row);
}

static int
load_leases(struct store_sqlite_db *d, struct store *s, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_LEASE_LOAD, e);
	int rc;

	if (st == NULL)
		return -1;
	while ((rc = store_sqlite_db_step(d, st, e)) > 0)
		store_load_lease(s, sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1));
	return rc;
}

static int
load_info(struct store_sqlite_db *d, struct store_backend_info *out, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_META_GET, e);
	int rc;

	if (st == NULL)
		return -1;
	sqlite3_bind_text(st, 1, "cluster_id", -1, SQLITE_STATIC);
	rc = store_sqlite_db_step(d, st, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_set(
		    e, ERR_INVALID, NULL, "%s has no cluster id: restore a backup", d->path);
	(void)snprintf(out->cluster_id, sizeof out->cluster_id, "%s",
	    (const char *)sqlite3_column_text(st, 0));
	store_sqlite_db_end(st); /* the next reads use the same statement */
	if (store_sqlite_db_meta(d, "epoch", &out->epoch, e) < 0 ||
	    store_sqlite_db_meta(d, "compact_rev", &out->compact_rev, e) < 0)
		return -1;
	return store_sqlite_db_rev(d, &out->rev, e);
}

static int
load(struct store_sqlite *sq, struct store *s, struct store_backend_info *out, struct err *e)
{
	if (load_info(&sq->db, out, e) < 0 || load_leases(&sq->db, s, e) < 0)
		return -1;
	sq->rev = out->rev;
	sq->purge_rev = out->compact_rev;
	sq->is_purging = out->compact_rev > 0; /* what a crash left */
	return store_sqlite_read_all(&sq->db, load_row, s, e);
}

/* The directory's lock and its database. */
static int
open_dir(struct store_sqlite *sq, const char *dir, struct err *e)
{
	AUTO(free) char *lock = file_join(dir, "store.lock");
	AUTO(free) char *path = file_join(dir, "store.db");

	if (file_mkdirs(dir, 0700, e) < 0)
		return -1;
	sq->lock_fd = file_lock(lock, e);
	if (sq->lock_fd < 0)
		return -1;
	if (store_sqlite_db_open(&sq->db, path, e) < 0)
		return -1;
	return store_sqlite_db_open_reader(&sq->read_db, path, e);
}

/* Signals stay with the loop's thread. */
static int
start_threads(struct store_sqlite *sq, struct err *e)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	sq->has_writer = pthread_create(&sq->writer, NULL, writer_main, sq) == 0;
	sq->has_reader = pthread_create(&sq->reader, NULL, reader_main, sq) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!sq->has_writer || !sq->has_reader)
		return err_set(e, ERR_SYSTEM, NULL, "cannot start the store's threads");
	return 0;
}

static struct store_sqlite *
sqlite_new(void)
{
	struct store_sqlite *sq = xcalloc(1, sizeof *sq);

	sq->base.ops = &backend_ops;
	sq->lock_fd = -1;
	sq->writes = store_queue_new(QUEUE_MAX, QUEUE_BYTES, -1);
	sq->reads = store_queue_new(QUEUE_MAX, QUEUE_BYTES, -1);
	return sq;
}

struct store *
store_sqlite_open(struct loop *l, const char *dir, struct err *e)
{
	AUTO(sqlite_free) struct store_sqlite *sq = sqlite_new();
	AUTO(store_close) struct store *s = store_new(l, e);
	struct store_backend_info info = { 0 };

	if (s == NULL || open_dir(sq, dir, e) < 0)
		return NULL;
	sq->answers = store_answers(s);
	if (load(sq, s, &info, e) < 0 || start_threads(sq, e) < 0)
		return NULL;
	store_attach(s, &STEAL(sq)->base, &info);
	return STEAL(s);
}

int
store_sqlite_raise_epoch(const char *dir, struct err *e)
{
	AUTO(sqlite_free) struct store_sqlite *sq = sqlite_new();
	int64_t epoch = 0;

	if (open_dir(sq, dir, e) < 0 || store_sqlite_db_run(&sq->db, SQL_BEGIN, e) < 0)
		return -1;
	if (store_sqlite_db_meta(&sq->db, "epoch", &epoch, e) < 0 ||
	    store_sqlite_db_set_meta(&sq->db, "epoch", epoch + 1, e) < 0)
		return -1;
	return store_sqlite_db_run(&sq->db, SQL_COMMIT, e);
}
