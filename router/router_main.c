/* router/router_main.c: pinion-router: start, wiring, stop. */
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/fault.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "lib/wire/wire_route.h"
#include "router/access_log.h"
#include "router/app_lines.h"
#include "router/cert_table.h"
#include "router/fleet.h"
#include "router/host_table.h"
#include "router/memory_watch.h"
#include "router/metrics.h"
#include "router/route_static.h"
#include "router/route_watch.h"
#include "router/router_conf.h"
#include "router/takeover.h"
#include "router/tls_ctx.h"
#include "router/traffic.h"
#include "router/wake.h"

enum { IDLE_END_MS = 1000, PROGRAM_MAX = 4096, ROTATE_MS = 12 * 3600 * 1000 };

struct router {
	struct router_conf conf;
	char **argv;            /* borrowed */
	char self[PROGRAM_MAX]; /* the program, as the name was at the start */
	struct loop *loop;      /* owned, as all */
	struct worker *worker;
	struct access_log *access;
	struct fleet *fleet;
	struct route_watch *watch; /* this one, or table */
	struct route_static *table;
	struct app_lines *lines; /* likewise */
	struct traffic *traffic;
	struct metrics *metrics; /* NULL: not served */
	struct memory_watch *memory;
	struct wake *wake; /* NULL: nothing is woken */
	struct takeover_sockets inherited;
	struct takeover *takeover; /* NULL: nobody can take over */
	char *name;                /* owned: that of conf, while it leaves */
	int other;                 /* owned: to the one whose place we take; -1: none */
	struct loop_signal *signals[5];
	struct loop_timer *deadline; /* of the drain */
	struct loop_timer *rotation; /* of the keys of tickets; NULL: the broker makes them */
	bool is_ready;               /* was told */
	bool is_draining;
};

static int
count_threads(const struct router_conf *c)
{
	cpu_set_t cpus;
	int n = 1;

	if (c->threads != 0)
		return (int)c->threads;
	if (sched_getaffinity(0, sizeof cpus, &cpus) == 0)
		n = CPU_COUNT(&cpus);
	return n < ROUTER_THREADS_DEFAULT ? n : ROUTER_THREADS_DEFAULT;
}

/* As many connections as the system lets us have. */
static void
raise_file_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

/* --- the place of another, and another in ours --- */

static void
set_name(struct router *r, bool leaves)
{
	if (!leaves) {
		if (r->name == NULL)
			return;
		free(r->conf.id);
		r->conf.id = STEAL(r->name);
	} else {
		if (r->name == NULL)
			r->name = STEAL(r->conf.id);
		free(r->conf.id);
		r->conf.id = xasprintf("%s" WIRE_ROUTER_LEAVES "%d", r->name, (int)getpid());
	}
	if (r->watch != NULL)
		route_watch_rename(r->watch);
}

static void
on_saved(void *arg)
{
	struct router *r = arg;

	takeover_give(r->takeover);
}

static void
on_takeover_ask(void *arg)
{
	struct router *r = arg;

	set_name(r, true);
	if (r->watch != NULL)
		route_watch_stop_saving(r->watch, on_saved, r);
	else
		on_saved(r);
}

static void
on_takeover_failed(void *arg)
{
	struct router *r = arg;

	set_name(r, false);
	if (r->watch != NULL)
		route_watch_save_again(r->watch);
}

static void on_takeover_done(void *arg);

/* From now on others ask us. */
static void
finish_takeover(struct router *r)
{
	struct takeover_opts o = { r->conf.state_dir, r->fleet, on_takeover_ask, on_takeover_done,
		on_takeover_failed, r };
	struct err e = { 0 };

	if (r->conf.state_dir == NULL)
		return;
	r->takeover = takeover_new(r->loop, &o, &e);
	if (r->takeover == NULL)
		log_error("takeover_impossible", LOG_ERR(&e));
	if (r->other >= 0)
		takeover_done(r->other);
	r->other = -1;
}

/* The program as it lies there now, with the options of now, takes over. */
static void
on_upgrade(void *arg)
{
	static const char *const last[] = { "--ready-fd", "-1" };
	struct router *r = arg;
	char **argv;
	posix_spawnattr_t attr;
	sigset_t none;
	size_t n = 0;
	pid_t pid;
	int rc;

	if (r->conf.state_dir == NULL) {
		log_warn("upgrade_refused", LOG_STR("why", "it needs --state-dir"));
		return;
	}
	while (r->argv[n] != NULL)
		n++;
	argv = xcalloc(n + ARRAY_LEN(last) + 1, sizeof *argv);
	memcpy(argv, r->argv, n * sizeof *argv);
	if (n < 3 || strcmp(argv[n - 2], last[0]) != 0 || strcmp(argv[n - 1], last[1]) != 0)
		memcpy(argv + n, last, sizeof last);
	(void)sigemptyset(&none);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	rc = posix_spawn(&pid, r->self, NULL, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	free(argv);
	if (rc != 0)
		log_error(
		    "upgrade_failed", LOG_STR("program", r->self), LOG_STR("why", strerror(rc)));
	else
		log_info("upgrade_begun", LOG_STR("program", r->self), LOG_INT("pid", pid));
}

static void
tell_ready(struct router *r)
{
	struct err e = { 0 };
	char line[64];
	int fd = (int)r->conf.ready_fd;

	r->is_ready = true;
	finish_takeover(r);
	log_info("router_ready", LOG_INT("port", fleet_port(r->fleet, "http")),
	    LOG_INT("https", fleet_port(r->fleet, "https")),
	    LOG_INT("routes", host_table_count(fleet_table(r->fleet))));
	if (fd < 0)
		return;
	(void)snprintf(line, sizeof line, "{\"http\":%d,\"https\":%d}\n",
	    fleet_port(r->fleet, "http"), fleet_port(r->fleet, "https"));
	if (file_write_all(fd, line, strlen(line), &e) < 0)
		log_warn("ready_fd_failed", LOG_ERR(&e));
	close(fd);
}

static void
on_fleet_change(void *arg)
{
	struct router *r = arg;

	if (!r->is_ready && fleet_is_settled(r->fleet))
		tell_ready(r);
	if (r->watch != NULL)
		route_watch_report(r->watch);
}

static void
on_hangup(void *arg)
{
	struct router *r = arg;
	struct err e = { 0 };

	if (fleet_tls(r->fleet) != NULL &&
	    tls_ctx_reload(fleet_tls(r->fleet), &r->conf.cert, &e) < 0)
		log_warn("certificates_kept", LOG_ERR(&e));
	if (r->table != NULL)
		route_static_refresh(r->table);
}

static void
on_reopen(void *arg)
{
	struct router *r = arg;

	if (r->access != NULL)
		access_log_reopen(r->access);
}

static void
on_drained(void *arg)
{
	struct router *r = arg;

	loop_stop(r->loop);
}

static void
on_stop(void *arg)
{
	struct router *r = arg;

	if (r->is_draining) {
		loop_stop(r->loop);
		return;
	}
	r->is_draining = true;
	log_info("router_drains", LOG_INT("seconds", r->conf.drain_s));
	r->deadline = loop_timer_start(r->loop, r->conf.drain_s * 1000, false, on_drained, r);
	fleet_drain(r->fleet, false, on_drained);
}

/* Who is still idle is told that it is the end, rather than meeting it with a request. */
static void
on_leave_deadline(void *arg)
{
	struct router *r = arg;

	loop_timer_cancel(r->deadline);
	r->deadline = loop_timer_start(r->loop, IDLE_END_MS, false, on_drained, r);
	fleet_drain_idle(r->fleet);
}

static void
on_takeover_done(void *arg)
{
	struct router *r = arg;

	r->is_draining = true;
	log_info("router_leaves", LOG_INT("seconds", r->conf.drain_s));
	r->deadline =
	    loop_timer_start(r->loop, r->conf.drain_s * 1000, false, on_leave_deadline, r);
	fleet_drain(r->fleet, true, on_drained);
}

/* Where no broker makes keys for all routers. */
static void
on_rotate(void *arg)
{
	struct router *r = arg;

	cert_table_rotate(tls_ctx_certs(fleet_tls(r->fleet)));
}

static int
start(struct router *r, struct err *e)
{
	int lanes = count_threads(&r->conf);
	enum access_format format;

	r->loop = loop_new();
	r->worker = worker_new(r->loop, 1);
	if (access_format_parse(r->conf.access_log_format, &format, e) < 0)
		return -1;
	if (r->conf.access_log != NULL) {
		r->access = access_log_open(
		    r->conf.access_log, format, r->conf.access_log_max_mb * 1000000, lanes, e);
		if (r->access == NULL)
			return -1;
	}
	if (r->conf.state_dir != NULL) {
		r->other = takeover_ask(r->conf.state_dir, &r->inherited, e);
		if (r->other < 0 && e->code != ERR_NONE)
			return -1;
	}
	r->fleet =
	    fleet_new(r->loop, &r->conf, lanes, r->access, &r->inherited, on_fleet_change, r, e);
	if (r->fleet == NULL)
		return -1;
	if (r->conf.routes != NULL) {
		r->table = route_static_new(r->loop, r->worker, r->fleet, r->conf.routes, e);
		if (r->table == NULL)
			return -1;
	} else {
		r->watch = route_watch_new(r->loop, r->worker, &r->conf, e);
		if (r->watch == NULL || route_watch_load(r->watch, r->fleet, e) < 0 ||
		    route_watch_start(r->watch, e) < 0)
			return -1;
	}
	if (r->conf.feed != NULL &&
	    (r->lines = app_lines_new(r->loop, r->fleet, &r->conf, e)) == NULL)
		return -1;
	if ((r->traffic = traffic_new(r->loop, r->fleet, &r->conf, e)) == NULL)
		return -1;
	if (r->conf.metrics != NULL && (r->metrics = metrics_new(r->loop, r->fleet, r->traffic,
	                                    r->access, &r->conf, e)) == NULL)
		return -1;
	if (r->conf.wake_token_file != NULL &&
	    (r->wake = wake_new(r->loop, r->fleet, &r->conf, e)) == NULL)
		return -1;
	r->memory = memory_watch_new(r->loop, r->fleet, &r->conf);
	if (r->conf.feed == NULL && fleet_tls(r->fleet) != NULL)
		r->rotation = loop_timer_start(r->loop, ROTATE_MS, true, on_rotate, r);
	r->signals[0] = loop_signal_start(r->loop, SIGTERM, on_stop, r);
	r->signals[1] = loop_signal_start(r->loop, SIGINT, on_stop, r);
	r->signals[2] = loop_signal_start(r->loop, SIGHUP, on_hangup, r);
	r->signals[3] = loop_signal_start(r->loop, SIGUSR1, on_reopen, r);
	r->signals[4] = loop_signal_start(r->loop, SIGUSR2, on_upgrade, r);
	if (r->other >= 0)
		fault_point("router_takeover");
	if (fleet_start(r->fleet, e) < 0)
		return -1;
	on_fleet_change(r); /* nothing is under way when there is no table yet */
	return 0;
}

static void
finish(struct router *r)
{
	takeover_free(r->takeover);
	takeover_sockets_fini(&r->inherited);
	file_close(r->other);
	free(r->name);
	route_watch_free(r->watch);
	route_static_free(r->table);
	memory_watch_free(r->memory);
	metrics_stop(r->metrics);
	traffic_stop(r->traffic);
	app_lines_stop(r->lines);
	wake_stop(r->wake);
	fleet_free(r->fleet);
	metrics_free(r->metrics);
	traffic_free(r->traffic);
	app_lines_free(r->lines);
	wake_free(r->wake);
	access_log_close(r->access);
	loop_timer_cancel(r->deadline);
	loop_timer_cancel(r->rotation);
	for (size_t i = 0; i < ARRAY_LEN(r->signals); i++)
		loop_signal_cancel(r->signals[i]);
	if (r->worker != NULL)
		worker_free(r->worker);
	if (r->loop != NULL)
		loop_free(r->loop);
	router_conf_fini(&r->conf);
}

int
main(int argc, char **argv)
{
	struct router r = { .other = -1, .argv = argv };
	struct err e = { 0 };
	enum log_level level = LOG_INFO;
	int rc;

	mem_setup();
	rc = router_conf_load(argc, argv, &r.conf, &e);
	if (rc > 0)
		return 0;
	if (rc == 0 && log_level_parse(r.conf.log_level, &level) < 0)
		rc = err_set(&e, ERR_INVALID, "log-level", "must be debug, info, warn or error");
	if (rc == 0) {
		log_setup("pinion-router", level, r.conf.log_json);
		(void)signal(SIGPIPE, SIG_IGN);
		(void)signal(SIGCHLD, SIG_IGN); /* a new version needs no reaping */
		if (readlink("/proc/self/exe", r.self, sizeof r.self - 1) < 0)
			(void)snprintf(r.self, sizeof r.self, "%s", argv[0]);
		raise_file_limit();
		rc = start(&r, &e);
	}
	if (rc == 0)
		loop_run(r.loop);
	else
		(void)fprintf(stderr, "pinion-router: %s%s%s\n", e.field,
		    *e.field == '\0' ? "" : ": ", e.text);
	finish(&r);
	return rc == 0 ? 0 : err_exit_code(e.code);
}
