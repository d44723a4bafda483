/* The work queue of controllers: one step at a time for a key, woken again, backoff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/controller.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"

enum { WAIT_MS = 10000 };

struct world {
	struct loop *l;
	struct controller *c;
	struct buf log;   /* keys of the steps */
	int64_t retry_ms; /* what each step ends with */
	int holds;        /* so many steps do not end by themselves */
	int steps, wanted;
	bool is_there;
};

static void
step(const char *key, void *arg)
{
	struct world *w = arg;

	buf_addf(&w->log, "%s ", key);
	if (++w->steps >= w->wanted)
		w->is_there = true;
	if (w->holds > 0)
		w->holds--;
	else
		controller_done(w->c, key, w->retry_ms);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);

	w->l = loop_new();
	w->c = controller_new(w->l, step, w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	controller_free(w->c);
	loop_free(w->l);
	buf_fini(&w->log);
	free(w);
	return 0;
}

static void
expect(struct world *w, int steps, const char *want)
{
	w->wanted = steps;
	w->is_there = w->steps >= steps;
	assert_true(loop_run_until(w->l, &w->is_there, WAIT_MS));
	assert_string_equal(w->log.p, want);
}

static void
quiet(struct world *w, int64_t ms)
{
	bool never = false;
	int steps = w->steps;

	assert_false(loop_run_until(w->l, &never, ms));
	assert_int_equal(w->steps, steps);
}

static void
many_wakings_are_one_step(void **state)
{
	struct world *w = *state;

	controller_wake(w->c, "a");
	controller_wake(w->c, "a");
	controller_wake(w->c, "b");
	controller_wake(w->c, "a");
	assert_int_equal(w->steps, 0); /* never from inside */
	expect(w, 2, "a b ");
	quiet(w, 20);
}

static void
steps_of_a_key_never_overlap(void **state)
{
	struct world *w = *state;

	w->holds = 1;
	controller_wake(w->c, "a");
	expect(w, 1, "a ");
	controller_wake(w->c, "a");
	controller_wake(w->c, "a");
	quiet(w, 20);
	controller_wake(w->c, "b"); /* others go on */
	expect(w, 2, "a b ");
	controller_done(w->c, "a", 0);
	expect(w, 3, "a b a ");
	quiet(w, 20);
}

static void
retry_and_backoff(void **state)
{
	struct world *w = *state;
	int64_t start;

	w->retry_ms = 5;
	controller_wake(w->c, "a");
	expect(w, 3, "a a a ");
	w->retry_ms = -1;
	start = loop_now_ms();
	expect(w, 7, "a a a a a a a "); /* after 5, 50, 100, 200 ms */
	assert_true(loop_now_ms() - start >= 300);
	w->retry_ms = 0;
	expect(w, 8, "a a a a a a a a ");
	quiet(w, 50);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(many_wakings_are_one_step, setup, teardown),
		cmocka_unit_test_setup_teardown(steps_of_a_key_never_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(retry_and_backoff, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
