#include "router/wheel.h"

#include <stddef.h>

void
wheel_init(struct wheel *w, int64_t now_ms)
{
	*w = (struct wheel){ .tick = now_ms >> WHEEL_SHIFT };
}

static void
link_timer(struct wheel *w, struct wheel_timer *t)
{
	int64_t tick = (t->deadline_ms >> WHEEL_SHIFT) + 1;
	struct wheel_timer **head;

	if (tick <= w->tick)
		tick = w->tick + 1;
	if (tick >= w->tick + WHEEL_SLOTS)
		tick = w->tick + WHEEL_SLOTS - 1;
	head = &w->slot[tick % WHEEL_SLOTS];
	w->n++;
	t->tick = tick;
	t->next = *head;
	if (t->next != NULL)
		t->next->pprev = &t->next;
	t->pprev = head;
	*head = t;
}

void
wheel_clear(struct wheel *w, struct wheel_timer *t)
{
	if (t->pprev == NULL)
		return;
	*t->pprev = t->next;
	if (t->next != NULL)
		t->next->pprev = t->pprev;
	t->pprev = NULL;
	w->n--;
}

void
wheel_set(struct wheel *w, struct wheel_timer *t, int64_t deadline_ms)
{
	t->deadline_ms = deadline_ms;
	/* A slot that comes too early only looks again. */
	if (t->pprev != NULL && t->tick <= (deadline_ms >> WHEEL_SHIFT) + 1)
		return;
	wheel_clear(w, t);
	link_timer(w, t);
}

void
wheel_advance(struct wheel *w, int64_t now_ms, wheel_fn *fn)
{
	int64_t until = now_ms >> WHEEL_SHIFT;

	if (w->n == 0 && w->tick < until)
		w->tick = until;
	while (w->tick < until) {
		struct wheel_timer *t;

		w->tick++;
		while ((t = w->slot[w->tick % WHEEL_SLOTS]) != NULL) {
			wheel_clear(w, t);
			if (t->deadline_ms <= now_ms)
				fn(t);
			else
				link_timer(w, t);
		}
	}
}
