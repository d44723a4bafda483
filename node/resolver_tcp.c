#include "node/resolver_tcp.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/mem.h"
#include "lib/loop/loop.h"
#include "node/resolver.h"
#include "node/resolver_dns.h"

enum { CONNS_MAX = 256, CONNS_INSTANCE_MAX = 8, IDLE_MS = 5000, QUERIES_MAX = 64 };

enum state { READ_QUERY, ASK_SERVER, READ_ANSWER, WRITE_ANSWER };

/* A message with its length of two bytes, partly there or partly gone. */
struct message {
	uint8_t *p; /* owned */
	size_t n;   /* bytes to come or to go, the length included; 0: not known yet */
	size_t at;
	uint8_t head[2];
};

struct resolver_tcp_conn {
	struct resolver_instance *in; /* borrowed */
	struct resolver_tcp_conn *next, **prev;
	int fd, server_fd; /* owned; -1: none */
	struct loop_io *io, *server_io;
	struct loop_timer *timer;
	enum state state;
	int queries;
	size_t tries;
	struct message query, answer;
	struct resolver_dns_query parsed;
};

static void
message_clear(struct message *m)
{
	free(m->p);
	*m = (struct message){ 0 };
}

static void
close_server(struct resolver_tcp_conn *c)
{
	loop_io_cancel(c->server_io);
	c->server_io = NULL;
	file_close(c->server_fd);
	c->server_fd = -1;
}

static void
free_conn(struct resolver_tcp_conn *take_c)
{
	if (take_c->next != NULL)
		take_c->next->prev = take_c->prev;
	*take_c->prev = take_c->next;
	take_c->in->conn_n--;
	take_c->in->r->conn_n--;
	close_server(take_c);
	loop_io_cancel(take_c->io);
	loop_timer_cancel(take_c->timer);
	file_close(take_c->fd);
	message_clear(&take_c->query);
	message_clear(&take_c->answer);
	free(take_c);
}

/* 1: complete, 0: more to come, -1: the end. */
static int
read_message(int fd, struct message *m, size_t max)
{
	for (;;) {
		uint8_t *to = m->p == NULL ? m->head + m->at : m->p + m->at;
		size_t want = m->p == NULL ? 2 - m->at : m->n - m->at;
		ssize_t n = recv(fd, to, want, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		if (n == 0)
			return -1;
		m->at += (size_t)n;
		if (m->p == NULL && m->at == 2) {
			m->n = (size_t)(m->head[0] << 8 | m->head[1]) + 2;
			if (m->n - 2 < RESOLVER_DNS_HEAD || m->n - 2 > max)
				return -1;
			m->p = xmalloc(m->n);
			memcpy(m->p, m->head, 2);
		}
		if (m->p != NULL && m->at == m->n)
			return 1;
	}
}

static int
write_message(int fd, struct message *m)
{
	while (m->at < m->n) {
		ssize_t n = send(fd, m->p + m->at, m->n - m->at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		m->at += (size_t)n;
	}
	return 1;
}

static void
send_answer(struct resolver_tcp_conn *c)
{
	close_server(c);
	c->answer.at = 0;
	c->state = WRITE_ANSWER;
	loop_io_set(c->io, LOOP_WRITE);
}

static void
set_answer(struct resolver_tcp_conn *c, const uint8_t *p, size_t n)
{
	message_clear(&c->answer);
	c->answer.p = xmalloc(n + 2);
	c->answer.n = n + 2;
	c->answer.p[0] = (uint8_t)(n >> 8);
	c->answer.p[1] = (uint8_t)n;
	memcpy(c->answer.p + 2, p, n);
	send_answer(c);
}

static void
answer_error(struct resolver_tcp_conn *c, int code)
{
	uint8_t out[RESOLVER_DNS_UDP_MAX];

	set_answer(c, out, resolver_dns_error(c->query.p + 2, &c->parsed, code, out));
}

static void on_server(int fd, int what, void *arg);

/* The connection itself is the proof of who answers: the client's id may stay. */
static void
try_next(struct resolver_tcp_conn *c)
{
	struct resolver_server servers[RESOLVER_SERVERS_MAX];
	size_t n = resolver_names_servers(c->in->r->names, servers);

	close_server(c);
	message_clear(&c->answer);
	while (c->tries < n) {
		const struct resolver_server *s = &servers[c->tries++];

		file_close(c->server_fd);
		c->server_fd =
		    socket(s->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (c->server_fd < 0 ||
		    (connect(c->server_fd, (const struct sockaddr *)&s->address, s->length) < 0 &&
		        errno != EINPROGRESS))
			continue;
		c->query.at = 0;
		c->state = ASK_SERVER;
		c->server_io =
		    loop_io_start(c->in->r->loop, c->server_fd, LOOP_WRITE, on_server, c);
		return;
	}
	answer_error(c, RESOLVER_DNS_SERVFAIL);
}

static void
on_server(int fd, int what, void *arg)
{
	struct resolver_tcp_conn *c = arg;
	int rc;

	(void)what;
	if (c->state == ASK_SERVER) {
		rc = write_message(fd, &c->query);
		if (rc > 0) {
			c->state = READ_ANSWER;
			loop_io_set(c->server_io, LOOP_READ);
		}
	} else {
		rc = read_message(fd, &c->answer, RESOLVER_DNS_MAX);
		if (rc > 0 && resolver_dns_matches(c->query.p + 2, &c->parsed, c->answer.p + 2,
		                  c->answer.n - 2, c->parsed.id)) {
			send_answer(c);
			return;
		}
		if (rc > 0)
			rc = -1;
	}
	if (rc < 0)
		try_next(c);
}

static void
on_query(struct resolver_tcp_conn *c)
{
	uint32_t addresses[RESOLVER_ADDRESSES_MAX];
	uint8_t out[RESOLVER_DNS_UDP_MAX];
	const uint8_t *p = c->query.p + 2;
	int rc = resolver_dns_parse(p, c->query.n - 2, &c->parsed), found;

	loop_io_set(c->io, 0);
	c->tries = 0;
	if (rc < 0 || ++c->queries > QUERIES_MAX) {
		free_conn(c);
		return;
	}
	if (rc > 0) {
		answer_error(c, rc);
		return;
	}
	found = resolver_find(c->in, c->parsed.name, addresses);
	if (found < 0)
		try_next(c);
	else
		set_answer(
		    c, out, resolver_dns_answer(p, &c->parsed, addresses, (size_t)found, out));
}

static void
on_client(int fd, int what, void *arg)
{
	struct resolver_tcp_conn *c = arg;
	int rc;

	(void)what;
	loop_timer_again(c->timer, IDLE_MS);
	if (c->state == READ_QUERY) {
		rc = read_message(fd, &c->query, RESOLVER_DNS_UDP_MAX);
		if (rc > 0)
			on_query(c);
		else if (rc < 0)
			free_conn(c);
		return;
	}
	rc = write_message(fd, &c->answer);
	if (rc < 0) {
		free_conn(c);
	} else if (rc > 0) {
		message_clear(&c->query);
		message_clear(&c->answer);
		c->state = READ_QUERY;
		loop_io_set(c->io, LOOP_READ);
	}
}

static void
on_idle(void *arg)
{
	free_conn(arg);
}

static void
on_connect(int fd, int what, void *arg)
{
	struct resolver_instance *in = arg;
	struct resolver_tcp_conn *c;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (client < 0)
		return;
	if (in->conn_n >= CONNS_INSTANCE_MAX || in->r->conn_n >= CONNS_MAX) {
		file_close(client);
		return;
	}
	c = xcalloc(1, sizeof *c);
	*c = (struct resolver_tcp_conn){ .in = in, .fd = client, .server_fd = -1 };
	c->next = in->conns;
	c->prev = &in->conns;
	if (c->next != NULL)
		c->next->prev = &c->next;
	in->conns = c;
	in->conn_n++;
	in->r->conn_n++;
	c->io = loop_io_start(in->r->loop, client, LOOP_READ, on_client, c);
	c->timer = loop_timer_start(in->r->loop, IDLE_MS, false, on_idle, c);
}

void
resolver_tcp_start(struct resolver_instance *in)
{
	in->tcp_io = loop_io_start(in->r->loop, in->tcp_fd, LOOP_READ, on_connect, in);
}

void
resolver_tcp_stop(struct resolver_instance *in)
{
	while (in->conns != NULL)
		free_conn(in->conns);
	loop_io_cancel(in->tcp_io);
	in->tcp_io = NULL;
}
