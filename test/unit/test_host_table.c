#include "router/host_table.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/mem.h"

enum { HOSTS = 300, STEPS = 20000, LANES = 3 };

static struct wire_route
route_of(const char *host, int first, int n)
{
	struct wire_route r = {
		.host = xstrdup(host), .app = xstrdup("app"), .state = WIRE_ROUTE_LIVE
	};

	for (int i = 0; i < n; i++) {
		struct wire_endpoint *ep = codec_list_add(&wire_endpoint_codec, &r.endpoints);

		ep->id = xasprintf("i%d", first + i);
		ep->address = xstrdup(i % 2 == 0 ? "10.0.0.1" : "fd00::1");
		ep->port = 1 + first + i;
	}
	return r;
}

static void
put(struct host_table *t, const char *host, int first, int n)
{
	AUTO_FINI(wire_route_fini) struct wire_route r = route_of(host, first, n);
	struct err e = { 0 };

	assert_int_equal(host_table_put(t, &r, &e), 0);
}

static void
free_gone(struct host_publication *p)
{
	while (p->gone != NULL) {
		struct host_gone *g = p->gone;

		p->gone = g->next;
		host_gone_free(g);
	}
}

/* As if all lanes had applied it. */
static const struct host_root *
publish(struct host_table *t, const struct host_root *before)
{
	struct host_publication *p = host_table_publish(t);
	const struct host_root *root = before;

	if (p == NULL)
		return root;
	root = p->root;
	free_gone(p);
	host_publication_free(p);
	return root;
}

static const char *
found(const struct host_root *root, const char *host)
{
	char key[HOST_NAME_MAX + 1];
	size_t n = host_key(host, strlen(host), key);
	const struct host_route *r = n == 0 ? NULL : host_find(root, key, n);

	return r == NULL ? "" : host_route_host(r);
}

static void
keys_are_normal(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "example.com", "example.com" },
		{ "EXAMPLE.com:8080", "example.com" },
		{ "example.com.", "example.com" },
		{ "example.com.:1", "example.com" },
		{ "a_b-c.1", "a_b-c.1" },
		{ "[::1]:80", "[::1]" },
		{ "[::1", "" },
		{ "a b", "" },
		{ "a/b", "" },
		{ "a\xc3\xa4", "" },
		{ "", "" },
		{ ":80", "" },
	};
	char key[HOST_NAME_MAX + 1], longest[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t n = host_key(cases[i].in, strlen(cases[i].in), key);

		assert_int_equal(n, strlen(cases[i].out));
		if (n != 0)
			assert_string_equal(key, cases[i].out);
	}
	memset(longest, 'a', sizeof longest);
	assert_int_equal(host_key(longest, HOST_NAME_MAX, key), HOST_NAME_MAX);
	assert_int_equal(host_key(longest, HOST_NAME_MAX + 1, key), 0);
}

static void
exact_goes_before_wildcard(void **state)
{
	struct host_table *t = host_table_new(LANES);
	const struct host_root *root;

	(void)state;
	put(t, "*.example.com", 0, 1);
	put(t, "a.example.com", 1, 1);
	put(t, "*.b.example.com", 2, 1);
	root = publish(t, NULL);
	assert_string_equal(found(root, "a.example.com"), "a.example.com");
	assert_string_equal(found(root, "c.example.com"), "*.example.com");
	assert_string_equal(found(root, "x.y.example.com"), "*.example.com");
	assert_string_equal(found(root, "x.b.example.com"), "*.b.example.com");
	assert_string_equal(found(root, "example.com"), "");
	assert_string_equal(found(root, "xexample.com"), "");
	assert_string_equal(found(root, "a.b.c.d.e.f.g.h.i.j.k.l.m"), "");
	assert_true(host_table_delete(t, "*.example.com"));
	assert_true(host_table_delete(t, "*.b.example.com"));
	root = publish(t, root);
	assert_string_equal(found(root, "c.example.com"), "");
	assert_false(host_table_delete(t, "*.example.com"));
	host_table_free(t);
}

static void
nothing_shows_before_publication(void **state)
{
	struct host_table *t = host_table_new(LANES);
	const struct host_root *root;
	const struct host_route *before;
	struct host_publication *p;
	char text[HOST_ENDPOINT_TEXT];

	(void)state;
	put(t, "a.test", 0, 1);
	root = publish(t, NULL);
	put(t, "a.test", 5, 2);
	put(t, "b.test", 5, 2);
	assert_string_equal(found(root, "b.test"), "");
	before = host_find(root, "a.test", 6);
	assert_int_equal(before->n, 1);
	p = host_table_publish(t);
	/* what was found holds until all have left it */
	assert_int_equal(before->n, 1);
	assert_string_equal(host_endpoint_id(before->ep[0]), "i0");
	assert_int_equal(host_find(p->root, "a.test", 6)->n, 2);
	assert_ptr_equal(
	    host_find(p->root, "a.test", 6)->ep[0], host_find(p->root, "b.test", 6)->ep[0]);
	assert_non_null(p->gone);
	assert_string_equal(host_endpoint_text(p->gone->ep, text), "10.0.0.1:1");
	assert_null(p->gone->next);
	free_gone(p);
	host_publication_free(p);
	assert_null(host_table_publish(t));
	put(t, "a.test", 5, 2); /* the same again changes nothing */
	assert_null(host_table_publish(t));
	host_table_free(t);
}

static void
an_endpoint_that_comes_back_is_new(void **state)
{
	struct host_table *t = host_table_new(LANES);
	const struct host_root *root;
	const struct host_endpoint *before;
	struct host_publication *p;

	(void)state;
	put(t, "a.test", 0, 1);
	root = publish(t, NULL);
	before = host_find(root, "a.test", 6)->ep[0];
	put(t, "a.test", 1, 1);
	put(t, "a.test", 0, 1);
	p = host_table_publish(t);
	assert_non_null(p->gone);
	assert_true(host_table_has_instance(t, host_find(p->root, "a.test", 6)->ep[0]));
	assert_ptr_not_equal(before, host_find(p->root, "a.test", 6)->ep[0]);
	free_gone(p);
	host_publication_free(p);
	host_table_free(t);
}

static void
bad_routes_are_refused(void **state)
{
	static const char *const hosts[] = { "", "A.test", "a..b/", "*", "a.*.test", "a:80", "*.",
		"a " };
	struct host_table *t = host_table_new(LANES);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		AUTO_FINI(wire_route_fini) struct wire_route r = route_of(hosts[i], 0, 1);
		struct err e = { 0 };

		assert_int_equal(host_table_put(t, &r, &e), -1);
		assert_string_equal(e.field, "host");
	}
	for (int port = 0; port <= 65536; port += 65536) {
		AUTO_FINI(wire_route_fini) struct wire_route r = route_of("a.test", 0, 2);
		struct err e = { 0 };

		r.endpoints.v[1].port = port;
		assert_int_equal(host_table_put(t, &r, &e), -1);
		assert_string_equal(e.field, "endpoints[1].port");
	}
	assert_int_equal(host_table_count(t), 0);
	host_table_free(t);
}

static void
an_empty_table_is_published_once(void **state)
{
	struct host_table *t = host_table_new(LANES);
	const struct host_root *root = publish(t, NULL);

	(void)state;
	assert_non_null(root);
	assert_string_equal(found(root, "a.test"), "");
	assert_null(host_table_publish(t));
	host_table_free(t);
}

/* Random changes against an array. */
static void
it_is_a_map(void **state)
{
	struct host_table *t = host_table_new(LANES);
	const struct host_root *root = NULL;
	int model[HOSTS], published[HOSTS]; /* first instance; -1: absent */
	size_t n = 0;

	(void)state;
	srand(1);
	memset(model, -1, sizeof model);
	memset(published, -1, sizeof published);
	put(t, "always.test", 0, 1);
	root = publish(t, root);
	for (int step = 0; step < STEPS; step++) {
		int k = rand() % HOSTS, what = rand() % 10;
		char host[32];

		(void)snprintf(host, sizeof host, "h%d.test", k);
		if (what < 5) {
			n += model[k] < 0;
			model[k] = rand() % 50;
			put(t, host, model[k], 1 + model[k] % 3);
		} else if (what < 9) {
			assert_int_equal(host_table_delete(t, host), model[k] >= 0);
			n -= model[k] >= 0;
			model[k] = -1;
		} else {
			root = publish(t, root);
			memcpy(published, model, sizeof model);
		}
		assert_int_equal(host_table_count(t), n + 1);
		k = rand() % HOSTS;
		(void)snprintf(host, sizeof host, "h%d.test", k);
		assert_string_equal(found(root, host), published[k] < 0 ? "" : host);
		if (published[k] >= 0)
			assert_int_equal(host_find(root, host, strlen(host))->ep[0]->port,
			    htons((uint16_t)(1 + published[k])));
	}
	host_table_free(t);
}

/* Paths of a host with routes of their own. */
static void
test_paths(void **state)
{
	static const struct {
		const char *target, *host; /* NULL: none of them */
	} cases[] = {
		{ "/", NULL },
		{ "/admin", "a.example/admin" },
		{ "/admin/", "a.example/admin" },
		{ "/admin?x=1", "a.example/admin" },
		{ "/administrator", NULL },
		{ "/admin/deep/x", "a.example/admin/deep" },
		{ "/adm", NULL },
	};
	struct host_table *t = host_table_new(1);
	AUTO_FINI(wire_route_fini) struct wire_route r = route_of("a.example", 0, 1);
	AUTO_FINI(wire_route_fini) struct wire_route bad = route_of("a.example/../x y", 0, 1);
	const struct host_root *root;
	const struct host_route *host;
	struct err e = { 0 };

	(void)state;
	str_list_add(&r.paths, "/admin/deep");
	str_list_add(&r.paths, "/admin");
	assert_int_equal(host_table_put(t, &r, &e), 0);
	assert_int_equal(host_table_put(t, &bad, &e), -1);
	put(t, "a.example/admin", 1, 1);
	put(t, "a.example/admin/deep", 2, 1);
	root = publish(t, NULL);
	host = host_find(root, "a.example", strlen("a.example"));
	assert_non_null(host);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct host_route *got =
		    host_find_path(root, host, cases[i].target, strlen(cases[i].target));

		if (cases[i].host == NULL)
			assert_null(got);
		else
			assert_string_equal(host_route_host(got), cases[i].host);
	}
	host_table_free(t);
}

/* Lanes, as far as a table knows them: each looks up all the time, and says when it has ended a
 * look. */
struct reader {
	pthread_t thread;
	const struct host_root *root;
	atomic_uint looks;
	atomic_bool ends;
	unsigned found;
};

static void *
look_up(void *arg)
{
	struct reader *me = arg;

	for (unsigned i = 0; !atomic_load(&me->ends); i++) {
		char host[32];
		const struct host_route *r;

		(void)snprintf(host, sizeof host, "h%u.test", i % (4 * HOSTS));
		r = host_find(me->root, host, strlen(host));
		if (r != NULL && strcmp(host_route_host(r), host) != 0)
			abort();
		if (r != NULL && r->ep[0]->port != 0)
			me->found++;
		r = host_find(me->root, "always.test", 11);
		if (r == NULL || r->n != 1) /* it is there at any time */
			abort();
		(void)host_endpoint_use(r->ep[0], 0);
		atomic_fetch_add(&me->looks, 1);
	}
	return NULL;
}

/* All have ended what they were at. */
static void
wait_for_readers(struct reader *all, int n)
{
	for (int i = 0; i < n; i++) {
		unsigned seen = atomic_load(&all[i].looks);

		while (atomic_load(&all[i].looks) - seen < 2)
			sched_yield();
	}
}

static void
it_changes_under_readers(void **state)
{
	struct host_table *t = host_table_new(LANES);
	struct reader all[2] = { 0 };

	(void)state;
	srand(2);
	put(t, "always.test", 0, 1);
	for (int i = 0; i < 2; i++) {
		all[i].root = i == 0 ? publish(t, NULL) : all[0].root;
		assert_int_equal(pthread_create(&all[i].thread, NULL, look_up, &all[i]), 0);
	}
	for (int step = 0; step < 400; step++) {
		struct host_publication *p;

		for (int i = 0; i < 40; i++) {
			int k = rand() % (4 * HOSTS);
			char host[32];

			(void)snprintf(host, sizeof host, "h%d.test", k);
			/* it grows and shrinks, so that shards are split and become one */
			if (step % 100 < 60)
				put(t, host, rand() % 50, 1 + k % 3);
			else
				(void)host_table_delete(t, host);
		}
		if (step % 3 == 0) {
			host_table_show(t);
			continue;
		}
		p = host_table_publish(t);
		wait_for_readers(all, 2);
		if (p != NULL)
			free_gone(p);
		host_publication_free(p);
	}
	for (int i = 0; i < 2; i++) {
		atomic_store(&all[i].ends, true);
		pthread_join(all[i].thread, NULL);
		assert_int_not_equal(all[i].found, 0);
	}
	host_table_free(t);
}

/* A table of many: no shard is large, all are found, and a walk sees each. */
static void
count_route(const struct host_route *r, void *arg)
{
	(void)r;
	++*(size_t *)arg;
}

static void
a_large_table_is_walked_in_small_steps(void **state)
{
	enum { MANY = 20000, SHARD = 64 };
	struct host_table *t = host_table_new(1);
	const struct host_root *root;
	uint64_t at = HOST_ROOT_FIRST;
	size_t n = 0;
	char host[32];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(host, sizeof host, "h%d.test", i);
		put(t, host, i % 1000, 1);
	}
	root = publish(t, NULL);
	do {
		size_t before = n;

		at = host_table_step(t, at, count_route, &n);
		assert_true(n - before <= SHARD);
	} while (at != HOST_ROOT_FIRST);
	assert_int_equal(n, MANY);
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(host, sizeof host, "h%d.test", i);
		assert_string_equal(found(root, host), host);
		if (i % 100 != 0)
			assert_true(host_table_delete(t, host));
	}
	root = publish(t, root);
	assert_string_equal(found(root, "h19900.test"), "h19900.test");
	assert_string_equal(found(root, "h19901.test"), "");
	host_table_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(keys_are_normal),
		cmocka_unit_test(exact_goes_before_wildcard),
		cmocka_unit_test(nothing_shows_before_publication),
		cmocka_unit_test(an_endpoint_that_comes_back_is_new),
		cmocka_unit_test(bad_routes_are_refused),
		cmocka_unit_test(an_empty_table_is_published_once),
		cmocka_unit_test(it_is_a_map),
		cmocka_unit_test(it_changes_under_readers),
		cmocka_unit_test(a_large_table_is_walked_in_small_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
