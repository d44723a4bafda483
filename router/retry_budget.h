/* router/retry_budget.h: how many requests of a route may be tried again, so that instances in
 * trouble do not get the load of all twice: a share of the requests of the last seconds, and some
 * in any case. Of a lane; counted when one is tried again, not before. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	RETRY_BUDGET_MS = 10000, /* tokens fade within about that */
	RETRY_BUDGET_PERCENT = 20,
	RETRY_BUDGET_MIN = 3, /* each second, whatever the traffic is */
};

struct retry_budget {
	int64_t at_ms; /* of the last try */
	int64_t milli; /* thousandths of a token */
};

void retry_budget_init(struct retry_budget *b, int64_t now_ms);
/* Takes a token. requests: that came since the last call. false: there is none. */
bool retry_budget_take(struct retry_budget *b, int64_t requests, int64_t percent, int64_t now_ms);
