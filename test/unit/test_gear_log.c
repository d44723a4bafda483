#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/gear_log.h"
#include "node/gear_log_reader.h"
#include "test/lib/ok.h"

struct world {
	char dir[64];
};

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);

	(void)snprintf(w->dir, sizeof w->dir, "/tmp/test-gear-log-XXXXXX");
	*state = w;
	return mkdtemp(w->dir) == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };
	int rc = file_remove_tree(w->dir, &e);

	free(w);
	return rc;
}

static char *
path_of(struct world *w, const char *instance, const char *name)
{
	return xasprintf("%s/%s%s%s", w->dir, instance, *name == '\0' ? "" : "/", name);
}

static void
append(struct world *w, const char *instance, const char *name, const char *text)
{
	AUTO(free) char *dir = path_of(w, instance, "");
	AUTO(free) char *path = path_of(w, instance, name);
	struct err e = { 0 };
	int fd;

	assert_ok(file_mkdirs(dir, 0755, &e), &e);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_ok(file_write_all(fd, text, strlen(text), &e), &e);
	(void)close(fd);
}

/* A line at a time of second.ms. */
static void
line(struct world *w, const char *instance, const char *name, int ms, const char *text)
{
	AUTO(free)
	char *s = xasprintf("2026-01-02T03:04:%02d.%03dZ %s\n", ms / 1000, ms % 1000, text);

	append(w, instance, name, s);
}

static void
move(struct world *w, const char *instance, const char *from, const char *to)
{
	AUTO(free) char *a = path_of(w, instance, from);
	AUTO(free) char *b = path_of(w, instance, to);

	assert_int_equal(rename(a, b), 0);
}

/* "text|text|" */
static void
add_texts(const struct gear_log_lines *l, struct buf *out)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		buf_addf(out, "%s|", l->v[i].line);
}

static void
expect_tail(struct world *w, const char *only, size_t n, const char *wanted)
{
	AUTO_FINI(gear_log_lines_fini) struct gear_log_lines l = { 0 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };

	buf_adds(&b, "");
	assert_ok(gear_log_tail(w->dir, "g1", only, n, &l, &e), &e);
	add_texts(&l, &b);
	assert_string_equal(b.p == NULL ? "" : b.p, wanted);
}

static void
tail_merges_by_time(void **state)
{
	struct world *w = *state;
	AUTO_FINI(gear_log_lines_fini) struct gear_log_lines l = { 0 };
	struct err e = { 0 };

	line(w, "i-1", "web.log.1", 1, "a");
	line(w, "i-1", "web.log.1", 2, "b");
	line(w, "i-1", "web.log", 5, "e");
	line(w, "i-1", "cron.log", 4, "d");
	line(w, "i-2", "web.log", 3, "c");
	line(w, "i-2", "web.log", 6, "f");
	append(w, "i-2", "web.log", "2026-01-02T03:04:09.000Z unfinished");
	append(w, "i-2", "notes.txt", "no log\n");
	expect_tail(w, NULL, 100, "a|b|c|d|e|f|");
	expect_tail(w, NULL, 3, "d|e|f|");
	expect_tail(w, NULL, 0, "");
	expect_tail(w, "i-1", 2, "d|e|");
	expect_tail(w, "none", 2, "");
	expect_tail(w, "../i-1", 2, "");
	assert_ok(gear_log_tail(w->dir, "g1", NULL, 3, &l, &e), &e);
	assert_string_equal(l.v[0].time, "2026-01-02T03:04:00.004Z");
	assert_string_equal(l.v[0].source, "cron");
	assert_string_equal(l.v[0].instance, "i-1");
	assert_string_equal(l.v[0].gear, "g1");
}

static void
an_absent_root_is_empty(void **state)
{
	struct world *w = *state;
	AUTO_FINI(gear_log_lines_fini) struct gear_log_lines l = { 0 };
	AUTO(free) char *path = path_of(w, "nothing", "");
	struct err e = { 0 };

	assert_ok(gear_log_tail(path, "g1", NULL, 10, &l, &e), &e);
	assert_int_equal(l.n, 0);
	assert_ok(gear_log_prune(path, NULL, 0, &e), &e);
}

static void
big_files_are_read_from_their_ends(void **state)
{
	struct world *w = *state;
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO_FINI(gear_log_lines_fini) struct gear_log_lines l = { 0 };
	struct err e = { 0 };
	size_t bytes = 0, k;
	int i;

	for (i = 0; i < 60000; i++)
		buf_addf(&b, "2026-01-02T03:%02d:%02d.%03dZ line %d %0100d\n", i / 60000,
		    i / 1000 % 60, i % 1000, i, 0);
	append(w, "i-1", "web.log", b.p);
	append(w, "i-1", "web.log.1", "2026-01-01T00:00:00.000Z old\n");
	assert_ok(gear_log_tail(w->dir, "g1", NULL, 1000, &l, &e), &e);
	assert_int_equal(l.n, 1000);
	assert_true(str_has_prefix(l.v[0].line, "line 59000 "));
	assert_true(str_has_prefix(l.v[999].line, "line 59999 "));
	gear_log_lines_fini(&l);
	/* Bounded, however much is asked for. */
	assert_ok(gear_log_tail(w->dir, "g1", NULL, 1000000, &l, &e), &e);
	assert_int_equal(l.n, GEAR_LOG_LINES_MAX);
	for (k = 0; k < l.n; k++)
		bytes += strlen(l.v[k].line);
	assert_true(bytes <= 4 << 20);
	gear_log_lines_fini(&l);
	buf_clear(&b);
	for (i = 0; i < 700; i++)
		buf_addf(&b, "2026-01-02T04:00:00.000Z %d %08000d\n", i, 0);
	append(w, "i-1", "web.log", b.p);
	assert_ok(gear_log_tail(w->dir, "g1", NULL, 700, &l, &e), &e);
	assert_true(l.n > 500 && l.n < 530); /* 4 MiB of them */
	assert_true(str_has_prefix(l.v[l.n - 1].line, "699 "));
}

static void
what_users_put_there_is_survived(void **state)
{
	struct world *w = *state;
	AUTO(free) char *fifo = NULL;
	AUTO(free) char *link = NULL;
	AUTO(free) char *dir_link = path_of(w, "i-9", "");
	AUTO_FINI(gear_log_lines_fini) struct gear_log_lines l = { 0 };
	char text[] = "2026-01-02T03:04:00.001Z a?b\nno time at all\r\n\n";
	struct err e = { 0 };
	int fd;

	line(w, "i-1", "ok.log", 0, "fine");
	fifo = path_of(w, "i-1", "pipe.log");
	link = path_of(w, "i-1", "link.log");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(symlink("/etc/passwd", link), 0);
	assert_int_equal(symlink("/var/log", dir_link), 0);
	*strchr(text, '?') = '\0';
	{
		AUTO(free) char *path = path_of(w, "i-1", "ok.log");

		fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
		assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
		(void)close(fd);
	}
	assert_ok(gear_log_tail(w->dir, "g1", NULL, 10, &l, &e), &e);
	assert_int_equal(l.n, 4);
	assert_string_equal(l.v[1].line, "a b");
	assert_string_equal(l.v[2].line, "no time at all");
	assert_string_equal(l.v[2].time, "2026-01-02T03:04:00.001Z");
	assert_string_equal(l.v[3].line, "");
}

/* --- the reader --- */

static void
expect_next(struct gear_log_reader *r, const char *wanted)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	bool more = true;
	int i;

	buf_adds(&b, "");
	for (i = 0; i < 1000 && more; i++) {
		AUTO_FINI(gear_log_lines_fini) struct gear_log_lines l = { 0 };

		assert_ok(gear_log_reader_next(r, &l, &more, &e), &e);
		add_texts(&l, &b);
	}
	assert_false(more);
	assert_string_equal(b.p == NULL ? "" : b.p, wanted);
}

static void
reading_goes_on_over_rotations(void **state)
{
	struct world *w = *state;
	AUTO(gear_log_reader_free) struct gear_log_reader *r = NULL;
	AUTO(free) char *dir = path_of(w, "i-1", "");
	struct err e = { 0 };

	line(w, "i-1", "web.log", 1, "a");
	line(w, "i-1", "web.log", 2, "b");
	r = gear_log_reader_new(w->dir, "g1", 1);
	expect_next(r, "b|");
	expect_next(r, "");
	line(w, "i-1", "web.log", 3, "c");
	append(w, "i-1", "web.log", "2026-01-02T03:04:09.000Z be");
	expect_next(r, "c|");
	append(w, "i-1", "web.log", "gun\n");
	expect_next(r, "begun|");
	line(w, "i-1", "web.log", 4, "d");
	move(w, "i-1", "web.log", "web.log.1");
	line(w, "i-1", "web.log", 5, "e");
	move(w, "i-1", "web.log.1", "web.log.2");
	move(w, "i-1", "web.log", "web.log.1");
	line(w, "i-1", "web.log", 6, "f");
	expect_next(r, "d|e|f|");
	move(w, "i-1", "web.log", "web.log.1");
	expect_next(r, "");
	line(w, "i-1", "web.log", 7, "g");
	expect_next(r, "g|");
	/* A new instance from its first line on; an old one goes. */
	line(w, "i-2", "web.log", 8, "h");
	assert_ok(file_remove_tree(dir, &e), &e);
	expect_next(r, "h|");
	line(w, "i-1", "web.log", 9, "i");
	expect_next(r, "i|");
}

static void
much_comes_in_batches(void **state)
{
	struct world *w = *state;
	AUTO(gear_log_reader_free) struct gear_log_reader *r = NULL;
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	size_t total = 0;
	bool more = true;
	int i;

	r = gear_log_reader_new(w->dir, "g1", 0);
	expect_next(r, "");
	for (i = 0; i < 5000; i++)
		buf_addf(&b, "2026-01-02T03:04:00.001Z %0100d\n", i);
	append(w, "i-1", "web.log", b.p);
	append(w, "i-2", "web.log", b.p);
	buf_clear(&b);
	/* One "line" longer than any batch. */
	for (i = 0; i < 200000; i++)
		buf_addc(&b, 'x');
	buf_addc(&b, '\n');
	append(w, "i-3", "web.log", b.p);
	while (more) {
		AUTO_FINI(gear_log_lines_fini) struct gear_log_lines l = { 0 };

		assert_ok(gear_log_reader_next(r, &l, &more, &e), &e);
		assert_true(l.n < 1000);
		total += l.n;
	}
	assert_int_equal(total, 10000 + 200000 / (64 * 1024) + 1);
}

/* --- following on a loop --- */

struct seen {
	struct gear_log_follow *f;
	struct buf text;
	const char *until;
	bool is_done, pauses;
	int calls;
};

static bool
on_lines(const struct gear_log_lines *lines, const struct err *e, void *arg)
{
	struct seen *s = arg;

	assert_null(e);
	s->calls++;
	add_texts(lines, &s->text);
	if (s->until != NULL && strstr(s->text.p, s->until) != NULL)
		s->is_done = true;
	if (s->pauses) {
		s->is_done = true;
		return false;
	}
	return true;
}

static void
wait_text(struct loop *l, struct seen *s, const char *until)
{
	s->until = until;
	s->is_done = s->text.p != NULL && strstr(s->text.p, until) != NULL;
	if (!s->is_done && !loop_run_until(l, &s->is_done, 10000))
		fail_msg("\"%s\" did not come, only \"%s\"", until, s->text.p);
}

static void
follows(void **state)
{
	struct world *w = *state;
	struct loop *l = loop_new();
	struct worker *k = worker_new(l, 2);
	struct seen s = { 0 };
	int calls;

	line(w, "i-1", "web.log", 1, "a");
	line(w, "i-1", "web.log", 2, "b");
	s.f = gear_log_follow_start(l, k, w->dir, "g1", 1, on_lines, &s);
	wait_text(l, &s, "b|");
	line(w, "i-1", "web.log", 3, "c");
	wait_text(l, &s, "c|");
	move(w, "i-1", "web.log", "web.log.1");
	line(w, "i-1", "web.log", 4, "d");
	wait_text(l, &s, "d|");
	line(w, "i-2", "web.log", 5, "e");
	wait_text(l, &s, "e|");
	/* Paused: nothing comes until it is resumed, then all. */
	s.pauses = true;
	line(w, "i-2", "web.log", 6, "f");
	wait_text(l, &s, "f|");
	calls = s.calls;
	line(w, "i-2", "web.log", 7, "g");
	s.is_done = false;
	assert_false(loop_run_until(l, &s.is_done, 150));
	assert_int_equal(s.calls, calls);
	s.pauses = false;
	gear_log_follow_resume(s.f);
	wait_text(l, &s, "g|");
	assert_string_equal(s.text.p, "b|c|d|e|f|g|");
	gear_log_follow_cancel(s.f);
	/* Cancelled at once, with its look still to come. */
	gear_log_follow_cancel(gear_log_follow_start(l, k, w->dir, "g1", 1, on_lines, &s));
	s.is_done = false;
	(void)loop_run_until(l, &s.is_done, 20);
	worker_free(k);
	loop_free(l);
	buf_fini(&s.text);
}

static void
follows_a_root_that_comes_later(void **state)
{
	struct world *w = *state;
	AUTO(free) char *root = path_of(w, "later", "");
	struct loop *l = loop_new();
	struct worker *k = worker_new(l, 1);
	struct seen s = { 0 };
	bool never = false;

	s.f = gear_log_follow_start(l, k, root, "g1", 10, on_lines, &s);
	(void)loop_run_until(l, &never, 50);
	line(w, "later/i-1", "web.log", 1, "a");
	wait_text(l, &s, "a|");
	line(w, "later/i-1", "web.log", 2, "b");
	wait_text(l, &s, "b|");
	gear_log_follow_cancel(s.f);
	worker_free(k);
	loop_free(l);
	buf_fini(&s.text);
}

static void
prune_removes_the_oldest_dead(void **state)
{
	struct world *w = *state;
	AUTO_FINI(str_list_fini) struct str_list live = { 0 };
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct err e = { 0 };
	int i;

	for (i = 0; i < 100000; i++)
		buf_addc(&b, i % 100 == 99 ? '\n' : 'x');
	for (i = 1; i <= 4; i++) {
		char name[8];
		struct timespec t[2] = { { .tv_sec = 1000 + i }, { .tv_sec = 1000 + i } };
		AUTO(free) char *path = NULL;
		AUTO(free) char *dir = NULL;

		(void)snprintf(name, sizeof name, "i-%d", i);
		append(w, name, "web.log", b.p);
		path = path_of(w, name, "web.log");
		dir = path_of(w, name, "");
		assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
		assert_int_equal(utimensat(AT_FDCWD, dir, t, 0), 0);
	}
	str_list_add(&live, "i-1");
	assert_ok(gear_log_prune(w->dir, &live, 250000, &e), &e);
	{
		static const bool stays[] = { true, false, false, true };

		for (i = 1; i <= 4; i++) {
			char name[8];
			AUTO(free) char *dir = NULL;

			(void)snprintf(name, sizeof name, "i-%d", i);
			dir = path_of(w, name, "");
			assert_int_equal(file_exists(dir), stays[i - 1]);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tail_merges_by_time, setup, teardown),
		cmocka_unit_test_setup_teardown(an_absent_root_is_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    big_files_are_read_from_their_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(what_users_put_there_is_survived, setup, teardown),
		cmocka_unit_test_setup_teardown(reading_goes_on_over_rotations, setup, teardown),
		cmocka_unit_test_setup_teardown(much_comes_in_batches, setup, teardown),
		cmocka_unit_test_setup_teardown(follows, setup, teardown),
		cmocka_unit_test_setup_teardown(follows_a_root_that_comes_later, setup, teardown),
		cmocka_unit_test_setup_teardown(prune_removes_the_oldest_dead, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
