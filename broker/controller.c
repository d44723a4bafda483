#include "broker/controller.h"

#include <stdbool.h>
#include <stdlib.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 10000 };

struct item {
	struct controller *c; /* borrowed */
	char *key;
	struct item *next;        /* in the queue */
	struct loop_timer *timer; /* to be woken; NULL: none yet */
	int64_t backoff_ms;
	bool is_queued, is_running, is_dirty;
};

struct controller {
	struct loop *l;
	controller_step_fn *fn;
	void *arg;
	struct map *items; /* key → struct item, owned */
	struct item *head, **tail;
	bool is_posted, is_dead;
};

static void
item_free(void *p)
{
	struct item *it = p;

	loop_timer_cancel(it->timer);
	free(it->key);
	free(it);
}

struct controller *
controller_new(struct loop *l, controller_step_fn *fn, void *arg)
{
	struct controller *c = xcalloc(1, sizeof *c);

	*c = (struct controller){ .l = l, .fn = fn, .arg = arg, .items = map_new(item_free) };
	c->tail = &c->head;
	return c;
}

void
controller_free(struct controller *take_c)
{
	if (take_c == NULL)
		return;
	map_free(take_c->items);
	take_c->items = NULL;
	take_c->is_dead = true;
	if (!take_c->is_posted)
		free(take_c);
}

static void
run(void *arg)
{
	struct controller *c = arg;
	struct item *it;

	c->is_posted = false;
	if (c->is_dead) {
		free(c);
		return;
	}
	it = c->head;
	c->head = NULL;
	c->tail = &c->head;
	while (it != NULL) {
		struct item *next = it->next;

		it->next = NULL;
		it->is_queued = false;
		it->is_running = true;
		c->fn(it->key, c->arg);
		it = next;
	}
}

static void
enqueue(struct item *it)
{
	struct controller *c = it->c;

	if (it->is_running) {
		it->is_dirty = true;
		return;
	}
	if (it->is_queued)
		return;
	it->is_queued = true;
	*c->tail = it;
	c->tail = &it->next;
	if (!c->is_posted) {
		c->is_posted = true;
		loop_post(c->l, run, c);
	}
}

void
controller_wake(struct controller *c, const char *key)
{
	struct item *it = map_get(c->items, key);

	if (it == NULL) {
		it = xcalloc(1, sizeof *it);
		it->c = c;
		it->key = xstrdup(key);
		map_set(c->items, key, it);
	}
	enqueue(it);
}

static void
on_timer(void *arg)
{
	enqueue(arg);
}

void
controller_done(struct controller *c, const char *key, int64_t retry_ms)
{
	struct item *it = map_get(c->items, key);

	if (it == NULL)
		return;
	it->is_running = false;
	if (retry_ms < 0) {
		it->backoff_ms = it->backoff_ms == 0 ? BACKOFF_MIN_MS : it->backoff_ms * 2;
		if (it->backoff_ms > BACKOFF_MAX_MS)
			it->backoff_ms = BACKOFF_MAX_MS;
		retry_ms = it->backoff_ms;
	} else {
		it->backoff_ms = 0;
	}
	loop_timer_cancel(STEAL(it->timer));
	if (retry_ms > 0)
		it->timer = loop_timer_start(c->l, retry_ms, false, on_timer, it);
	if (it->is_dirty) {
		it->is_dirty = false;
		enqueue(it);
	}
}
