#include "lib/store/store_txn.h"

#include <string.h>

struct store_txn *
store_txn_new(void)
{
	return xcalloc(1, sizeof(struct store_txn));
}

void
store_txn_free(struct store_txn *take_t)
{
	if (take_t == NULL)
		return;
	for (size_t i = 0; i < take_t->if_n; i++)
		free(take_t->ifs[i].key);
	free(take_t->ifs);
	store_commit_rows_fini(&take_t->rows);
	free(take_t);
}

static struct store_txn_if *
add_if(struct store_txn *t, const char *key)
{
	t->ifs = xreallocarray(t->ifs, t->if_n + 1, sizeof *t->ifs);
	t->ifs[t->if_n] = (struct store_txn_if){ .key = xstrdup(key) };
	t->bytes += strlen(key);
	return &t->ifs[t->if_n++];
}

void
store_txn_if_rev(struct store_txn *t, const char *key, int64_t mod_rev)
{
	add_if(t, key)->mod_rev = mod_rev;
}

void
store_txn_if_exists(struct store_txn *t, const char *key)
{
	add_if(t, key)->is_existing = true;
}

void
store_txn_put_lease(struct store_txn *t, const char *key, const char *val, size_t n, int64_t lease)
{
	struct store_row *r = store_commit_rows_add(&t->rows);

	r->key = xstrdup(key);
	r->val = xmalloc(n + 1);
	if (n > 0)
		memcpy(r->val, val, n);
	r->val[n] = '\0';
	r->n = n;
	r->lease = lease;
	t->bytes += strlen(key) + n;
}

void
store_txn_put(struct store_txn *t, const char *key, const char *val, size_t n)
{
	store_txn_put_lease(t, key, val, n, 0);
}

void
store_txn_delete(struct store_txn *t, const char *key)
{
	struct store_row *r = store_commit_rows_add(&t->rows);

	r->key = xstrdup(key);
	r->deleted = true;
	t->bytes += strlen(key);
}

size_t
store_txn_count(const struct store_txn *t)
{
	return t->rows.n;
}

static int
check_key(const char *key, struct err *e)
{
	size_t n = strlen(key);

	if (n == 0 || n > STORE_TXN_KEY_MAX)
		return err_set(e, ERR_INVALID, "key", "a key has 1 to %d bytes, this one %zu",
		    STORE_TXN_KEY_MAX, n);
	return 0;
}

static int
compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
check_unique(const struct store_txn *t, struct err *e)
{
	const char *keys[STORE_TXN_MAX];

	for (size_t i = 0; i < t->rows.n; i++)
		keys[i] = t->rows.v[i].key;
	qsort(keys, t->rows.n, sizeof keys[0], compare_keys);
	for (size_t i = 1; i < t->rows.n; i++) {
		if (strcmp(keys[i - 1], keys[i]) == 0)
			return err_set(
			    e, ERR_BUG, "key", "a transaction may write %s only once", keys[i]);
	}
	return 0;
}

int
store_txn_check(const struct store_txn *t, struct err *e)
{
	if (t->rows.n > STORE_TXN_MAX || t->if_n > STORE_TXN_MAX)
		return err_set(e, ERR_LIMIT, NULL,
		    "a transaction has at most %d writes and as many compares, this one %zu and "
		    "%zu",
		    STORE_TXN_MAX, t->rows.n, t->if_n);
	if (t->bytes > STORE_TXN_BYTES_MAX)
		return err_set(e, ERR_LIMIT, NULL,
		    "a transaction has at most %d bytes of keys and values, this one %zu",
		    STORE_TXN_BYTES_MAX, t->bytes);
	for (size_t i = 0; i < t->if_n; i++) {
		if (check_key(t->ifs[i].key, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < t->rows.n; i++) {
		if (check_key(t->rows.v[i].key, e) < 0)
			return -1;
	}
	return check_unique(t, e);
}
