/* Containers with the real runtime: start, enter, what a gear may not do, end, adoption, remains.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/gear_home.h"
#include "node/limits.h"
#include "node/node_dirs.h"
#include "node/stack.h"
#include "node/volume.h"
#include "test/lib/ok.h"

#define GEAR "5f0000000000000000000001"
#define ID "5f000000-abc123"
enum { WAIT_MS = 20000, UID_BASE = 7 << 20 };

struct world {
	char root[64];
	struct node_dirs dirs;
	struct loop *loop;
	struct worker *worker;
	struct limits *limits;
	struct volumes *volumes;
	struct container_host *host;
	char *gear_dir;
	/* results */
	bool is_done;
	struct err failed;
	struct container *c;
	int status;
	char out[8192];
};

static void
link_program(const char *dir, const char *name, const char *target)
{
	AUTO(free) char *path = file_join(dir, name);
	AUTO(free) char *real = realpath(target, NULL);

	assert_non_null(real);
	assert_int_equal(symlink(real, path), 0);
}

static void
open_host(struct world *w)
{
	struct err e = { 0 };
	const struct container_host_opts o = {
		.dirs = &w->dirs,
		.limits = w->limits,
		.runtime = "crun",
	};

	w->loop = loop_new();
	w->worker = worker_new(w->loop, 2);
	w->host = container_host_new(w->loop, w->worker, &o, &e);
	if (w->host == NULL)
		fail_msg("%s", e.text);
}

static void
close_host(struct world *w)
{
	container_host_stop(w->host);
	worker_free(w->worker);
	container_host_free(w->host);
	loop_free(w->loop);
}

static int
setup(void **state)
{
	struct world *w = xcalloc(1, sizeof *w);
	struct err e = { 0 };

	(void)snprintf(w->root, sizeof w->root, "/tmp/pinion-test-container.XXXXXX");
	assert_non_null(mkdtemp(w->root));
	AUTO(free) char *data = file_join(w->root, "node");
	AUTO(free) char *run = file_join(w->root, "run");
	AUTO(free) char *libexec = file_join(w->root, "libexec");
	assert_int_equal(mkdir(libexec, 0755), 0);
	link_program(libexec, "pinion-spawn", "pinion-spawn");
	link_program(libexec, "pinion-seccomp", "pinion-seccomp");
	link_program(libexec, "pinion-init", "/bin/sleep");
	assert_ok(node_dirs_init(&w->dirs, data, run, w->root, w->root, libexec, &e), &e);
	w->limits = limits_open(w->dirs.tag, NULL, &e);
	w->volumes = volumes_open(&w->dirs, "auto", &e);
	if (w->limits == NULL || w->volumes == NULL)
		fail_msg("%s", e.text);
	assert_ok(volume_make(w->volumes, GEAR, 40, 0, &e), &e);
	w->gear_dir = node_dirs_gear(&w->dirs, GEAR);
	assert_ok(gear_home_make_instance(w->gear_dir, ID, &e), &e);
	open_host(w);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };

	close_host(w);
	assert_ok(limits_kill(w->limits, (struct limits_group){ 0 }, &e), &e);
	assert_ok(limits_remove(w->limits, (struct limits_group){ 0 }, WAIT_MS, &e), &e);
	limits_close(w->limits);
	assert_ok(volume_remove(w->volumes, GEAR, &e), &e);
	volumes_close(w->volumes);
	stack_unmount(&w->dirs);
	node_dirs_fini(&w->dirs);
	free(w->gear_dir);
	assert_ok(file_remove_tree(w->root, &e), &e);
	free(w);
	return 0;
}

static void
make_spec(struct world *w, struct container_spec *s)
{
	AUTO(free) char *data = file_join(w->gear_dir, "data");

	*s = (struct container_spec){
		.id = xstrdup(ID),
		.gear = xstrdup(GEAR),
		.uid_base = UID_BASE,
		.hostname = xstrdup("demo"),
		.limits = { .memory_mb = 128, .pids = 64, .cpu_percent = 100 },
		.upper = xasprintf("%s/inst/%s/up", w->gear_dir, ID),
		.work = xasprintf("%s/inst/%s/work", w->gear_dir, ID),
		.tmp = xasprintf("%s/inst/%s/tmp", w->gear_dir, ID),
	};
	str_list_take(&s->lowers, file_join(w->gear_dir, "base/0"));
	container_spec_bind(s, data, "~/app-root/data", false, true);
	str_list_add(&s->args, "/run/pinion/init");
	str_list_add(&s->args, "1000");
	str_list_add(&s->notes, "deployment=d1");
	container_spec_env(s, "GREETING", "hello");
}

static void
on_started(struct container *c, const struct err *e, void *arg)
{
	struct world *w = arg;

	(void)c;
	w->is_done = true;
	if (e != NULL)
		w->failed = *e;
}

static void
wait_done(struct world *w)
{
	if (!loop_run_until(w->loop, &w->is_done, WAIT_MS))
		fail_msg("nothing happened");
	w->is_done = false;
}

static void
start(struct world *w)
{
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };
	struct err e = { 0 };

	make_spec(w, &s);
	w->c = container_start(w->host, &s, on_started, w, &e);
	if (w->c == NULL)
		fail_msg("%s", e.text);
	wait_done(w);
	if (w->failed.code != ERR_NONE)
		fail_msg("%s", w->failed.text);
}

static void
on_gone(const struct err *e, void *arg)
{
	struct world *w = arg;

	w->is_done = true;
	if (e != NULL)
		w->failed = *e;
}

static void
destroy(struct world *w)
{
	AUTO_FINI(str_list_fini) struct str_list left = { 0 };
	AUTO(free) char *bundle = node_dirs_instance(&w->dirs, ID);
	AUTO(free) char *state = xasprintf("%s/crun/%s", w->dirs.run, ID);
	struct err e = { 0 };

	container_destroy(w->c, on_gone, w);
	wait_done(w);
	assert_ok(w->failed.code == ERR_NONE ? 0 : -1, &w->failed);
	assert_ok(container_list(w->host, &left, &e), &e);
	assert_int_equal(left.n, 0);
	assert_false(file_exists(bundle));
	assert_false(file_exists(state));
}

static void
on_entry_end(struct child *c, const struct child_end *end, void *arg)
{
	struct world *w = arg;

	(void)c;
	w->status = end->status;
	(void)snprintf(w->out, sizeof w->out, "%s%s", end->out, end->err);
	w->is_done = true;
}

/* Runs a script inside; its exit code. */
static int
sh(struct world *w, const char *script)
{
	const char *const argv[] = { "/bin/bash", "-c", script, NULL };
	const char *const env[] = { "PATH=/usr/bin:/bin", "HOME=/var/lib/openshift/" GEAR "/",
		NULL };
	const struct container_entry entry = { .argv = argv, .env = env, .timeout_ms = WAIT_MS };
	struct err e = { 0 };
	struct child *c = container_enter(w->c, &entry, NULL, on_entry_end, w, &e);

	if (c == NULL)
		fail_msg("%s", e.text);
	wait_done(w);
	child_free(c);
	return w->status;
}

static void
expect(struct world *w, const char *script, int status, const char *out)
{
	int got = sh(w, script);

	if (got != status || strstr(w->out, out) == NULL)
		fail_msg("%s: exit %d, said: %s", script, got, w->out);
}

static void
test_inside(void **state)
{
	struct world *w = *state;

	start(w);
	assert_true(container_pid(w->c) > 1);
	expect(w, "id -un; id -u; pwd", 0, GEAR "\n1000\n/var/lib/openshift/" GEAR "\n");
	expect(w, "hostname; getent hosts demo", 0, "127.0.1.1");
	expect(w, "grep -E 'CapEff|CapBnd' /proc/self/status", 0, "CapBnd:\t0000000000000000");
	expect(w, "grep NoNewPrivs /proc/self/status", 0, "NoNewPrivs:\t1");
	expect(w, "grep Seccomp: /proc/self/status", 0, "Seccomp:\t2");
	expect(w, "umask", 0, "0077");
	expect(w, "echo x >app-root/data/f && cat app-root/data/f", 0, "x");
	expect(w, "touch here", 1, "Permission denied");
	expect(w, "touch app-root/runtime/repo/a && ls app-root/repo/", 0, "a");
	expect(w, "touch /usr/x", 1, "Read-only");
	expect(w, "touch /etc/x", 1, "Read-only");
	expect(w, "touch /tmp/x && stat -c %U /tmp/x", 0, GEAR);
	expect(w, "unshare -U true", 1, "Operation not permitted");
	expect(w, "mount -t tmpfs x /tmp", 32, "must be superuser");
	expect(w, "ls /proc | grep -c '^[0-9]'", 0, "");
	expect(w, "test $$ -gt 200", 0, ""); /* no small numbers for stale pid files to name */
	expect(w, "exit 7", 7, "");
	expect(w, "kill -9 $$", 137, "");
	destroy(w);
}

static void
test_limits(void **state)
{
	struct world *w = *state;

	start(w);
	expect(w, "head -c 300m /dev/zero | tail >/dev/null", 137, "");
	expect(w,
	    "exec perl -e 'for (1..100) { $p = fork; exit 9 if !defined $p; sleep 9 if !$p }'", 9,
	    "");
	destroy(w);
}

static void
on_end(struct container *c, void *arg)
{
	struct world *w = arg;

	(void)c;
	w->is_done = true;
}

static void
test_end(void **state)
{
	struct world *w = *state;

	start(w);
	container_on_end(w->c, on_end, w);
	assert_int_equal(container_signal(w->c, SIGKILL), 0);
	wait_done(w);
	assert_int_equal(container_pid(w->c), 0);
	assert_int_equal(container_signal(w->c, SIGTERM), -1);
	destroy(w);
	start(w); /* the same name again, with the same upper */
	destroy(w);
}

static void
on_adopted(struct container *c, void *arg)
{
	struct world *w = arg;

	w->c = c;
	w->is_done = true;
}

static void
test_adopt(void **state)
{
	struct world *w = *state;

	start(w);
	container_free(w->c);
	close_host(w);
	open_host(w);
	container_adopt(w->host, GEAR, ID, on_adopted, w);
	wait_done(w);
	assert_non_null(w->c);
	assert_string_equal(container_note(w->c, "deployment"), "d1");
	expect(w, "id -u", 0, "1000");
	destroy(w);
	container_adopt(w->host, GEAR, ID, on_adopted, w);
	wait_done(w);
	assert_null(w->c);
}

static void
test_failed_start(void **state)
{
	struct world *w = *state;
	AUTO_FINI(container_spec_fini) struct container_spec s = { 0 };
	AUTO_FINI(str_list_fini) struct str_list left = { 0 };
	struct err e = { 0 };
	struct container *c;

	make_spec(w, &s);
	mem_set_str(&s.args.v[0], "/no/such/program");
	c = container_start(w->host, &s, on_started, w, &e);
	assert_non_null(c);
	wait_done(w);
	assert_int_equal(w->failed.code, ERR_SYSTEM);
	assert_non_null(strstr(w->failed.text, "/no/such/program"));
	container_free(c);
	assert_ok(container_list(w->host, &left, &e), &e);
	assert_int_equal(left.n, 0);
	memset(&w->failed, 0, sizeof w->failed);
	str_list_add(&s.lowers, "/no/such/layer");
	mem_set_str(&s.args.v[0], "/run/pinion/init");
	c = container_start(w->host, &s, on_started, w, &e);
	assert_non_null(c);
	wait_done(w);
	assert_non_null(strstr(w->failed.text, "/no/such/layer"));
	container_free(c);
	s.id[0] = '/';
	assert_null(container_start(w->host, &s, on_started, w, &e));
	assert_string_equal(e.field, "id");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_adopt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_start, setup, teardown),
	};

	if (geteuid() != 0 || access("/usr/bin/crun", X_OK) < 0) {
		printf("1..0 # SKIP needs root and crun\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
