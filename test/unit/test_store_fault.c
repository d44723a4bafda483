/* A full disk, failing writes and failing syncs: who asked gets ERR_SYSTEM and nothing was written,
 * also not after a power cut; the store goes on once the disk does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "test/lib/power_vfs.h"
#include "test/lib/store_fixture.h"
#include "test/lib/store_model.h"

enum { ROUNDS = 120, BURST_MAX = 10, IMAGE_EVERY = 6 };

struct world {
	struct store_fixture f;
	struct power_vfs *v; /* owned */
	struct store_model m;
	int waiting, refused, images;
	bool is_idle;
};

static int
set_up(void **state)
{
	const char *text = getenv("SEED");
	uint64_t seed = text == NULL ? (uint64_t)time(NULL) : strtoull(text, NULL, 10);
	struct world *w = xcalloc(1, sizeof *w);

	print_message("# SEED=%llu\n", (unsigned long long)seed);
	w->f = (struct store_fixture){ .loop = loop_new(), .dir = store_fixture_temp_dir() };
	w->v = power_vfs_new(w->f.dir);
	store_model_init(&w->m, seed);
	store_fixture_open(&w->f);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	store_fixture_close(&w->f);
	power_vfs_free(w->v);
	store_fixture_fini(&w->f);
	store_model_fini(&w->m);
	free(w);
	return 0;
}

static void
expect_equal(struct world *w, struct store *s)
{
	const char *why = store_model_compare_all(&w->m, s);

	assert_int_equal(store_rev(s), w->m.rev);
	if (why != NULL)
		fail_msg("%s", why);
}

/* A transaction that the model learns of only when its answer says what became of it. */
struct pending {
	struct world *w;
	struct store_model_plan plan;
};

static void
on_txn(int64_t rev, const struct err *e, void *arg)
{
	AUTO(free_ptr) struct pending *p = arg;
	struct world *w = p->w;

	w->waiting--;
	w->is_idle = w->waiting == 0;
	if (e != NULL && e->code == ERR_SYSTEM) {
		w->refused++;
		return;
	}
	assert_int_equal(store_model_apply(&w->m, &p->plan), e == NULL ? ERR_NONE : e->code);
	if (e == NULL)
		assert_int_equal(rev, w->m.rev);
	expect_equal(w, w->f.store);
}

static void
burst(struct world *w)
{
	int n = 1 + (int)store_model_draw(&w->m, BURST_MAX);

	w->is_idle = false;
	w->waiting = n;
	for (int i = 0; i < n; i++) {
		struct pending *p = xcalloc(1, sizeof *p);

		p->w = w;
		store_model_plan(&w->m, &p->plan);
		store_txn_submit(w->f.store, store_model_txn(&p->plan), on_txn, p);
	}
	assert_true(loop_run_until(w->f.loop, &w->is_idle, 60000));
}

static void
write_one(struct world *w)
{
	struct store_model_plan p = { .row_n = 1 };

	p.rows[0].val = w->m.next_val++;
	assert_int_equal(store_model_apply(&w->m, &p), ERR_NONE);
	assert_int_equal(store_fixture_commit(&w->f, store_model_txn(&p), NULL), w->m.rev);
}

/* The power is cut now: the disk has exactly what was acknowledged. */
static void
expect_image(struct world *w)
{
	enum power_vfs_loss loss = store_model_draw(&w->m, POWER_VFS_LOSSES);
	struct store_fixture f = { .loop = w->f.loop, .dir = store_fixture_temp_dir() };
	struct err e = { 0 };

	power_vfs_image(w->v, f.dir, loss, store_model_draw(&w->m, UINT32_MAX));
	store_fixture_open(&f);
	expect_equal(w, f.store);
	store_fixture_close(&f);
	assert_int_equal(file_remove_tree(f.dir, &e), 0);
	free(f.dir);
	w->images++;
}

/* A few operations fail, perhaps so many that the store's own second try fails too. */
static void
run_short_faults(void **state, enum power_vfs_fault fault)
{
	struct world *w = *state;
	int struck = 0;

	for (int i = 0; i < ROUNDS; i++) {
		power_vfs_fail(w->v, fault, (int)store_model_draw(&w->m, 5));
		burst(w);
		power_vfs_fail(w->v, fault, 0);
		struck += power_vfs_failed(w->v);
		write_one(w);
		if (i % IMAGE_EVERY == 0)
			expect_image(w);
		if (i % 40 == 39)
			store_fixture_settle(&w->f);
	}
	print_message("# %d faults, %d transactions refused, revision %lld, %d power cuts\n",
	    struck, w->refused, (long long)w->m.rev, w->images);
	assert_true(struck > 0);
}

static void
test_full_for_a_moment(void **state)
{
	run_short_faults(state, POWER_VFS_FULL);
}

static void
test_write_errors(void **state)
{
	run_short_faults(state, POWER_VFS_WRITE);
}

static void
test_sync_errors(void **state)
{
	run_short_faults(state, POWER_VFS_SYNC);
}

static void
test_sync_errors_lose_pages(void **state)
{
	run_short_faults(state, POWER_VFS_SYNC_LOST);
}

/* A commit whose sync failed lies in the log complete; it must not come back when the process dies
 * right after it said that nothing was written. */
static void
test_refused_commit_stays_away(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 40; i++) {
		struct store_model_plan p = { .row_n = 1 };
		struct err e = { 0 };

		write_one(w);
		p.rows[0].val = w->m.next_val++;
		power_vfs_fail(w->v, POWER_VFS_SYNC, 2); /* the group, then the second try */
		assert_int_equal(store_fixture_commit(&w->f, store_model_txn(&p), &e), -1);
		assert_int_equal(e.code, ERR_SYSTEM);
		expect_image(w);
	}
}

/* While it lasts every write is refused with a reason, reads and watches live, and the end of it is
 * noticed without help. */
static void
test_full_for_long(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	for (int i = 0; i < 20; i++)
		burst(w);
	power_vfs_fail(w->v, POWER_VFS_FULL, -1);
	w->refused = 0;
	/* What is left of the log's file is still used; then no more. */
	for (int i = 0; w->refused < 50 && i < 2000; i++)
		burst(w);
	assert_true(w->refused >= 50);
	assert_int_equal(store_fixture_put_lease(&w->f, "/a", "x", 0, &e), -1);
	assert_int_equal(e.code, ERR_SYSTEM);
	assert_non_null(strstr(e.text, "make room"));
	expect_equal(w, w->f.store);
	power_vfs_fail(w->v, POWER_VFS_FULL, 0);
	write_one(w);
	expect_image(w);
}

static bool
mount_small(const char *dir)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", dir, "tmpfs", MS_NODEV | MS_NOSUID, "size=3m") == 0;
}

static int
put_bulk(struct store_fixture *f, int i, struct err *e)
{
	AUTO(free) char *key = xasprintf("/bulk/%d", i);
	struct store_txn *t = store_txn_new();
	static const char val[20000];

	store_txn_put(t, key, val, sizeof val);
	return store_fixture_commit(f, t, e) < 0 ? -1 : 0;
}

/* The same with a file system that is really full, the log's index included. */
static void
test_full_file_system(void **state)
{
	struct store_fixture f = { .loop = loop_new(), .dir = store_fixture_temp_dir() };
	AUTO(free) char *filler = file_join(f.dir, "filler");
	struct err e = { 0 };
	int n = 0;

	(void)state;
	if (geteuid() != 0 || !mount_small(f.dir)) {
		loop_free(f.loop);
		free(f.dir);
		free(STEAL(filler)); /* skip does not return */
		skip();
	}
	{
		AUTO(free) char *room = xcalloc(1, 1024 * 1024);

		assert_int_equal(file_replace(filler, room, 1024 * 1024, 0600, &e), 0);
	}
	store_fixture_open(&f);
	while (put_bulk(&f, n, &e) == 0)
		n++;
	assert_int_equal(e.code, ERR_SYSTEM);
	assert_true(n > 10);
	assert_int_equal(put_bulk(&f, n, &e), -1);
	assert_int_equal(store_count(f.store, ""), n);
	assert_int_equal(unlink(filler), 0);
	assert_int_equal(put_bulk(&f, n, NULL), 0);
	store_fixture_close(&f);
	store_fixture_open(&f);
	assert_int_equal(store_count(f.store, ""), n + 1);
	assert_int_equal(store_rev(f.store), n + 1);
	store_fixture_close(&f);
	assert_int_equal(umount(f.dir), 0);
	store_fixture_fini(&f);
}

/* A lease that ends while the disk is full ends later. */
static void
test_lease_ends_after_the_fault(void **state)
{
	struct world *w = *state;
	struct store_fixture_log log = { 0 };
	struct store_watch *watch;
	int64_t lease = store_fixture_grant(&w->f, 1);

	assert_int_equal(store_fixture_put_lease(&w->f, "/lock", "me", lease, NULL), 1);
	watch = store_watch_start(w->f.store, "/lock", 0, store_fixture_on_event, &log);
	power_vfs_fail(w->v, POWER_VFS_SYNC, -1);
	for (int i = 0; i < 50; i++)
		store_fixture_settle(&w->f);
	assert_int_equal(log.events, 0);
	power_vfs_fail(w->v, POWER_VFS_SYNC, 0);
	store_fixture_wait_events(&w->f, &log, 1);
	assert_string_equal(log.text.p, "-/lock@2 ; ");
	store_watch_cancel(watch);
	buf_fini(&log.text);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(test_full_for_a_moment),
		CASE(test_write_errors),
		CASE(test_sync_errors),
		CASE(test_sync_errors_lose_pages),
		CASE(test_refused_commit_stays_away),
		CASE(test_full_for_long),
		CASE(test_lease_ends_after_the_fault),
		cmocka_unit_test(test_full_file_system),
	};

	return cmocka_run_group_tests_name("store_fault", tests, NULL, NULL);
}
