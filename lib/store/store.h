/* lib/store/store.h: the state of the cluster: ordered keys, one revision, compare-and-swap
 * transactions, watch, leases; the shape of etcd v3. Writes are asynchronous; reads come from a
 * mirror in memory that already holds what the caller's own finished transactions wrote. Loop
 * thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct loop;
struct store; /* opaque; a backend behind a table of functions */

struct store_kv {
	const char *key; /* borrowed until the loop's next turn or the next write */
	const char *val;
	size_t n;
	int64_t create_rev, mod_rev, version, lease;
};

/* Opens the embedded backend in directory dir (made if absent). Blocks: at start only.
 * ERR_BUSY: another process has it. */
struct store *store_sqlite_open(struct loop *l, const char *dir, struct err *e);
/* Waits for what was submitted and calls back for it; what is submitted meanwhile gets ERR_BUSY.
 * Watches fall silent, and are still to be cancelled. Not from inside a callback of the store. */
void store_close(struct store *take_s);

const char *store_cluster_id(const struct store *s); /* borrowed */
int64_t store_epoch(const struct store *s);
int64_t store_rev(const struct store *s); /* of the mirror */

/* --- reads --- */
bool store_get(const struct store *s, const char *key, struct store_kv *out);
/* Visits keys that begin with prefix, in order, until fn returns false. No writes from inside. */
typedef bool store_visit_fn(const struct store_kv *kv, void *arg);
void store_range(const struct store *s, const char *prefix, store_visit_fn *fn, void *arg);
size_t store_count(const struct store *s, const char *prefix);
/* A range as it was at an older revision, from the log: ERR_NOT_FOUND once compacted. Asynchronous:
 * fn per key, then done. */
typedef void store_done_fn(const struct err *e, void *arg);
void store_range_at(struct store *s, const char *prefix, int64_t rev, store_visit_fn *fn,
    store_done_fn *done, void *arg);

/* --- transactions --- */
struct store_txn; /* built, then submitted; owned by the store from then on */
enum { STORE_TXN_MAX = 100 };
struct store_txn *store_txn_new(void);
void store_txn_free(struct store_txn *take_t);
/* Compares; all must hold. rev 0: the key must not exist. At most STORE_TXN_MAX. */
void store_txn_if_rev(struct store_txn *t, const char *key, int64_t mod_rev);
void store_txn_if_exists(struct store_txn *t, const char *key);
/* Writes when all compares hold. Copies. A key may be written once. At most STORE_TXN_MAX. Deleting
 * what is not there changes nothing; a transaction that changes nothing makes no revision. */
void store_txn_put(struct store_txn *t, const char *key, const char *val, size_t n);
void store_txn_put_lease(
    struct store_txn *t, const char *key, const char *val, size_t n, int64_t lease);
void store_txn_delete(struct store_txn *t, const char *key);
size_t store_txn_count(const struct store_txn *t); /* writes */

/* e NULL: the write is durable, and rev is its revision. ERR_CONFLICT: a compare did not hold.
 * ERR_NOT_FOUND: a lease has ended. ERR_LIMIT: too many operations or bytes (1 MiB). ERR_BUSY: too
 * many wait. ERR_SYSTEM: the disk is full or failing; the store goes on once it is not. With an
 * error nothing was written. Once, later, on the loop, before the watches hear of it. fn may be
 * NULL. */
typedef void store_txn_fn(int64_t rev, const struct err *e, void *arg);
void store_txn_submit(struct store *s, struct store_txn *take_t, store_txn_fn *fn, void *arg);

/* --- watch --- */
struct store_watch;
enum store_event_type { STORE_PUT, STORE_DELETE, STORE_COMPACTED };
/* STORE_COMPACTED: the revisions asked for are gone; take a range and watch anew. */
struct store_event {
	enum store_event_type type;
	struct store_kv kv; /* DELETE: key and mod_rev only */
	bool last_of_rev;   /* no more events of this revision for this watch */
};
typedef void store_watch_fn(const struct store_event *ev, void *arg);
/* All events of keys with prefix from revision from on (0: from now), in order, each once, after
 * the durable commit and after the mirror shows them. Never called inside store_watch_start. */
struct store_watch *store_watch_start(
    struct store *s, const char *prefix, int64_t from, store_watch_fn *fn, void *arg);
void store_watch_cancel(struct store_watch *take_w);

/* --- leases: keys vanish when the lease ends --- */
/* ttl_s: 1 … 86400. After a restart of the store a lease begins its time anew. ERR_NOT_FOUND: it
 * has ended. A keepalive writes nothing. */
typedef void store_lease_fn(int64_t lease, const struct err *e, void *arg);
void store_lease_grant(struct store *s, int64_t ttl_s, store_lease_fn *fn, void *arg);
void store_lease_keepalive(struct store *s, int64_t lease, store_lease_fn *fn, void *arg);
void store_lease_revoke(struct store *s, int64_t lease, store_lease_fn *fn, void *arg);

/* Drops history up to rev, and keeps each key's version at rev. A watch from a revision <= rev gets
 * STORE_COMPACTED. ERR_INVALID: rev is in the future. */
void store_compact(struct store *s, int64_t rev, store_done_fn *fn, void *arg);
/* Does so by itself every every_ms, and keeps the newest keep revisions; keep 0 ends it. */
void store_compact_auto(struct store *s, int64_t keep, int64_t every_ms);
