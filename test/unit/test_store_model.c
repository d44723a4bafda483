/* Random transactions, watches, leases, compactions and reopenings against a model. The seed is
 * printed; SEED=N in the environment repeats it, STEPS=N makes it longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#include "lib/base/mem.h"
#include "test/lib/store_fixture.h"
#include "test/lib/store_model.h"

enum { WATCHES = 12, IN_FLIGHT_MAX = 300 };

static const char *const prefixes[] = { "", "/", "/a", "/a/", "/a/1", "/app/", "/b/", "/b/\xff",
	"/c", "\xff", "/none" };

struct run;

/* A watch checks each event as it comes against the model's history. */
struct watcher {
	struct run *run;
	struct store_watch *handle;
	const char *prefix;
	int64_t rev;    /* at which it looks, or waits */
	int position;   /* in changed[] of that revision */
	int64_t end_of; /* the revision of which more events must come; 0: none */
	bool must_be_compacted, is_compacted;
	bool is_blind; /* 0 was asked for: the first event says where it begins */
	size_t events;
};

struct run {
	struct store_fixture f;
	struct store_model m;
	struct watcher watchers[WATCHES];
	int64_t acked_compact_rev;
	size_t in_flight, transactions, conflicts, reads, compacted, events;
	bool is_idle; /* nothing in flight */
};

static void
flown(struct run *r)
{
	r->in_flight--;
	r->is_idle = r->in_flight == 0;
}

static void
fly(struct run *r)
{
	r->in_flight++;
	r->is_idle = false;
}

/* --- transactions --- */

struct expected {
	struct run *run;
	enum err_code code;
	int64_t rev;
};

static void
on_txn(int64_t rev, const struct err *e, void *arg)
{
	AUTO(free_ptr) struct expected *x = arg;
	const char *why;

	if ((e == NULL ? ERR_NONE : e->code) != x->code)
		fail_msg("code %d (%s), expected %d", e == NULL ? 0 : e->code,
		    e == NULL ? "" : e->text, x->code);
	if (e == NULL) {
		assert_int_equal(rev, x->rev);
		assert_int_equal(store_rev(x->run->f.store), rev);
		why = store_model_compare_all(&x->run->m, x->run->f.store);
		if (why != NULL)
			fail_msg("%s", why);
	} else {
		x->run->conflicts++;
	}
	x->run->transactions++;
	flown(x->run);
}

static void
step_txn(struct run *r)
{
	struct expected *x = xcalloc(1, sizeof *x);
	struct store_model_plan p;

	store_model_plan(&r->m, &p);
	*x = (struct expected){ .run = r, .code = store_model_apply(&r->m, &p) };
	x->rev = r->m.rev;
	fly(r);
	store_txn_submit(r->f.store, store_model_txn(&p), on_txn, x);
}

/* --- leases --- */

static void
on_revoked(int64_t lease, const struct err *e, void *arg)
{
	(void)lease;
	assert_null(e);
	flown(arg);
}

static void
step_lease(struct run *r)
{
	int64_t *slot = &r->m.leases[store_model_draw(&r->m, STORE_MODEL_LEASES)];

	if (*slot > 0) {
		fly(r);
		store_lease_revoke(r->f.store, *slot, on_revoked, r);
		store_model_end_lease(&r->m, *slot);
	} else {
		*slot = store_fixture_grant(&r->f, 3600);
	}
}

/* --- watches --- */

/* Moves on to the next change that the watcher must see; false: the model has none yet. */
static bool
seek(struct watcher *w)
{
	const struct store_model *m = &w->run->m;
	size_t n = strlen(w->prefix);

	for (; w->rev <= m->rev; w->rev++, w->position = 0) {
		const struct store_model_state *st = &m->states[w->rev];

		for (; w->position < st->changed_n; w->position++) {
			if (strncmp(store_model_keys[st->changed[w->position]], w->prefix, n) == 0)
				return true;
		}
	}
	return false;
}

static void
on_compacted(struct watcher *w)
{
	assert_true(w->rev <= w->run->m.compact_rev);
	w->is_compacted = true;
	w->run->compacted++;
}

static void
on_event(const struct store_event *ev, void *arg)
{
	struct watcher *w = arg;
	const struct store_model *m = &w->run->m;
	const char *why = NULL;
	int key;

	assert_false(w->is_compacted);
	w->run->events++;
	if (ev->type == STORE_COMPACTED) {
		on_compacted(w);
		return;
	}
	assert_false(w->must_be_compacted);
	assert_true(seek(w));
	assert_int_equal(ev->kv.mod_rev, w->rev);
	assert_true(store_rev(w->run->f.store) >= w->rev); /* the mirror shows it */
	key = m->states[w->rev].changed[w->position];
	assert_string_equal(ev->kv.key, store_model_keys[key]);
	if (ev->type == STORE_PUT)
		why = store_model_compare(m, w->rev, key, &ev->kv);
	else
		assert_int_equal(m->states[w->rev].cells[key].mod_rev, 0);
	if (why != NULL)
		fail_msg("%s", why);
	w->position++;
	assert_int_equal(ev->last_of_rev, !seek(w) || w->rev != ev->kv.mod_rev);
}

static void
cancel(struct watcher *w)
{
	store_watch_cancel(STEAL(w->handle));
}

static void
step_watch(struct run *r)
{
	struct watcher *w = &r->watchers[store_model_draw(&r->m, WATCHES)];
	int64_t from = 0, now = store_rev(r->f.store);

	cancel(w);
	if (store_model_draw(&r->m, 3) > 0)
		from = (int64_t)store_model_draw(&r->m, (uint64_t)now + 10);
	*w = (struct watcher){
		.run = r,
		.prefix = prefixes[store_model_draw(&r->m, ARRAY_LEN(prefixes))],
		.rev = from == 0 ? now + 1 : from,
	};
	w->must_be_compacted = w->rev <= r->acked_compact_rev;
	w->handle = store_watch_start(r->f.store, w->prefix, from, on_event, w);
}

static bool
has_seen_all(struct watcher *w)
{
	return w->handle == NULL || w->is_compacted || (!w->must_be_compacted && !seek(w));
}

/* --- history --- */

struct reading {
	struct run *run;
	const char *prefix;
	int64_t rev;
	int next;
	bool must_fail, may_fail;
};

static int
next_present(struct reading *x)
{
	const struct store_model_state *st = &x->run->m.states[x->rev];

	while (x->next < STORE_MODEL_KEYS &&
	       (st->cells[x->next].mod_rev == 0 ||
	           strncmp(store_model_keys[x->next], x->prefix, strlen(x->prefix)) != 0))
		x->next++;
	return x->next;
}

static bool
on_read_kv(const struct store_kv *kv, void *arg)
{
	struct reading *x = arg;
	int key = next_present(x);
	const char *why;

	assert_true(key < STORE_MODEL_KEYS);
	assert_string_equal(kv->key, store_model_keys[key]);
	why = store_model_compare(&x->run->m, x->rev, key, kv);
	if (why != NULL)
		fail_msg("%s", why);
	x->next++;
	return true;
}

static void
on_read(const struct err *e, void *arg)
{
	AUTO(free_ptr) struct reading *x = arg;

	if (e != NULL) {
		assert_int_equal(e->code, ERR_NOT_FOUND);
		assert_true(x->rev < x->run->m.compact_rev);
	} else {
		assert_false(x->must_fail);
		assert_int_equal(next_present(x), STORE_MODEL_KEYS);
	}
	x->run->reads++;
	flown(x->run);
}

static void
step_read(struct run *r)
{
	struct reading *x = xcalloc(1, sizeof *x);

	*x = (struct reading){
		.run = r,
		.prefix = prefixes[store_model_draw(&r->m, ARRAY_LEN(prefixes))],
		.rev = (int64_t)store_model_draw(&r->m, (uint64_t)store_rev(r->f.store) + 1),
	};
	x->must_fail = x->rev < r->acked_compact_rev;
	fly(r);
	store_range_at(r->f.store, x->prefix, x->rev, on_read_kv, on_read, x);
}

struct compaction {
	struct run *run;
	int64_t rev;
};

static void
on_compact(const struct err *e, void *arg)
{
	AUTO(free_ptr) struct compaction *c = arg;

	assert_null(e);
	if (c->rev > c->run->acked_compact_rev)
		c->run->acked_compact_rev = c->rev;
	flown(c->run);
}

static void
step_compact(struct run *r)
{
	struct compaction *c = xcalloc(1, sizeof *c);
	int64_t now = store_rev(r->f.store);
	int64_t back = (int64_t)store_model_draw(&r->m, 200);

	*c = (struct compaction){ .run = r, .rev = back < now ? now - back : 0 };
	if (c->rev > r->m.compact_rev)
		r->m.compact_rev = c->rev;
	fly(r);
	store_compact(r->f.store, c->rev, on_compact, c);
}

/* --- the run --- */

static void
drain(struct run *r)
{
	assert_true(r->is_idle || loop_run_until(r->f.loop, &r->is_idle, 60000));
	for (int i = 0; i < WATCHES; i++) {
		for (int turn = 0; !has_seen_all(&r->watchers[i]); turn++) {
			assert_true(turn < 1000);
			store_fixture_settle(&r->f);
		}
	}
	assert_int_equal(store_rev(r->f.store), r->m.rev);
}

static void
step_reopen(struct run *r)
{
	bool waits = store_model_draw(&r->m, 2) == 0;
	const char *why;

	if (waits)
		drain(r);
	for (int i = 0; i < WATCHES; i++)
		cancel(&r->watchers[i]);
	store_fixture_close(&r->f);
	assert_true(r->is_idle); /* closing called back for all */
	store_fixture_open(&r->f);
	assert_int_equal(store_rev(r->f.store), r->m.rev);
	why = store_model_compare_all(&r->m, r->f.store);
	if (why != NULL)
		fail_msg("%s", why);
}

static void
step(struct run *r)
{
	uint64_t kind = store_model_draw(&r->m, 1000);

	if (kind < 700)
		step_txn(r);
	else if (kind < 740)
		step_watch(r);
	else if (kind < 760)
		cancel(&r->watchers[store_model_draw(&r->m, WATCHES)]);
	else if (kind < 800)
		step_read(r);
	else if (kind < 815)
		step_compact(r);
	else if (kind < 840)
		step_lease(r);
	else if (kind < 843)
		step_reopen(r);
	else if (kind < 860)
		drain(r);
	else if (kind < 960 || r->in_flight > IN_FLIGHT_MAX)
		(void)loop_run_until(
		    r->f.loop, &r->is_idle, 1 + (int64_t)store_model_draw(&r->m, 2));
}

static void
test_random(void **state)
{
	const char *seed_text = getenv("SEED"), *steps_text = getenv("STEPS");
	uint64_t seed = seed_text == NULL ? (uint64_t)time(NULL) : strtoull(seed_text, NULL, 10);
	long steps = steps_text == NULL ? 6000 : strtol(steps_text, NULL, 10);
	struct run r = { .is_idle = true };

	(void)state;
	print_message("# SEED=%llu\n", (unsigned long long)seed);
	store_fixture_init(&r.f);
	store_model_init(&r.m, seed);
	for (long i = 0; i < steps; i++)
		step(&r);
	drain(&r);
	for (int i = 0; i < WATCHES; i++)
		cancel(&r.watchers[i]);
	print_message("# %ld steps, revision %lld: %zu transactions (%zu refused), %zu events, "
	              "%zu reads, %zu compacted watches\n",
	    steps, (long long)r.m.rev, r.transactions, r.conflicts, r.events, r.reads, r.compacted);
	store_fixture_fini(&r.f);
	store_model_fini(&r.m);
}

/* More history than memory keeps, replayed in pages while writes go on. */
static void
test_long_replay(void **state)
{
	struct run r = { .is_idle = true };

	(void)state;
	store_fixture_init(&r.f);
	store_model_init(&r.m, 42);
	for (int i = 0; i < 9000; i++) {
		step_txn(&r);
		if (r.in_flight > 2000)
			drain(&r);
	}
	for (int i = 0; i < WATCHES; i++) {
		struct watcher *w = &r.watchers[i];

		*w = (struct watcher){ .run = &r, .prefix = prefixes[i % 7], .rev = 1 + i };
		w->handle = store_watch_start(r.f.store, w->prefix, w->rev, on_event, w);
		step_txn(&r);
	}
	while (r.m.rev < 8000 || r.in_flight > 0) {
		if (r.m.rev < 8000)
			step_txn(&r);
		(void)loop_run_until(r.f.loop, &r.is_idle, 1);
	}
	drain(&r);
	for (int i = 0; i < WATCHES; i++)
		cancel(&r.watchers[i]);
	assert_int_equal(r.compacted, 0);
	store_fixture_fini(&r.f);
	store_model_fini(&r.m);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_long_replay),
	};

	return cmocka_run_group_tests_name("store_model", tests, NULL, NULL);
}
