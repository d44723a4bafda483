#include "router/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/map.h"
#include "lib/base/mem.h"
#include "router/host_table.h"
#include "router/lane.h"
#include "router/retry_budget.h"
#include "router/route_options.h"
#include "router/router_conf.h"
#include "router/upstream.h"

enum { PICKS = 10000, MOST = 20 };

/* A lane, and a route with instances. */
struct world {
	struct lane *lane;
	struct router_conf conf;
	struct host_endpoint_set *set;
	struct map *options;
	struct wire_route wire;
	struct host_route *r;
	int got[MOST];
};

static void
start(struct world *w, int n, const int *weights, const char *options)
{
	struct err e = { 0 };

	*w = (struct world){ 0 };
	w->lane = lane_new(0, &w->conf, &e);
	assert_non_null(w->lane);
	w->lane->random[0] = 1;
	w->lane->random[1] = 2;
	w->set = host_endpoint_set_new(1);
	w->options = route_options_all();
	w->wire.host = xstrdup("a.test");
	if (options != NULL)
		w->wire.options = xstrdup(options);
	for (int i = 0; i < n; i++) {
		struct wire_endpoint *ep = codec_list_add(&wire_endpoint_codec, &w->wire.endpoints);

		ep->id = xasprintf("i%d", i);
		ep->address = xstrdup("10.0.0.1");
		ep->port = 1 + i;
		ep->weight = weights == NULL ? 0 : weights[i];
	}
	w->r = host_route_new(&w->wire, w->set, w->options);
	w->lane->now_ms = w->r->ep[0]->born_ds * 100LL + 100000;
}

static void
end(struct world *w)
{
	struct route_options *o = host_route_opts(w->r);

	upstream_free_all(w->lane);
	lane_free(w->lane);
	if (route_options_drop(w->options, o))
		route_options_unref(o);
	host_route_free(w->r);
	host_endpoint_set_free(w->set);
	map_free(w->options);
	wire_route_fini(&w->wire);
}

static struct upstream_pool *
pool(struct world *w, int i)
{
	return upstream_pool_of(w->lane, w->r->ep[i]);
}

static int
pick(struct world *w)
{
	struct upstream_pool *p = balance_pick(w->lane, w->r, NULL, 0);

	for (int i = 0; i < w->r->n; i++) {
		if (p->ep == w->r->ep[i])
			return i;
	}
	fail();
	return -1;
}

/* Requests one after the other. */
static void
pick_many(struct world *w, int n)
{
	memset(w->got, 0, sizeof w->got);
	for (int i = 0; i < n; i++) {
		int at = pick(w);

		w->got[at]++;
		upstream_pool_take(pool(w, at));
		upstream_pool_release(pool(w, at));
	}
}

static void
fail_times(struct world *w, int i, int n)
{
	for (int k = 0; k < n; k++) {
		upstream_pool_take(pool(w, i));
		balance_failed(pool(w, i), w->r);
		upstream_pool_release(pool(w, i));
	}
}

static void
answer_times(struct world *w, int i, int status, int n)
{
	for (int k = 0; k < n; k++) {
		upstream_pool_take(pool(w, i));
		balance_answered(pool(w, i), w->r, status);
		upstream_pool_release(pool(w, i));
	}
}

static void
one_after_the_other_they_share_alike(void **state)
{
	const int n[] = { 2, 3, 4, 5, MOST };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(n); i++) {
		struct world w;

		start(&w, n[i], NULL, NULL);
		pick_many(&w, PICKS);
		for (int k = 0; k < n[i]; k++) {
			assert_in_range(w.got[k], PICKS / n[i] * 8 / 10, PICKS / n[i] * 12 / 10);
		}
		end(&w);
	}
}

/* Of few, all are looked at: counts differ by one at most. Of many, two choices keep them close. */
static void
the_one_with_less_to_do_is_taken(void **state)
{
	const int n[] = { 2, 4, MOST };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(n); i++) {
		struct world w;
		uint32_t most = 0, least = UINT32_MAX;

		start(&w, n[i], NULL, NULL);
		for (int k = 0; k < 50 * n[i]; k++)
			upstream_pool_take(pool(&w, pick(&w)));
		for (int k = 0; k < n[i]; k++) {
			uint32_t active = pool(&w, k)->active;

			most = active > most ? active : most;
			least = active < least ? active : least;
			while (pool(&w, k)->active > 0)
				upstream_pool_release(pool(&w, k));
		}
		assert_true(most - least <= (n[i] == MOST ? 6 : 1));
		end(&w);
	}
}

static void
weights_are_shares(void **state)
{
	const int weights[] = { 900, 95, 5 };
	struct world w;

	(void)state;
	start(&w, 3, weights, NULL);
	pick_many(&w, 10 * PICKS);
	assert_in_range(w.got[0], 88000, 92000);
	assert_in_range(w.got[1], 9000, 10000);
	assert_in_range(w.got[2], 350, 650);
	/* One that has more than its share to do is spared, though its weight is the largest. */
	for (int k = 0; k < 20; k++)
		upstream_pool_take(pool(&w, 0));
	pick_many(&w, PICKS);
	assert_true(w.got[1] > 1200);
	for (int k = 0; k < 20; k++)
		upstream_pool_release(pool(&w, 0));
	end(&w);
}

static void
a_new_one_gets_its_share_by_and_by(void **state)
{
	struct world w;

	(void)state;
	start(&w, 2, NULL, "{\"slow_start_s\":20}");
	w.r->ep[1]->born_ds = (uint32_t)(w.lane->now_ms / 100);
	pick_many(&w, PICKS);
	assert_in_range(w.got[1], 800, 1020); /* 0.1 of 1.1 */
	w.lane->now_ms += 10000;
	pick_many(&w, PICKS);
	assert_in_range(w.got[1], 3100, 3560); /* 0.5 of 1.5 */
	w.lane->now_ms += 10000;
	pick_many(&w, PICKS);
	assert_in_range(w.got[1], 4800, 5200);
	end(&w);
	/* The first ones of a route are all new. */
	start(&w, 2, NULL, "{\"slow_start_s\":20}");
	w.lane->now_ms -= 100000;
	pick_many(&w, PICKS);
	assert_in_range(w.got[1], 4800, 5200);
	end(&w);
}

static void
one_that_refuses_is_left_alone(void **state)
{
	struct world w;
	int ms = OUTLIER_REFUSED_MS;

	(void)state;
	start(&w, 3, NULL, NULL);
	for (int k = 0; k < 8; k++) {
		upstream_pool_failed(pool(&w, 1));
		w.lane->now_ms += ms - 1;
		pick_many(&w, 100);
		assert_int_equal(w.got[1], 0);
		w.lane->now_ms += 1;
		pick_many(&w, 100); /* one goes to see */
		assert_int_equal(w.got[1], 1);
		ms = ms < 8000 ? 2 * ms : ms;
	}
	outlier_connected(&pool(&w, 1)->health, w.lane->now_ms);
	pick_many(&w, 300);
	assert_in_range(w.got[1], 60, 140);
	end(&w);
}

static void
one_that_fails_is_ejected_and_readmitted(void **state)
{
	struct world w;
	int ms = OUTLIER_EJECTED_MS;

	(void)state;
	start(&w, 3, NULL, NULL);
	fail_times(&w, 2, OUTLIER_ROW - 1);
	answer_times(&w, 2, 200, 1); /* in a row only */
	fail_times(&w, 2, OUTLIER_ROW - 1);
	assert_true(balance_is_in(w.lane, w.r->ep[2]));
	fail_times(&w, 2, 1);
	for (int k = 0; k < 7; k++) {
		answer_times(&w, 2, 200, 3); /* of requests that went there before */
		w.lane->now_ms += ms - 1;
		pick_many(&w, 100);
		assert_int_equal(w.got[2], 0);
		w.lane->now_ms += 1;
		pick_many(&w, 100);
		assert_int_equal(w.got[2], 1);
		fail_times(&w, 2, 1);
		ms = 2 * ms < OUTLIER_EJECTED_MAX_MS ? 2 * ms : OUTLIER_EJECTED_MAX_MS;
	}
	w.lane->now_ms += ms;
	pick_many(&w, 100);
	answer_times(&w, 2, 404, 1);
	pick_many(&w, 300);
	assert_in_range(w.got[2], 60, 140);
	/* Well for long: it begins anew. */
	w.lane->now_ms += OUTLIER_EJECTED_MAX_MS + 1;
	fail_times(&w, 2, OUTLIER_ROW);
	assert_false(balance_is_in(w.lane, w.r->ep[2]));
	w.lane->now_ms += OUTLIER_EJECTED_MS;
	assert_true(balance_is_in(w.lane, w.r->ep[2]));
	end(&w);
}

static void
half_of_them_stay(void **state)
{
	const int n[] = { 1, 2, 3, 4, 5 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(n); i++) {
		struct world w;
		int in = 0;

		start(&w, n[i], NULL, NULL);
		for (int k = 0; k < n[i]; k++)
			fail_times(&w, k, 2 * OUTLIER_ROW);
		for (int k = 0; k < n[i]; k++)
			in += balance_is_in(w.lane, w.r->ep[k]);
		assert_int_equal(in, n[i] - n[i] / 2);
		/* Those that refuse do so one and all; then it does not matter. */
		for (int k = 0; k < n[i]; k++)
			upstream_pool_failed(pool(&w, k));
		pick_many(&w, 100 * n[i]);
		for (int k = 0; k < n[i]; k++)
			assert_in_range(w.got[k], 50, 100 * n[i]);
		end(&w);
	}
}

static void
errors_count_beside_the_others(void **state)
{
	struct world w;

	(void)state;
	start(&w, 3, NULL, NULL);
	for (int k = 0; k < 3; k++) /* a page that fails everywhere ejects nobody */
		answer_times(&w, k, 500, 100);
	for (int k = 0; k < 3; k++)
		assert_true(balance_is_in(w.lane, w.r->ep[k]));
	w.lane->now_ms += OUTLIER_WINDOW_MS + 1;
	answer_times(&w, 0, 200, 100);
	answer_times(&w, 2, 200, 100);
	answer_times(&w, 1, 500, OUTLIER_WINDOW_MIN - 1); /* too few to tell */
	assert_true(balance_is_in(w.lane, w.r->ep[1]));
	answer_times(&w, 1, 500, 1);
	assert_false(balance_is_in(w.lane, w.r->ep[1]));
	end(&w);
}

static void
what_was_tried_is_not_tried_again(void **state)
{
	struct world w;
	struct host_endpoint *tried[MOST];

	(void)state;
	start(&w, 6, NULL, NULL);
	for (int k = 0; k < 6; k++) {
		struct upstream_pool *p = balance_pick(w.lane, w.r, tried, (size_t)k);

		for (int i = 0; i < k; i++)
			assert_ptr_not_equal(p->ep, tried[i]);
		tried[k] = p->ep;
	}
	assert_null(balance_pick(w.lane, w.r, tried, 6));
	end(&w);
}

static int
take_all(struct retry_budget *b, int64_t requests, int64_t now)
{
	int n = 0;

	for (; retry_budget_take(b, requests, RETRY_BUDGET_PERCENT, now); n++)
		requests = 0;
	return n;
}

static void
tries_are_a_share_of_the_requests(void **state)
{
	struct retry_budget b;
	int64_t now = 5000;
	int n = 0;

	(void)state;
	retry_budget_init(&b, now);
	assert_int_equal(take_all(&b, 0, now), 30); /* for who has no traffic */
	assert_int_equal(take_all(&b, 1000, now), 200);
	assert_int_equal(take_all(&b, 0, now), 0);
	now += 1000;
	assert_int_equal(take_all(&b, 0, now), RETRY_BUDGET_MIN);
	/* Of those of a long time only the last ten seconds count, and all fades. */
	now += 10 * RETRY_BUDGET_MS;
	assert_int_equal(take_all(&b, 10000, now), 230);
	assert_true(retry_budget_take(&b, 1000000, RETRY_BUDGET_PERCENT, now));
	now += 5 * RETRY_BUDGET_MS;
	assert_int_equal(take_all(&b, 0, now), 30);
	for (int i = 0; i < 1000; i++) { /* all fail, 100 requests a second */
		now += 10;
		n += retry_budget_take(&b, 1, RETRY_BUDGET_PERCENT, now);
	}
	assert_in_range(n, 200, 231);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_after_the_other_they_share_alike),
		cmocka_unit_test(the_one_with_less_to_do_is_taken),
		cmocka_unit_test(weights_are_shares),
		cmocka_unit_test(a_new_one_gets_its_share_by_and_by),
		cmocka_unit_test(one_that_refuses_is_left_alone),
		cmocka_unit_test(one_that_fails_is_ejected_and_readmitted),
		cmocka_unit_test(half_of_them_stay),
		cmocka_unit_test(errors_count_beside_the_others),
		cmocka_unit_test(what_was_tried_is_not_tried_again),
		cmocka_unit_test(tries_are_a_share_of_the_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
