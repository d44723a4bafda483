#include "router/rate.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum { WAYS = 4, TOKEN = 1000 };

struct bucket {
	uint64_t key;    /* 0: free */
	uint32_t tokens; /* thousandths */
	uint32_t at_ms;  /* up to when it was filled; wraps around */
};

struct rate {
	uint64_t seed;
	struct bucket buckets[RATE_BUCKETS];
};

struct rate *
rate_new(void)
{
	struct rate *t = xcalloc(1, sizeof *t);

	secret_random(&t->seed, sizeof t->seed);
	return t;
}

void
rate_free(struct rate *take_t)
{
	free(take_t);
}

static uint64_t
mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint64_t
rate_key(const struct rate *t, uint64_t id, const uint8_t address[16])
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	uint64_t high, low = 0, h;

	memcpy(&high, address, 8);
	if (memcmp(address, mapped, sizeof mapped) == 0)
		memcpy(&low, address + 8, 8);
	h = mix(t->seed ^ id, 0xe7037ed1a0b428dbu);
	h = mix(h ^ high, 0x8ebc6af09c88c6e3u);
	h = mix(h ^ low, 0x9e3779b97f4a7c15u);
	return h == 0 ? 1 : h;
}

/* The bucket of key; a full one if it is not there. */
static struct bucket *
find(struct rate *t, uint64_t key, uint32_t full, uint32_t now)
{
	struct bucket *set = &t->buckets[key % (RATE_BUCKETS / WAYS) * WAYS], *oldest = set;

	for (int i = 0; i < WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (oldest->key != 0 &&
		    (set[i].key == 0 || now - set[i].at_ms > now - oldest->at_ms))
			oldest = &set[i];
	}
	*oldest = (struct bucket){ .key = key, .tokens = full, .at_ms = now };
	return oldest;
}

int64_t
rate_take(struct rate *t, uint64_t key, const struct rate_limit *l, int64_t now_ms)
{
	uint32_t now = (uint32_t)now_ms;
	int64_t full = l->burst * TOKEN;
	struct bucket *b = find(t, key, (uint32_t)full, now);
	int64_t passed = (int64_t)(now - b->at_ms), more = passed * l->n / l->period_s;

	if (more >= full - b->tokens) {
		b->tokens = (uint32_t)full;
		b->at_ms = now;
	} else if (more > 0) { /* what is less than a thousandth is not lost */
		b->tokens += (uint32_t)more;
		b->at_ms += (uint32_t)(more * l->period_s / l->n);
	}
	if (b->tokens >= TOKEN) {
		b->tokens -= TOKEN;
		return 0;
	}
	return (TOKEN - b->tokens) * l->period_s / l->n + 1;
}
