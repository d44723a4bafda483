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
	struct access_log *a = access_log_open(path, 0, 1, &e);
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
	    "us=789 app=shop instance=i-1 id=abc\n"
	    "2023-11-14T22:13:20.123456Z peer=192.0.2.1 host=a.test method=GET "
	    "path=/a\\x0a\\x22b\\x5c\\x20\\x1b[0m\\x80 status=200 bytes=12 us=789 app=- "
	    "instance=i-1 id=abc reason=\"The client left.\"\n");
	unlink(path);
}

/* Long paths of control characters are cut, lines stay lines, none is torn at the ring's end. */
static void
many_lines_stay_whole(void **state)
{
	char path[] = "/tmp/pinion-access-XXXXXX", big[9000];
	int fd = mkstemp(path);
	struct err e = { 0 };
	struct access_log *a = access_log_open(path, 0, 2, &e);
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
	struct access_log *a = access_log_open(path, 1000, 1, &e);
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
		cmocka_unit_test(many_lines_stay_whole),
		cmocka_unit_test(a_full_file_is_put_aside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
