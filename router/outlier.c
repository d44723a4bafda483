#include "router/outlier.h"

enum { PERMILLE = 1000, RATE_MIN = 500, SERVER_ERROR = 500, BAD_GATEWAY = 502, LATE = 504 };

static void
readmit(struct outlier *o, int64_t now_ms)
{
	o->until_ms = now_ms;
	o->state = OUTLIER_IN;
	o->is_probed = false;
	o->row = 0;
	o->bad = 0;
}

static void
leave_alone(struct outlier *o, enum outlier_state state, int64_t now_ms, int64_t ms)
{
	o->state = (uint8_t)state;
	o->is_probed = false;
	o->until_ms = now_ms + ms;
	if (o->times < UINT8_MAX)
		o->times++;
}

/* Doubled for each time before. */
static int64_t
doubled(const struct outlier *o, int64_t ms, int most)
{
	return ms << (o->times < most ? o->times : most);
}

static void
forget_old(struct outlier *o, int64_t now_ms)
{
	if (o->state == OUTLIER_IN && now_ms - o->until_ms > OUTLIER_EJECTED_MAX_MS)
		o->times = 0;
}

void
outlier_chosen(struct outlier *o, int64_t now_ms)
{
	int64_t ms;

	if (o->state == OUTLIER_IN || o->until_ms > now_ms)
		return;
	ms = doubled(o, o->state == OUTLIER_EJECTED ? OUTLIER_EJECTED_MS : OUTLIER_REFUSED_MS,
	    OUTLIER_REFUSED_DOUBLINGS);
	o->until_ms = now_ms + ms;
	o->is_probed = true;
}

void
outlier_refused(struct outlier *o, int64_t now_ms)
{
	forget_old(o, now_ms);
	leave_alone(o, o->state == OUTLIER_EJECTED ? OUTLIER_EJECTED : OUTLIER_REFUSED, now_ms,
	    doubled(o, OUTLIER_REFUSED_MS, OUTLIER_REFUSED_DOUBLINGS));
}

void
outlier_eject(struct outlier *o, int64_t now_ms)
{
	int64_t ms;

	forget_old(o, now_ms);
	ms = doubled(o, OUTLIER_EJECTED_MS, OUTLIER_REFUSED_DOUBLINGS);
	leave_alone(
	    o, OUTLIER_EJECTED, now_ms, ms < OUTLIER_EJECTED_MAX_MS ? ms : OUTLIER_EJECTED_MAX_MS);
	o->row = 0;
	o->bad = 0;
}

static bool
is_open(const struct outlier *o, int64_t now_ms)
{
	return o->window_ms != 0 && now_ms - o->window_ms <= OUTLIER_WINDOW_MS;
}

int
outlier_rate(const struct outlier *o, uint32_t requests, int64_t now_ms)
{
	uint32_t n = requests - o->seen;

	if (!is_open(o, now_ms)) /* none was bad for long */
		return requests < OUTLIER_WINDOW_MIN ? -1 : 0;
	if (n < OUTLIER_WINDOW_MIN)
		return -1;
	return (int)((uint64_t)o->bad * PERMILLE / n);
}

static void
count_bad(struct outlier *o, uint32_t requests, int64_t now_ms)
{
	if (!is_open(o, now_ms)) {
		o->window_ms = now_ms;
		o->seen = requests - 1;
		o->bad = 0;
	}
	o->bad++;
}

/* Those that were on their way when it was ejected say nothing new. */
static enum outlier_verdict
judge_ejected(const struct outlier *o)
{
	return o->is_probed ? OUTLIER_FAILS : OUTLIER_FINE;
}

enum outlier_verdict
outlier_failed(struct outlier *o, uint32_t requests, int64_t now_ms)
{
	if (o->state == OUTLIER_EJECTED)
		return judge_ejected(o);
	count_bad(o, requests, now_ms);
	if (++o->row >= OUTLIER_ROW) {
		o->row = OUTLIER_ROW - 1; /* each further one asks again, if it stays */
		return OUTLIER_FAILS;
	}
	return outlier_rate(o, requests, now_ms) >= RATE_MIN ? OUTLIER_WORSE : OUTLIER_FINE;
}

enum outlier_verdict
outlier_answered(struct outlier *o, int status, uint32_t requests, int64_t now_ms)
{
	if (status < SERVER_ERROR) {
		if (o->state == OUTLIER_REFUSED || o->is_probed)
			readmit(o, now_ms);
		o->row = 0;
		return OUTLIER_FINE;
	}
	if (status >= BAD_GATEWAY && status <= LATE)
		return outlier_failed(o, requests, now_ms);
	if (o->state == OUTLIER_EJECTED)
		return judge_ejected(o);
	count_bad(o, requests, now_ms);
	return outlier_rate(o, requests, now_ms) >= RATE_MIN ? OUTLIER_WORSE : OUTLIER_FINE;
}

void
outlier_connected(struct outlier *o, int64_t now_ms)
{
	if (o->state == OUTLIER_REFUSED)
		readmit(o, now_ms);
}
