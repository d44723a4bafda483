#include "broker/change.h"

#include <stdbool.h>
#include <stdint.h>

#include "broker/broker.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"

enum { TRIES_MAX = 20 };

struct change {
	struct broker *b;    /* borrowed */
	struct change *next; /* in the lane */
	bool is_in_lane;
	change_build_fn *build;
	change_done_fn *done;
	void *arg; /* borrowed, handed back */
	int tries;
	struct err e;
	bool failed;
};

static void change_try(struct change *c);

static void
change_end(void *arg)
{
	struct change *c = arg;
	struct broker *b = c->b;
	bool was_in_lane = c->is_in_lane;

	if (was_in_lane)
		b->lane = c->next;
	c->done(c->failed ? &c->e : NULL, c->arg);
	free(c);
	if (was_in_lane && b->lane != NULL)
		change_try(b->lane);
}

/* Those that want the same record would meet again at each try: they go one by one. */
static void
change_queue(struct change *c)
{
	struct change **last = &c->b->lane;

	while (*last != NULL)
		last = &(*last)->next;
	*last = c;
	c->is_in_lane = true;
	if (c->b->lane == c)
		change_try(c);
}

static void
change_stored(int64_t rev, const struct err *e, void *arg)
{
	struct change *c = arg;

	(void)rev;
	if (e != NULL && e->code == ERR_CONFLICT && !c->is_in_lane) {
		change_queue(c);
		return;
	}
	if (e != NULL && e->code == ERR_CONFLICT && c->tries < TRIES_MAX) {
		change_try(c);
		return;
	}
	if (e != NULL) {
		c->failed = true;
		c->e = *e;
	}
	if (e != NULL && e->code == ERR_CONFLICT)
		(void)err_set(&c->e, ERR_BUSY, NULL,
		    "Another operation is running on the same object. Try again.");
	change_end(c);
}

static void
change_try(struct change *c)
{
	struct store_txn *t = store_txn_new();

	c->tries++;
	if (c->build(c->b, t, c->arg, &c->e) < 0) {
		store_txn_free(t);
		c->failed = true;
		loop_post(c->b->loop, change_end, c);
		return;
	}
	if (store_txn_count(t) == 0) {
		store_txn_free(t);
		loop_post(c->b->loop, change_end, c);
		return;
	}
	store_txn_submit(c->b->store, t, change_stored, c);
}

void
change_start(struct broker *b, change_build_fn *build, change_done_fn *done, void *arg)
{
	struct change *c = xcalloc(1, sizeof *c);

	*c = (struct change){ .b = b, .build = build, .done = done, .arg = arg };
	change_try(c);
}
