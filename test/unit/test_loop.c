/* loop, worker, child. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/child.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"

enum { DEADLINE_MS = 20000 };

struct count {
	struct loop *loop;
	int n, want;
	bool done;
};

static void
count_up(void *arg)
{
	struct count *c = arg;

	if (++c->n == c->want)
		c->done = true;
}

static void
timers_fire_repeat_and_cancel(void **state)
{
	struct loop *l = loop_new();
	struct count repeat = { .want = 3 }, never = { .want = 1 };

	(void)state;
	struct loop_timer *a = loop_timer_start(l, 1, true, count_up, &repeat);
	struct loop_timer *b = loop_timer_start(l, 1, false, count_up, &never);
	loop_timer_cancel(b);
	assert_true(loop_run_until(l, &repeat.done, DEADLINE_MS));
	assert_int_equal(never.n, 0);
	loop_timer_cancel(a);
	loop_free(l);
}

static void *
post_many(void *arg)
{
	struct count *c = arg;

	for (int i = 0; i < 1000; i++)
		loop_post(c->loop, count_up, c);
	return NULL;
}

static void
posts_from_threads_all_arrive(void **state)
{
	struct loop *l = loop_new();
	struct count c = { .loop = l, .want = 2000 };
	pthread_t threads[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_many, &c), 0);
	assert_true(loop_run_until(l, &c.done, DEADLINE_MS));
	for (int i = 0; i < 2; i++)
		(void)pthread_join(threads[i], NULL);
	loop_free(l);
}

struct job {
	struct count *count;
	int input, output;
};

static void
job_run(void *arg)
{
	struct job *j = arg;

	j->output = j->input * 2;
}

static void
job_done(void *arg)
{
	struct job *j = arg;

	assert_int_equal(j->output, j->input * 2);
	count_up(j->count);
	free(j);
}

static void
workers_run_jobs_and_forget_detached_ones(void **state)
{
	struct loop *l = loop_new();
	struct worker *w = worker_new(l, 3);
	struct count c = { .want = 100 };

	(void)state;
	for (int i = 0; i < 101; i++) {
		struct job *j = xcalloc(1, sizeof *j);

		*j = (struct job){ .count = &c, .input = i };
		struct worker_job *h = worker_submit(w, job_run, job_done, free, j);
		if (i == 50)
			worker_detach(h);
	}
	assert_true(loop_run_until(l, &c.done, DEADLINE_MS));
	worker_free(w);
	assert_int_equal(c.n, 100);
	loop_free(l);
}

struct ran {
	bool done;
	int status;
	bool timed_out;
	char why[64];
	struct buf out, err;
};

static void
on_end(struct child *c, const struct child_end *end, void *arg)
{
	struct ran *r = arg;

	(void)c;
	r->done = true;
	r->status = end->status;
	r->timed_out = end->timed_out;
	(void)snprintf(r->why, sizeof r->why, "%s", end->why);
	buf_add(&r->out, end->out, end->out_len);
	buf_add(&r->err, end->err, end->err_len);
}

static void
ran_fini(struct ran *r)
{
	buf_fini(&r->out);
	buf_fini(&r->err);
}

static struct child *
start(struct loop *l, struct child_opts *o, const char *script, struct ran *r)
{
	struct err e = { 0 };
	const char *argv[] = { "/bin/sh", "-c", script, NULL };

	o->argv = argv;
	struct child *c = child_start(l, o, NULL, on_end, r, &e);
	assert_non_null(c);
	return c;
}

static void
child_captures_and_tells_its_end(void **state)
{
	static const struct {
		const char *script, *out, *err, *why;
		int status;
	} cases[] = {
		{ "echo hi; echo no >&2; exit 3", "hi\n", "no\n", "exit 3", 3 },
		{ "kill -9 $$", "", "", "killed by signal 9 (KILL)", 137 },
		{ "test -z \"$HOME\" && pwd", "/\n", "", "exit 0", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct loop *l = loop_new();
		AUTO_FINI(ran_fini) struct ran r = { 0 };
		struct child_opts o = { 0 };
		struct child *c = start(l, &o, cases[i].script, &r);

		assert_true(loop_run_until(l, &r.done, DEADLINE_MS));
		assert_int_equal(r.status, cases[i].status);
		assert_string_equal(r.why, cases[i].why);
		assert_string_equal(buf_str(&r.out).p, cases[i].out);
		assert_string_equal(buf_str(&r.err).p, cases[i].err);
		child_free(c);
		loop_free(l);
	}
}

static void
child_streams_stdin_and_passes_fds(void **state)
{
	struct loop *l = loop_new();
	AUTO_FINI(ran_fini) struct ran r = { 0 };
	int p[2];
	char got[16] = "";

	(void)state;
	assert_int_equal(pipe(p), 0);
	struct child_opts o = {
		.has_stdin = true, .pass_fds = &p[1], .pass_n = 1, .out_max = 1 << 20
	};
	struct child *c = start(l, &o, "echo three >&3; exec cat", &r);
	char block[1000];
	memset(block, 'x', sizeof block);
	for (int i = 0; i < 500; i++)
		(void)child_write(c, block, sizeof block);
	child_close_stdin(c);
	assert_true(loop_run_until(l, &r.done, DEADLINE_MS));
	assert_int_equal(r.out.n, 500000);
	assert_int_equal(read(p[0], got, sizeof got - 1), 6);
	assert_string_equal(got, "three\n");
	child_free(c);
	(void)close(p[0]);
	(void)close(p[1]);
	loop_free(l);
}

/* What the parent keeps open without O_CLOEXEC, low or high up, is not the child's, and stays its
 * own; what is passed arrives though it lies high up. */
static void
child_has_only_what_is_passed(void **state)
{
	struct loop *l = loop_new();
	AUTO_FINI(ran_fini) struct ran r = { 0 };
	int p[2], low, high;
	char got[16] = "";

	(void)state;
	assert_int_equal(pipe(p), 0);
	low = dup(p[0]);
	high = fcntl(p[0], F_DUPFD, 1500);
	p[1] = file_raise(p[1]);
	assert_in_range(p[1], 1024, 1499);
	struct child_opts o = { .pass_fds = &p[1], .pass_n = 1 };
	struct child *c = start(l, &o, "echo three >&3; cd /proc/self/fd; echo [0-9]*", &r);
	assert_true(loop_run_until(l, &r.done, DEADLINE_MS));
	assert_string_equal(buf_str(&r.err).p, "");
	assert_non_null(strstr(r.out.p, "0 1 2 3"));
	assert_null(strstr(r.out.p, "1500"));
	assert_true(
	    r.out.n <= strlen("0 1 2 3 10\n")); /* 10: the shell may look through one of its own */
	assert_int_equal(read(high, got, sizeof got - 1), 6);
	assert_string_equal(got, "three\n");
	assert_true(fcntl(low, F_GETFD) >= 0 && fcntl(p[1], F_GETFD) >= 0);
	child_free(c);
	(void)close(low);
	(void)close(high);
	(void)close(p[0]);
	(void)close(p[1]);
	loop_free(l);
}

static void
child_is_bound_in_time(void **state)
{
	struct loop *l = loop_new();
	AUTO_FINI(ran_fini) struct ran r = { 0 };
	struct child_opts o = { .timeout_ms = 50 };

	(void)state;
	struct child *c = start(l, &o, "exec sleep 1000", &r);
	assert_true(loop_run_until(l, &r.done, DEADLINE_MS));
	assert_true(r.timed_out);
	assert_string_equal(r.why, "timed out after 0.05 s");
	child_free(c);
	loop_free(l);
}

/* A grandchild that keeps the pipe open does not keep the child from ending. */
static void
child_ends_though_its_pipe_is_held(void **state)
{
	struct loop *l = loop_new();
	AUTO_FINI(ran_fini) struct ran r = { 0 };
	struct child_opts o = { 0 };

	(void)state;
	struct child *c = start(l, &o, "sleep 15 & echo $!", &r);
	assert_true(loop_run_until(l, &r.done, 10000));
	assert_int_equal(r.status, 0);
	(void)kill((pid_t)strtol(r.out.p, NULL, 10), SIGKILL);
	child_free(c);
	loop_free(l);
}

static void
child_that_cannot_start_is_an_error(void **state)
{
	struct loop *l = loop_new();
	struct err e = { 0 };
	const char *argv[] = { "/nonexistent/program", NULL };
	struct child_opts o = { .argv = argv };

	(void)state;
	assert_null(child_start(l, &o, NULL, on_end, NULL, &e));
	assert_int_equal(e.code, ERR_SYSTEM);
	assert_non_null(strstr(e.text, "/nonexistent/program"));
	loop_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_repeat_and_cancel),
		cmocka_unit_test(posts_from_threads_all_arrive),
		cmocka_unit_test(workers_run_jobs_and_forget_detached_ones),
		cmocka_unit_test(child_captures_and_tells_its_end),
		cmocka_unit_test(child_streams_stdin_and_passes_fds),
		cmocka_unit_test(child_has_only_what_is_passed),
		cmocka_unit_test(child_is_bound_in_time),
		cmocka_unit_test(child_ends_though_its_pipe_is_held),
		cmocka_unit_test(child_that_cannot_start_is_an_error),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
