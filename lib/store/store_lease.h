/* lib/store/store_lease.h: the leases that live, and when they end. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct store_lease_table; /* opaque */

enum { STORE_LEASE_TTL_MAX = 24 * 3600 };

/* The lease's time is up: it is to be revoked. Called again after a while until it is removed. */
typedef void store_lease_end_fn(int64_t lease, void *arg);

struct store_lease_table *store_lease_table_new(struct loop *l, store_lease_end_fn *fn, void *arg);
void store_lease_table_free(struct store_lease_table *take_t);
void store_lease_add(struct store_lease_table *t, int64_t lease, int64_t ttl_s);
/* Begins its time anew; false: it is unknown, or it ended already. */
bool store_lease_touch(struct store_lease_table *t, int64_t lease);
void store_lease_remove(struct store_lease_table *t, int64_t lease);
