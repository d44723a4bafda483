#include "router/crowd.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "router/router_conf.h"

enum { MOST = 4, RATE = 2, BURST = 5 * RATE };

static struct peer
v4(uint8_t last)
{
	struct peer p = { .address = { [10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2 } };

	p.address[15] = last;
	return p;
}

static struct peer
v6(uint8_t net, uint8_t host)
{
	struct peer p = { .address = { [0] = 0x20, [1] = 0x01 } };

	p.address[7] = net;
	p.address[15] = host;
	return p;
}

static struct crowd *
crowd(int64_t most, int64_t rate, int lanes)
{
	struct router_conf conf = { .address_connections = most, .address_rate = rate };

	return crowd_new(&conf, lanes);
}

static bool
enters(struct crowd *c, struct peer p)
{
	enum shed_why why = SHED_BUSY;
	bool may = crowd_enter(c, &p, 1000, &why);

	assert_true(may || why == SHED_CROWD);
	return may;
}

static void
without_limits_there_is_none(void **state)
{
	(void)state;
	assert_null(crowd(0, 0, 1));
}

static void
an_address_has_its_share(void **state)
{
	struct crowd *c = crowd(2 * MOST, 0, 2);
	struct peer p = v4(1), other = v4(2);

	(void)state;
	for (int i = 0; i < MOST; i++)
		assert_true(i % 2 == 0 ? enters(c, p) : crowd_join(c, &p));
	assert_false(enters(c, p));
	assert_false(crowd_join(c, &p));
	assert_true(enters(c, other));
	crowd_leave(c, &p);
	assert_true(enters(c, p));
	assert_false(enters(c, p));
	crowd_free(c);
}

static void
a_net_of_ipv6_is_one_address(void **state)
{
	struct crowd *c = crowd(MOST, 0, 1);

	(void)state;
	for (uint8_t i = 0; i < MOST; i++)
		assert_true(enters(c, v6(1, i)));
	assert_false(enters(c, v6(1, MOST)));
	assert_true(enters(c, v6(2, 0)));
	crowd_free(c);
}

static void
who_hurries_waits(void **state)
{
	struct crowd *c = crowd(0, RATE, 1);
	struct peer p = v4(1);
	enum shed_why why;
	int n = 0;

	(void)state;
	while (n <= BURST && crowd_enter(c, &p, 1000, &why))
		n++;
	assert_int_equal(n, BURST);
	assert_int_equal(why, SHED_HURRIED);
	assert_true(crowd_enter(c, &p, 2000, &why));
	crowd_free(c);
}

static void
the_machine_itself_has_no_limit(void **state)
{
	struct peer self = v4(1), far = v4(1), self6 = { .address = { [15] = 1 } };

	(void)state;
	self.address[12] = 127;
	assert_false(crowd_holds(&self));
	assert_false(crowd_holds(&self6));
	assert_true(crowd_holds(&far));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_limits_there_is_none),
		cmocka_unit_test(an_address_has_its_share),
		cmocka_unit_test(a_net_of_ipv6_is_one_address),
		cmocka_unit_test(who_hurries_waits),
		cmocka_unit_test(the_machine_itself_has_no_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
