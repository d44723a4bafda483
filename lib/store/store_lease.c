#include "lib/store/store_lease.h"

#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum { RETRY_MS = 1000 };

struct lease {
	int64_t id, ttl_ms;
	int64_t due_ms; /* when to call fn, or to call it again */
	bool has_ended;
};

struct store_lease_table {
	struct loop *loop;
	struct loop_timer *timer; /* owned; fires at the earliest due_ms, or before it */
	struct lease *v;          /* owned */
	size_t n;
	store_lease_end_fn *fn;
	void *arg; /* borrowed */
};

static void
arm(struct store_lease_table *t)
{
	int64_t due = INT64_MAX, now = loop_now_ms();

	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].due_ms < due)
			due = t->v[i].due_ms;
	}
	if (t->n > 0)
		loop_timer_again(t->timer, due > now ? due - now : 0);
}

static void
on_time(void *arg)
{
	struct store_lease_table *t = arg;
	int64_t now = loop_now_ms();

	for (size_t i = 0; i < t->n; i++) {
		struct lease *l = &t->v[i];

		if (l->due_ms > now)
			continue;
		l->has_ended = true;
		l->due_ms = now + RETRY_MS;
		t->fn(l->id, t->arg); /* only submits: the table stays as it is */
	}
	arm(t);
}

struct store_lease_table *
store_lease_table_new(struct loop *l, store_lease_end_fn *fn, void *arg)
{
	struct store_lease_table *t = xcalloc(1, sizeof *t);

	t->loop = l;
	t->fn = fn;
	t->arg = arg;
	return t;
}

void
store_lease_table_free(struct store_lease_table *take_t)
{
	if (take_t == NULL)
		return;
	loop_timer_cancel(take_t->timer);
	free(take_t->v);
	free(take_t);
}

static struct lease *
find(struct store_lease_table *t, int64_t id)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].id == id)
			return &t->v[i];
	}
	return NULL;
}

void
store_lease_add(struct store_lease_table *t, int64_t lease, int64_t ttl_s)
{
	t->v = xreallocarray(t->v, t->n + 1, sizeof *t->v);
	t->v[t->n++] = (struct lease){
		.id = lease,
		.ttl_ms = ttl_s * 1000,
		.due_ms = loop_now_ms() + ttl_s * 1000,
	};
	if (t->timer == NULL)
		t->timer = loop_timer_start(t->loop, ttl_s * 1000, false, on_time, t);
	arm(t);
}

bool
store_lease_touch(struct store_lease_table *t, int64_t lease)
{
	struct lease *l = find(t, lease);

	if (l == NULL || l->has_ended)
		return false;
	l->due_ms = loop_now_ms() + l->ttl_ms; /* the timer fires early, and is armed anew */
	return true;
}

void
store_lease_remove(struct store_lease_table *t, int64_t lease)
{
	struct lease *l = find(t, lease);

	if (l != NULL)
		*l = t->v[--t->n];
}
