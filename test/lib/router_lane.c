#include "test/lib/router_lane.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "router/challenge_table.h"
#include "router/client_conn.h"
#include "router/gate.h"
#include "router/hold.h"
#include "router/host_table.h"
#include "router/lane.h"
#include "router/listener.h"
#include "router/origin.h"
#include "router/proxy.h"
#include "router/proxy_try.h"
#include "router/route_feed.h"
#include "router/route_file.h"
#include "router/router_conf.h"
#include "router/tls_ctx.h"
#include "router/upstream.h"

enum { READ = 64 * 1024, QUIET = 3, TURNS_MAX = 2000, GOT_MAX = 8 * 1024 * 1024 };

struct router_lane {
	struct router_conf conf;
	struct origin_rules origin;
	struct entry entry;
	struct lane *lane;
	struct host_table *table;
	struct challenge_table *challenges;
	struct route_feed feed;
	struct host_gone *gone; /* owned: retired, nobody uses them */
	size_t gone_n;          /* with those that are used */
	struct tls_ctx *tls;
	router_lane_fn *fn;
	void *arg;
	struct router_lane_app app[ROUTER_LANE_APPS];
	int listener, client, port;
	struct buf got;
	bool is_end;
};

static void
must(bool is_so)
{
	if (!is_so)
		abort();
}

static int
listen_here(int *out_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 64) == 0 &&
	     getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	*out_port = ntohs(a.sin_port);
	return fd;
}

/* Of this one lane, so all is done at once that a fleet does by messages. */
static void
publish(struct router_lane *l)
{
	struct host_publication *p = host_table_publish(l->table);
	struct host_gone *next;

	if (p == NULL)
		return;
	lane_begin(l->lane);
	l->lane->root = p->root;
	hold_changed(l->lane->hold);
	hold_changed(l->lane->queue);
	for (struct host_gone *g = p->gone; g != NULL; g = next) {
		next = g->next;
		l->gone_n++;
		if (upstream_retire(l->lane, g->ep)) {
			g->next = l->gone;
			l->gone = g;
		}
	}
	lane_end(l->lane);
	host_publication_free(p);
}

static void
fill_table(struct router_lane *l, const char *routes)
{
	AUTO_FINI(buf_fini) struct buf text = { 0 };
	char address[32];
	struct err e = { 0 };

	(void)snprintf(address, sizeof address, "127.0.0.1:%d", l->port);
	for (const char *c = routes; *c != '\0'; c++) {
		if (*c == '%')
			buf_adds(&text, address);
		else
			buf_addc(&text, *c);
	}
	must(route_file_apply(l->table, text.p, text.n, &e) == 0);
	publish(l);
}

/* The lane of the exchange that is over may still look at it. */
static void
on_gone(struct lane *lane, struct host_endpoint *ep)
{
	struct router_lane *l = lane->sleep_arg;

	ep->gone->next = l->gone;
	l->gone = ep->gone;
}

static void
free_gone(struct router_lane *l)
{
	while (l->gone != NULL) {
		struct host_gone *g = l->gone;

		l->gone = g->next;
		l->gone_n--;
		host_gone_free(g);
	}
}

struct router_lane *
router_lane_new(const char *routes, bool is_tls, bool greets, router_lane_fn *fn, void *arg)
{
	char *argv[] = { "router", "--http", "127.0.0.1:0", "--routes", "none", NULL };
	struct router_lane *l = xcalloc(1, sizeof *l);
	struct str_list none = { 0 };
	struct err e = { 0 };

	must(router_conf_load(5, argv, &l->conf, &e) == 0);
	must(origin_rules_init(&l->origin, &l->conf, &e) == 0);
	l->entry = (struct entry){ .proto = is_tls ? "https" : "http",
		.origin = &l->origin,
		.greets = greets,
		.port = 80,
		.port_text = "80" };
	if (is_tls)
		must((l->tls = l->entry.tls = tls_ctx_new(&none, "intermediate", &e)) != NULL);
	must((l->lane = lane_new(0, &l->conf, &e)) != NULL);
	l->lane->client_max = l->lane->fd_max = 1000;
	l->lane->on_gone = on_gone;
	l->lane->sleep_arg = l;
	l->lane->hold = hold_new(l->lane, &l->conf, 1, &hold_asleep, proxy_unhold);
	l->lane->queue = hold_new(l->lane, &l->conf, 1, &gate_kind, proxy_unqueue);
	l->table = host_table_new(1);
	l->challenges = l->lane->challenges = challenge_table_new();
	l->feed = (struct route_feed){ .table = l->table, .challenges = l->challenges };
	l->listener = listen_here(&l->port);
	fill_table(l, routes);
	l->fn = fn;
	l->arg = arg;
	l->client = -1;
	for (int i = 0; i < ROUTER_LANE_APPS; i++)
		l->app[i].fd = -1;
	return l;
}

void
router_lane_free(struct router_lane *take_l)
{
	struct router_lane *l = take_l;

	router_lane_leave(l);
	proxy_drop_spares(l->lane);
	hold_free(l->lane->hold);
	hold_free(l->lane->queue);
	lane_free(l->lane);
	route_feed_fini(&l->feed);
	host_table_free(l->table);
	challenge_table_free(l->challenges);
	tls_ctx_free(l->tls);
	origin_rules_fini(&l->origin);
	router_conf_fini(&l->conf);
	close(l->listener);
	buf_fini(&l->got);
	free(l);
}

/* --- turns --- */

static bool
accept_app(struct router_lane *l)
{
	struct router_lane_app *a = l->app;
	int fd = accept4(l->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return false;
	while (a < l->app + ROUTER_LANE_APPS && a->fd >= 0)
		a++;
	if (a == l->app + ROUTER_LANE_APPS) {
		close(fd);
		return true;
	}
	a->fd = fd;
	l->fn(a, l->arg);
	return true;
}

/* Whether something came, or the end. */
static bool
read_some(int fd, struct buf *to, bool *out_end)
{
	char p[READ];
	ssize_t n = read(fd, p, sizeof p);

	if (n > 0)
		buf_add(to, p, (size_t)n);
	*out_end = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	return n > 0 || *out_end;
}

static bool
turn_apps(struct router_lane *l)
{
	bool moved = false, is_end;

	while (accept_app(l))
		moved = true;
	for (int i = 0; i < ROUTER_LANE_APPS; i++) {
		struct router_lane_app *a = &l->app[i];

		while (a->fd >= 0 && read_some(a->fd, &a->in, &is_end)) {
			moved = true;
			if (is_end)
				router_lane_app_close(a);
			else
				l->fn(a, l->arg);
		}
	}
	return moved;
}

static void
turn(struct router_lane *l)
{
	for (int i = 0, quiet = 0; i < TURNS_MAX && quiet < QUIET; i++) {
		bool moved = false;

		(void)event_base_loop(l->lane->base, EVLOOP_NONBLOCK);
		while (l->client >= 0 && !l->is_end && l->got.n < GOT_MAX &&
		       read_some(l->client, &l->got, &l->is_end))
			moved = true;
		moved |= turn_apps(l);
		quiet = moved ? 0 : quiet + 1;
	}
	free_gone(l);
}

enum route_feed_step
router_lane_line(struct router_lane *l, struct str line, struct err *e)
{
	enum route_feed_step step = route_feed_line(&l->feed, line, e);

	if (step == ROUTE_FEED_SYNC) {
		publish(l);
		turn(l);
	}
	return step;
}

void
router_lane_begin(struct router_lane *l)
{
	route_feed_begin(&l->feed);
}

const struct host_table *
router_lane_table(const struct router_lane *l)
{
	return l->table;
}

const struct host_root *
router_lane_root(const struct router_lane *l)
{
	return l->lane->root;
}

int
router_lane_port(const struct router_lane *l)
{
	return l->port;
}

/* --- the client --- */

void
router_lane_connect(struct router_lane *l)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
	struct peer p = peer_of((struct sockaddr *)&sa);
	int fds[2];

	router_lane_leave(l);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	l->client = fds[0];
	l->is_end = false;
	buf_clear(&l->got);
	lane_begin(l->lane);
	client_conn_start(l->lane, &l->entry, fds[1], &p);
	lane_end(l->lane);
}

void
router_lane_send(struct router_lane *l, const void *data, size_t n, size_t piece)
{
	const char *p = data;

	for (int stuck = 0; n != 0 && stuck < QUIET;) {
		ssize_t sent = send(l->client, p, n < piece ? n : piece, MSG_NOSIGNAL);

		turn(l);
		if (sent < 0 && errno != EAGAIN)
			return; /* the router closed it */
		stuck = sent < 0 ? stuck + 1 : 0;
		if (sent > 0) {
			p += sent;
			n -= (size_t)sent;
		}
	}
	turn(l);
}

const struct buf *
router_lane_got(const struct router_lane *l, bool *out_end)
{
	*out_end = l->is_end;
	return &l->got;
}

void
router_lane_leave(struct router_lane *l)
{
	if (l->client >= 0) {
		(void)shutdown(l->client, SHUT_WR);
		turn(l);
		close(l->client);
		l->client = -1;
		turn(l);
	}
	lane_begin(l->lane);
	while (l->lane->clients != NULL)
		client_conn_close(l->lane->clients);
	upstream_free_all(l->lane);
	lane_end(l->lane);
	turn(l);
	for (int i = 0; i < ROUTER_LANE_APPS; i++)
		router_lane_app_close(&l->app[i]);
	must(l->lane->client_n == 0 && l->lane->upstream_n == 0 && hold_count(l->lane->hold) == 0 &&
	     l->gone_n == 0);
}

/* --- the instance --- */

void
router_lane_app_send(struct router_lane_app *a, const void *p, size_t n)
{
	if (a->fd >= 0 && n != 0 && send(a->fd, p, n, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		router_lane_app_close(a);
}

void
router_lane_app_close(struct router_lane_app *a)
{
	if (a->fd >= 0)
		close(a->fd);
	buf_fini(&a->in);
	*a = (struct router_lane_app){ .fd = -1 };
}
