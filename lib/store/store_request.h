/* lib/store/store_request.h: one request on its way from the loop to a backend's thread and back.
 */
#pragma once

#include "lib/store/store_commit.h"
#include "lib/store/store_txn.h"

enum store_request_kind {
	STORE_REQUEST_TXN,
	STORE_REQUEST_GRANT,
	STORE_REQUEST_REVOKE,
	STORE_REQUEST_KEEPALIVE, /* answered by the front */
	STORE_REQUEST_COMPACT,
	STORE_REQUEST_LOG, /* the history that a watch has to replay */
	STORE_REQUEST_AT,  /* a range at an old revision */
};

struct store_watch;

/* Owned by whoever has it: the loop, then a queue, a thread, the queue of answers, the loop. */
struct store_request {
	struct store_request *next; /* owned, while in a queue or list */
	enum store_request_kind kind;

	/* what to do */
	struct store_txn *txn; /* owned */
	char *prefix;          /* owned; LOG, AT */
	int64_t lease, ttl_s;
	int64_t rev;     /* COMPACT, AT; LOG: the first one wanted */
	int64_t rev_end; /* LOG: the last one wanted */

	/* whom to tell; called on the loop */
	store_txn_fn *txn_fn;
	store_lease_fn *lease_fn;
	store_done_fn *done_fn;
	store_visit_fn *visit_fn;
	void *arg;                 /* borrowed, handed back */
	struct store_watch *watch; /* borrowed; LOG; NULL once the watch is gone */

	/* the answer; the backend's until then */
	bool has_failed;
	struct err err;
	int64_t out_rev;               /* TXN: the revision; LOG: the last one read */
	struct store_commit *commits;  /* owned list; what became durable, or the history */
	struct store_commit_rows rows; /* AT */
};

struct store_request *store_request_new(enum store_request_kind kind);
void store_request_free(struct store_request *take_r);
void store_request_list_free(struct store_request *take_list);
size_t store_request_bytes(const struct store_request *r); /* memory it holds, about */
/* Marks it as failed with e. */
void store_request_fail(struct store_request *r, const struct err *e);
/* Forgets an earlier answer, before another try. */
void store_request_reset(struct store_request *r);
DEFINE_AUTO(struct store_request *, store_request_free)
