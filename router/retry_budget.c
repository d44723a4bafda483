#include "router/retry_budget.h"

enum { TOKEN = 1000, PERCENT = 100 };

void
retry_budget_init(struct retry_budget *b, int64_t now_ms)
{
	*b = (struct retry_budget){ .at_ms = now_ms,
		.milli = (int64_t)RETRY_BUDGET_MIN * RETRY_BUDGET_MS };
}

bool
retry_budget_take(struct retry_budget *b, int64_t requests, int64_t percent, int64_t now_ms)
{
	int64_t ms = now_ms - b->at_ms;

	if (ms > RETRY_BUDGET_MS) { /* of those, the last ones count */
		requests = requests * RETRY_BUDGET_MS / ms;
		ms = RETRY_BUDGET_MS;
	}
	b->at_ms = now_ms;
	b->milli = b->milli * (RETRY_BUDGET_MS - ms) / RETRY_BUDGET_MS +
	           requests * percent * TOKEN / PERCENT + ms * RETRY_BUDGET_MIN;
	if (b->milli < TOKEN)
		return false;
	b->milli -= TOKEN;
	return true;
}
