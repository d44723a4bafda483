/* cron: when a gear's jobs are due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "lib/base/mem.h"
#include "node/cron.h"

enum { DAYS = 28 * 12, MINUTES = DAYS * 24 * 60 };

/* How often a frequency is due from 2026-02-01 on, in 336 days. */
static int
count(enum cron_frequency f, const char *gear)
{
	int n = 0;

	for (int i = 0; i < MINUTES; i++) {
		time_t t = 1769904000 + (time_t)i * 60;
		struct tm tm;

		gmtime_r(&t, &tm);
		n += cron_is_due(f, gear, &tm);
	}
	return n;
}

static void
test_how_often(void **state)
{
	(void)state;
	for (int g = 0; g < 3; g++) {
		AUTO(free) char *gear = xasprintf("%024d", g);

		assert_int_equal(count(CRON_MINUTELY, gear), MINUTES);
		assert_int_equal(count(CRON_HOURLY, gear), DAYS * 24);
		assert_int_equal(count(CRON_DAILY, gear), DAYS);
		assert_int_equal(count(CRON_WEEKLY, gear), DAYS / 7);
		assert_int_equal(count(CRON_MONTHLY, gear), 12);
	}
}

/* A thousand gears do not begin in one minute. */
static void
test_spread(void **state)
{
	int at[60] = { 0 };

	(void)state;
	for (int g = 0; g < 1000; g++) {
		AUTO(free) char *gear = xasprintf("%024d", g);

		for (int m = 0; m < 60; m++) {
			const struct tm tm = { .tm_hour = 3, .tm_min = m };

			at[m] += cron_is_due(CRON_DAILY, gear, &tm);
		}
	}
	for (int m = 0; m < 60; m++)
		assert_in_range(at[m], 1, 100);
}

/* What a daemon that was away has missed: once, of a day at most. */
static void
test_missed(void **state)
{
	const time_t night = 1769904000; /* a Sunday, the first of the month */
	const char *gear = "000000000000000000000001";

	(void)state;
	assert_false(cron_was_due(CRON_MINUTELY, gear, night, night));
	assert_true(cron_was_due(CRON_MINUTELY, gear, night, night + 60));
	assert_true(cron_was_due(CRON_MINUTELY, gear, night + 59, night + 60));
	assert_false(cron_was_due(CRON_MINUTELY, gear, night + 60, night)); /* set back */
	assert_false(cron_was_due(CRON_HOURLY, gear, night + 60, night + 3600));
	assert_true(cron_was_due(CRON_HOURLY, gear, night, night + 60));
	assert_true(cron_was_due(CRON_DAILY, gear, night + 3 * 3600 - 60, night + 4 * 3600));
	assert_false(cron_was_due(CRON_DAILY, gear, night + 4 * 3600, night + 23 * 3600));
	assert_true(cron_was_due(CRON_WEEKLY, gear, night + 3 * 3600, night + 5 * 3600));
	assert_true(cron_was_due(CRON_MONTHLY, gear, night, night + 86400));
	assert_false(cron_was_due(CRON_MONTHLY, gear, 0, night + 10 * 86400));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_how_often),
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
