/* lib/store/store_watch.h: the watches of a store: replays of history, then live. Loop only. */
#pragma once

#include "lib/store/store_request.h"

struct loop;
struct store_watch_set; /* opaque */

/* Sends a LOG request to the backend, or to the answers at once when it asks for nothing. */
typedef void store_watch_ask_fn(struct store_request *take_r, void *arg);

struct store_watch_set *store_watch_set_new(struct loop *l, store_watch_ask_fn *ask, void *arg);
/* Watches that are left are silent until their owners cancel them. */
void store_watch_set_free(struct store_watch_set *take_set);
void store_watch_set_start(struct store_watch_set *set, int64_t rev, int64_t compact_rev);
/* set NULL: the store is closed, and the watch silent. */
struct store_watch *store_watch_add(
    struct store_watch_set *set, const char *prefix, int64_t from, store_watch_fn *fn, void *arg);
/* A new revision, which the mirror shows. */
void store_watch_commit(struct store_watch_set *set, struct store_commit *c);
void store_watch_compacted(struct store_watch_set *set, int64_t compact_rev);
/* The answer to a LOG request. */
void store_watch_answer(struct store_watch_set *set, struct store_request *take_r);
