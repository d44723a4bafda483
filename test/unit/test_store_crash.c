/* What was acknowledged is there after kill -9 and after a power cut, and nothing is there that was
 * not submitted: the store is exactly in the state of one of its revisions, not older than the last
 * acknowledged one. SEED=N in the environment repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "test/lib/power_vfs.h"
#include "test/lib/store_fixture.h"
#include "test/lib/store_model.h"

enum { IN_FLIGHT = 12, KILLS = 25, KILL_AFTER_US = 60000, CUTS = 60, CUT_TRANSACTIONS = 1500 };

static uint64_t
seed_of_run(void)
{
	const char *text = getenv("SEED");
	uint64_t seed = text == NULL ? (uint64_t)time(NULL) : strtoull(text, NULL, 10);

	print_message("# SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* --- a client that writes as fast as it can --- */

struct client {
	struct store *store; /* borrowed */
	struct store_model m;
	_Atomic int64_t *acked_rev; /* borrowed */
	int in_flight;
	bool has_room;
	int64_t submitted;
};

static void
on_txn(int64_t rev, const struct err *e, void *arg)
{
	struct client *c = arg;

	c->in_flight--;
	c->has_room = true;
	if (e == NULL)
		atomic_store(c->acked_rev, rev);
}

static void
submit_one(struct client *c)
{
	struct store_model_plan p;

	store_model_plan(&c->m, &p);
	(void)store_model_apply(&c->m, &p);
	c->in_flight++;
	c->submitted++;
	store_txn_submit(c->store, store_model_txn(&p), on_txn, c);
	if (c->submitted % 200 == 0)
		store_compact(c->store, store_rev(c->store) / 2, NULL, NULL);
}

static void
pump(struct client *c, struct loop *l)
{
	while (c->in_flight < IN_FLIGHT)
		submit_one(c);
	c->has_room = false;
	(void)loop_run_until(l, &c->has_room, 10000);
}

/* --- kill -9 --- */

static void
run_victim(const char *dir, struct client *c)
{
	struct loop *l = loop_new();
	struct err e = { 0 };

	c->store = store_sqlite_open(l, dir, &e);
	if (c->store == NULL)
		_exit(1);
	for (;;)
		pump(c, l);
}

static void
kill_one(const char *dir, struct client *c, useconds_t after)
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0)
		run_victim(dir, c);
	(void)usleep(after);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* Brings the model to what the store recovered: the same draws, up to that revision. */
static void
follow(struct store_model *m, int64_t rev)
{
	struct store_model_plan p;

	while (m->rev < rev) {
		store_model_plan(m, &p);
		(void)store_model_apply(m, &p);
	}
}

static void
expect_recovered(struct client *c, struct store_fixture *f)
{
	int64_t acked = atomic_load(c->acked_rev);
	const char *why;

	if (store_rev(f->store) < acked)
		fail_msg("revision %lld was acknowledged, %lld is there", (long long)acked,
		    (long long)store_rev(f->store));
	follow(&c->m, store_rev(f->store));
	why = store_model_compare_all(&c->m, f->store);
	if (why != NULL)
		fail_msg("%s", why);
}

static void
test_kill(void **state)
{
	struct store_fixture f = { .loop = loop_new(), .dir = store_fixture_temp_dir() };
	struct client c = { 0 };

	(void)state;
	c.acked_rev = mmap(
	    NULL, sizeof *c.acked_rev, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(c.acked_rev != MAP_FAILED);
	store_model_init(&c.m, seed_of_run());
	for (int i = 0; i < KILLS; i++) {
		kill_one(f.dir, &c, (useconds_t)store_model_draw(&c.m, KILL_AFTER_US));
		store_fixture_open(&f);
		expect_recovered(&c, &f);
		store_fixture_close(&f);
	}
	print_message("# %d kills, revision %lld\n", KILLS, (long long)c.m.rev);
	assert_true(c.m.rev > 0);
	store_model_fini(&c.m);
	munmap(c.acked_rev, sizeof *c.acked_rev);
	store_fixture_fini(&f);
}

/* --- power cuts --- */

struct cut {
	char *dir; /* owned */
	int64_t acked_rev;
	enum power_vfs_loss loss;
};

struct cutter {
	struct cut cuts[CUTS];
	int n;
	uint64_t random;
	uint64_t ticks_left;
	_Atomic int64_t acked_rev;
};

static uint64_t
draw(struct cutter *x, uint64_t below)
{
	x->random = x->random * 6364136223846793005u + 1442695040888963407u;
	return (x->random >> 33) % below;
}

/* Now and then, at any step of a write, a commit or a checkpoint. */
static void
on_tick(struct power_vfs *v, void *arg)
{
	struct cutter *x = arg;
	struct cut *c;

	if (x->n == CUTS || x->ticks_left-- > 0)
		return;
	x->ticks_left = draw(x, 300);
	c = &x->cuts[x->n++];
	c->dir = store_fixture_temp_dir();
	c->loss = (enum power_vfs_loss)draw(x, POWER_VFS_LOSSES);
	c->acked_rev = atomic_load(&x->acked_rev);
	power_vfs_image(v, c->dir, c->loss, draw(x, UINT32_MAX));
}

static void
expect_image(const struct store_model *m, struct cut *c, struct loop *l)
{
	struct store_fixture f = { .loop = l, .dir = c->dir };
	struct err e = { 0 };
	const char *why;

	store_fixture_open(&f);
	if (store_rev(f.store) < c->acked_rev)
		fail_msg("loss %d: revision %lld was acknowledged, %lld is there", c->loss,
		    (long long)c->acked_rev, (long long)store_rev(f.store));
	why = store_model_compare_all(m, f.store);
	if (why != NULL)
		fail_msg("loss %d: %s", c->loss, why);
	assert_true(store_fixture_put(&f, "/after", "1") > c->acked_rev);
	store_fixture_close(&f);
	assert_int_equal(file_remove_tree(c->dir, &e), 0);
	free(c->dir);
}

static void
test_power_cut(void **state)
{
	struct cutter x = { .random = seed_of_run(), .ticks_left = 20 };
	struct store_fixture f = { .loop = loop_new(), .dir = store_fixture_temp_dir() };
	struct client c = { .acked_rev = &x.acked_rev };
	struct power_vfs *v = power_vfs_new(f.dir);

	(void)state;
	power_vfs_on_tick(v, on_tick, &x);
	store_model_init(&c.m, x.random);
	store_fixture_open(&f);
	c.store = f.store;
	while (x.n < CUTS && c.submitted < 50 * CUT_TRANSACTIONS) {
		pump(&c, f.loop);
		if (draw(&x, 200) == 0) { /* idle long enough for a checkpoint */
			bool never = false;

			(void)loop_run_until(f.loop, &never, 230);
		}
	}
	store_fixture_close(&f);
	power_vfs_free(v);
	print_message("# %d cuts, revision %lld\n", x.n, (long long)c.m.rev);
	assert_int_equal(x.n, CUTS);
	for (int i = 0; i < x.n; i++)
		expect_image(&c.m, &x.cuts[i], f.loop);
	store_model_fini(&c.m);
	store_fixture_fini(&f);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_power_cut),
	};

	return cmocka_run_group_tests_name("store_crash", tests, NULL, NULL);
}
