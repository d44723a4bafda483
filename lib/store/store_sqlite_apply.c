#include "lib/store/store_sqlite_apply.h"

#include <sqlite3.h>
#include <string.h>

enum {
	LEASE_KEYS_MAX = 1000, /* deleted in one revision */
	PURGE_WINDOW = 500,
};

struct present {
	int64_t seq, mod_rev, create_rev, version; /* 0: there is no such key */
};

static int
get_present(struct store_sqlite_db *d, const char *key, struct present *out, struct err *e)
{
	AUTO(store_sqlite_db_end) struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_KV_GET, e);
	int rc;

	*out = (struct present){ 0 };
	if (st == NULL)
		return -1;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	rc = store_sqlite_db_step(d, st, e);
	if (rc > 0) {
		out->seq = sqlite3_column_int64(st, 0);
		out->mod_rev = out->seq / STORE_SQLITE_SEQ;
		out->create_rev = sqlite3_column_int64(st, 1);
		out->version = sqlite3_column_int64(st, 2);
	}
	return rc < 0 ? -1 : 0;
}

/* --- rows --- */

static int
put_log(struct store_sqlite_db *d, const struct store_row *w, size_t position, int64_t prev,
    struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_LOG_PUT, e);

	if (st == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, w->mod_rev * STORE_SQLITE_SEQ + (int64_t)position);
	sqlite3_bind_int64(st, 2, prev);
	sqlite3_bind_text(st, 3, w->key, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 4, w->create_rev);
	sqlite3_bind_int64(st, 5, w->version);
	sqlite3_bind_int64(st, 6, w->lease);
	sqlite3_bind_int(st, 7, w->deleted);
	if (!w->deleted)
		sqlite3_bind_blob64(st, 8, w->val, w->n, SQLITE_STATIC);
	return store_sqlite_db_step(d, st, e);
}

static int
put_kv(struct store_sqlite_db *d, const struct store_row *w, size_t position, struct err *e)
{
	enum store_sqlite_sql which = w->deleted ? SQL_KV_DELETE : SQL_KV_PUT;
	AUTO(store_sqlite_db_end) struct sqlite3_stmt *st = store_sqlite_db_begin(d, which, e);

	if (st == NULL)
		return -1;
	sqlite3_bind_text(st, 1, w->key, -1, SQLITE_STATIC);
	if (!w->deleted) {
		sqlite3_bind_int64(st, 2, w->mod_rev * STORE_SQLITE_SEQ + (int64_t)position);
		sqlite3_bind_int64(st, 3, w->create_rev);
		sqlite3_bind_int64(st, 4, w->version);
		sqlite3_bind_int64(st, 5, w->lease);
	}
	return store_sqlite_db_step(d, st, e);
}

static int
write_row(
    struct store_sqlite_db *d, struct store_row *w, int64_t rev, size_t position, struct err *e)
{
	struct present p;

	if (get_present(d, w->key, &p, e) < 0)
		return -1;
	w->skipped = w->deleted && p.mod_rev == 0;
	if (w->skipped)
		return 0;
	w->mod_rev = rev;
	w->create_rev = p.mod_rev == 0 ? rev : p.create_rev;
	w->version = w->deleted ? 0 : p.version + 1;
	return put_log(d, w, position, p.seq, e) < 0 || put_kv(d, w, position, e) < 0 ? -1 : 0;
}

/* --- transactions --- */

/* *out_ok: all compares hold. */
static int
check_ifs(struct store_sqlite_db *d, struct store_request *r, bool *out_ok, struct err *e)
{
	const struct store_txn *t = r->txn;

	*out_ok = true;
	for (size_t i = 0; i < t->if_n && *out_ok; i++) {
		const struct store_txn_if *c = &t->ifs[i];
		struct present p;

		if (get_present(d, c->key, &p, e) < 0)
			return -1;
		*out_ok = c->is_existing ? p.mod_rev != 0 : p.mod_rev == c->mod_rev;
		if (!*out_ok) {
			(void)err_set(&r->err, ERR_CONFLICT, NULL, "%s %s meanwhile: read it again",
			    c->key, p.mod_rev == 0 ? "was removed" : "was changed");
			r->has_failed = true;
		}
	}
	return 0;
}

/* *out_ttl: 0 when there is no such lease. */
static int
get_lease(struct store_sqlite_db *d, int64_t lease, int64_t *out_ttl, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_LEASE_GET, e);
	int rc;

	*out_ttl = 0;
	if (st == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, lease);
	rc = store_sqlite_db_step(d, st, e);
	if (rc > 0)
		*out_ttl = sqlite3_column_int64(st, 0);
	return rc < 0 ? -1 : 0;
}

static void
fail_lease(struct store_request *r)
{
	(void)err_set(&r->err, ERR_NOT_FOUND, "lease", "the lease has ended: grant a new one");
	r->has_failed = true;
}

static int
check_leases(struct store_sqlite_db *d, struct store_request *r, bool *out_ok, struct err *e)
{
	int64_t known = 0; /* keys of one transaction mostly share one lease */

	for (size_t i = 0; i < r->txn->rows.n && *out_ok; i++) {
		int64_t lease = r->txn->rows.v[i].lease, ttl;

		if (lease == 0 || lease == known)
			continue;
		if (get_lease(d, lease, &ttl, e) < 0)
			return -1;
		known = lease;
		*out_ok = ttl > 0;
	}
	if (!*out_ok)
		fail_lease(r);
	return 0;
}

static int
apply_txn(struct store_sqlite_db *d, struct store_request *r, int64_t *rev, struct err *e)
{
	struct store_commit_rows *rows = &r->txn->rows;
	bool ok, has_changed = false;

	if (check_ifs(d, r, &ok, e) < 0)
		return -1;
	if (!ok)
		return 0;
	if (check_leases(d, r, &ok, e) < 0)
		return -1;
	if (!ok)
		return 0;
	for (size_t i = 0; i < rows->n; i++) {
		if (write_row(d, &rows->v[i], *rev + 1, i, e) < 0)
			return -1;
		has_changed = has_changed || !rows->v[i].skipped;
	}
	if (has_changed)
		++*rev;
	r->out_rev = *rev;
	return 0;
}

/* --- leases --- */

static int
apply_grant(struct store_sqlite_db *d, struct store_request *r, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_LEASE_PUT, e);

	if (st == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, r->lease);
	sqlite3_bind_int64(st, 2, r->ttl_s);
	return store_sqlite_db_step(d, st, e);
}

static int
read_lease_keys(
    struct store_sqlite_db *d, int64_t lease, struct store_commit_rows *rows, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_KV_OF_LEASE, e);
	int rc;

	if (st == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, lease);
	sqlite3_bind_int(st, 2, LEASE_KEYS_MAX);
	while ((rc = store_sqlite_db_step(d, st, e)) > 0) {
		struct store_row *w = store_commit_rows_add(rows);

		w->key = xstrdup((const char *)sqlite3_column_text(st, 0));
		w->deleted = true;
	}
	return rc;
}

/* Deletes keys of the lease in one revision; *out_more: there may be others. */
static int
delete_lease_keys(struct store_sqlite_db *d, struct store_request *r, int64_t *rev,
    struct store_commit ***last, bool *out_more, struct err *e)
{
	AUTO_FINI(store_commit_rows_fini) struct store_commit_rows rows = { 0 };

	if (read_lease_keys(d, r->lease, &rows, e) < 0)
		return -1;
	*out_more = rows.n == LEASE_KEYS_MAX;
	if (rows.n == 0)
		return 0;
	for (size_t i = 0; i < rows.n; i++) {
		if (write_row(d, &rows.v[i], *rev + 1, i, e) < 0)
			return -1;
	}
	**last = store_commit_new(++*rev, rows.v, rows.n);
	*last = &(**last)->next;
	rows = (struct store_commit_rows){ 0 };
	return 0;
}

static int
apply_revoke(struct store_sqlite_db *d, struct store_request *r, int64_t *rev, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_LEASE_DELETE, e);
	struct store_commit **last = &r->commits;
	int64_t ttl;
	bool more = true;

	if (st == NULL || get_lease(d, r->lease, &ttl, e) < 0)
		return -1;
	if (ttl == 0) {
		fail_lease(r);
		return 0;
	}
	sqlite3_bind_int64(st, 1, r->lease);
	if (store_sqlite_db_step(d, st, e) < 0)
		return -1;
	while (more) {
		if (delete_lease_keys(d, r, rev, &last, &more, e) < 0)
			return -1;
	}
	return 0;
}

/* --- history --- */

static int
apply_compact(struct store_sqlite_db *d, const struct store_request *r, struct err *e)
{
	int64_t now = 0;

	if (store_sqlite_db_meta(d, "compact_rev", &now, e) < 0)
		return -1;
	return r->rev <= now ? 0 : store_sqlite_db_set_meta(d, "compact_rev", r->rev, e);
}

static int
find_window(struct store_sqlite_db *d, int64_t from, int64_t end, int64_t *out, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_LOG_WINDOW, e);

	if (st == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, from);
	sqlite3_bind_int64(st, 2, end);
	sqlite3_bind_int(st, 3, PURGE_WINDOW);
	if (store_sqlite_db_step(d, st, e) < 0)
		return -1;
	*out = sqlite3_column_int64(st, 0); /* 0 (of NULL): no rows are left */
	return 0;
}

static int
purge_window(struct store_sqlite_db *d, enum store_sqlite_sql which, int64_t from, int64_t last,
    struct err *e)
{
	AUTO(store_sqlite_db_end) struct sqlite3_stmt *st = store_sqlite_db_begin(d, which, e);

	if (st == NULL)
		return -1;
	sqlite3_bind_int64(st, 1, from);
	sqlite3_bind_int64(st, 2, last);
	return store_sqlite_db_step(d, st, e);
}

int
store_sqlite_apply_purge(
    struct store_sqlite_db *d, int64_t compact_rev, int64_t *seq, bool *out_done, struct err *e)
{
	int64_t last = 0;

	if (find_window(d, *seq, (compact_rev + 1) * STORE_SQLITE_SEQ, &last, e) < 0)
		return -1;
	*out_done = last == 0;
	if (*out_done)
		return 0;
	/* In this order and upwards: a row that names an older one goes after it. */
	if (purge_window(d, SQL_LOG_PURGE_OLD, *seq, last, e) < 0 ||
	    purge_window(d, SQL_LOG_PURGE_DELETED, *seq, last, e) < 0)
		return -1;
	*seq = last;
	return 0;
}

/* --- */

int
store_sqlite_apply(struct store_sqlite_db *d, struct store_request *r, int64_t *rev, struct err *e)
{
	store_request_reset(r);
	switch (r->kind) {
	case STORE_REQUEST_TXN:
		return apply_txn(d, r, rev, e);
	case STORE_REQUEST_GRANT:
		return apply_grant(d, r, e);
	case STORE_REQUEST_REVOKE:
		return apply_revoke(d, r, rev, e);
	case STORE_REQUEST_COMPACT:
		return apply_compact(d, r, e);
	default:
		return err_set(e, ERR_BUG, NULL, "request %d is none that writes", (int)r->kind);
	}
}

void
store_sqlite_apply_finish(struct store_request *r)
{
	struct store_commit *c;

	if (r->kind != STORE_REQUEST_TXN || r->has_failed)
		return;
	c = store_commit_new(r->out_rev, r->txn->rows.v, r->txn->rows.n);
	r->txn->rows = (struct store_commit_rows){ 0 };
	if (c->n > 0)
		r->commits = c;
	else
		store_commit_unref(c);
}
