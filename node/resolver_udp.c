#include "node/resolver_udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "node/resolver.h"
#include "node/resolver_dns.h"

enum {
	ASKS_MAX = 1024,
	ASKS_INSTANCE_MAX = 64,
	TRY_MS = 1500,
	TRIES_PER_SERVER = 2,
	TURN_MAX = 32
};

struct resolver_udp_ask {
	struct resolver_instance *in; /* borrowed */
	struct resolver_udp_ask *next, **prev;
	struct sockaddr_in client;
	struct resolver_dns_query query;
	struct resolver_server servers[RESOLVER_SERVERS_MAX];
	size_t server_n, tries;
	uint16_t id; /* towards the server */
	int fd;      /* owned; -1: none */
	struct loop_io *io;
	struct loop_timer *timer;
	size_t n;
	uint8_t bytes[]; /* the query */
};

static void
free_ask(struct resolver_udp_ask *take_a)
{
	if (take_a->next != NULL)
		take_a->next->prev = take_a->prev;
	*take_a->prev = take_a->next;
	take_a->in->ask_n--;
	take_a->in->r->ask_n--;
	loop_io_cancel(take_a->io);
	loop_timer_cancel(take_a->timer);
	file_close(take_a->fd);
	free(take_a);
}

static void
reply(const struct resolver_instance *in, const struct sockaddr_in *to, const uint8_t *p, size_t n)
{
	/* A full socket buffer loses it, as a network may; the client asks again. */
	(void)sendto(
	    in->udp_fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)to, sizeof *to);
}

static void
fail(struct resolver_udp_ask *take_a)
{
	uint8_t out[RESOLVER_DNS_UDP_MAX];
	size_t n = resolver_dns_error(take_a->bytes, &take_a->query, RESOLVER_DNS_SERVFAIL, out);

	reply(take_a->in, &take_a->client, out, n);
	free_ask(take_a);
}

static void
on_answer(int fd, int what, void *arg)
{
	struct resolver_udp_ask *a = arg;
	static uint8_t bytes[RESOLVER_DNS_MAX];
	ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);

	(void)what;
	/* Refused by the host there: the next server at once. */
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		loop_timer_again(a->timer, 0);
		loop_io_set(a->io, 0);
		return;
	}
	if (n < 0 || !resolver_dns_matches(a->bytes, &a->query, bytes, (size_t)n, a->id))
		return;
	resolver_dns_set_id(bytes, a->query.id);
	reply(a->in, &a->client, bytes, (size_t)n);
	free_ask(a);
}

/* To the next server, from a new socket; false: none is left, or none can be reached. */
static bool
try_next(struct resolver_udp_ask *a)
{
	while (a->tries < a->server_n * TRIES_PER_SERVER) {
		const struct resolver_server *s = &a->servers[a->tries++ % a->server_n];

		loop_io_cancel(a->io);
		a->io = NULL;
		file_close(a->fd);
		a->fd = socket(s->address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (getrandom(&a->id, sizeof a->id, 0) != sizeof a->id)
			abort();
		resolver_dns_set_id(a->bytes, a->id);
		if (a->fd < 0 ||
		    connect(a->fd, (const struct sockaddr *)&s->address, s->length) < 0 ||
		    send(a->fd, a->bytes, a->n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			continue;
		a->io = loop_io_start(a->in->r->loop, a->fd, LOOP_READ, on_answer, a);
		loop_timer_again(a->timer, TRY_MS);
		return true;
	}
	/* The bytes go back to the client in an error. */
	resolver_dns_set_id(a->bytes, a->query.id);
	return false;
}

static void
on_timeout(void *arg)
{
	struct resolver_udp_ask *a = arg;

	if (!try_next(a))
		fail(a);
}

static void
forward(struct resolver_instance *in, const struct resolver_dns_query *q, const uint8_t *p,
    size_t n, const struct sockaddr_in *client)
{
	struct resolver_udp_ask *a;

	/* Over the bound: silence, as from a busy server; the client asks again. */
	if (in->ask_n >= ASKS_INSTANCE_MAX || in->r->ask_n >= ASKS_MAX)
		return;
	a = xcalloc(1, sizeof *a + n);
	*a =
	    (struct resolver_udp_ask){ .in = in, .client = *client, .query = *q, .fd = -1, .n = n };
	memcpy(a->bytes, p, n);
	a->next = in->asks;
	a->prev = &in->asks;
	if (a->next != NULL)
		a->next->prev = &a->next;
	in->asks = a;
	in->ask_n++;
	in->r->ask_n++;
	a->server_n = resolver_names_servers(in->r->names, a->servers);
	a->timer = loop_timer_start(in->r->loop, TRY_MS, false, on_timeout, a);
	if (!try_next(a))
		fail(a);
}

static void
on_query(struct resolver_instance *in, const uint8_t *p, size_t n, const struct sockaddr_in *client)
{
	uint32_t addresses[RESOLVER_ADDRESSES_MAX];
	uint8_t out[RESOLVER_DNS_UDP_MAX];
	struct resolver_dns_query q;
	int rc = resolver_dns_parse(p, n, &q), found;

	if (rc < 0)
		return;
	if (rc > 0) {
		reply(in, client, out, resolver_dns_error(p, &q, rc, out));
		return;
	}
	found = resolver_find(in, q.name, addresses);
	if (found < 0) {
		forward(in, &q, p, n, client);
		return;
	}
	reply(in, client, out, resolver_dns_answer(p, &q, addresses, (size_t)found, out));
}

static void
on_readable(int fd, int what, void *arg)
{
	struct resolver_instance *in = arg;
	static uint8_t bytes[RESOLVER_DNS_UDP_MAX];
	int turn;

	(void)what;
	/* Others have their turn too. */
	for (turn = 0; turn < TURN_MAX; turn++) {
		struct sockaddr_in client;
		socklen_t len = sizeof client;
		ssize_t n = recvfrom(
		    fd, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&client, &len);

		if (n < 0)
			return;
		if (len == sizeof client)
			on_query(in, bytes, (size_t)n, &client);
	}
}

void
resolver_udp_start(struct resolver_instance *in)
{
	in->udp_io = loop_io_start(in->r->loop, in->udp_fd, LOOP_READ, on_readable, in);
}

void
resolver_udp_stop(struct resolver_instance *in)
{
	while (in->asks != NULL)
		free_ask(in->asks);
	loop_io_cancel(in->udp_io);
	in->udp_io = NULL;
}
