#include "router/upstream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "router/client_conn.h"
#include "router/h2_client.h"
#include "router/host_table.h"
#include "router/router_conf.h"
#include "router/shed.h"
#include "router/stats.h"
#include "router/tls_conn.h"
#include "router/tls_out.h"

enum { IDLE_MARGIN_MS = 300 /* more than the wheel's ticks */ };

static void free_pool(struct upstream_pool *p);

/* They had their time. The pool is gone with the last one. */
static void
on_drain_end(struct lane_timer *t)
{
	struct upstream_pool *p = CONTAINER_OF(t, struct upstream_pool, end);

	client_conn_cut(p->lane, p);
}

static struct upstream_pool *
pool_new(struct lane *l, struct host_endpoint *ep)
{
	const char *name = host_endpoint_id(ep);
	char text[HOST_ENDPOINT_TEXT];
	struct upstream_pool *p;
	size_t n;

	if (*name == '\0')
		name = host_endpoint_text(ep, text);
	n = strlen(name);
	p = xcalloc(1, sizeof *p + n + 1);
	memcpy(p->name, name, n);
	p->name_n = (uint32_t)n;
	p->ep = ep;
	p->use = host_endpoint_use(ep, l->index);
	p->lane = l;
	p->next = l->pools;
	if (p->next != NULL)
		p->next->prev = p;
	l->pools = p;
	p->use->pool = p;
	p->end.fn = on_drain_end;
	retry_budget_init(&p->budget, l->now_ms);
	return p;
}

struct upstream_pool *
upstream_pool_of(struct lane *l, struct host_endpoint *ep)
{
	const struct host_use *u = host_endpoint_used(ep, l->index);

	return u != NULL && u->pool != NULL ? u->pool : pool_new(l, ep);
}

static void
tell_active(struct upstream_pool *p)
{
	atomic_store_explicit(&p->use->active, p->active, memory_order_relaxed);
}

void
upstream_pool_take(struct upstream_pool *p)
{
	p->active++;
	p->requests++;
	tell_active(p);
}

void
upstream_pool_release(struct upstream_pool *p)
{
	struct host_endpoint *ep = p->ep;
	struct lane *l = p->lane;

	p->active--;
	tell_active(p);
	if (p->active != 0 || !p->retired)
		return;
	free_pool(p);
	l->on_gone(l, ep);
}

void
upstream_pool_failed(struct upstream_pool *p)
{
	p->lane->stats->all.connect_failures++;
	outlier_refused(&p->health, p->lane->now_ms);
}

static void
unlink_idle(struct upstream_conn *u)
{
	struct upstream_pool *p = u->pool;

	if (u->prev != NULL)
		u->prev->next = u->next;
	else
		p->idle = u->next;
	if (u->next != NULL)
		u->next->prev = u->prev;
	else
		p->idle_last = u->prev;
	u->next = u->prev = NULL;
	p->idle_n--;
}

static bool
is_idle(const struct upstream_conn *u)
{
	return u->owner == NULL;
}

void
upstream_close(struct upstream_conn *take_u)
{
	struct upstream_conn *u = take_u;

	if (u == NULL)
		return;
	if (is_idle(u))
		unlink_idle(u);
	wheel_clear(&u->sock.lane->wheel, &u->timer.timer);
	if (u->pool->ep->is_tls)
		sock_shut(&u->sock); /* says that it ends */
	sock_close(&u->sock);
	u->sock.lane->upstream_n--;
	lane_bury(u->sock.lane, &u->grave);
}

/* The instance closed an idle connection: the next ones are closed by us, a little sooner, so that
 * no request meets a close under way. One that says keep-alive and closes is not kept at all. */
static void
learn_idle_limit(struct upstream_conn *u)
{
	struct upstream_pool *p = u->pool;
	int64_t now = p->lane->now_ms, age = now - u->kept_ms;
	int64_t limit = age - age / 8 - IDLE_MARGIN_MS;

	if (limit < 0)
		limit = 0;
	if (now >= p->learned_until_ms || limit < p->idle_limit_ms)
		p->idle_limit_ms = limit;
	p->learned_until_ms = now + UPSTREAM_LEARNED_MS;
}

static void
on_sock(struct sock *s)
{
	struct upstream_conn *u = CONTAINER_OF(s, struct upstream_conn, sock);

	if (u->owner != NULL) {
		u->fn(u, u->owner);
	} else if (s->can_read) { /* closed by the instance, or bytes that nobody asked for */
		learn_idle_limit(u);
		upstream_close(u);
	}
}

static void
on_deadline(struct lane_timer *t)
{
	struct upstream_conn *u = CONTAINER_OF(t, struct upstream_conn, timer);

	if (is_idle(u)) {
		upstream_close(u);
	} else if (u->connecting) {
		u->timed_out = true;
		u->fn(u, u->owner);
	}
}

int
upstream_connect(const struct upstream_pool *p)
{
	struct sockaddr_storage to;
	socklen_t n = host_endpoint_address(p->ep, &to);
	int one = 1, fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	p->lane->stats->all.connects++;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (const struct sockaddr *)&to, n) < 0 && errno != EINPROGRESS) {
		int sys = errno;

		close(fd);
		errno = sys;
		return -1;
	}
	return fd;
}

static struct upstream_conn *
new_conn(struct upstream_pool *p)
{
	struct lane *l = p->lane;
	struct upstream_conn *u = xcalloc(1, sizeof *u);

	u->pool = p;
	u->timer.fn = on_deadline;
	u->connecting = true;
	l->upstream_n++;
	wheel_set(&l->wheel, &u->timer.timer, l->now_ms + l->conf->connect_timeout_s * 1000);
	return u;
}

/* One that was never anybody's. */
static void
free_new(struct upstream_conn *u)
{
	struct lane *l = u->pool->lane;

	wheel_clear(&l->wheel, &u->timer.timer);
	l->upstream_n--;
	free(u);
}

/* The client of the handshake, over u's socket. -1: errno. */
static int
start_tls(struct upstream_conn *u, const char *host)
{
	struct lane *l = u->pool->lane;

	if (l->tls == NULL && (l->tls = tls_out_new()) == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return tls_out_start(l->tls, &u->sock, host, &u->pool->session);
}

static struct upstream_conn *
connect_new(struct upstream_pool *p, const char *host)
{
	int fd = upstream_connect(p);
	struct upstream_conn *u;

	if (fd < 0)
		return NULL;
	u = new_conn(p);
	sock_start(&u->sock, p->lane, fd, true, on_sock);
	if (p->ep->is_tls && start_tls(u, host) < 0) {
		sock_close(&u->sock);
		free_new(u);
		errno = ENOMEM;
		return NULL;
	}
	sock_watch(&u->sock);
	return u;
}

struct upstream_conn *
upstream_open_h2c(struct upstream_pool *p, upstream_fn *fn, void *owner)
{
	struct upstream_conn *u = new_conn(p);

	u->fn = fn;
	u->owner = owner;
	if (h2_client_open(p, &u->sock, on_sock) == 0)
		return u;
	free_new(u);
	return NULL;
}

/* Whether an idle connection can still be written to. */
static bool
is_alive(struct upstream_conn *u)
{
	char c;

	return recv(u->sock.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* TLS keeps to the host that it asked for: servers refuse others (RFC 9110 7.4). */
static struct upstream_conn *
find_idle(const struct upstream_pool *p, const char *host)
{
	struct upstream_conn *u = p->idle;

	while (p->ep->is_tls && u != NULL && !tls_conn_may_serve(&u->sock, host))
		u = u->next;
	return u;
}

struct upstream_conn *
upstream_open(struct upstream_pool *p, const char *host, bool fresh, bool must_live,
    upstream_fn *fn, void *owner)
{
	struct upstream_conn *u = NULL;

	while (!fresh && (u = find_idle(p, host)) != NULL && must_live && !is_alive(u))
		upstream_close(u);
	if (fresh)
		u = NULL;
	if (u != NULL)
		unlink_idle(u);
	else if ((u = connect_new(p, host)) == NULL &&
	         (!shed_retry(p->lane, errno) || (u = connect_new(p, host)) == NULL))
		return NULL;
	u->fn = fn;
	u->owner = owner;
	return u;
}

void
upstream_connected(struct upstream_conn *u)
{
	if (!u->connecting)
		return;
	u->connecting = false;
	wheel_clear(&u->sock.lane->wheel, &u->timer.timer);
	outlier_connected(&u->pool->health, u->sock.lane->now_ms);
}

void
upstream_keep(struct upstream_conn *take_u, int64_t idle_ms)
{
	struct upstream_conn *u = take_u;
	struct upstream_pool *p = u->pool;
	int64_t now = p->lane->now_ms;

	if (now < p->learned_until_ms && idle_ms > p->idle_limit_ms)
		idle_ms = p->idle_limit_ms;
	if (u->sock.fd < 0 || p->retired || u->sock.half_closed || sock_pending(&u->sock) ||
	    idle_ms <= 0 || p->idle_n >= UPSTREAM_IDLE_MAX ||
	    p->lane->client_n + p->lane->upstream_n >= p->lane->fd_max) {
		upstream_close(u);
		return;
	}
	u->owner = NULL;
	u->fn = NULL;
	u->reused = true;
	u->prev = NULL;
	u->next = p->idle;
	if (p->idle != NULL)
		p->idle->prev = u;
	else
		p->idle_last = u;
	p->idle = u;
	p->idle_n++;
	u->kept_ms = now;
	wheel_set(&p->lane->wheel, &u->timer.timer, now + idle_ms);
}

static void
free_pool(struct upstream_pool *p)
{
	while (p->idle != NULL)
		upstream_close(p->idle);
	h2_client_close_all(p);
	wheel_clear(&p->lane->wheel, &p->end.timer);
	if (p->prev != NULL)
		p->prev->next = p->next;
	else
		p->lane->pools = p->next;
	if (p->next != NULL)
		p->next->prev = p->prev;
	p->use->pool = NULL;
	tls_out_forget(&p->session);
	free(p);
}

void
upstream_free_all(struct lane *l)
{
	while (l->pools != NULL)
		free_pool(l->pools);
}

size_t
upstream_shed(struct lane *l, size_t n)
{
	size_t done = 0, before = SIZE_MAX;

	while (done < n && before != done) { /* one of each instance in turn */
		before = done;
		for (struct upstream_pool *p = l->pools; p != NULL && done < n; p = p->next) {
			if (p->idle_last == NULL)
				continue;
			upstream_close(p->idle_last);
			done++;
		}
	}
	return done;
}

bool
upstream_retire(struct lane *l, struct host_endpoint *ep)
{
	const struct host_use *u = host_endpoint_used(ep, l->index);
	struct upstream_pool *p = u == NULL ? NULL : u->pool;

	if (p == NULL)
		return true;
	p->retired = true;
	while (p->idle != NULL)
		upstream_close(p->idle);
	if (p->active != 0) {
		if (l->conf->drain_instance_s != 0)
			wheel_set(
			    &l->wheel, &p->end.timer, l->now_ms + l->conf->drain_instance_s * 1000);
		return false;
	}
	free_pool(p);
	return true;
}
