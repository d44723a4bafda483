#include "broker/drain_sink.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/broker.h"
#include "broker/net_guard.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/http/http_client.h"
#include "lib/http/tls_client.h"
#include "lib/loop/loop.h"
#include "lib/loop/worker.h"

enum {
	QUEUE_MAX = 2000,
	QUEUE_BYTES_MAX = 2 * 1024 * 1024,
	TLS_QUEUE_MAX = 64 * 1024,
	BATCH_MAX = 500,
	BATCH_BYTES_MAX = 512 * 1024,
	GATHER_MS = 200, /* lines of that time go together */
	CALL_MS = 15000,
	BACKOFF_MIN_MS = 500,
	BACKOFF_MAX_MS = 60000,
	SYSLOG_PORT = 6514,
};

static const char syslog_scheme[] = "syslog+tls";

struct item {
	char *p;
	size_t n;
};

struct drain_sink {
	struct broker *b; /* borrowed */
	char *url, *host, *app;
	struct str_url to; /* of syslog */
	bool is_syslog;
	struct item queue[QUEUE_MAX]; /* a ring */
	size_t first, n, bytes;
	int64_t sent, dropped, untold;
	struct tls_client *tls;
	bool is_connected;
	struct worker_job *job; /* resolving */
	struct http_call *call;
	size_t batch;             /* lines in the call */
	struct loop_timer *timer; /* gathering, or backing off */
	bool is_waiting;
	int64_t backoff_ms;
	char error[200];
};

static void go_on(struct drain_sink *s);

/* --- the queue --- */

static void
pop(struct drain_sink *s)
{
	struct item *it = &s->queue[s->first];

	s->bytes -= it->n;
	free(it->p);
	*it = (struct item){ 0 };
	s->first = (s->first + 1) % QUEUE_MAX;
	s->n--;
}

static bool
push(struct drain_sink *s, const char *p, size_t n)
{
	struct item *it;

	if (s->n == QUEUE_MAX || s->bytes + n > QUEUE_BYTES_MAX)
		return false;
	it = &s->queue[(s->first + s->n) % QUEUE_MAX];
	*it = (struct item){ xstrndup(p, n), n };
	s->n++;
	s->bytes += n;
	return true;
}

/* In the stream, once there is room for it. */
static void
tell_dropped(struct drain_sink *s)
{
	AUTO(free) char *text = NULL;
	time_t now = time(NULL);
	struct tm tm;
	char stamp[32];

	if (s->untold == 0 || gmtime_r(&now, &tm) == NULL ||
	    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return;
	text = xasprintf("<12>1 %s %s %s drain - - %" PRId64 " lines were left out: this drain did "
	                 "not take them in time",
	    stamp, s->host, s->app, s->untold);
	if (push(s, text, strlen(text)))
		s->untold = 0;
}

void
drain_sink_put(struct drain_sink *s, const char *p, size_t n)
{
	if (s->untold > 0 && s->n < QUEUE_MAX / 2 && s->bytes < QUEUE_BYTES_MAX / 2)
		tell_dropped(s);
	if (s->untold > 0 || !push(s, p, n)) {
		s->dropped++;
		s->untold++;
	}
	go_on(s);
}

/* --- failures --- */

static void
on_retry(void *arg)
{
	struct drain_sink *s = arg;

	loop_timer_cancel(STEAL(s->timer));
	s->is_waiting = false;
	go_on(s);
}

static void
fail(struct drain_sink *s, const char *why)
{
	if (strcmp(s->error, why) != 0)
		log_warn("drain_failed", LOG_STR("app", s->app), LOG_STR("why", why));
	(void)snprintf(s->error, sizeof s->error, "%s", why);
	tls_client_close(STEAL(s->tls));
	s->is_connected = false;
	s->backoff_ms = s->backoff_ms == 0 ? BACKOFF_MIN_MS : s->backoff_ms * 2;
	if (s->backoff_ms > BACKOFF_MAX_MS)
		s->backoff_ms = BACKOFF_MAX_MS;
	s->is_waiting = true;
	loop_timer_cancel(s->timer);
	s->timer = loop_timer_start(s->b->loop, s->backoff_ms, false, on_retry, s);
}

static void
worked(struct drain_sink *s)
{
	s->backoff_ms = 0;
	s->error[0] = '\0';
}

/* --- syslog over TLS --- */

struct resolve_job {
	struct drain_sink *owner; /* done only */
	const struct net_guard *guard;
	char *host, *address;
	struct err e;
};

static void
free_resolve(void *take_job)
{
	struct resolve_job *j = take_job;

	free(j->host);
	free(j->address);
	free(j);
}

static void
run_resolve(void *job)
{
	struct resolve_job *j = job;

	(void)!net_guard_resolve(j->guard, j->host, &j->address, &j->e);
}

static void
on_tls(const struct err *e, void *arg)
{
	struct drain_sink *s = arg;

	if (e != NULL) {
		fail(s, e->text);
		return;
	}
	s->is_connected = true;
	worked(s);
	go_on(s);
}

static void
done_resolve(void *job)
{
	struct resolve_job *j = job;
	struct drain_sink *s = j->owner;
	struct err e = j->e;
	struct tls_client_opts o = { .address = j->address,
		.port = s->to.port == 0 ? SYSLOG_PORT : s->to.port,
		.host = s->to.host,
		.ca_file = s->b->conf.drain_ca_file };

	s->job = NULL;
	if (j->address != NULL)
		s->tls = tls_client_start(s->b->loop, &o, on_tls, s, &e);
	free_resolve(j);
	if (s->tls == NULL)
		fail(s, e.text);
}

static void
connect_tls(struct drain_sink *s)
{
	struct resolve_job *j = xcalloc(1, sizeof *j);

	j->owner = s;
	j->guard = s->b->guard;
	j->host = xstrdup(s->to.host);
	s->job = worker_submit(s->b->worker, run_resolve, done_resolve, free_resolve, j);
}

/* RFC 6587: the length in bytes, a space, the message. */
static void
add_frame(struct buf *b, const struct item *it)
{
	buf_addf(b, "%zu ", it->n);
	buf_add(b, it->p, it->n);
}

static void
send_tls(struct drain_sink *s)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	while (s->n > 0 && tls_client_queued(s->tls) + b.n < TLS_QUEUE_MAX) {
		add_frame(&b, &s->queue[s->first]);
		pop(s);
		s->sent++;
	}
	if (b.n > 0)
		tls_client_write(s->tls, b.p, b.n);
}

/* --- HTTPS --- */

/* The URL may hold a password. */
static const char *
without_url(const struct drain_sink *s, const char *text)
{
	const char *at = strstr(text, s->url);

	if (at == NULL)
		return text;
	at += strlen(s->url);
	return str_has_prefix(at, ": ") ? at + 2 : "the call failed";
}

static void
on_answer(struct http_call *c, int status, struct str body, const struct err *e, void *arg)
{
	struct drain_sink *s = arg;
	char why[64];

	(void)c;
	(void)body;
	s->call = NULL;
	if (e != NULL) {
		fail(s, without_url(s, e->text));
		return;
	}
	if (status < 200 || status > 299) {
		(void)snprintf(why, sizeof why, "it answered %d", status);
		fail(s, why);
		return;
	}
	worked(s);
	s->sent += (int64_t)s->batch;
	for (; s->batch > 0; s->batch--)
		pop(s);
	go_on(s);
}

static void
send_batch(struct drain_sink *s)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	AUTO(free) char *count = NULL;
	struct err e = { 0 };

	for (s->batch = 0; s->batch < s->n && s->batch < BATCH_MAX && b.n < BATCH_BYTES_MAX;
	     s->batch++)
		add_frame(&b, &s->queue[(s->first + s->batch) % QUEUE_MAX]);
	count = xasprintf("Logplex-Msg-Count: %zu", s->batch);
	const struct http_call_opts o = {
		.method = "POST",
		.url = s->url,
		.headers = (const char *const[]){ "Content-Type: application/logplex-1", count,
		    "User-Agent: Pinion", NULL },
		.body = b.p,
		.body_n = b.n,
		.timeout_ms = CALL_MS,
		.ca_file = s->b->conf.drain_ca_file,
		.allows = net_guard_allows,
		.allows_arg = s->b->guard,
	};
	s->call = http_call_start(s->b->client, &o, on_answer, s, &e);
	if (s->call == NULL)
		fail(s, e.text);
}

static void
on_gathered(void *arg)
{
	struct drain_sink *s = arg;

	loop_timer_cancel(STEAL(s->timer));
	if (s->call == NULL && s->n > 0)
		send_batch(s);
}

/* Does what comes next; called whenever something came or ended. */
static void
go_on(struct drain_sink *s)
{
	if (s->is_waiting || s->n == 0)
		return;
	if (!s->is_syslog) {
		if (s->call == NULL && s->timer == NULL)
			s->timer = loop_timer_start(s->b->loop, GATHER_MS, false, on_gathered, s);
	} else if (s->is_connected) {
		send_tls(s);
	} else if (s->tls == NULL && s->job == NULL) {
		connect_tls(s);
	}
}

/* --- life --- */

int
drain_sink_check(const char *url, struct err *e)
{
	AUTO_FINI(str_url_fini) struct str_url u = { 0 };
	AUTO(free) char *as_https = NULL;
	bool is_syslog = str_has_prefix(url, "syslog+tls://");

	if (strlen(url) > DRAIN_SINK_URL_MAX || (!is_syslog && !str_has_prefix(url, "https://")))
		return err_set(e, ERR_INVALID, "url",
		    "A drain is syslog+tls://HOST:PORT or https://HOST/PATH.");
	as_https =
	    is_syslog ? xasprintf("https://%s", url + strlen("syslog+tls://")) : xstrdup(url);
	if (str_url_parse(as_https, "url", &u, e) < 0)
		return -1;
	if (is_syslog && (strchr(url, '@') != NULL ||
	                     (u.path != NULL && strcmp(u.path, "/") != 0 && *u.path != '\0')))
		return err_set(e, ERR_INVALID, "url",
		    "A syslog drain has no user and no path: syslog+tls://HOST:PORT.");
	return 0;
}

struct drain_sink *
drain_sink_new(struct broker *b, const char *url, const char *host, const char *app)
{
	struct drain_sink *s = xcalloc(1, sizeof *s);
	AUTO(free) char *as_https = NULL;
	struct err e = { 0 };

	s->b = b;
	s->url = xstrdup(url);
	s->host = xstrdup(host);
	s->app = xstrdup(app);
	s->is_syslog = str_has_prefix(url, syslog_scheme);
	as_https = s->is_syslog ? xasprintf("https%s", url + strlen(syslog_scheme)) : xstrdup(url);
	if (str_url_parse(as_https, "url", &s->to, &e) < 0)
		fail(s, e.text); /* was checked before */
	return s;
}

void
drain_sink_free(struct drain_sink *take_s)
{
	struct drain_sink *s = take_s;

	if (s == NULL)
		return;
	worker_detach(s->job);
	http_call_cancel(s->call);
	tls_client_close(s->tls);
	loop_timer_cancel(s->timer);
	while (s->n > 0)
		pop(s);
	str_url_fini(&s->to);
	free(s->url);
	free(s->host);
	free(s->app);
	free(s);
}

void
drain_sink_status(const struct drain_sink *s, struct drain_sink_status *out)
{
	*out = (struct drain_sink_status){
		.state = s->is_waiting                                          ? "waiting"
		         : s->is_connected || s->call != NULL                   ? "connected"
		         : s->job != NULL || s->tls != NULL || s->timer != NULL ? "connecting"
		                                                                : "idle",
		.error = s->error,
		.sent = s->sent,
		.dropped = s->dropped,
	};
}
