#include "lib/store/store_request.h"

struct store_request *
store_request_new(enum store_request_kind kind)
{
	struct store_request *r = xcalloc(1, sizeof *r);

	r->kind = kind;
	return r;
}

void
store_request_free(struct store_request *take_r)
{
	if (take_r == NULL)
		return;
	store_txn_free(take_r->txn);
	free(take_r->prefix);
	store_commit_list_free(take_r->commits);
	store_commit_rows_fini(&take_r->rows);
	free(take_r);
}

void
store_request_list_free(struct store_request *take_list)
{
	while (take_list != NULL) {
		struct store_request *next = take_list->next;

		store_request_free(take_list);
		take_list = next;
	}
}

size_t
store_request_bytes(const struct store_request *r)
{
	size_t n = sizeof *r;

	if (r->txn != NULL)
		n += sizeof *r->txn + r->txn->bytes + r->txn->rows.cap * sizeof *r->txn->rows.v;
	return n;
}

void
store_request_fail(struct store_request *r, const struct err *e)
{
	r->has_failed = true;
	r->err = *e;
}

void
store_request_reset(struct store_request *r)
{
	r->has_failed = false;
	r->err = (struct err){ 0 };
	r->out_rev = 0;
	store_commit_list_free(STEAL(r->commits));
}
