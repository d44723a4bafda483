#include "router/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TIMERS = 200, TICK = 1 << WHEEL_SHIFT, STEPS = 20000 };

static struct wheel wheel;
static struct wheel_timer timers[TIMERS];
static int64_t now, fired_at[TIMERS];

static void
on_timer(struct wheel_timer *t)
{
	fired_at[t - timers] = now;
}

static void
start(int64_t at)
{
	now = at;
	memset(timers, 0, sizeof timers);
	memset(fired_at, 0, sizeof fired_at);
	wheel_init(&wheel, at);
}

static void
advance(int64_t ms)
{
	now += ms;
	wheel_advance(&wheel, now, on_timer);
}

static void
it_fires_once_and_in_time(void **state)
{
	static const int64_t delays[] = { 0, 1, 100, 1000, 64000, 66000, 75000, 300000, 3600000 };

	(void)state;
	for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
		int64_t due;

		start(123456789);
		due = now + delays[i];
		wheel_set(&wheel, &timers[0], due);
		while (fired_at[0] == 0 && now < due + 10000)
			advance(37);
		assert_true(fired_at[0] >= due && fired_at[0] <= due + 2 * TICK + 37);
		fired_at[0] = 0;
		assert_int_equal(wheel.n, 0);
		advance(200000);
		assert_int_equal(fired_at[0], 0);
	}
}

static void
deadlines_move(void **state)
{
	(void)state;
	start(1000);
	wheel_set(&wheel, &timers[0], now + 5000);
	for (int i = 0; i < 100; i++) {
		advance(1000);
		wheel_set(&wheel, &timers[0], now + 5000);
	}
	assert_int_equal(fired_at[0], 0);
	wheel_set(&wheel, &timers[0], now + 300); /* nearer */
	advance(1000);
	assert_true(fired_at[0] != 0);
	wheel_set(&wheel, &timers[1], now + 100);
	wheel_clear(&wheel, &timers[1]);
	wheel_clear(&wheel, &timers[1]);
	advance(10000);
	assert_int_equal(fired_at[1], 0);
}

static void
an_empty_wheel_skips_time(void **state)
{
	(void)state;
	start(0);
	advance((int64_t)1000 * 86400 * 1000);
	wheel_set(&wheel, &timers[0], now + 1000);
	advance(900);
	assert_int_equal(fired_at[0], 0);
	advance(400);
	assert_true(fired_at[0] != 0);
}

static void
many_against_a_model(void **state)
{
	int64_t due[TIMERS] = { 0 }; /* 0: not set */

	(void)state;
	start(5000000);
	srand(2);
	for (int step = 0; step < STEPS; step++) {
		int k = rand() % TIMERS;

		if (rand() % 8 == 0) {
			wheel_clear(&wheel, &timers[k]);
			due[k] = 0;
		} else {
			due[k] = now + rand() % 200000;
			wheel_set(&wheel, &timers[k], due[k]);
		}
		advance(rand() % 300);
		for (k = 0; k < TIMERS; k++) {
			if (fired_at[k] != 0) {
				assert_true(due[k] != 0 && due[k] <= fired_at[k]);
				due[k] = fired_at[k] = 0;
			}
			assert_true(due[k] == 0 || due[k] > now - 2 * TICK - 300);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_fires_once_and_in_time),
		cmocka_unit_test(deadlines_move),
		cmocka_unit_test(an_empty_wheel_skips_time),
		cmocka_unit_test(many_against_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
