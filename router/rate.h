/* router/rate.h: token buckets by key, in a table of fixed size: a lane's own, so a client with
 * connections in several lanes has a bucket in each. When it is full, the bucket that was not asked
 * for longest makes room, and its owner begins anew with a full one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { RATE_BUCKETS = 16384 };

struct rate;
struct rate *rate_new(void);
void rate_free(struct rate *take_t); /* NULL is fine */

struct rate_limit {
	int64_t n, period_s; /* n in period_s */
	int64_t burst;       /* tokens of a full bucket */
};
/* Of an application (by its id) and an address; of IPv6 its /64 counts. */
uint64_t rate_key(const struct rate *t, uint64_t id, const uint8_t address[16]);
/* Takes a token. Returns 0, or the milliseconds until there is one. */
int64_t rate_take(struct rate *t, uint64_t key, const struct rate_limit *l, int64_t now_ms);
