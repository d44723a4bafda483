/* Commands of a push: which are built, stored, refused; request bodies that are compressed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "broker/broker.h"
#include "broker/push_gunzip.h"
#include "broker/push_refs.h"
#include "broker/record.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/store/store_key.h"
#include "test/lib/store_fixture.h"

#define ZERO "0000000000000000000000000000000000000000"
#define ONE "1111111111111111111111111111111111111111"
#define TWO "2222222222222222222222222222222222222222"

struct world {
	struct store_fixture f;
	struct broker b;
};

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);

	store_fixture_init(&w->f);
	w->b.store = w->f.store;
	store_fixture_put(&w->f, "/deployment/a/own", "{\"id\":\"own\",\"app_id\":\"a\"}");
	store_fixture_put(
	    &w->f, "/deployment/a/tmpl", "{\"id\":\"tmpl\",\"app_id\":\"a\",\"is_template\":true}");
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	store_fixture_fini(&w->f);
	free(w);
	return 0;
}

struct judge_case {
	const char *branch, *deployment;
	bool by_user, no_auto;
	const char *text;
	const char *want; /* b: built, s: stored, r: refused, in order */
};
static const struct judge_case judge_cases[] = {
	{ "master", "", false, false, ZERO " " ONE " refs/heads/master\n", "b" },
	{ "master", "", false, false, ZERO " " ONE " refs/heads/main\n", "b" },
	{ "master", "tmpl", false, false, ZERO " " ONE " refs/heads/main\n", "b" },
	{ "master", "own", false, false, ZERO " " ONE " refs/heads/main\n", "s" },
	{ "master", "", true, false, ZERO " " ONE " refs/heads/main\n", "s" },
	{ "master", "", false, true, ZERO " " ONE " refs/heads/master\n", "s" },
	{ "master", "", false, false,
	    ZERO " " ONE " refs/heads/main\n" ZERO " " ONE " refs/heads/master\n", "sb" },
	{ "prod", "", false, false,
	    ZERO " " ONE " refs/heads/main\n" ZERO " " ONE " refs/heads/master\n", "bs" },
	{ "prod", "", true, false, ZERO " " ONE " refs/heads/prod\n", "b" },
	{ "master", "", false, false, ZERO " " ONE " refs/heads/dev\n", "s" },
	{ "master", "own", false, false, ONE " " ZERO " refs/heads/master\n", "r" },
	{ "master", "own", false, false, ONE " " ZERO " refs/heads/dev\n", "s" },
	{ "master", "own", false, false, ZERO " " ONE " refs/tags/master\n", "s" },
	{ "master", "own", false, false, ZERO " " ONE " refs/notes/x\n", "r" },
	{ "master", "own", false, false, ZERO " " ONE " HEAD\n", "r" },
	{ NULL, "", false, false, ZERO " " ONE " refs/heads/master\n", "b" },
};

static void
judges(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(judge_cases); i++) {
		const struct judge_case *c = &judge_cases[i];
		AUTO_FINI(push_refs_fini) struct push_refs r = { 0 };
		struct wire_app app = { .id = "a",
			.deployment_branch = (char *)c->branch,
			.branch_by_user = c->by_user,
			.auto_deploy = !c->no_auto,
			.status = { .deployment = (char *)c->deployment } };
		const struct push_command *built;
		char got[8] = { 0 };
		struct err e = { 0 };

		assert_int_equal(push_refs_parse(&r, str_of(c->text), &e), 0);
		built = push_refs_judge(&w->b, &app, &r);
		for (size_t k = 0; k < r.n; k++)
			got[k] = &r.v[k] == built ? 'b' : r.v[k].is_stored ? 's' : 'r';
		if (strcmp(got, c->want) != 0)
			fail_msg("case %zu: %s, not %s", i, got, c->want);
	}
}

static void
parses(void **state)
{
	static const char *const bad[] = { "x\n", ONE "\n", ONE " " TWO "\n", ONE " " TWO " \n",
		"1 2 refs/heads/x\n", ONE "  " TWO " refs/heads/x\n" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_FINI(push_refs_fini) struct push_refs r = { 0 };
		struct err e = { 0 };

		assert_int_equal(push_refs_parse(&r, str_of(bad[i]), &e), -1);
		assert_int_equal(e.code, ERR_INVALID);
	}
}

/* Pushes text to app "it/x"; the refs afterwards as "NAME=O " with O the id's first digit. */
static char *
move(struct world *w, const char *text, int want, char *out_refusals)
{
	AUTO_FINI(push_refs_fini) struct push_refs r = { 0 };
	AUTO_FINI(wire_refs_fini) struct wire_refs refs = { 0 };
	struct store_txn *t = store_txn_new();
	struct buf b = { 0 };
	struct err e = { 0 };
	int rc;

	assert_int_equal(push_refs_parse(&r, str_of(text), &e), 0);
	for (size_t i = 0; i < r.n; i++)
		r.v[i].is_stored = true;
	rc = push_refs_fill(&w->b, "a", &r, t, &e);
	assert_int_equal(rc, want);
	if (rc == 1)
		store_fixture_commit(&w->f, t, NULL);
	else
		store_txn_free(t);
	for (size_t i = 0; i < r.n; i++)
		out_refusals[i] = r.v[i].reason == NULL ? '.' : 'r';
	out_refusals[r.n] = '\0';
	(void)!record_get(w->f.store, store_key_refs("a"), &wire_refs_codec, &refs, NULL, &e);
	buf_adds(&b, "");
	for (size_t i = 0; i < refs.refs.n; i++)
		buf_addf(&b, "%s=%c ", refs.refs.v[i].name + 5, refs.refs.v[i].oid[0]);
	return buf_steal(&b);
}

struct move_case {
	const char *text;
	int rc;
	const char *refusals, *refs;
};

static void
moves(void **state)
{
	static const struct move_case cases[] = {
		{ ZERO " " ONE " refs/heads/a\n", 1, ".", "heads/a=1 " },
		{ ZERO " " ONE " refs/heads/a\n", 0, "r", "heads/a=1 " },
		{ TWO " " ONE " refs/heads/a\n", 0, "r", "heads/a=1 " },
		{ ONE " " TWO " refs/heads/a\n" ZERO " " ONE " refs/tags/t\n", 1, "..",
		    "heads/a=2 tags/t=1 " },
		{ ONE " " TWO " refs/heads/a\n" ZERO " " TWO " refs/heads/b\n", 1, "r.",
		    "heads/a=2 tags/t=1 heads/b=2 " },
		{ TWO " " ZERO " refs/heads/a\n", 1, ".", "heads/b=2 tags/t=1 " },
		{ TWO " " ZERO " refs/heads/a\n", 0, "r", "heads/b=2 tags/t=1 " },
	};
	struct world *w = *state;
	AUTO_FINI(wire_app_fini) struct wire_app app = { 0 };
	struct err e = { 0 };

	store_fixture_put(&w->f, "/app-id/a", "it/x");
	store_fixture_put(
	    &w->f, "/app/it/x", "{\"id\":\"a\",\"name\":\"x\",\"domain\":\"it\",\"owner\":\"o\"}");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char refusals[8];
		AUTO(free) char *refs = move(w, cases[i].text, cases[i].rc, refusals);

		assert_string_equal(refusals, cases[i].refusals);
		assert_string_equal(refs, cases[i].refs);
	}
	assert_int_equal(record_app_by_id(w->f.store, "a", &app, NULL, &e), 0);
	assert_true(app.pushed);
}

static void
collect(const char *p, size_t n, void *arg)
{
	buf_add(arg, p, n);
}

static void
gzip(const void *p, size_t n, struct buf *out)
{
	z_stream z = { 0 };
	char piece[4096];
	int rc;

	assert_int_equal(
	    deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)(uintptr_t)p;
	z.avail_in = (uInt)n;
	do {
		z.next_out = (Bytef *)piece;
		z.avail_out = sizeof piece;
		rc = deflate(&z, Z_FINISH);
		buf_add(out, piece, sizeof piece - z.avail_out);
	} while (rc == Z_OK);
	assert_int_equal(deflateEnd(&z), Z_OK);
}

static int
gunzip(const struct buf *packed, size_t piece, int64_t max, struct buf *out, struct err *e)
{
	struct push_gunzip *g = push_gunzip_new();
	int rc = 0;

	for (size_t at = 0; at < packed->n && rc == 0; at += piece) {
		size_t n = packed->n - at < piece ? packed->n - at : piece;

		rc = push_gunzip_feed(g, packed->p + at, n, max, collect, out, e);
	}
	push_gunzip_free(g);
	return rc;
}

static void
unpacks(void **state)
{
	AUTO_FINI(buf_fini) struct buf plain = { 0 }, packed = { 0 };

	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_addf(&plain, "%d ", i * 7);
	gzip(plain.p, plain.n, &packed);
	for (size_t piece = 1; piece < 100000; piece *= 7) {
		AUTO_FINI(buf_fini) struct buf out = { 0 };
		struct err e = { 0 };

		assert_int_equal(gunzip(&packed, piece, 1 << 30, &out, &e), 0);
		assert_int_equal(out.n, plain.n);
		assert_memory_equal(out.p, plain.p, plain.n);
	}
}

static void
bombs_and_rubbish(void **state)
{
	AUTO_FINI(buf_fini) struct buf zeros = { 0 }, packed = { 0 }, out = { 0 }, rubbish = { 0 };
	struct err e = { 0 };

	(void)state;
	for (int i = 0; i < 1 << 18; i++)
		buf_add(&zeros, "\0\0\0\0", 4);
	gzip(zeros.p, zeros.n, &packed);
	assert_int_equal(gunzip(&packed, 100, 1 << 16, &out, &e), -1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_true(out.n <= 1 << 16);
	e = (struct err){ 0 };
	buf_adds(&packed, "more");
	assert_int_equal(gunzip(&packed, 1 << 20, 1 << 30, &out, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
	e = (struct err){ 0 };
	buf_adds(&rubbish, "this is not gzip at all");
	assert_int_equal(gunzip(&rubbish, 5, 1 << 30, &out, &e), -1);
	assert_int_equal(e.code, ERR_INVALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(judges, setup, teardown),
		cmocka_unit_test(parses),
		cmocka_unit_test_setup_teardown(moves, setup, teardown),
		cmocka_unit_test(unpacks),
		cmocka_unit_test(bombs_and_rubbish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
