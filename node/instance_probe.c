#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/http/http_client.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"
#include "node/container.h"
#include "node/instance_state.h"
#include "node/listeners.h"
#include "node/node_dirs.h"

enum {
	PROBE_MIN_MS = 2,
	PROBE_MAX_MS = 50,
	PROBE_SLOW_MS = 250, /* after SLOW_AFTER_MS */
	SLOW_AFTER_MS = 5000,
	OTHER_PORT_MS = 400, /* how long the right port may still come up when another listens */
	CONNECT_MS = 500,
	SCRIPT_MS = 3000,     /* a script may run on for so long once the port is open */
	LOOKS_SKIPPED = 4,    /* in a row, while no socket comes or goes */
	WORD_MS = 2000,       /* and an endpoint may stay closed once the script has ended */
	HEALTH_MS = 10000,    /* one request */
	HEALTH_BAD_MS = 8000, /* wrong answers for that long: it will not get better */
};

/* One look: what init says, who listens, does the way there work. */
struct probe_job {
	struct instance *owner; /* done only */
	struct net *net;
	char *id, *ctl; /* owned */
	char address[NET_ADDRESS_MAX];
	pid_t pid;
	int forward_port; /* in: what is set; out: what is set now */
	char forward_loopback[46];
	bool is_strict; /* only the port that it should have will do, yet; of a service: its script
	                   must have ended */
	bool is_service;
	bool takes_word;     /* a service's script that ended well is enough, after a while */
	bool waits;          /* until the start script has ended */
	char service_ip[16]; /* its first endpoint, or that of the web; port 0: it has none */
	int service_port;
	struct str_list addons; /* of a web instance: "IP:PORT" where others listen than the web */
	/* out */
	struct init_status init;
	bool has_init, has_other, is_open, is_connected;
	int64_t sockets; /* in and out, as the next: listeners_sockets at the last whole look */
	int skipped;     /* looks since then; -1: it found somebody */
	int v6_port;
	struct err e;
};

static void
free_probe(void *take_job)
{
	struct probe_job *j = take_job;

	codec_fini(&init_status_codec, &j->init);
	str_list_fini(&j->addons);
	free(j->id);
	free(j->ctl);
	free(j);
}

static bool
can_connect(const char *address)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(NET_PORT) };
	AUTO(file_close)
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t n = sizeof(int);
	int error = 0;

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return false;
	if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
		return true;
	if (errno != EINPROGRESS || poll(&p, 1, CONNECT_MS) != 1)
		return false;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0;
}

/* Leads the address's port to where the application listens. */
static int
forward(struct probe_job *j, const struct listener_addr *a, struct err *e)
{
	const char *loopback = a->is_any ? "" : a->address;

	if (j->forward_port == a->port && strcmp(j->forward_loopback, loopback) == 0)
		return 0;
	if (net_forward(j->net, j->id, a->is_any ? NULL : a->address, a->port, e) < 0)
		return -1;
	j->forward_port = a->port;
	(void)snprintf(j->forward_loopback, sizeof j->forward_loopback, "%s", loopback);
	return 0;
}

/* v2 never asked whether a service listens. */
static bool
has_said_so(const struct probe_job *j)
{
	return j->takes_word && j->has_init && j->init.start_ended &&
	       (int64_t)time(NULL) * 1000 - j->init.start_ended_ms > WORD_MS;
}

/* Its script ended well, or runs on for good, and its endpoint is open. */
static void
look_at_service(struct probe_job *j, const struct listeners *l)
{
	bool is_open = j->service_port == 0 || has_said_so(j);

	for (size_t k = 0; k < l->n && !is_open; k++)
		is_open = l->v[k].port == j->service_port &&
		          (l->v[k].is_any || strcmp(l->v[k].address, j->service_ip) == 0);
	j->has_other = is_open;
	j->is_connected = is_open && j->has_init && j->init.exit_code <= 0 &&
	                  j->init.exit_signal == 0 && (j->init.start_ended || !j->is_strict);
}

/* What add-ons listen on is never taken for the application. */
static void
leave_out_addons(const struct probe_job *j, struct listeners *l)
{
	size_t n = 0;

	for (size_t k = 0; k < l->n; k++) {
		AUTO(free) char *at = xasprintf("%s:%d", l->v[k].address, l->v[k].port);

		if (l->v[k].is_any || !str_list_has(&j->addons, at))
			l->v[n++] = l->v[k];
	}
	l->n = n;
}

static int
wanted_port(const struct probe_job *j)
{
	return j->service_port != 0 ? j->service_port : NET_PORT;
}

/* Where the application listens: where its cartridge says, else anywhere. */
static const struct listener_addr *
pick(const struct probe_job *j, const struct listeners *l)
{
	const struct listener_addr *a;

	for (size_t k = 0; k < l->n && j->service_port != 0; k++) {
		if (l->v[k].port == j->service_port && strcmp(l->v[k].address, j->service_ip) == 0)
			return &l->v[k];
	}
	a = listeners_pick(l, wanted_port(j));
	return a == NULL || a->port == wanted_port(j) ? a : listeners_pick(l, NET_PORT);
}

/* To list the sockets costs the more, the more gears the machine has; their number is told at once.
 * When nobody listened and it is the same, the list is, too: but for one that came as another went,
 * so that now and then it is read all the same. */
static bool
is_as_before(struct probe_job *j)
{
	int64_t now = listeners_sockets(j->pid);
	bool is_same =
	    now >= 0 && now == j->sockets && j->skipped >= 0 && j->skipped < LOOKS_SKIPPED;

	j->sockets = now;
	j->skipped = is_same ? j->skipped + 1 : 0;
	return is_same;
}

static void
run_probe(void *job)
{
	struct probe_job *j = job;
	AUTO_FINI(listeners_fini) struct listeners l = { 0 };
	const struct listener_addr *a;
	struct err e = { 0 };

	j->has_init = init_control_status(j->ctl, &j->init, &e) == 0;
	if (is_as_before(j))
		return;
	if (listeners_read(j->pid, j->address, &l, &e) < 0)
		return; /* it has ended: its pidfd tells */
	if (j->is_service) {
		look_at_service(j, &l);
		j->skipped = j->has_other ? -1 : 0;
		return;
	}
	leave_out_addons(j, &l);
	a = pick(j, &l);
	if (a == NULL) {
		a = listeners_unreachable(&l);
		j->v6_port = a == NULL ? 0 : a->port;
		j->skipped = a == NULL ? 0 : -1;
		return;
	}
	j->skipped = -1;
	if (a->port != wanted_port(j) && j->is_strict) {
		j->has_other = true;
		return;
	}
	if (forward(j, a, &j->e) != 0)
		return;
	j->is_open = can_connect(j->address);
	/* A start that leaves a daemon is done when its script is: hooks may follow. */
	j->is_connected = j->is_open && (!j->waits || (j->has_init && j->init.start_ended));
}

static void on_timer(void *arg);

static void
again(struct instance *i)
{
	int64_t ms = i->probe_ms * 3 / 2 + 1;

	if (loop_now_ms() - i->begun_ms > SLOW_AFTER_MS)
		ms = PROBE_SLOW_MS;
	else if (ms > PROBE_MAX_MS)
		ms = PROBE_MAX_MS;
	i->probe_ms = ms;
	loop_timer_cancel(i->timer);
	i->timer = loop_timer_start(i->table->o.loop, ms, false, on_timer, i);
}

static void
add_notes(struct instance *i)
{
	if (i->forward_port != NET_PORT)
		instance_note(i,
		    "listens on port %d instead of $PORT (%d): requests are sent there",
		    i->forward_port, NET_PORT);
	if (str_has_prefix(i->forward_loopback, "127.0.0."))
		instance_note(i,
		    "listens on %s only: served all the same; $HOST is the address to use",
		    i->forward_loopback);
}

static bool
is_healthy(int status)
{
	return (status >= 200 && status < 400) || status == 401;
}

static void
be_ready(struct instance *i)
{
	if (i->spec.kind != WIRE_INSTANCE_SERVICE)
		add_notes(i);
	instance_is_ready(i);
}

static void
on_status(const struct wire_act_result *r, void *arg)
{
	struct instance *i = arg;
	bool is_well = instance_live_is_well(r);

	i->status_act = NULL;
	mem_set_str(&i->status_why, is_well ? NULL : r->reason);
	if (is_well)
		be_ready(i);
	else
		again(i);
}

/* It answers; the cartridge has the last word where it is asked at all. */
static void
settle(struct instance *i)
{
	if (i->spec.health_status)
		i->status_act = instance_live_ask(i, on_status, i);
	if (i->status_act == NULL)
		be_ready(i);
}

static void
on_health(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct instance *i = arg;
	int64_t now = loop_now_ms();

	(void)c;
	(void)body;
	i->call = NULL;
	if (e == NULL && is_healthy(status)) {
		settle(i);
		return;
	}
	i->health_status = e == NULL ? status : 0;
	if (e != NULL) {
		i->health_bad_ms = 0;
	} else if (i->health_bad_ms == 0) {
		i->health_bad_ms = now;
	} else if (now - i->health_bad_ms > HEALTH_BAD_MS) {
		instance_fail(i, "GET %s answered %d", i->spec.health_path, status);
		return;
	}
	again(i);
}

struct http_call *
instance_health_call(const struct instance *i, int64_t timeout_ms, int64_t connect_ms,
    http_call_end_fn *fn, void *arg, struct err *e)
{
	bool is_tls = instance_links_is_tls(i);
	AUTO(free)
	char *url = xasprintf("%s://%s:%d%s%s", is_tls ? "https" : "http", i->link.address,
	    NET_PORT, i->spec.health_path[0] == '/' ? "" : "/", i->spec.health_path);
	const char *const headers[] = { "User-Agent: pinion-health", "Connection: close", NULL };
	const struct http_call_opts o = {
		.url = url,
		.headers = headers,
		.timeout_ms = timeout_ms,
		.connect_timeout_ms = connect_ms,
		.body_max = 1 << 20,
		.trusts_all = true,
	};

	return http_call_start(i->table->o.http, &o, fn, arg, e);
}

static void
check_health(struct instance *i)
{
	struct err e = { 0 };

	i->call = instance_health_call(i, HEALTH_MS, CONNECT_MS, on_health, i, &e);
	if (i->call == NULL)
		instance_fail(i, "the health check cannot be made: %s", e.text);
}

/* "Its start failed": v2 goes by the script's status, whatever it left running. */
static bool
has_script_failed(const struct probe_job *j)
{
	return j->is_service && j->has_init && j->init.start_ended &&
	       (j->init.exit_code > 0 || j->init.exit_signal > 0);
}

static void
done_probe(void *job)
{
	struct probe_job *j = job;
	struct instance *i = j->owner;
	bool is_connected = j->is_connected;
	bool has_failed = has_script_failed(j);
	int64_t status = j->init.exit_signal > 0 ? 128 + j->init.exit_signal : j->init.exit_code;

	i->job = NULL;
	i->forward_port = j->forward_port;
	i->v6_port = j->v6_port;
	i->probe_sockets = j->sockets;
	i->probe_skipped = j->skipped;
	memcpy(i->forward_loopback, j->forward_loopback, sizeof i->forward_loopback);
	if (j->is_open && i->open_ms == 0)
		i->open_ms = loop_now_ms();
	if (j->has_other && i->other_port_ms == 0)
		i->other_port_ms = loop_now_ms();
	if (j->e.code != ERR_NONE)
		log_warn(
		    "instance_forward_failed", LOG_STR("instance", i->spec.id), LOG_ERR(&j->e));
	free_probe(j);
	if (i->step != STEP_PROBE || i->has_ended || !instance_wants_running(i) ||
	    (i->is_late && !is_connected)) {
		instance_next(i); /* its end, a wish or the limit came first */
	} else if (has_failed) {
		instance_fail(i, "the %s cartridge's start failed (exit code: %" PRId64 ")",
		    i->spec.cart, status);
	} else if (!is_connected) {
		again(i);
	} else if (i->spec.health_path != NULL && i->spec.health_path[0] != '\0') {
		check_health(i);
	} else {
		settle(i);
	}
}

static void
look(struct instance *i)
{
	struct probe_job *j = xcalloc(1, sizeof *j);
	bool is_stock = true;
	AUTO(free) char *gear_dir = node_dirs_gear(i->table->o.dirs, i->spec.gear);

	*j = (struct probe_job){
		.owner = i,
		.net = i->table->o.net,
		.id = xstrdup(i->spec.id),
		.ctl = xasprintf("%s/inst/%s/ctl", gear_dir, i->spec.id),
		.pid = container_pid(i->container),
		.forward_port = i->forward_port,
		.sockets = i->probe_sockets,
		.skipped = i->probe_skipped,
		.is_strict =
		    i->other_port_ms == 0 || loop_now_ms() - i->other_port_ms < OTHER_PORT_MS,
	};
	if (i->spec.kind == WIRE_INSTANCE_SERVICE) {
		j->is_service = true;
		j->is_strict =
		    i->other_port_ms == 0 || loop_now_ms() - i->other_port_ms < SCRIPT_MS;
		j->service_port = instance_links_endpoint(i, j->service_ip, &is_stock);
		j->takes_word = !is_stock;
	} else {
		instance_links_addons(i, &j->addons);
	}
	j->waits = !j->is_service && instance_links_front(i, j->service_ip, &j->service_port) &&
	           (i->open_ms == 0 || loop_now_ms() - i->open_ms < SCRIPT_MS);
	memcpy(j->address, i->link.address, sizeof j->address);
	memcpy(j->forward_loopback, i->forward_loopback, sizeof j->forward_loopback);
	i->job = worker_submit(i->table->o.worker, run_probe, done_probe, free_probe, j);
}

static void
on_timer(void *arg)
{
	struct instance *i = arg;

	if (i->job == NULL)
		look(i);
}

void
instance_probe(struct instance *i)
{
	i->probe_ms = PROBE_MIN_MS;
	i->probe_sockets = -1;
	i->forward_port = 0;
	i->v6_port = 0;
	i->forward_loopback[0] = '\0';
	i->other_port_ms = 0;
	i->open_ms = 0;
	i->health_bad_ms = 0;
	i->health_status = 0;
	look(i);
}

void
instance_probe_stop(struct instance *i)
{
	loop_timer_cancel(STEAL(i->timer));
	http_call_cancel(STEAL(i->call));
	gear_act_cancel(STEAL(i->status_act));
	mem_set_str(&i->status_why, NULL);
}
