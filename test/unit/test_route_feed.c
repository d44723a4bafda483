#include "router/route_feed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "router/cert_table.h"
#include "router/host_table.h"
#include "router/route_file.h"
#include "router/route_options.h"
#include "router/route_saved.h"
#include "router/route_sum.h"

#define RESET "{\"type\":\"reset\",\"cluster\":\"c\",\"epoch\":1}\n"
#define PUT(host)                                                                                  \
	"{\"type\":\"put\",\"kind\":\"route\",\"key\":\"" host "\",\"value\":{\"host\":\"" host    \
	"\",\"app_id\":\"1\",\"app\":\"a\",\"domain\":\"d\",\"state\":\"live\",\"endpoints\":[{"   \
	"\"id\":\"i1\",\"address\":\"10.0.0.1\",\"port\":80},{\"id\":\"i2\",\"address\":"          \
	"\"fd00::2\",\"port\":81}],\"timeout_s\":7}}\n"
#define DELETE(host) "{\"type\":\"delete\",\"kind\":\"route\",\"key\":\"" host "\"}\n"
#define SYNC(rev) "{\"type\":\"sync\",\"revision\":" #rev "}\n"

struct fixture {
	struct host_table *table;
	struct route_feed feed;
};

static void
setup(struct fixture *f)
{
	*f = (struct fixture){ .table = host_table_new(1) };
	f->feed.table = f->table;
	route_feed_begin(&f->feed);
}

static void
fixture_fini(struct fixture *f)
{
	route_feed_fini(&f->feed);
	host_table_free(f->table);
}

static bool
has(const struct fixture *f, const char *host)
{
	return host_table_get(f->table, host, strlen(host)) != NULL;
}

static enum route_feed_step
line(struct fixture *f, const char *text, struct err *e)
{
	*e = (struct err){ 0 };
	return route_feed_line(&f->feed, (struct str){ text, strlen(text) - 1 }, e);
}

static void
a_snapshot_replaces_the_table(void **state)
{
	AUTO_FINI(fixture_fini) struct fixture f;
	struct err e;

	(void)state;
	setup(&f);
	assert_int_equal(line(&f, RESET, &e), ROUTE_FEED_RESET);
	assert_int_equal(line(&f, PUT("a.test"), &e), ROUTE_FEED_CHANGE);
	assert_int_equal(line(&f, PUT("b.test"), &e), ROUTE_FEED_CHANGE);
	assert_int_equal(line(&f, SYNC(5), &e), ROUTE_FEED_SYNC);
	assert_int_equal(f.feed.revision, 5);
	assert_int_equal(line(&f, DELETE("b.test"), &e), ROUTE_FEED_CHANGE);
	assert_int_equal(line(&f, DELETE("b.test"), &e), ROUTE_FEED_SKIPPED);
	assert_int_equal(line(&f, SYNC(6), &e), ROUTE_FEED_SYNC);
	assert_true(has(&f, "a.test") && !has(&f, "b.test"));
	assert_int_equal(line(&f, RESET, &e), ROUTE_FEED_RESET);
	assert_int_equal(line(&f, PUT("c.test"), &e), ROUTE_FEED_CHANGE);
	assert_true(has(&f, "a.test"));
	assert_int_equal(line(&f, SYNC(9), &e), ROUTE_FEED_SYNC);
	assert_true(!has(&f, "a.test") && has(&f, "c.test"));
}

static void
an_interrupted_snapshot_removes_nothing(void **state)
{
	AUTO_FINI(fixture_fini) struct fixture f;
	struct err e;

	(void)state;
	setup(&f);
	(void)line(&f, RESET, &e);
	(void)line(&f, PUT("a.test"), &e);
	(void)line(&f, SYNC(5), &e);
	(void)line(&f, RESET, &e);
	route_feed_begin(&f.feed); /* the connection broke */
	assert_int_equal(line(&f, SYNC(5), &e), ROUTE_FEED_SYNC);
	assert_true(has(&f, "a.test"));
}

static void
foreign_feeds_are_refused(void **state)
{
	AUTO_FINI(fixture_fini) struct fixture f;
	struct err e;

	(void)state;
	setup(&f);
	assert_int_equal(line(&f, PUT("a.test"), &e), ROUTE_FEED_REFUSED);
	assert_string_equal(e.field, "type");
	(void)line(&f, RESET, &e);
	assert_int_equal(line(&f, "{\"type\":\"reset\",\"cluster\":\"x\",\"epoch\":1}\n", &e),
	    ROUTE_FEED_REFUSED);
	assert_string_equal(e.field, "cluster");
	assert_int_equal(
	    line(&f, "{\"type\":\"sync\",\"cluster\":\"c\",\"revision\":1,\"epoch\":0}\n", &e),
	    ROUTE_FEED_REFUSED);
	assert_string_equal(e.field, "epoch");
	assert_int_equal(
	    line(&f, "{\"type\":\"reset\",\"cluster\":\"c\",\"epoch\":2}\n", &e), ROUTE_FEED_RESET);
	assert_int_equal(f.feed.epoch, 2);
	assert_int_equal(line(&f, "{\"type\":\"what\"}\n", &e), ROUTE_FEED_REFUSED);
	assert_int_equal(line(&f, "[]\n", &e), ROUTE_FEED_REFUSED);
	assert_int_equal(line(&f, "{\"type\":\n", &e), ROUTE_FEED_REFUSED);
}

static void
bad_routes_are_skipped_by_name(void **state)
{
	static const char *const bad[] = {
		"{\"type\":\"put\",\"kind\":\"route\",\"key\":\"a.test\"}\n",
		"{\"type\":\"put\",\"kind\":\"route\",\"key\":\"a.test\",\"value\":{}}\n",
		"{\"type\":\"put\",\"kind\":\"route\",\"key\":\"a.test\",\"value\":3}\n",
		"{\"type\":\"put\",\"kind\":\"route\",\"key\":\"a.test\",\"value\":{\"host\":\"A "
		"b\",\"state\":"
		"\"live\"}}\n",
	};
	AUTO_FINI(fixture_fini) struct fixture f;
	struct err e;

	(void)state;
	setup(&f);
	(void)line(&f, RESET, &e);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(line(&f, bad[i], &e), ROUTE_FEED_SKIPPED);
		assert_int_not_equal(e.code, ERR_NONE);
	}
	assert_int_equal(
	    line(&f, "{\"type\":\"put\",\"kind\":\"gear\",\"key\":\"x\",\"value\":{}}\n", &e),
	    ROUTE_FEED_SKIPPED);
	assert_int_equal(e.code, ERR_NONE);
}

/* Three revisions, each with its sum. */
static void
fill_log(struct buf *b)
{
	static const char *const parts[] = { RESET PUT("a.test") SYNC(5), PUT("b.test") SYNC(6),
		DELETE("a.test") SYNC(7) };
	uint64_t sum = ROUTE_SUM_START;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		size_t from = b->n;

		buf_adds(b, parts[i]);
		route_saved_seal(b, &sum, from);
	}
}

static void
check_replay(const char *p, size_t n, size_t whole)
{
	AUTO_FINI(fixture_fini) struct fixture f;
	struct err e = { 0 };
	size_t used;

	setup(&f);
	used = route_saved_replay(&f.feed, p, n, &e);
	assert_true(used <= n);
	assert_int_equal(e.code, ERR_NONE);
	switch (f.feed.revision) {
	case 0:
		assert_true(used == 0 && !has(&f, "a.test") && !has(&f, "b.test"));
		break;
	case 5:
		assert_true(has(&f, "a.test") && !has(&f, "b.test"));
		break;
	case 6:
		assert_true(has(&f, "a.test") && has(&f, "b.test"));
		break;
	default:
		assert_int_equal(f.feed.revision, 7);
		assert_true(!has(&f, "a.test") && has(&f, "b.test") && used == whole);
	}
}

static void
a_torn_log_is_read_up_to_its_last_sum(void **state)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	(void)state;
	fill_log(&b);
	for (size_t n = 0; n <= b.n; n++)
		check_replay(b.p, n, b.n);
	for (size_t i = 0; i < b.n; i++) { /* a byte that is another */
		b.p[i] ^= 0x11;
		check_replay(b.p, b.n, 0);
		b.p[i] ^= 0x11;
	}
}

static bool
file_has(const char *path, const char *text)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	return file_read(path, 1 << 24, &b, &e) == 0 && strstr(b.p, text) != NULL;
}

static size_t
file_size(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : (size_t)st.st_size;
}

/* Far more changes than routes: the file is made anew while they go on. */
static void
a_log_that_grows_is_packed(void **state)
{
	char dir[] = "/tmp/pinion-saved-XXXXXX";
	AUTO_FINI(fixture_fini) struct fixture f, again;
	struct loop *l = loop_new();
	struct worker *w = worker_new(l, 1);
	struct route_saved *s;
	AUTO(free) char *path = NULL;
	bool never = false;
	size_t noted = 0;
	struct err e = { 0 };

	(void)state;
	setup(&f);
	setup(&again);
	assert_non_null(mkdtemp(dir));
	path = xasprintf("%s/routes.log", dir);
	s = route_saved_new(l, w, dir, &e);
	assert_non_null(s);
	for (int i = 0; i < 4000; i++) {
		AUTO(free)
		char *put =
		    xasprintf("{\"type\":\"put\",\"kind\":\"route\",\"key\":\"h%d.test\","
		              "\"value\":{\"host\":\"h%d.test\",\"app_id\":\"1\",\"app\":\"a\","
		              "\"domain\":\"d\",\"state\":\"live\",\"timeout_s\":%d}}\n",
		        i % 200, i % 200, i);
		AUTO(free) char *sync = xasprintf("{\"type\":\"sync\",\"revision\":%d}\n", i + 1);
		const char *lines[] = { RESET, put };

		for (size_t k = i == 0 ? 0 : 1; k < ARRAY_LEN(lines); k++) {
			(void)line(&f, lines[k], &e);
			route_saved_note(s, (struct str){ lines[k], strlen(lines[k]) - 1 }, k == 0);
			noted += strlen(lines[k]);
		}
		(void)line(&f, sync, &e);
		route_saved_sync(s, &f.feed);
		if (i % 16 == 0)
			(void)loop_run_until(l, &never, 1);
	}
	while (!file_has(path, "\"revision\":4000"))
		(void)loop_run_until(l, &never, 5);
	route_saved_free(s);
	s = route_saved_new(l, w, dir, &e);
	assert_int_equal(route_saved_load(s, &again.feed, &e), 0);
	assert_int_equal(again.feed.revision, 4000);
	assert_true(file_size(path) < noted);
	assert_int_equal(host_table_count(again.table), 200);
	assert_int_equal(host_table_get(again.table, "h199.test", 9)->timeout_s, 3999);
	route_saved_free(s);
	worker_free(w);
	loop_free(l);
	assert_int_equal(file_remove_tree(dir, &e), 0);
}

static void
note(struct fixture *f, struct route_saved *s, const char *text)
{
	struct err e = { 0 };

	(void)line(f, text, &e);
	route_saved_note(
	    s, (struct str){ text, strlen(text) - 1 }, strncmp(text, RESET, strlen(RESET)) == 0);
}

static void
sync_at(struct fixture *f, struct route_saved *s, int revision)
{
	AUTO(free) char *sync = xasprintf("{\"type\":\"sync\",\"revision\":%d}\n", revision);
	struct err e = { 0 };

	(void)line(f, sync, &e);
	route_saved_sync(s, &f->feed);
}

static void
put_cert(struct fixture *f, struct route_saved *s, int i, int version)
{
	AUTO(free)
	char *put = xasprintf(
	    "{\"type\":\"put\",\"kind\":\"cert\",\"key\":\"h%d.test\",\"value\":{\"host\":\"h%d."
	    "test\","
	    "\"chain\":\"-----BEGIN CERTIFICATE-----\\n%d\\n-----END CERTIFICATE-----\\n\","
	    "\"key\":\"of %d\",\"not_after\":%d}}\n",
	    i, i, version, version, version);

	note(f, s, put);
}

static void
sum_of_cert(const struct wire_cert *c, void *arg)
{
	*(int64_t *)arg += c->not_after;
}

static int64_t
sum_of_certs(struct cert_table *t)
{
	int64_t sum = 0;

	cert_table_begin_walk(t);
	while (cert_table_walk(t, 7, sum_of_cert, &sum))
		;
	return sum;
}

/* Certificates are packed some at a time, while they change, go and come. */
static void
a_log_with_certificates_is_packed(void **state)
{
	enum { CERTS = 500, CHANGES = 6000 };
	char dir[] = "/tmp/pinion-saved-XXXXXX";
	AUTO_FINI(fixture_fini) struct fixture f, again;
	struct loop *l = loop_new();
	struct worker *w = worker_new(l, 1);
	struct route_saved *s;
	AUTO(free) char *path = NULL;
	bool never = false;
	struct err e = { 0 };
	size_t largest = 0;

	(void)state;
	setup(&f);
	setup(&again);
	f.feed.certs = cert_table_new(NULL, NULL);
	again.feed.certs = cert_table_new(NULL, NULL);
	assert_non_null(mkdtemp(dir));
	path = xasprintf("%s/routes.log", dir);
	s = route_saved_new(l, w, dir, &e);
	note(&f, s, RESET);
	for (int i = 0; i < CERTS; i++)
		put_cert(&f, s, i, i);
	sync_at(&f, s, 1);
	for (int i = 0; i < CHANGES; i++) {
		int which = i * 7 % CERTS;

		if (i % 5 == 0) {
			AUTO(free)
			char *gone = xasprintf("{\"type\":\"delete\",\"kind\":\"cert\",\"key\":"
			                       "\"h%d.test\"}\n",
			    which);

			note(&f, s, gone);
		} else {
			put_cert(&f, s, which, i);
		}
		sync_at(&f, s, i + 2);
		if (i % 8 == 0)
			(void)loop_run_until(l, &never, 1);
		if (file_size(path) > largest)
			largest = file_size(path);
	}
	while (!file_has(path, "\"revision\":6001"))
		(void)loop_run_until(l, &never, 5);
	route_saved_free(s);
	assert_true(file_size(path) < largest); /* it was packed at least once */
	s = route_saved_new(l, w, dir, &e);
	assert_int_equal(route_saved_load(s, &again.feed, &e), 0);
	assert_int_equal(again.feed.revision, CHANGES + 1);
	assert_int_equal(cert_table_count(again.feed.certs), cert_table_count(f.feed.certs));
	assert_int_equal(sum_of_certs(again.feed.certs), sum_of_certs(f.feed.certs));
	route_saved_free(s);
	cert_table_free(f.feed.certs);
	cert_table_free(again.feed.certs);
	worker_free(w);
	loop_free(l);
	assert_int_equal(file_remove_tree(dir, &e), 0);
}

static bool
file_is_settled(const char *path, size_t lines)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	size_t n = 0;

	if (file_read(path, 1 << 20, &b, &e) < 0)
		return false;
	for (size_t i = 0; i < b.n; i++)
		n += b.p[i] == '\n';
	return n == lines;
}

static void
what_is_saved_is_read_back(void **state)
{
	char dir[] = "/tmp/pinion-saved-XXXXXX";
	AUTO_FINI(fixture_fini) struct fixture f, again;
	struct loop *l = loop_new();
	struct worker *w = worker_new(l, 1);
	struct route_saved *s;
	const struct host_route *r;
	char text[HOST_ENDPOINT_TEXT];
	AUTO(free) char *path = NULL;
	const char *lines[] = { RESET, PUT("a.test"), PUT("b.test") };
	bool never = false;
	struct err e = { 0 };

	(void)state;
	setup(&f);
	setup(&again);
	assert_non_null(mkdtemp(dir));
	path = xasprintf("%s/routes.log", dir);
	s = route_saved_new(l, w, dir, &e);
	assert_non_null(s);
	assert_int_equal(route_saved_load(s, &f.feed, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		(void)line(&f, lines[i], &e);
		route_saved_note(s, (struct str){ lines[i], strlen(lines[i]) - 1 }, i == 0);
	}
	(void)line(&f, SYNC(5), &e);
	route_saved_sync(s, &f.feed);
	route_saved_sync(s, &f.feed); /* nothing new */
	while (!file_is_settled(path, 5))
		(void)loop_run_until(l, &never, 5);
	(void)loop_run_until(l, &never, 20);
	(void)line(&f, DELETE("b.test"), &e);
	route_saved_note(
	    s, STR("{\"type\":\"delete\",\"kind\":\"route\",\"key\":\"b.test\"}"), false);
	(void)line(&f, SYNC(6), &e);
	route_saved_sync(s, &f.feed);
	while (!file_is_settled(path, 8))
		(void)loop_run_until(l, &never, 5);
	route_saved_free(s);

	s = route_saved_new(l, w, dir, &e);
	assert_int_equal(route_saved_load(s, &again.feed, &e), 0);
	assert_int_equal(again.feed.revision, 6);
	assert_string_equal(again.feed.cluster, "c");
	assert_int_equal(host_table_count(again.table), 1);
	r = host_table_get(again.table, "a.test", 6);
	assert_int_equal(r->n, 2);
	assert_int_equal(r->timeout_s, 7);
	assert_string_equal(host_endpoint_text(r->ep[1], text), "[fd00::2]:81");
	assert_string_equal(host_endpoint_id(r->ep[1]), "i2");
	route_saved_free(s);
	worker_free(w);
	loop_free(l);
	assert_int_equal(file_remove_tree(dir, &e), 0);
}

static void
static_tables(void **state)
{
	static const struct {
		const char *text;
		const char *error; /* NULL: good */
		size_t routes;
	} cases[] = {
		{ "", NULL, 0 },
		{ "# none\n\n", NULL, 0 },
		{ "a.test 127.0.0.1:80\n", NULL, 1 },
		{ "a.test\t127.0.0.1:80   [::1]:81\r\nb.test 10.0.0.1:1", NULL, 2 },
		{ "A.Test 127.0.0.1:80\na.test 127.0.0.1:81\n", NULL, 1 },
		{ "*.a.test 127.0.0.1:80\nempty.test\n", NULL, 2 },
		{ "a.test 127.0.0.1:80 https=redirect rate=5 allow=[\"::1\"]\n", NULL, 1 },
		{ "a.test 127.0.0.1:80 https=perhaps\n", "line 1: must be one of", 0 },
		{ "a.test 127.0.0.1:80 allow=[\"::1/8\"]\n", "bits behind its prefix", 0 },
		{ "a.test 127.0.0.1\n", "line 1: must be ADDRESS:PORT", 0 },
		{ "# x\na.test localhost:80\n", "line 2: is no IPv4", 0 },
		{ "a.test 127.0.0.1:0\n", "line 1: ", 0 },
		{ "a.test 127.0.0.1:65536\n", "line 1: ", 0 },
		{ "a/ 127.0.0.1:80\n", "line 1: must be a lower-case host", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		AUTO_FINI(fixture_fini) struct fixture f;
		struct err e = { 0 };
		int rc;

		setup(&f);
		rc = route_file_apply(f.table, cases[i].text, strlen(cases[i].text), &e);
		assert_int_equal(rc, cases[i].error == NULL ? 0 : -1);
		assert_int_equal(host_table_count(f.table), cases[i].routes);
		if (cases[i].error != NULL)
			assert_non_null(strstr(e.text, cases[i].error));
	}
}

static void
apply(struct fixture *f, const char *text)
{
	struct err e = { 0 };

	assert_int_equal(route_file_apply(f->table, text, strlen(text), &e), 0);
}

static const char *
first_endpoint(const struct fixture *f, const char *host)
{
	static char text[HOST_ENDPOINT_TEXT];

	return host_endpoint_text(host_table_get(f->table, host, strlen(host))->ep[0], text);
}

static void
a_static_table_is_read_again(void **state)
{
	AUTO_FINI(fixture_fini) struct fixture f;
	struct err e = { 0 };

	(void)state;
	setup(&f);
	apply(&f, "a.test 1.1.1.1:1\nb.test 1.1.1.1:1\nc.test 1.1.1.1:1 2.2.2.2:2\n");
	apply(&f, "a.test 1.1.1.1:1\nB.TEST 1.1.1.1:1\nc.test 1.1.1.1:1\n");
	assert_int_equal(host_table_count(f.table), 3);
	assert_int_equal(host_table_get(f.table, "c.test", 6)->n, 1);
	apply(&f, "a.test 1.1.1.1:1\n");
	assert_int_equal(host_table_count(f.table), 1);
	/* a host that stands there twice: the last line counts */
	apply(&f, "a.test 3.3.3.3:3\na.test 1.1.1.1:1\n");
	assert_string_equal(first_endpoint(&f, "a.test"), "1.1.1.1:1");
	apply(&f, "a.test 1.1.1.1:1\na.test 3.3.3.3:3\na.test 1.1.1.1:1\na.test 4.4.4.4:4");
	assert_string_equal(first_endpoint(&f, "a.test"), "4.4.4.4:4");
	assert_int_equal(route_file_apply(f.table, "b.test 1.1.1.1:1\nx", 18, &e), 0);
	assert_int_equal(route_file_apply(f.table, "c.test 1.1.1.1:1\nx y", 20, &e), -1);
	assert_true(has(&f, "b.test") && !has(&f, "c.test"));
}

static const struct route_options *
options(const struct fixture *f, const char *host)
{
	return host_route_opts(host_table_get(f->table, host, strlen(host)));
}

static void
options_are_shared_and_change(void **state)
{
	AUTO_FINI(fixture_fini) struct fixture f;
	const struct route_options *before;

	(void)state;
	setup(&f);
	apply(&f, "a.test 1.1.1.1:1 rate=5\nb.test rate=5 1.1.1.1:1\nc.test 1.1.1.1:1\n");
	before = options(&f, "a.test");
	assert_int_equal(before->set.rate, 5);
	assert_ptr_equal(options(&f, "b.test"), before);
	assert_null(options(&f, "c.test"));
	host_publication_free(host_table_publish(f.table));
	apply(&f, "a.test 1.1.1.1:1 rate=5\nb.test 1.1.1.1:1\nc.test 1.1.1.1:1 maintenance=true\n");
	assert_ptr_equal(options(&f, "a.test"), before);
	assert_null(options(&f, "b.test"));
	assert_true(options(&f, "c.test")->set.maintenance);
	apply(&f, "a.test 1.1.1.1:1 rate=6\nc.test 1.1.1.1:1\n");
	assert_int_equal(options(&f, "a.test")->set.rate, 6);
	host_publication_free(host_table_publish(f.table));
}

#define PUT_OPTIONS(text)                                                                          \
	"{\"type\":\"put\",\"kind\":\"route\",\"key\":\"a.test\",\"value\":{\"host\":\"a.test\","  \
	"\"state\":\"live\",\"endpoints\":[{\"id\":\"i1\",\"address\":\"10.0.0.1\",\"port\":80,"   \
	"\"weight\":7}],\"options\":" text "}}\n"

static void
options_come_by_the_feed(void **state)
{
	AUTO_FINI(fixture_fini) struct fixture f;
	struct err e;

	(void)state;
	setup(&f);
	assert_int_equal(line(&f, RESET, &e), ROUTE_FEED_RESET);
	assert_int_equal(
	    line(&f, PUT_OPTIONS("{\"allow\":[\"10.0.0.0/8\"],\"of_the_future\":1}"), &e),
	    ROUTE_FEED_CHANGE);
	assert_int_equal(options(&f, "a.test")->allow.n, 1);
	assert_int_equal(host_table_get(f.table, "a.test", 6)->rare->weights[0], 7);
	assert_int_equal(line(&f, PUT_OPTIONS("{\"rate\":-1}"), &e), ROUTE_FEED_SKIPPED);
	assert_string_equal(e.field, "options.rate");
	assert_int_equal(line(&f, PUT_OPTIONS("{}"), &e), ROUTE_FEED_CHANGE);
	assert_null(options(&f, "a.test"));
}

#define CANARY(at) "{\"id\":\"c" at "\",\"address\":\"10.0.0.9\",\"port\":9" at ",\"canary\":true}"
#define MAIN(at) "{\"id\":\"m" at "\",\"address\":\"10.0.0.1\",\"port\":8" at "}"
#define PUT_CANARY(percent, eps)                                                                   \
	"{\"type\":\"put\",\"kind\":\"route\",\"key\":\"a.test\",\"value\":{\"host\":\"a.test\","  \
	"\"state\":\"live\",\"canary_percent\":" percent ",\"endpoints\":[" eps "]}}\n"

static void
a_canary_comes_by_the_feed(void **state)
{
	AUTO_FINI(fixture_fini) struct fixture f;
	AUTO_FINI(wire_route_fini) struct wire_route w = { 0 };
	const struct host_route *r;
	struct err e;

	(void)state;
	setup(&f);
	assert_int_equal(line(&f, RESET, &e), ROUTE_FEED_RESET);
	assert_int_equal(line(&f, PUT_CANARY("10", MAIN("1") "," MAIN("2") "," CANARY("1")), &e),
	    ROUTE_FEED_CHANGE);
	r = host_table_get(f.table, "a.test", 6);
	assert_int_equal(r->n, 2);
	assert_int_equal(r->rare->canary->n, 1);
	assert_int_equal(r->rare->canary_percent, 10);
	host_route_to_wire(r, &w);
	assert_int_equal(w.endpoints.n, 3);
	assert_true(!w.endpoints.v[1].canary && w.endpoints.v[2].canary);
	assert_string_equal(w.endpoints.v[2].id, "c1");
	assert_int_equal(w.canary_percent, 10);
	assert_true(host_route_is(r, &w));
	w.canary_percent = 20;
	assert_false(host_route_is(r, &w));
	host_publication_free(host_table_publish(f.table));
	assert_int_equal(
	    line(&f, PUT_CANARY("10", CANARY("1") "," MAIN("1")), &e), ROUTE_FEED_SKIPPED);
	assert_string_equal(e.field, "endpoints");
	assert_int_equal(line(&f, PUT_CANARY("0", CANARY("1")), &e), ROUTE_FEED_CHANGE);
	r = host_table_get(f.table, "a.test", 6);
	assert_int_equal(r->n, 1);
	assert_true(r->rare == NULL || r->rare->canary == NULL);
}

static void
a_canary_in_a_file(void **state)
{
	AUTO_FINI(fixture_fini) struct fixture f;
	const struct host_route *r;

	(void)state;
	setup(&f);
	apply(&f, "a.test 1.1.1.1:1 rate=5 1.1.1.1:2 canary=25 1.1.1.1:3\nb.test 1.1.1.1:1\n");
	r = host_table_get(f.table, "a.test", 6);
	assert_int_equal(r->n, 2);
	assert_int_equal(r->rare->canary->n, 1);
	assert_int_equal(r->rare->canary_percent, 25);
	assert_ptr_equal(r->rare->canary->rare->opts, r->rare->opts);
	assert_null(host_table_get(f.table, "b.test", 6)->rare);
	host_publication_free(host_table_publish(f.table));
	apply(&f, "a.test 1.1.1.1:1\n");
	assert_null(host_table_get(f.table, "a.test", 6)->rare);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_snapshot_replaces_the_table),
		cmocka_unit_test(an_interrupted_snapshot_removes_nothing),
		cmocka_unit_test(foreign_feeds_are_refused),
		cmocka_unit_test(bad_routes_are_skipped_by_name),
		cmocka_unit_test(a_torn_log_is_read_up_to_its_last_sum),
		cmocka_unit_test(a_log_that_grows_is_packed),
		cmocka_unit_test(a_log_with_certificates_is_packed),
		cmocka_unit_test(what_is_saved_is_read_back),
		cmocka_unit_test(static_tables),
		cmocka_unit_test(a_static_table_is_read_again),
		cmocka_unit_test(options_are_shared_and_change),
		cmocka_unit_test(options_come_by_the_feed),
		cmocka_unit_test(a_canary_comes_by_the_feed),
		cmocka_unit_test(a_canary_in_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
