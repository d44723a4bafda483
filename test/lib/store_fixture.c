#include "test/lib/store_fixture.h"

#include "lib/base/file.h"
#include "lib/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { WAIT_MS = 60000, SETTLE_MS = 30 };

struct answer {
	bool is_done;
	int64_t number;
	struct err err;
	struct buf *out;
};

static void
note(struct answer *a, int64_t number, const struct err *e)
{
	assert_false(a->is_done);
	a->number = e == NULL ? number : -1;
	if (e != NULL)
		a->err = *e;
	a->is_done = true;
}

static void
on_txn(int64_t rev, const struct err *e, void *arg)
{
	note(arg, rev, e);
}

static void
on_lease(int64_t lease, const struct err *e, void *arg)
{
	note(arg, lease, e);
}

static void
on_done(const struct err *e, void *arg)
{
	note(arg, 0, e);
}

static int64_t
await(struct store_fixture *f, struct answer *a, struct err *e)
{
	assert_false(a->is_done); /* never from inside the call */
	assert_true(loop_run_until(f->loop, &a->is_done, WAIT_MS));
	if (a->number < 0 && e == NULL)
		fail_msg("%s", a->err.text);
	if (a->number < 0)
		*e = a->err;
	return a->number;
}

char *
store_fixture_temp_dir(void)
{
	char *dir = xstrdup("/tmp/pinion-store-XXXXXX");

	assert_non_null(mkdtemp(dir));
	return dir;
}

void
store_fixture_init(struct store_fixture *f)
{
	*f = (struct store_fixture){ .loop = loop_new(), .dir = store_fixture_temp_dir() };
	store_fixture_open(f);
}

void
store_fixture_open(struct store_fixture *f)
{
	struct err e = { 0 };

	f->store = store_sqlite_open(f->loop, f->dir, &e);
	if (f->store == NULL)
		fail_msg("%s", e.text);
}

void
store_fixture_close(struct store_fixture *f)
{
	store_close(f->store); /* calls back for what was submitted: f->store is there still */
	f->store = NULL;
}

void
store_fixture_fini(struct store_fixture *f)
{
	struct err e = { 0 };

	store_fixture_close(f);
	loop_free(f->loop);
	assert_int_equal(file_remove_tree(f->dir, &e), 0);
	free(f->dir);
}

int64_t
store_fixture_commit(struct store_fixture *f, struct store_txn *take_t, struct err *e)
{
	struct answer a = { 0 };

	store_txn_submit(f->store, take_t, on_txn, &a);
	return await(f, &a, e);
}

int64_t
store_fixture_put_lease(
    struct store_fixture *f, const char *key, const char *val, int64_t lease, struct err *e)
{
	struct store_txn *t = store_txn_new();

	store_txn_put_lease(t, key, val, strlen(val), lease);
	return store_fixture_commit(f, t, e);
}

int64_t
store_fixture_put(struct store_fixture *f, const char *key, const char *val)
{
	return store_fixture_put_lease(f, key, val, 0, NULL);
}

int64_t
store_fixture_delete(struct store_fixture *f, const char *key)
{
	struct store_txn *t = store_txn_new();

	store_txn_delete(t, key);
	return store_fixture_commit(f, t, NULL);
}

int64_t
store_fixture_grant(struct store_fixture *f, int64_t ttl_s)
{
	struct answer a = { 0 };

	store_lease_grant(f->store, ttl_s, on_lease, &a);
	return await(f, &a, NULL);
}

int
store_fixture_keepalive(struct store_fixture *f, int64_t lease, struct err *e)
{
	struct answer a = { 0 };

	store_lease_keepalive(f->store, lease, on_lease, &a);
	return await(f, &a, e) < 0 ? -1 : 0;
}

int
store_fixture_revoke(struct store_fixture *f, int64_t lease, struct err *e)
{
	struct answer a = { 0 };

	store_lease_revoke(f->store, lease, on_lease, &a);
	return await(f, &a, e) < 0 ? -1 : 0;
}

int
store_fixture_compact(struct store_fixture *f, int64_t rev, struct err *e)
{
	struct answer a = { 0 };

	store_compact(f->store, rev, on_done, &a);
	return await(f, &a, e) < 0 ? -1 : 0;
}

static bool
add_kv(const struct store_kv *kv, void *arg)
{
	assert_int_equal(strlen(kv->val), kv->n);
	buf_addf(arg, "%s=%s@%lld/%lld ", kv->key, kv->val, (long long)kv->mod_rev,
	    (long long)kv->version);
	return true;
}

static bool
add_kv_at(const struct store_kv *kv, void *arg)
{
	return add_kv(kv, ((struct answer *)arg)->out);
}

void
store_fixture_range(struct store_fixture *f, const char *prefix, struct buf *out)
{
	buf_adds(out, "");
	store_range(f->store, prefix, add_kv, out);
}

int
store_fixture_range_at(
    struct store_fixture *f, const char *prefix, int64_t rev, struct buf *out, struct err *e)
{
	struct answer a = { .out = out };

	buf_adds(out, "");
	store_range_at(f->store, prefix, rev, add_kv_at, on_done, &a);
	return await(f, &a, e) < 0 ? -1 : 0;
}

void
store_fixture_on_event(const struct store_event *ev, void *arg)
{
	struct store_fixture_log *log = arg;

	assert_false(log->is_compacted);
	log->events++;
	if (ev->type == STORE_COMPACTED) {
		log->is_compacted = true;
		buf_adds(&log->text, "compacted ");
		return;
	}
	if (ev->type == STORE_PUT)
		buf_addf(
		    &log->text, "%s=%s@%lld ", ev->kv.key, ev->kv.val, (long long)ev->kv.mod_rev);
	else
		buf_addf(&log->text, "-%s@%lld ", ev->kv.key, (long long)ev->kv.mod_rev);
	if (ev->last_of_rev)
		buf_adds(&log->text, "; ");
}

static void
set_true(void *arg)
{
	*(bool *)arg = true;
}

void
store_fixture_settle(struct store_fixture *f)
{
	bool done = false;
	struct loop_timer *t = loop_timer_start(f->loop, SETTLE_MS, false, set_true, &done);

	assert_true(loop_run_until(f->loop, &done, WAIT_MS));
	loop_timer_cancel(t);
}

void
store_fixture_wait_events(struct store_fixture *f, const struct store_fixture_log *log, size_t n)
{
	for (int i = 0; log->events < n; i++) {
		assert_true(i < WAIT_MS / SETTLE_MS);
		store_fixture_settle(f);
	}
	assert_int_equal(log->events, n);
}
