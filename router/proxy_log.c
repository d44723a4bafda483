#include "router/proxy_log.h"

#include <string.h>

#include "router/access_log.h"
#include "router/app_lines.h"
#include "router/client_conn.h"
#include "router/lane.h"
#include "router/listener.h"
#include "router/proxy.h"
#include "router/stats.h"
#include "router/tls_conn.h"

void
proxy_log_mark(struct proxy *x)
{
	x->mark_us = lane_monotonic_us();
}

/* What began at the mark is over. */
static void
add_since_mark(struct proxy *x, int64_t *to)
{
	if (x->mark_us != 0)
		*to += lane_monotonic_us() - x->mark_us;
	x->mark_us = 0;
}

void
proxy_log_connected(struct proxy *x)
{
	add_since_mark(x, &x->connect_us);
}

void
proxy_log_released(struct proxy *x)
{
	add_since_mark(x, &x->queue_us);
}

void
proxy_log_failed_try(struct proxy *x)
{
	proxy_log_connected(x);
	if (x->sent_us != 0)
		x->retry_us += lane_monotonic_us() - x->sent_us;
	x->sent_us = 0;
}

struct proxy_log_times
proxy_log_times(const struct proxy *x, int64_t took_us)
{
	struct proxy_log_times t = {
		.queue_us = x->queue_us, .connect_us = x->connect_us, .retry_us = x->retry_us
	};
	int64_t end_us = x->start_us + took_us, until_us = x->sent_us != 0 ? x->sent_us : end_us;

	if (x->mark_us != 0 && x->held.group != NULL)
		t.queue_us += end_us - x->mark_us;
	else if (x->mark_us != 0)
		t.connect_us += end_us - x->mark_us;
	if (x->sent_us != 0)
		t.app_us = (x->first_us != 0 ? x->first_us : end_us) - x->sent_us;
	t.router_us = until_us - x->start_us - t.queue_us - t.connect_us - t.retry_us;
	if (t.router_us < 0) /* a body was still sent when the answer came */
		t.router_us = 0;
	return t;
}

static const char *
version_of(const struct proxy *x)
{
	if (x->client->is_stream)
		return "2.0";
	return x->minor == 0 ? "1.0" : "1.1";
}

static void
put_lines(struct proxy *x, int64_t took_us)
{
	struct lane *l = x->client->sock.lane;
	const char *host = x->names.n == 0 ? "" : x->names.p, *app = "", *instance = "";
	struct proxy_log_times t = proxy_log_times(x, took_us);
	char peer[PEER_TEXT];
	struct access_line line = {
		.unix_us = x->start_unix_us,
		.took_us = took_us,
		.router_us = t.router_us,
		.queue_us = t.queue_us,
		.connect_us = t.connect_us,
		.retry_us = t.retry_us,
		.app_us = t.app_us,
		.tls_us = tls_conn_take_us(&x->client->sock),
		.bytes = x->bytes,
		.bytes_in = x->body_in,
		.status = x->status,
		.tries = x->tries,
		.proto = x->client->entry->proto,
		.version = version_of(x),
		.peer = { peer, peer_text(&x->client->peer, peer) },
		.method = { x->head.p, x->method_n },
		.path = { x->head.p + x->method_n + 1, x->target_n },
		.head = { x->head.p, x->head.n },
		.id = { x->id, x->id_n },
	};

	if (x->names.n > x->host_n + 1) {
		app = host + x->host_n + 1;
		instance = app + strlen(app) + 1;
	}
	if (x->why != NULL)
		line.reason = str_of(x->why);
	line.host = str_of(host);
	line.app = str_of(app);
	line.instance = str_of(instance);
	if (l->log != NULL)
		access_log_put(l->log, &line);
	if (l->lines != NULL)
		app_lines_put(l->lines, x->app_id, &line);
}

void
proxy_log_end(struct proxy *x)
{
	struct lane *l = x->client->sock.lane;
	int64_t took_us = lane_monotonic_us() - x->start_us;

	stats_end(x, took_us);
	if (l->log != NULL || l->lines != NULL)
		put_lines(x, took_us);
}
