/* test/lib/store_fixture.h: a store in a directory of its own, and calls that wait for the answer.
 */
#pragma once

#include "lib/base/buf.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"

struct store_fixture {
	struct loop *loop;   /* owned */
	struct store *store; /* owned; NULL while it is closed */
	char *dir;           /* owned */
};

/* All fail the test that runs when something is not as it should be. */
void store_fixture_init(struct store_fixture *f);
void store_fixture_fini(struct store_fixture *f); /* removes the directory */
void store_fixture_open(struct store_fixture *f);
void store_fixture_close(struct store_fixture *f);
char *store_fixture_temp_dir(void); /* caller owns */

/* The revision; or -1 and *e. e NULL: must succeed. */
int64_t store_fixture_commit(struct store_fixture *f, struct store_txn *take_t, struct err *e);
int64_t store_fixture_put(struct store_fixture *f, const char *key, const char *val);
int64_t store_fixture_delete(struct store_fixture *f, const char *key);
int64_t store_fixture_put_lease(
    struct store_fixture *f, const char *key, const char *val, int64_t lease, struct err *e);
int64_t store_fixture_grant(struct store_fixture *f, int64_t ttl_s);
int store_fixture_keepalive(struct store_fixture *f, int64_t lease, struct err *e);
int store_fixture_revoke(struct store_fixture *f, int64_t lease, struct err *e);
int store_fixture_compact(struct store_fixture *f, int64_t rev, struct err *e);
/* "KEY=VAL@MOD_REV/VERSION " for each. */
void store_fixture_range(struct store_fixture *f, const char *prefix, struct buf *out);
int store_fixture_range_at(
    struct store_fixture *f, const char *prefix, int64_t rev, struct buf *out, struct err *e);

/* Notes what a watch says: "KEY=VAL@REV " or "-KEY@REV ", "; " after a revision's last,
 * "compacted ". */
struct store_fixture_log {
	struct buf text;
	size_t events;
	bool is_compacted;
};
void store_fixture_on_event(const struct store_event *ev, void *arg); /* arg: a log */
/* Runs the loop until the log has n events. */
void store_fixture_wait_events(
    struct store_fixture *f, const struct store_fixture_log *log, size_t n);
/* Runs the loop for a moment, to see that nothing more comes. */
void store_fixture_settle(struct store_fixture *f);
