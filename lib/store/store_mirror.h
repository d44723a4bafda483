/* lib/store/store_mirror.h: all live keys in memory, in order. */
#pragma once

#include "lib/store/store_commit.h"

struct store_mirror; /* opaque */

struct store_mirror *store_mirror_new(void);
void store_mirror_free(struct store_mirror *take_m);
void store_mirror_apply(struct store_mirror *m, const struct store_commit *c);
void store_mirror_put(struct store_mirror *m, const struct store_row *r); /* copies */
bool store_mirror_get(const struct store_mirror *m, const char *key, struct store_kv *out);
/* Visits keys with prefix in order until fn returns false. */
void store_mirror_range(
    const struct store_mirror *m, const char *prefix, store_visit_fn *fn, void *arg);
