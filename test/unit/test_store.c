/* What store.h promises, case by case, on the embedded backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/store/store_sqlite.h"
#include "test/lib/store_fixture.h"

static int
set_up(void **state)
{
	struct store_fixture *f = xcalloc(1, sizeof *f);

	store_fixture_init(f);
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	store_fixture_fini(*state);
	free(*state);
	return 0;
}

static void
expect_range(struct store_fixture *f, const char *prefix, const char *want)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	store_fixture_range(f, prefix, &b);
	assert_string_equal(b.p, want);
}

static void
expect_range_at(struct store_fixture *f, const char *prefix, int64_t rev, const char *want)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	assert_int_equal(store_fixture_range_at(f, prefix, rev, &b, NULL), 0);
	assert_string_equal(b.p, want);
}

static void
expect_log(struct store_fixture *f, struct store_fixture_log *log, size_t n, const char *want)
{
	store_fixture_wait_events(f, log, n);
	assert_string_equal(log->text.p, want);
}

static void
test_starts_empty(void **state)
{
	struct store_fixture *f = *state;
	struct store_kv kv;

	assert_int_equal(store_rev(f->store), 0);
	assert_int_equal(store_epoch(f->store), 1);
	assert_int_equal(strlen(store_cluster_id(f->store)), 32);
	assert_false(store_get(f->store, "/a", &kv));
	expect_range(f, "", "");
}

static void
test_put_get_delete(void **state)
{
	struct store_fixture *f = *state;
	struct store_kv kv;

	assert_int_equal(store_fixture_put(f, "/a", "one"), 1);
	assert_int_equal(store_fixture_put(f, "/b", ""), 2);
	assert_int_equal(store_fixture_put(f, "/a", "two"), 3);
	assert_true(store_get(f->store, "/a", &kv));
	assert_string_equal(kv.val, "two");
	assert_int_equal(kv.n, 3);
	assert_int_equal(kv.create_rev, 1);
	assert_int_equal(kv.mod_rev, 3);
	assert_int_equal(kv.version, 2);
	assert_int_equal(store_fixture_delete(f, "/a"), 4);
	assert_false(store_get(f->store, "/a", &kv));
	assert_int_equal(store_fixture_delete(f, "/a"), 4); /* nothing to delete: no revision */
	assert_int_equal(store_fixture_put(f, "/a", "new"), 5);
	assert_true(store_get(f->store, "/a", &kv));
	assert_int_equal(kv.create_rev, 5);
	assert_int_equal(kv.version, 1);
}

static void
test_range_is_ordered_and_bounded(void **state)
{
	struct store_fixture *f = *state;

	store_fixture_put(f, "/app/b", "2");
	store_fixture_put(f, "/app/a", "1");
	store_fixture_put(f, "/app0", "x");
	store_fixture_put(f, "/ap", "x");
	expect_range(f, "/app/", "/app/a=1@2/1 /app/b=2@1/1 ");
	assert_int_equal(store_count(f->store, "/app"), 3);
	assert_int_equal(store_count(f->store, ""), 4);
	assert_int_equal(store_count(f->store, "/z"), 0);
}

static void
test_values_are_bytes(void **state)
{
	struct store_fixture *f = *state;
	struct store_txn *t = store_txn_new();
	struct store_kv kv;

	store_txn_put(t, "/k", "a\0b\xff", 4);
	store_fixture_commit(f, t, NULL);
	store_fixture_close(f);
	store_fixture_open(f);
	assert_true(store_get(f->store, "/k", &kv));
	assert_int_equal(kv.n, 4);
	assert_memory_equal(kv.val, "a\0b\xff", 5);
}

static void
test_compares(void **state)
{
	struct store_fixture *f = *state;
	int64_t rev = store_fixture_put(f, "/a", "1");
	static const struct {
		const char *key;
		int64_t rev; /* -1: exists */
		bool holds;
	} cases[] = {
		{ "/a", 1, true },
		{ "/a", 2, false },
		{ "/a", 0, false },
		{ "/a", -1, true },
		{ "/none", 0, true },
		{ "/none", 1, false },
		{ "/none", -1, false },
	};

	assert_int_equal(rev, 1);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct store_txn *t = store_txn_new();
		struct err e = { 0 };

		store_txn_if_exists(t, "/a");
		if (cases[i].rev < 0)
			store_txn_if_exists(t, cases[i].key);
		else
			store_txn_if_rev(t, cases[i].key, cases[i].rev);
		store_txn_put(t, "/out", "x", 1);
		rev = store_fixture_commit(f, t, &e);
		assert_int_equal(rev > 0, cases[i].holds);
		if (!cases[i].holds)
			assert_int_equal(e.code, ERR_CONFLICT);
	}
	expect_range(f, "", "/a=1@1/1 /out=x@4/3 ");
}

/* Of many that submit at once with the same compare, one wins. */
struct race {
	int wins, losses, wanted;
	bool is_done;
};

static void
on_race(int64_t rev, const struct err *e, void *arg)
{
	struct race *r = arg;

	(void)rev;
	if (e == NULL)
		r->wins++;
	else
		r->losses += e->code == ERR_CONFLICT;
	r->is_done = r->wins + r->losses == r->wanted;
}

static void
test_race_has_one_winner(void **state)
{
	struct store_fixture *f = *state;
	struct race r = { .wanted = 200 };

	for (int i = 0; i < r.wanted; i++) {
		struct store_txn *t = store_txn_new();

		store_txn_if_rev(t, "/quota", 0);
		store_txn_put(t, "/quota", "mine", 4);
		store_txn_submit(f->store, t, on_race, &r);
	}
	assert_true(loop_run_until(f->loop, &r.is_done, 20000));
	assert_int_equal(r.wins, 1);
	assert_int_equal(store_rev(f->store), 1);
}

static void
test_limits(void **state)
{
	struct store_fixture *f = *state;
	AUTO(free) char *big = xcalloc(1, 1024 * 1024 + 1);
	AUTO(free) char *key = xcalloc(1, 2000);
	struct err e = { 0 };
	struct store_txn *t = store_txn_new();

	for (int i = 0; i < STORE_TXN_MAX; i++) {
		AUTO(free) char *k = xasprintf("/k/%d", i);

		store_txn_put(t, k, "v", 1);
	}
	assert_int_equal(store_txn_count(t), STORE_TXN_MAX);
	assert_int_equal(store_fixture_commit(f, t, NULL), 1);

	t = store_txn_new();
	for (int i = 0; i <= STORE_TXN_MAX; i++) {
		AUTO(free) char *k = xasprintf("/k/%d", i);

		store_txn_delete(t, k);
	}
	assert_int_equal(store_fixture_commit(f, t, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);

	t = store_txn_new();
	store_txn_put(t, "/big", big, 1024 * 1024 + 1);
	assert_int_equal(store_fixture_commit(f, t, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);

	t = store_txn_new();
	memset(key, 'k', 1999);
	store_txn_put(t, key, "v", 1);
	assert_int_equal(store_fixture_commit(f, t, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);

	t = store_txn_new();
	store_txn_put(t, "/twice", "v", 1);
	store_txn_delete(t, "/twice");
	assert_int_equal(store_fixture_commit(f, t, &e), -1);
	assert_int_equal(e.code, ERR_BUG);
	assert_int_equal(store_rev(f->store), 1);
}

static void
test_watch_live(void **state)
{
	struct store_fixture *f = *state;
	struct store_fixture_log log = { 0 }, other = { 0 };
	struct store_watch *w, *o;
	struct store_txn *t = store_txn_new();

	store_fixture_put(f, "/a/0", "before");
	w = store_watch_start(f->store, "/a/", 0, store_fixture_on_event, &log);
	o = store_watch_start(f->store, "/b/", 4, store_fixture_on_event, &other);
	store_txn_put(t, "/a/1", "x", 1);
	store_txn_put(t, "/b/1", "y", 1);
	store_txn_delete(t, "/a/0");
	store_txn_delete(t, "/a/none");
	store_fixture_commit(f, t, NULL);
	store_fixture_put(f, "/a/1", "z");
	store_fixture_put(f, "/b/1", "z");
	expect_log(f, &log, 3, "/a/1=x@2 -/a/0@2 ; /a/1=z@3 ; ");
	expect_log(f, &other, 1, "/b/1=z@4 ; ");
	store_watch_cancel(w);
	store_fixture_put(f, "/a/1", "unseen");
	store_fixture_settle(f);
	assert_int_equal(log.events, 3);
	store_watch_cancel(o);
	buf_fini(&log.text);
	buf_fini(&other.text);
}

static void
test_watch_from_the_past(void **state)
{
	struct store_fixture *f = *state;

	store_fixture_put(f, "/a", "1");
	store_fixture_put(f, "/b", "2");
	store_fixture_put(f, "/a", "3");
	store_fixture_delete(f, "/a");
	for (int reopened = 0; reopened < 2; reopened++) { /* from memory, then from disk */
		struct store_fixture_log log = { 0 };
		struct store_watch *w =
		    store_watch_start(f->store, "/a", 2, store_fixture_on_event, &log);

		assert_int_equal(log.events, 0);
		expect_log(f, &log, 2, "/a=3@3 ; -/a@4 ; ");
		store_watch_cancel(w);
		buf_fini(&log.text);
		store_fixture_close(f);
		store_fixture_open(f);
	}
}

/* A watch that ends itself, and another, in the middle of a revision. */
struct self_cancel {
	struct store_watch *w[2];
	int events;
};

static void
on_event_cancel(const struct store_event *ev, void *arg)
{
	struct self_cancel *c = arg;

	(void)ev;
	c->events++;
	store_watch_cancel(STEAL(c->w[0]));
	store_watch_cancel(STEAL(c->w[1]));
}

static void
test_watch_cancel_inside(void **state)
{
	struct store_fixture *f = *state;
	struct store_txn *t = store_txn_new();
	struct self_cancel c = { 0 };

	for (int i = 0; i < 2; i++)
		c.w[i] = store_watch_start(f->store, "/", 0, on_event_cancel, &c);
	store_txn_put(t, "/1", "", 0);
	store_txn_put(t, "/2", "", 0);
	store_fixture_commit(f, t, NULL);
	store_fixture_settle(f);
	assert_int_equal(c.events, 1);

	for (int i = 0; i < 2; i++) /* the same in a replay */
		c.w[i] = store_watch_start(f->store, "/", 1, on_event_cancel, &c);
	store_fixture_settle(f);
	assert_int_equal(c.events, 2);

	store_watch_cancel(store_watch_start(f->store, "/", 1, on_event_cancel, &c));
	store_fixture_settle(f);
	assert_int_equal(c.events, 2);
}

static void
test_compaction(void **state)
{
	struct store_fixture *f = *state;
	struct store_fixture_log old = { 0 }, fresh = { 0 };
	struct store_watch *o, *w;
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	store_fixture_put(f, "/a", "1");
	store_fixture_put(f, "/b", "2");
	store_fixture_put(f, "/a", "3");
	store_fixture_put(f, "/a", "4");
	store_fixture_delete(f, "/b");
	store_fixture_put(f, "/c", "6");
	expect_range_at(f, "", 2, "/a=1@1/1 /b=2@2/1 ");
	assert_int_equal(store_fixture_compact(f, 7, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
	assert_int_equal(store_fixture_compact(f, 3, NULL), 0);
	assert_int_equal(store_fixture_compact(f, 2, NULL), 0);
	store_fixture_settle(f);
	assert_int_equal(store_fixture_range_at(f, "", 2, &b, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	expect_range_at(f, "", 3, "/a=3@3/2 /b=2@2/1 ");
	expect_range_at(f, "/a", 4, "/a=4@4/3 ");
	expect_range_at(f, "", 5, "/a=4@4/3 ");
	o = store_watch_start(f->store, "/", 3, store_fixture_on_event, &old);
	w = store_watch_start(f->store, "/", 4, store_fixture_on_event, &fresh);
	expect_log(f, &old, 1, "compacted ");
	expect_log(f, &fresh, 3, "/a=4@4 ; -/b@5 ; /c=6@6 ; ");
	store_watch_cancel(o);
	store_watch_cancel(w);
	buf_fini(&old.text);
	buf_fini(&fresh.text);
}

static int
count_log_rows(struct store_fixture *f)
{
	AUTO(free) char *path = file_join(f->dir, "store.db");
	sqlite3 *db = NULL;
	sqlite3_stmt *st = NULL;
	int n;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(
	    sqlite3_prepare_v2(db, "select count(*) from log", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

/* The log keeps one row a key, in the background, also what a restart interrupted. */
static void
test_compaction_frees_the_log(void **state)
{
	struct store_fixture *f = *state;

	for (int i = 0; i < 1500; i++) {
		AUTO(free) char *key = xasprintf("/k/%d", i % 10);
		struct store_txn *t = store_txn_new();

		if (i % 50 == 7)
			store_txn_delete(t, key);
		else
			store_txn_put(t, key, "v", 1);
		store_txn_submit(f->store, t, NULL, NULL);
	}
	store_fixture_put(f, "/last", "1");
	assert_int_equal(count_log_rows(f), 1500); /* the first deletion found nothing */
	assert_int_equal(store_fixture_compact(f, 1500, NULL), 0);
	store_fixture_close(f); /* not all is purged yet, perhaps */
	store_fixture_open(f);
	for (int i = 0; count_log_rows(f) > 11; i++) {
		assert_true(i < 200);
		store_fixture_settle(f);
	}
	assert_int_equal(store_count(f->store, ""), 11);
	assert_int_equal(count_log_rows(f), 11);
}

static void
test_compacts_by_itself(void **state)
{
	struct store_fixture *f = *state;
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	for (int i = 0; i < 30; i++)
		store_fixture_put(f, "/a", "v");
	store_compact_auto(f->store, 10, 1);
	for (int i = 0; count_log_rows(f) > 11; i++) {
		assert_true(i < 200);
		store_fixture_settle(f);
	}
	assert_int_equal(store_fixture_range_at(f, "", 19, &b, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	expect_range_at(f, "", 20, "/a=v@20/20 ");
	store_compact_auto(f->store, 0, 0);
	for (int i = 0; i < 5; i++)
		store_fixture_put(f, "/a", "v");
	store_fixture_settle(f);
	expect_range_at(f, "", 20, "/a=v@20/20 ");
}

/* The newest revision stays known when compaction drops its only row. */
static void
test_compaction_keeps_the_revision(void **state)
{
	struct store_fixture *f = *state;

	store_fixture_put(f, "/a", "1");
	assert_int_equal(store_fixture_delete(f, "/a"), 2);
	assert_int_equal(store_fixture_compact(f, 2, NULL), 0);
	store_fixture_settle(f);
	store_fixture_close(f);
	store_fixture_open(f);
	assert_int_equal(store_rev(f->store), 2);
	assert_int_equal(store_fixture_put(f, "/a", "1"), 3);
	expect_range_at(f, "", 2, "");
}

static void
test_leases(void **state)
{
	struct store_fixture *f = *state;
	struct store_fixture_log log = { 0 };
	struct err e = { 0 };
	int64_t a = store_fixture_grant(f, 1), b = store_fixture_grant(f, 600);
	struct store_watch *w = store_watch_start(f->store, "/", 0, store_fixture_on_event, &log);

	assert_int_not_equal(a, b);
	store_fixture_put_lease(f, "/short", "1", a, NULL);
	store_fixture_put_lease(f, "/long", "2", b, NULL);
	store_fixture_put_lease(f, "/kept", "3", a, NULL);
	store_fixture_put(f, "/kept", "4"); /* no longer of the lease */
	assert_int_equal(store_fixture_put_lease(f, "/x", "1", 4711, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(store_fixture_keepalive(f, b, NULL), 0);
	store_fixture_wait_events(f, &log, 5);
	expect_range(f, "", "/kept=4@4/2 /long=2@2/1 ");
	assert_int_equal(store_fixture_keepalive(f, a, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	store_fixture_close(f);
	store_watch_cancel(w);
	store_fixture_open(f);
	assert_int_equal(store_fixture_keepalive(f, b, NULL), 0);
	assert_int_equal(store_fixture_revoke(f, b, NULL), 0);
	assert_int_equal(store_fixture_revoke(f, b, &e), -1);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	expect_range(f, "", "/kept=4@4/2 ");
	buf_fini(&log.text);
}

static void
test_reopens_the_same(void **state)
{
	struct store_fixture *f = *state;
	AUTO(free) char *id = xstrdup(store_cluster_id(f->store));
	AUTO_FINI(buf_fini) struct buf before = { 0 };

	for (int i = 0; i < 50; i++) {
		AUTO(free) char *key = xasprintf("/k/%d", i % 7);

		store_fixture_put(f, key, "v");
	}
	store_fixture_range(f, "", &before);
	store_fixture_close(f);
	store_fixture_open(f);
	assert_string_equal(store_cluster_id(f->store), id);
	assert_int_equal(store_rev(f->store), 50);
	expect_range(f, "", before.p);
}

/* close waits for what was submitted, and calls back. */
static void
test_close_finishes(void **state)
{
	struct store_fixture *f = *state;
	struct race r = { .wanted = 100 };

	for (int i = 0; i < r.wanted; i++) {
		struct store_txn *t = store_txn_new();

		store_txn_put(t, "/k", "v", 1);
		store_txn_submit(f->store, t, on_race, &r);
	}
	store_fixture_close(f);
	assert_int_equal(r.wins, 100);
	store_fixture_open(f);
	assert_int_equal(store_rev(f->store), 100);
}

static void
test_one_process_only(void **state)
{
	struct store_fixture *f = *state;
	struct err e = { 0 };

	assert_null(store_sqlite_open(f->loop, f->dir, &e));
	assert_int_equal(e.code, ERR_BUSY);
	assert_int_equal(store_sqlite_raise_epoch(f->dir, &e), -1);
	assert_int_equal(e.code, ERR_BUSY);
}

static void
test_epoch_is_raised(void **state)
{
	struct store_fixture *f = *state;
	struct err e = { 0 };

	store_fixture_put(f, "/a", "1");
	store_fixture_close(f);
	assert_int_equal(store_sqlite_raise_epoch(f->dir, &e), 0);
	store_fixture_open(f);
	assert_int_equal(store_epoch(f->store), 2);
	expect_range(f, "", "/a=1@1/1 ");
}

static void
run_sql(struct store_fixture *f, const char *text)
{
	AUTO(free) char *path = file_join(f->dir, "store.db");
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void
test_refuses_what_is_not_its_own(void **state)
{
	struct store_fixture *f = *state;
	static const struct {
		const char *sql, *says;
	} cases[] = {
		{ "pragma user_version = 99", "schema version 99" },
		{ "pragma application_id = 7", "not a store of Pinion" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e = { 0 };

		store_fixture_close(f);
		run_sql(f, cases[i].sql);
		assert_null(store_sqlite_open(f->loop, f->dir, &e));
		assert_int_equal(e.code, ERR_INVALID);
		assert_non_null(strstr(e.text, cases[i].says));
		run_sql(f, "pragma user_version = 1; pragma application_id = 0x50696e69");
		store_fixture_open(f);
	}
}

static void
test_garbage_is_an_error(void **state)
{
	struct store_fixture *f = *state;
	AUTO(free) char *path = file_join(f->dir, "store.db");
	AUTO(free) char *junk = xcalloc(1, 8192);
	struct err e = { 0 };

	store_fixture_close(f);
	memset(junk, 'j', 8192);
	assert_int_equal(file_replace(path, junk, 8192, 0600, &e), 0);
	assert_null(store_sqlite_open(f->loop, f->dir, &e));
	assert_int_equal(e.code, ERR_SYSTEM);
}

static void
test_files_are_private(void **state)
{
	struct store_fixture *f = *state;
	static const char *const names[] = { "store.db", "store.db-wal", "store.db-shm",
		"store.lock" };

	store_fixture_put(f, "/a", "1");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(free) char *path = file_join(f->dir, names[i]);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(test_starts_empty),
		CASE(test_put_get_delete),
		CASE(test_range_is_ordered_and_bounded),
		CASE(test_values_are_bytes),
		CASE(test_compares),
		CASE(test_race_has_one_winner),
		CASE(test_limits),
		CASE(test_watch_live),
		CASE(test_watch_from_the_past),
		CASE(test_watch_cancel_inside),
		CASE(test_compaction),
		CASE(test_compaction_frees_the_log),
		CASE(test_compacts_by_itself),
		CASE(test_compaction_keeps_the_revision),
		CASE(test_leases),
		CASE(test_reopens_the_same),
		CASE(test_close_finishes),
		CASE(test_one_process_only),
		CASE(test_epoch_is_raised),
		CASE(test_refuses_what_is_not_its_own),
		CASE(test_garbage_is_an_error),
		CASE(test_files_are_private),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
