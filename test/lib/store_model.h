/* test/lib/store_model.h: what a store should hold: a few keys, every revision's state, and random
 * transactions whose outcome it foretells. The same seed gives the same sequence anywhere. */
#pragma once

#include "lib/store/store.h"

enum { STORE_MODEL_KEYS = 18, STORE_MODEL_LEASES = 4, STORE_MODEL_OPS = 6 };

extern const char *const store_model_keys[STORE_MODEL_KEYS]; /* in order */

struct store_model_cell {
	int64_t create_rev, mod_rev, version, lease; /* mod_rev 0: absent */
	int64_t val;                                 /* number of the value */
};

struct store_model_state {
	struct store_model_cell cells[STORE_MODEL_KEYS];
	/* what the revision changed, in order: a bit set would lose the order */
	int changed[STORE_MODEL_KEYS];
	int changed_n;
};

struct store_model {
	uint64_t random;
	int64_t rev, compact_rev, next_val;
	struct store_model_state *states; /* owned; by revision, 0 … rev */
	size_t cap;
	int64_t leases[STORE_MODEL_LEASES]; /* 0: none; -id: ended */
};

/* A transaction: what to submit, and what to expect. */
struct store_model_plan {
	struct {
		int key;
		int64_t rev; /* -1: exists */
	} ifs[STORE_MODEL_OPS];
	struct {
		int key;
		int64_t val, lease; /* val 0: delete */
	} rows[STORE_MODEL_OPS];
	int if_n, row_n;
};

void store_model_init(struct store_model *m, uint64_t seed);
void store_model_fini(struct store_model *m);
uint64_t store_model_draw(struct store_model *m, uint64_t below); /* 0 … below - 1 */

void store_model_plan(struct store_model *m, struct store_model_plan *out);
struct store_txn *store_model_txn(const struct store_model_plan *p); /* caller owns */
/* Applies it: ERR_NONE, ERR_CONFLICT or ERR_NOT_FOUND (a lease). */
enum err_code store_model_apply(struct store_model *m, const struct store_model_plan *p);
/* The lease ends; its keys go, in order. */
void store_model_end_lease(struct store_model *m, int64_t lease);

/* NULL, or why kv is not what the model has for the key at a revision (borrowed, static). */
const char *store_model_compare(
    const struct store_model *m, int64_t rev, int key, const struct store_kv *kv);
int store_model_key(const char *key); /* -1: none */
/* Compares a whole store with the model at the store's revision; NULL: equal. */
const char *store_model_compare_all(const struct store_model *m, const struct store *s);
