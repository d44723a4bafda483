/* router/wheel.h: deadlines of many connections: one timer a loop, O(1) to set and to clear.
 * Moving a deadline later costs a store. */
#pragma once

#include <stdint.h>

enum {
	WHEEL_SLOTS = 512,
	WHEEL_SHIFT = 7
}; /* ticks of 128 ms, horizon 65 s; later ones go round */

struct wheel_timer {
	struct wheel_timer *next;
	struct wheel_timer **pprev; /* NULL: not set */
	int64_t deadline_ms;
	int64_t tick; /* of the slot it hangs in */
};

struct wheel {
	struct wheel_timer *slot[WHEEL_SLOTS];
	int64_t tick; /* all before it have fired */
	int64_t n;    /* timers set */
};

typedef void wheel_fn(struct wheel_timer *t);

void wheel_init(struct wheel *w, int64_t now_ms);
/* Sets or moves the deadline. */
void wheel_set(struct wheel *w, struct wheel_timer *t, int64_t deadline_ms);
void wheel_clear(struct wheel *w, struct wheel_timer *t);
/* Calls fn for each timer that is due; it is no longer set then. fn may set and clear any. */
void wheel_advance(struct wheel *w, int64_t now_ms, wheel_fn *fn);
