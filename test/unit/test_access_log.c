#include "router/access_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"

enum { MANY = 20000, LOG_MAX = 64 * 1024 * 1024 };

static char *
read_log(const char *path)
{
	struct buf b = { 0 };
	struct err e = { 0 };

	assert_int_equal(file_read(path, LOG_MAX, &b, &e), 0);
	return buf_steal(&b);
}

static struct access_line
sample(void)
{
	return (struct access_line){
		.unix_us = 1700000000123456,
		.took_us = 789,
		.router_us = 5,
		.app_us = 700,
		.proto = "https",
		.version = "1.1",
		.bytes = 12,
		.status = 200,
		.peer = STR("192.0.2.1"),
		.host = STR("a.test"),
		.method = STR("GET"),
		.path = STR("/x"),
		.instance = STR("i-1"),
		.app = STR("shop"),
		.id = STR("abc"),
	};
}

static void
fields_are_in_place_and_escaped(void **state)
{
	char path[] = "/tmp/pinion-access-XXXXXX";
	int fd = mkstemp(path);
	struct err e = { 0 };
	struct access_log *a = access_log_open(path, ACCESS_FORMAT_TEXT, 0, 1, &e);
	struct access_line l = sample();
	AUTO(free) char *text = NULL;

	(void)state;
	close(fd);
	assert_non_null(a);
	access_log_put(access_log_ring(a, 0), &l);
	l.path = STR("/a\n\"b\\ \x1b[0m\x80");
	l.app = (struct str){ 0 };
	l.reason = STR("The client left.");
	access_log_put(access_log_ring(a, 0), &l);
	access_log_close(a);
	text = read_log(path);
	assert_string_equal(text,
	    "2023-11-14T22:13:20.123456Z peer=192.0.2.1 host=a.test method=GET path=/x status=200 "
	    "bytes=12 "
	    "us=789 router_us=5 app_us=700 app=shop instance=i-1 id=abc\n"
	    "2023-11-14T22:13:20.123456Z peer=192.0.2.1 host=a.test method=GET "
	    "path=/a\\x0a\\x22b\\x5c\\x20\\x1b[0m\\x80 status=200 bytes=12 us=789 router_us=5 "
	    "app_us=700 app=- "
	    "instance=i-1 id=abc reason=\"The client left.\"\n");
	unlink(path);
}

static char *
line_of(enum access_format f, const struct access_line *l)
{
	struct access_format_text out;
	struct access_format_time t = { 0 };

	access_format_line(&out, f, &t, l);
	return xstrndup(out.p, out.n);
}

static void
other_formats(void **state)
{
	struct access_line l = sample();
	AUTO(free) char *json = NULL, *combined = NULL;

	(void)state;
	l.head = STR("GET /x HTTP/1.1\r\nReferer: http://r.test/\"q\r\nX-User-Agent: no\r\n"
	             "user-agent:  curl \x1b \r\nTraceparent: 00-a-b-01\r\n\r\n");
	l.path = STR("/a b\"\n");
	l.tries = 2;
	l.reason = STR("The client left.");
	json = line_of(ACCESS_FORMAT_JSON, &l);
	combined = line_of(ACCESS_FORMAT_COMBINED, &l);
	assert_string_equal(json,
	    "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"peer\":\"192.0.2.1\",\"proto\":\"https\","
	    "\"version\":\"1.1\",\"host\":\"a.test\",\"method\":\"GET\",\"path\":\"/a "
	    "b\\u0022\\u000a\","
	    "\"status\":200,\"bytes\":12,\"bytes_in\":0,\"us\":789,\"router_us\":5,\"tls_us\":0,"
	    "\"queue_us\":0,\"connect_us\":0,\"retry_us\":0,\"app_us\":700,\"tries\":2,"
	    "\"app\":\"shop\",\"instance\":\"i-1\",\"id\":\"abc\",\"traceparent\":\"00-a-b-01\","
	    "\"referer\":\"http://r.test/\\u0022q\",\"user_agent\":\"curl \\u001b\","
	    "\"reason\":\"The client left.\"}\n");
	assert_string_equal(combined,
	    "192.0.2.1 - - [14/Nov/2023:22:13:20 +0000] \"GET /a\\x20b\\x22\\x0a HTTP/1.1\" 200 12 "
	    "\"http://r.test/\\x22q\" \"curl \\x1b\"\n");
}

/* Long paths of control characters are cut, lines stay lines, none is torn at the ring's end. */
static void
many_lines_stay_whole(void **state)
{
	char path[] = "/tmp/pinion-access-XXXXXX", big[9000];
	int fd = mkstemp(path);
	struct err e = { 0 };
	struct access_log *a = access_log_open(path, ACCESS_FORMAT_TEXT, 0, 2, &e);
	AUTO(free) char *text = NULL;
	size_t lines = 0;

	(void)state;
	close(fd);
	memset(big, '\r', sizeof big);
	for (int i = 0; i < MANY; i++) {
		struct access_line l = sample();

		l.path = (struct str){ big, (size_t)(i % 9000) };
		access_log_put(access_log_ring(a, i % 2), &l);
	}
	access_log_close(a);
	text = read_log(path);
	for (char *p = text, *end; *p != '\0'; p = end + 1, lines++) {
		end = strchr(p, '\n');
		assert_non_null(end);
		assert_true(end - p < 4096);
		assert_memory_equal(p, "2023-11-14T22:13:20", 19);
		assert_memory_equal(end - 6, "id=abc", 6);
	}
	assert_in_range(lines, 100, MANY); /* what found no room is counted, never waited for */
	unlink(path);
}

static void
a_full_file_is_put_aside(void **state)
{
	char path[] = "/tmp/pinion-access-XXXXXX";
	int fd = mkstemp(path);
	struct err e = { 0 };
	struct access_log *a = access_log_open(path, ACCESS_FORMAT_TEXT, 1000, 1, &e);
	struct access_line l = sample();
	AUTO(free) char *old = xasprintf("%s.1", path);
	AUTO(free) char *text = NULL, *rest = NULL;

	(void)state;
	close(fd);
	for (int i = 0; i < 8; i++)
		access_log_put(access_log_ring(a, 0), &l);
	while (access(old, F_OK) != 0)
		(void)usleep(1000);
	l.path = STR("/last");
	access_log_put(access_log_ring(a, 0), &l);
	access_log_close(a);
	text = read_log(path);
	rest = read_log(old);
	assert_non_null(strstr(text, "/last"));
	assert_null(strstr(rest, "/last"));
	unlink(path);
	unlink(old);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_in_place_and_escaped),
		cmocka_unit_test(other_formats),
		cmocka_unit_test(many_lines_stay_whole),
		cmocka_unit_test(a_full_file_is_put_aside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
