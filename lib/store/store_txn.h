/* lib/store/store_txn.h: a transaction under construction (built by the functions of store.h). */
#pragma once

#include "lib/store/store_commit.h"

enum {
	STORE_TXN_KEY_MAX = 1024,
	STORE_TXN_BYTES_MAX = 1024 * 1024, /* of all keys and values; etcd takes 1.5 MiB */
};

struct store_txn_if {
	char *key;        /* owned */
	int64_t mod_rev;  /* 0: must not exist */
	bool is_existing; /* any revision will do, but it must exist */
};

struct store_txn {
	struct store_txn_if *ifs; /* owned */
	size_t if_n;
	struct store_commit_rows rows; /* what to write */
	size_t bytes;
};

/* ERR_LIMIT, ERR_INVALID (a key) or ERR_BUG (a key written twice). */
int store_txn_check(const struct store_txn *t, struct err *e) MUST_CHECK;
