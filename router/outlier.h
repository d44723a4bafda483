/* router/outlier.h: whether an instance is to be left alone for a while, from what a lane saw of
 * it.
 *
 * - Nothing listens there: for 250 ms, doubling up to 8 s.
 * - Five requests in a row failed (no answer, a broken or late one, 502 to 504): ejected for 1 s,
 *   doubling up to 30 s.
 * - Half of at least 20 requests within 10 s were answered with 5xx: the same, if the caller finds
 *   that other instances do better.
 * When its time is over one request at a time goes there; the first that is well readmits it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	OUTLIER_REFUSED_MS = 250,
	OUTLIER_REFUSED_DOUBLINGS = 5,
	OUTLIER_EJECTED_MS = 1000,
	OUTLIER_EJECTED_MAX_MS =
	    30000, /* also: so long without any, and the doubling begins anew */
	OUTLIER_ROW = 5,
	OUTLIER_WINDOW_MS = 10000,
	OUTLIER_WINDOW_MIN = 20,
};

enum outlier_state {
	OUTLIER_IN,
	OUTLIER_REFUSED, /* nothing listens */
	OUTLIER_EJECTED,
};

struct outlier {
	int64_t until_ms;  /* it is left alone */
	int64_t window_ms; /* when the window began */
	uint32_t seen;     /* of the requests that went there: before the window */
	uint32_t bad;      /* 5xx in the window */
	uint8_t row;       /* failures without one that was well */
	uint8_t times;     /* it was left alone, one after the other */
	uint8_t state;     /* enum outlier_state */
	bool is_probed;    /* a request is on its way there to see */
};

enum outlier_verdict {
	OUTLIER_FINE,
	OUTLIER_FAILS, /* to be ejected */
	OUTLIER_WORSE, /* to be ejected if others do better */
};

/* Whether it may be chosen: by one request, if it is not readmitted yet. */
static inline bool
outlier_is_in(const struct outlier *o, int64_t now_ms)
{
	return o->state == OUTLIER_IN || o->until_ms <= now_ms;
}
/* Whether an answer that is well changes anything. */
static inline bool
outlier_is_marked(const struct outlier *o)
{
	return o->row != 0 || o->state != OUTLIER_IN;
}
/* It was chosen: while it is not readmitted, no others are for a while. */
void outlier_chosen(struct outlier *o, int64_t now_ms);
void outlier_refused(struct outlier *o, int64_t now_ms);
/* A request failed, or was answered with status (any); requests: all that ever went there. */
enum outlier_verdict outlier_failed(struct outlier *o, uint32_t requests, int64_t now_ms);
enum outlier_verdict outlier_answered(
    struct outlier *o, int status, uint32_t requests, int64_t now_ms);
void outlier_eject(struct outlier *o, int64_t now_ms);
/* Bad answers in a thousand requests of the window; -1: too few went there to tell. */
int outlier_rate(const struct outlier *o, uint32_t requests, int64_t now_ms);
/* A connection was made: something listens. */
void outlier_connected(struct outlier *o, int64_t now_ms);
