#include "router/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/http_bearer.h"
#include "lib/http/http_server.h"
#include "lib/loop/loop.h"
#include "router/access_log.h"
#include "router/fleet.h"
#include "router/hold.h"
#include "router/host_table.h"
#include "router/lane.h"
#include "router/router_conf.h"
#include "router/stats.h"
#include "router/traffic.h"

enum { WAITING_MAX = 64, FIRST_PLACE = 11, PLACE_STEP = 2, SOCKET_MODE = 0600, STAT_MAX = 4096 };

/* A lane's copy. */
struct copy {
	struct stats_all all;
	int64_t clients, upstreams, held;
};

struct metrics {
	struct fleet *fleet; /* borrowed, as the next three */
	const struct traffic *traffic;
	const struct access_log *log;
	const struct router_conf *conf;
	struct loop *loop;          /* borrowed */
	struct http_server *server; /* owned */
	char *token;                /* owned */
	struct http_req *waiting[WAITING_MAX];
	size_t waiting_n;
	atomic_int left; /* lanes that have not answered */
	bool is_looking;
	int lanes;
	struct copy copy[];
};

/* --- text --- */

static void
add_head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(
	    b, "# HELP pinion_router_%s %s\n# TYPE pinion_router_%s %s\n", name, help, name, type);
}

static void
add_one(struct buf *b, const char *name, const char *type, const char *help, uint64_t v)
{
	add_head(b, name, type, help);
	buf_addf(b, "pinion_router_%s %" PRIu64 "\n", name, v);
}

/* Seconds without rounding: scrapers take differences. */
static void
add_seconds(struct buf *b, uint64_t us)
{
	buf_addf(b, " %" PRIu64 ".%06" PRIu64 "\n", us / 1000000, us % 1000000);
}

static void
add_times(struct buf *b, const char *name, const char *help, const struct stats_times *t)
{
	uint64_t seen = 0;
	unsigned i = 0;

	add_head(b, name, "histogram", help);
	for (unsigned end = FIRST_PLACE; end < WIRE_TOOK_PLACES - 1; end += PLACE_STEP) {
		for (; i <= end; i++)
			seen += t->bucket[i];
		buf_addf(b, "pinion_router_%s_bucket{le=\"%g\"} %" PRIu64 "\n", name,
		    (double)wire_took_end(end) / 1e6, seen);
	}
	buf_addf(b, "pinion_router_%s_bucket{le=\"+Inf\"} %" PRIu64 "\npinion_router_%s_sum", name,
	    t->n, name);
	add_seconds(b, t->sum_us);
	buf_addf(b, "pinion_router_%s_count %" PRIu64 "\n", name, t->n);
}

static void
add_label(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			buf_addc(b, '\\');
		buf_addc(b, (unsigned char)*s < ' ' ? '?' : *s);
	}
}

static const char *const class_names[STATS_CLASSES] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };

static void
add_requests(struct buf *b, const struct stats_all *s)
{
	add_head(b, "requests_total", "counter", "Requests that ended, by class of status.");
	for (int i = 0; i < STATS_CLASSES; i++)
		buf_addf(b, "pinion_router_requests_total{code=\"%s\"} %" PRIu64 "\n",
		    class_names[i], s->requests[i]);
	add_times(b, "request_duration_seconds", "From the first byte to the last.", &s->total);
	add_times(b, "router_duration_seconds",
	    "Of a request in the router itself, until it was sent.", &s->router);
	add_times(b, "queue_duration_seconds", "Of requests that waited for their application.",
	    &s->queue);
	add_times(b, "connect_duration_seconds", "Of connections to instances.", &s->connect);
	add_times(b, "app_duration_seconds", "From a request sent to the first byte of its answer.",
	    &s->app);
	add_times(b, "tls_handshake_duration_seconds", "Of handshakes with clients.", &s->tls);
	add_one(b, "retries_total", "counter", "Tries of requests that failed.", s->retries);
	add_one(b, "retries_denied_total", "counter",
	    "Requests that failed because too many were tried again.", s->over_budget);
	add_one(b, "hedges_total", "counter", "Requests that a second instance was asked, too.",
	    s->hedges);
	add_one(b, "hedges_won_total", "counter", "Of them, those that it answered first.",
	    s->hedges_won);
	add_head(b, "tunnel_duration_seconds", "summary",
	    "Of WebSockets and other upgrades that ended, from their request to their end.");
	buf_addf(b,
	    "pinion_router_tunnel_duration_seconds_count %" PRIu64
	    "\npinion_router_tunnel_duration_seconds_sum",
	    s->tunnels);
	add_seconds(b, s->tunnels_us);
	add_one(b, "received_bytes_total", "counter", "Bodies from clients.", s->bytes_in);
	add_one(b, "sent_bytes_total", "counter", "Bodies to clients.", s->bytes_out);
}

static void
add_connections(struct metrics *m, struct buf *b, const struct copy *c)
{
	const struct stats_all *s = &c->all;

	add_one(b, "connections_total", "counter", "Connections of clients.", s->connections);
	add_one(
	    b, "connections", "gauge", "Connections of clients, open now.", (uint64_t)c->clients);
	add_head(b, "refused_total", "counter", "Clients and streams that were refused.");
	for (int i = 0; i < SHED_WHYS; i++)
		buf_addf(b, "pinion_router_refused_total{why=\"%s\"} %" PRIu64 "\n",
		    shed_why_name((enum shed_why)i), s->refused[i]);
	add_head(b, "shed_total", "counter", "What was closed to make room.");
	buf_addf(b,
	    "pinion_router_shed_total{what=\"client\"} %" PRIu64 "\n"
	    "pinion_router_shed_total{what=\"upstream\"} %" PRIu64 "\n"
	    "pinion_router_shed_total{what=\"answer\"} %" PRIu64 "\n",
	    s->shed_clients, s->shed_upstreams, s->shed_answers);
	add_one(b, "upstream_connections_total", "counter", "Connections made to instances.",
	    s->connects);
	add_one(b, "upstream_connections", "gauge", "Connections to instances, open now.",
	    (uint64_t)c->upstreams);
	add_one(b, "upstream_failures_total", "counter",
	    "Connections that instances refused or did not take in time.", s->connect_failures);
	add_one(b, "ejections_total", "counter", "Instances left alone for a while: they fail.",
	    s->ejections);
	add_head(b, "tls_handshakes_total", "counter", "Handshakes of TLS with clients.");
	buf_addf(b,
	    "pinion_router_tls_handshakes_total{result=\"ok\"} %" PRIu64 "\n"
	    "pinion_router_tls_handshakes_total{result=\"failed\"} %" PRIu64 "\n",
	    s->handshakes, s->handshake_failures);
	add_one(
	    b, "queue", "gauge", "Requests that wait for their application.", (uint64_t)c->held);
	add_one(b, "routes", "gauge", "Routes in the table.",
	    (uint64_t)host_table_count(fleet_table(m->fleet)));
	if (m->log != NULL)
		add_one(b, "access_log_lost_total", "counter",
		    "Lines of the access log that found no room.", access_log_lost(m->log));
}

/* What every exporter says of its process. */
static void
add_process(struct buf *b)
{
	struct rusage u = { 0 };
	AUTO_FINI(buf_fini) struct buf statm = { 0 };
	struct err e = { 0 };
	int64_t pages = 0;

	(void)getrusage(RUSAGE_SELF, &u);
	buf_adds(b, "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total");
	add_seconds(b, (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
	                   (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec));
	if (file_read("/proc/self/statm", STAT_MAX, &statm, &e) < 0)
		return;
	struct str size, rest = str_cut(buf_str(&statm), ' ', &size), resident;

	(void)str_cut(rest, ' ', &resident);
	if (str_to_i64(resident, 0, INT64_MAX, "statm", &pages, &e) == 0)
		buf_addf(b,
		    "# TYPE process_resident_memory_bytes gauge\n"
		    "process_resident_memory_bytes %" PRId64 "\n",
		    pages * sysconf(_SC_PAGESIZE));
}

/* --- applications --- */

struct top {
	struct traffic_app *v; /* owned; those of traffic */
	size_t n, cap;
};

static void
collect(const struct traffic_app *a, void *arg)
{
	struct top *t = arg;

	if (t->n == t->cap) {
		t->cap = t->cap == 0 ? 64 : t->cap * 2;
		t->v = xreallocarray(t->v, t->cap, sizeof t->v[0]);
	}
	t->v[t->n++] = *a;
}

static int
by_requests(const void *a, const void *b)
{
	uint64_t x = ((const struct traffic_app *)a)->all, y = ((const struct traffic_app *)b)->all;

	return (x < y) - (x > y);
}

static void
add_app_labels(struct buf *b, const char *metric, const struct traffic_app *a)
{
	buf_addf(b, "pinion_router_app_%s{app_id=\"", metric);
	add_label(b, a->id);
	buf_adds(b, "\",app=\"");
	add_label(b, a->name);
	buf_addc(b, '"');
}

static void
add_app_counter(struct buf *b, const struct top *t, const char *name, const char *type,
    const char *help, size_t offset)
{
	char full[64];

	(void)snprintf(full, sizeof full, "app_%s", name);
	add_head(b, full, type, help);
	for (size_t i = 0; i < t->n; i++) {
		add_app_labels(b, name, &t->v[i]);
		buf_addf(b, "} %" PRIu64 "\n",
		    *(const uint64_t *)(const void *)((const char *)&t->v[i] + offset));
	}
}

/* All beyond the first max become one. */
static void
fold(struct top *t, size_t max)
{
	struct traffic_app rest = { .id = "other", .name = (char *)"" };

	if (t->n <= max)
		return;
	for (size_t i = max; i < t->n; i++) {
		for (int k = 0; k < STATS_CLASSES; k++)
			rest.requests[k] += t->v[i].requests[k];
		rest.retries += t->v[i].retries;
		rest.us += t->v[i].us;
		rest.bytes += t->v[i].bytes;
		rest.active += t->v[i].active;
	}
	t->n = max;
	collect(&rest, t);
}

static void
add_apps(struct metrics *m, struct buf *b)
{
	struct top t = { 0 };

	traffic_each(m->traffic, collect, &t);
	if (t.n != 0)
		qsort(t.v, t.n, sizeof t.v[0], by_requests);
	fold(&t, (size_t)m->conf->metrics_apps);
	add_head(b, "app_requests_total", "counter", "Requests by application.");
	for (size_t i = 0; i < t.n; i++) {
		for (int k = 0; k < STATS_CLASSES; k++) {
			if (t.v[i].requests[k] == 0)
				continue;
			add_app_labels(b, "requests_total", &t.v[i]);
			buf_addf(
			    b, ",code=\"%s\"} %" PRIu64 "\n", class_names[k], t.v[i].requests[k]);
		}
	}
	add_head(b, "app_request_seconds_total", "counter",
	    "Time of all requests together, without tunnels.");
	for (size_t i = 0; i < t.n; i++) {
		add_app_labels(b, "request_seconds_total", &t.v[i]);
		buf_addc(b, '}');
		add_seconds(b, t.v[i].us);
	}
	add_app_counter(b, &t, "concurrency", "gauge", "Requests under way.",
	    offsetof(struct traffic_app, active));
	add_app_counter(b, &t, "retries_total", "counter", "Tries that failed.",
	    offsetof(struct traffic_app, retries));
	add_app_counter(b, &t, "bytes_total", "counter", "Bodies, both ways.",
	    offsetof(struct traffic_app, bytes));
	free(t.v);
}

/* --- asking the lanes --- */

static void
add_up(struct stats_all *to, const struct stats_all *from)
{
	/* Both are counters and nothing else. */
	uint64_t *t = (uint64_t *)(void *)to;
	const uint64_t *f = (const uint64_t *)(const void *)from;

	for (size_t i = 0; i < sizeof *to / sizeof *t; i++)
		t[i] += f[i];
}

static void
on_copied(void *arg)
{
	static const char *const headers[] = {
		"Content-Type: text/plain; version=0.0.4; charset=utf-8", NULL
	};
	struct metrics *m = arg;
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	struct copy *all = &m->copy[m->lanes];

	*all = (struct copy){ 0 };
	m->is_looking = false;
	for (int i = 0; i < m->lanes; i++) {
		add_up(&all->all, &m->copy[i].all);
		all->clients += m->copy[i].clients;
		all->upstreams += m->copy[i].upstreams;
		all->held += m->copy[i].held;
	}
	add_requests(&b, &all->all);
	add_connections(m, &b, all);
	add_apps(m, &b);
	add_process(&b);
	while (m->waiting_n > 0)
		http_req_reply(m->waiting[--m->waiting_n], 200, headers, b.p, b.n);
}

static void
copy_lane(struct lane *l, void *arg)
{
	struct metrics *m = arg;

	m->copy[l->index] = (struct copy){
		.all = l->stats->all,
		.clients = l->client_n,
		.upstreams = l->upstream_n,
		.held = (int64_t)(hold_count(l->hold) + hold_count(l->queue)),
	};
	if (atomic_fetch_sub(&m->left, 1) == 1)
		loop_post(m->loop, on_copied, m);
}

static void
on_lost(struct http_req *r, void *arg)
{
	struct metrics *m = arg;

	for (size_t i = 0; i < m->waiting_n; i++) {
		if (m->waiting[i] == r) {
			m->waiting[i] = m->waiting[--m->waiting_n];
			return;
		}
	}
}

static void
on_request(struct http_req *r, void *arg)
{
	struct metrics *m = arg;

	if (!http_bearer_is(r, m->token)) {
		http_req_reply_text(
		    r, 401, "Show the token of metrics: Authorization: Bearer TOKEN.\n");
	} else if (strcmp(http_req_path(r), "/metrics") != 0) {
		http_req_reply_text(r, 404, "Metrics are at /metrics.\n");
	} else if (!str_eq(http_req_method(r), "GET")) {
		http_req_reply_text(r, 405, "Metrics are read by GET.\n");
	} else if (m->waiting_n == WAITING_MAX) {
		http_req_reply_text(r, 503, "Too many ask for metrics at the same time.\n");
	} else {
		m->waiting[m->waiting_n++] = r;
		http_req_on_close(r, on_lost, m);
		if (m->is_looking)
			return;
		m->is_looking = true;
		atomic_store(&m->left, m->lanes);
		fleet_each_lane(m->fleet, copy_lane, m);
	}
}

/* --- life --- */

DEFINE_AUTO(struct metrics *, metrics_free)

struct metrics *
metrics_new(struct loop *l, struct fleet *f, const struct traffic *t, const struct access_log *log,
    const struct router_conf *conf, struct err *e)
{
	int lanes = fleet_lanes(f);
	AUTO(metrics_free)
	struct metrics *m = xcalloc(1, sizeof *m + (size_t)(lanes + 1) * sizeof m->copy[0]);

	m->loop = l;
	m->fleet = f;
	m->traffic = t;
	m->log = log;
	m->conf = conf;
	m->lanes = lanes;
	m->server = http_server_new(l, NULL, on_request, m);
	if (router_conf_token(conf->metrics_token_file, "metrics-token-file", &m->token, e) < 0)
		return NULL;
	if (*m->token == '\0') {
		(void)err_set(
		    e, ERR_INVALID, "metrics-token-file", "the file is empty: write a token");
		return NULL;
	}
	if (http_server_listen(m->server, conf->metrics, SOCKET_MODE, e) < 0) {
		(void)err_field(e, "metrics");
		return NULL;
	}
	return STEAL(m);
}

void
metrics_stop(struct metrics *m)
{
	if (m != NULL)
		http_server_free(STEAL(m->server));
}

void
metrics_free(struct metrics *take_m)
{
	struct metrics *m = take_m;

	if (m == NULL)
		return;
	metrics_stop(m);
	secret_free(m->token);
	free(m);
}
