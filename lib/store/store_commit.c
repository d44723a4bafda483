#include "lib/store/store_commit.h"

#include <string.h>

void
store_row_fini(struct store_row *r)
{
	free(r->key);
	free(r->val);
	*r = (struct store_row){ 0 };
}

struct store_kv
store_row_kv(const struct store_row *r)
{
	return (struct store_kv){
		.key = r->key,
		.val = r->deleted ? NULL : r->val,
		.n = r->n,
		.create_rev = r->create_rev,
		.mod_rev = r->mod_rev,
		.version = r->version,
		.lease = r->lease,
	};
}

struct store_commit *
store_commit_new(int64_t rev, struct store_row *take_rows, size_t n)
{
	struct store_commit *c = xcalloc(1, sizeof *c);

	c->refs = 1;
	c->rev = rev;
	c->rows = take_rows;
	for (size_t i = 0; i < n; i++) {
		if (take_rows[i].skipped) {
			store_row_fini(&take_rows[i]);
			continue;
		}
		c->bytes += strlen(take_rows[i].key) + take_rows[i].n + sizeof *take_rows;
		if (c->n != i) {
			take_rows[c->n] = take_rows[i];
			take_rows[i] = (struct store_row){ 0 };
		}
		c->n++;
	}
	return c;
}

struct store_commit *
store_commit_ref(struct store_commit *c)
{
	c->refs++;
	return c;
}

void
store_commit_unref(struct store_commit *take_c)
{
	if (take_c == NULL || --take_c->refs > 0)
		return;
	for (size_t i = 0; i < take_c->n; i++)
		store_row_fini(&take_c->rows[i]);
	free(take_c->rows);
	free(take_c);
}

void
store_commit_list_free(struct store_commit *take_list)
{
	while (take_list != NULL) {
		struct store_commit *next = take_list->next;

		store_commit_unref(take_list);
		take_list = next;
	}
}

struct store_row *
store_commit_rows_add(struct store_commit_rows *r)
{
	if (r->n == r->cap) {
		r->cap = r->cap == 0 ? 4 : r->cap * 2;
		r->v = xreallocarray(r->v, r->cap, sizeof *r->v);
	}
	r->v[r->n] = (struct store_row){ 0 };
	return &r->v[r->n++];
}

void
store_commit_rows_fini(struct store_commit_rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		store_row_fini(&r->v[i]);
	free(r->v);
	*r = (struct store_commit_rows){ 0 };
}
