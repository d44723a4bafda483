#include "router/crowd.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "router/rate.h"
#include "router/router_conf.h"

enum { PLACES = 32768, WAYS = 8, BURST_S = 5 };

struct place {
	uint64_t key; /* of the address */
	int64_t n;    /* 0: free */
};

struct crowd {
	struct rate *rate;       /* owned */
	struct rate_limit limit; /* n = 0: none */
	int64_t most;            /* at once; 0: any */
	struct place places[PLACES];
};

static int64_t
share(int64_t n, int lanes)
{
	return (n + lanes - 1) / lanes;
}

struct crowd *
crowd_new(const struct router_conf *conf, int lanes)
{
	struct crowd *c;

	if (conf->address_connections == 0 && conf->address_rate == 0)
		return NULL;
	c = xcalloc(1, sizeof *c);
	c->rate = rate_new();
	c->most = share(conf->address_connections, lanes);
	c->limit.n = share(conf->address_rate, lanes);
	c->limit.period_s = 1;
	c->limit.burst = c->limit.n * BURST_S;
	return c;
}

void
crowd_free(struct crowd *take_c)
{
	if (take_c == NULL)
		return;
	rate_free(take_c->rate);
	free(take_c);
}

bool
crowd_holds(const struct peer *p)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff }, v6[16] = { [15] = 1 };

	if (memcmp(p->address, v4, sizeof v4) == 0)
		return p->address[sizeof v4] != 127;
	return memcmp(p->address, v6, sizeof v6) != 0;
}

/* The place of key, else a free one for it, else NULL. */
static struct place *
find(struct crowd *c, uint64_t key)
{
	struct place *set = &c->places[key % (PLACES / WAYS) * WAYS], *free_one = NULL;

	for (int i = 0; i < WAYS; i++) {
		if (set[i].n == 0)
			free_one = &set[i];
		else if (set[i].key == key)
			return &set[i];
	}
	if (free_one != NULL)
		free_one->key = key;
	return free_one;
}

static bool
count(struct crowd *c, uint64_t key)
{
	struct place *p = find(c, key);

	if (p == NULL)
		return true;
	if (c->most != 0 && p->n >= c->most)
		return false;
	p->n++;
	return true;
}

bool
crowd_enter(struct crowd *c, const struct peer *p, int64_t now_ms, enum shed_why *out_why)
{
	uint64_t key = rate_key(c->rate, 0, p->address);

	if (c->limit.n != 0 && rate_take(c->rate, key, &c->limit, now_ms) != 0) {
		*out_why = SHED_HURRIED;
		return false;
	}
	*out_why = SHED_CROWD;
	return count(c, key);
}

bool
crowd_join(struct crowd *c, const struct peer *p)
{
	return count(c, rate_key(c->rate, 0, p->address));
}

void
crowd_leave(struct crowd *c, const struct peer *p)
{
	struct place *at = find(c, rate_key(c->rate, 0, p->address));

	if (at != NULL && at->n != 0)
		at->n--;
}
