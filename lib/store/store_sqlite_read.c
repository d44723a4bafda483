#include "lib/store/store_sqlite_read.h"

#include <sqlite3.h>
#include <string.h>

enum {
	PAGE_ROWS = 4096, /* of the log, looked at for one answer */
	PAGE_BYTES = 4 * 1024 * 1024,
};

/* The columns that all reads of rows begin with. */
static void
fill_row(struct store_row *out, struct sqlite3_stmt *st, bool deleted)
{
	size_t n = (size_t)sqlite3_column_bytes(st, 1);
	const void *val = sqlite3_column_blob(st, 1);

	out->key = xstrdup((const char *)sqlite3_column_text(st, 0));
	out->mod_rev = sqlite3_column_int64(st, 2);
	out->create_rev = sqlite3_column_int64(st, 3);
	out->version = sqlite3_column_int64(st, 4);
	out->lease = sqlite3_column_int64(st, 5);
	out->deleted = deleted;
	if (deleted)
		return;
	out->n = n;
	out->val = xmalloc(n + 1);
	if (n > 0)
		memcpy(out->val, val, n);
	out->val[n] = '\0';
}

static int
check_compacted(struct store_sqlite_db *d, int64_t oldest, struct err *e)
{
	int64_t compact_rev = 0;

	if (store_sqlite_db_meta(d, "compact_rev", &compact_rev, e) < 0)
		return -1;
	if (oldest < compact_rev)
		return err_set(e, ERR_NOT_FOUND, "rev",
		    "revision %lld is compacted, the oldest is %lld", (long long)oldest,
		    (long long)compact_rev);
	return 0;
}

/* --- the log --- */

struct page {
	struct store_request *r;
	struct store_commit **last;    /* where the next commit goes */
	struct store_commit_rows rows; /* owned; of the present revision */
	int64_t rev;                   /* the present revision */
	size_t seen, bytes;
};

static void
end_rev(struct page *p)
{
	if (p->rows.n > 0) {
		*p->last = store_commit_new(p->rev, p->rows.v, p->rows.n);
		p->bytes += (*p->last)->bytes;
		p->last = &(*p->last)->next;
		p->rows = (struct store_commit_rows){ 0 };
	}
}

/* False: the page is full, and ends with the revision before. */
static bool
add_log_row(struct page *p, struct sqlite3_stmt *st)
{
	int64_t rev = sqlite3_column_int64(st, 2);
	const char *prefix = p->r->prefix;

	if (rev != p->rev) {
		end_rev(p);
		if (p->seen >= PAGE_ROWS || p->bytes >= PAGE_BYTES) {
			p->r->out_rev = rev - 1;
			return false;
		}
		p->rev = rev;
	}
	p->seen++;
	if (strncmp((const char *)sqlite3_column_text(st, 0), prefix, strlen(prefix)) == 0)
		fill_row(store_commit_rows_add(&p->rows), st, sqlite3_column_int(st, 6) != 0);
	return true;
}

static int
read_log(struct store_sqlite_db *d, struct store_request *r, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_LOG_READ, e);
	struct page p = { .r = r, .last = &r->commits };
	int rc;

	if (st == NULL || check_compacted(d, r->rev - 1, e) < 0)
		return -1;
	r->out_rev = r->rev_end;
	sqlite3_bind_int64(st, 1, r->rev * STORE_SQLITE_SEQ);
	sqlite3_bind_int64(st, 2, (r->rev_end + 1) * STORE_SQLITE_SEQ);
	while ((rc = store_sqlite_db_step(d, st, e)) > 0) {
		if (!add_log_row(&p, st))
			return 0;
	}
	if (rc == 0)
		end_rev(&p);
	store_commit_rows_fini(&p.rows);
	return rc;
}

/* --- ranges --- */

/* The first key after all that begin with prefix; NULL: there is none. */
static char *
prefix_end(const char *prefix)
{
	char *end = xstrdup(prefix);

	for (size_t n = strlen(end); n > 0; n--) {
		if ((unsigned char)end[n - 1] < 0xff) {
			end[n - 1]++;
			end[n] = '\0';
			return end;
		}
	}
	free(end);
	return NULL;
}

static int
read_at(struct store_sqlite_db *d, struct store_request *r, struct err *e)
{
	AUTO(store_sqlite_db_end) struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_LOG_AT, e);
	AUTO(free) char *end = prefix_end(r->prefix);
	int rc;

	if (st == NULL || check_compacted(d, r->rev, e) < 0)
		return -1;
	sqlite3_bind_text(st, 1, r->prefix, -1, SQLITE_STATIC);
	if (end != NULL)
		sqlite3_bind_text(st, 2, end, -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, (r->rev + 1) * STORE_SQLITE_SEQ);
	while ((rc = store_sqlite_db_step(d, st, e)) > 0)
		fill_row(store_commit_rows_add(&r->rows), st, false);
	return rc;
}

int
store_sqlite_read(struct store_sqlite_db *d, struct store_request *r, struct err *e)
{
	struct err ignored = { 0 };
	int rc;

	if (store_sqlite_db_run(d, SQL_BEGIN_READ, e) < 0)
		return -1;
	rc = r->kind == STORE_REQUEST_LOG ? read_log(d, r, e) : read_at(d, r, e);
	if (store_sqlite_db_run(d, SQL_COMMIT, &ignored) < 0)
		(void)!store_sqlite_db_run(d, SQL_ROLLBACK, &ignored);
	return rc;
}

int
store_sqlite_read_all(struct store_sqlite_db *d, store_sqlite_read_fn *fn, void *arg, struct err *e)
{
	AUTO(store_sqlite_db_end)
	struct sqlite3_stmt *st = store_sqlite_db_begin(d, SQL_KV_LOAD, e);
	int rc;

	if (st == NULL)
		return -1;
	while ((rc = store_sqlite_db_step(d, st, e)) > 0) {
		struct store_row row = { 0 };

		fill_row(&row, st, false);
		fn(&row, arg);
		store_row_fini(&row);
	}
	return rc;
}
