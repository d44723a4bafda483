#include "broker/change.h"

#include <stdbool.h>
#include <stdint.h>

#include "broker/broker.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/store/store.h"

enum { TRIES_MAX = 20 };

struct change {
	struct broker *b; /* borrowed */
	change_build_fn *build;
	change_done_fn *done;
	void *arg; /* borrowed, handed back */
	int tries;
	struct err e;
	bool failed;
};

static void
change_end(void *arg)
{
	struct change *c = arg;

	c->done(c->failed ? &c->e : NULL, c->arg);
	free(c);
}

static void change_try(struct change *c);

static void
change_stored(int64_t rev, const struct err *e, void *arg)
{
	struct change *c = arg;

	(void)rev;
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
