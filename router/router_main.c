/* router/router_main.c: pinion-router: start, wiring, stop. */
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "router/access_log.h"
#include "router/app_lines.h"
#include "router/fleet.h"
#include "router/host_table.h"
#include "router/route_file.h"
#include "router/route_watch.h"
#include "router/router_conf.h"
#include "router/traffic.h"
#include "router/wake.h"

struct router {
	struct router_conf conf;
	struct loop *loop; /* owned, as all */
	struct worker *worker;
	struct access_log *access;
	struct fleet *fleet;
	struct route_watch *watch;
	struct app_lines *lines; /* likewise */
	struct traffic *traffic; /* NULL: nobody to tell */
	struct wake *wake;       /* NULL: nothing is woken */
	struct loop_signal *signals[4];
	struct loop_timer *deadline; /* of the drain */
	int64_t static_revision;     /* counts loads of the static table */
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

static void
tell_ready(struct router *r)
{
	struct err e = { 0 };
	char line[64];
	int fd = (int)r->conf.ready_fd;

	r->is_ready = true;
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

static int
load_static(struct router *r, struct err *e)
{
	if (route_file_load(fleet_table(r->fleet), r->conf.routes, e) < 0)
		return -1;
	(void)malloc_trim(0); /* a large table leaves much behind */
	fleet_publish(r->fleet, ++r->static_revision);
	return 0;
}

static void
on_hangup(void *arg)
{
	struct router *r = arg;
	struct err e = { 0 };

	if (r->conf.routes == NULL)
		return;
	if (load_static(r, &e) < 0)
		log_warn("routes_kept", LOG_ERR(&e));
	else
		log_info("routes_read", LOG_INT("routes", host_table_count(fleet_table(r->fleet))));
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
	fleet_drain(r->fleet, on_drained);
}

static int
start(struct router *r, struct err *e)
{
	int lanes = count_threads(&r->conf);

	r->loop = loop_new();
	r->worker = worker_new(r->loop, 1);
	if (r->conf.access_log != NULL) {
		r->access = access_log_open(
		    r->conf.access_log, r->conf.access_log_max_mb * 1000000, lanes, e);
		if (r->access == NULL)
			return -1;
	}
	r->fleet = fleet_new(r->loop, &r->conf, lanes, r->access, on_fleet_change, r, e);
	if (r->fleet == NULL)
		return -1;
	if (r->conf.routes != NULL) {
		if (load_static(r, e) < 0)
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
	if (r->conf.feed != NULL &&
	    (r->traffic = traffic_new(r->loop, r->fleet, &r->conf, e)) == NULL)
		return -1;
	if (r->conf.wake_token_file != NULL &&
	    (r->wake = wake_new(r->loop, r->fleet, &r->conf, e)) == NULL)
		return -1;
	r->signals[0] = loop_signal_start(r->loop, SIGTERM, on_stop, r);
	r->signals[1] = loop_signal_start(r->loop, SIGINT, on_stop, r);
	r->signals[2] = loop_signal_start(r->loop, SIGHUP, on_hangup, r);
	r->signals[3] = loop_signal_start(r->loop, SIGUSR1, on_reopen, r);
	if (fleet_start(r->fleet, e) < 0)
		return -1;
	on_fleet_change(r); /* nothing is under way when there is no table yet */
	return 0;
}

static void
finish(struct router *r)
{
	route_watch_free(r->watch);
	traffic_stop(r->traffic);
	app_lines_stop(r->lines);
	wake_stop(r->wake);
	fleet_free(r->fleet);
	traffic_free(r->traffic);
	app_lines_free(r->lines);
	wake_free(r->wake);
	access_log_close(r->access);
	loop_timer_cancel(r->deadline);
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
	struct router r = { 0 };
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
