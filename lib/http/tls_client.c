#include "lib/http/tls_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/loop/loop.h"

enum { CONNECT_MS = 10000, READ_MAX = 4096 };

struct tls_client {
	struct loop *loop; /* borrowed */
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	struct loop_io *io;
	struct loop_timer *late;
	struct buf queue;
	size_t sent; /* of queue */
	bool is_connected, is_broken, is_paused;
	bool must_take; /* resumed: TLS may have bytes already */
	bool is_closed; /* maybe inside its own callback: freed at the end of the turn */
	tls_client_fn *fn;
	tls_client_data_fn *on_data;
	void *arg;
};

static int
ssl_error(const struct tls_client *c, struct err *e)
{
	long verify = c->ssl == NULL ? X509_V_OK : SSL_get_verify_result(c->ssl);
	unsigned long code = ERR_get_error();
	char text[200] = "";

	ERR_clear_error();
	if (verify != X509_V_OK)
		return err_set(e, ERR_DENIED, NULL, "the certificate is not accepted: %s",
		    X509_verify_cert_error_string(verify));
	if (code != 0)
		ERR_error_string_n(code, text, sizeof text);
	return err_set(e, ERR_SYSTEM, NULL, "TLS failed%s%s", *text == '\0' ? "" : ": ", text);
}

/* The caller hears once; it closes. */
static void
fail(struct tls_client *c, const struct err *e)
{
	if (c->is_broken)
		return;
	c->is_broken = true;
	loop_io_cancel(c->io);
	c->io = NULL;
	loop_timer_cancel(c->late);
	c->late = NULL;
	c->fn(e, c->arg);
}

static void
fail_text(struct tls_client *c, const char *text)
{
	struct err e = { 0 };

	(void)err_set(&e, ERR_SYSTEM, NULL, "%s", text);
	fail(c, &e);
}

static void
listen_to(struct tls_client *c, int more)
{
	loop_io_set(c->io, (c->is_paused ? 0 : LOOP_READ) | more);
}

/* true: go on later; false: it is broken and was told. */
static bool
wait_more(struct tls_client *c, int rc)
{
	struct err e = { 0 };

	switch (SSL_get_error(c->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		listen_to(c, 0);
		return true;
	case SSL_ERROR_WANT_WRITE:
		listen_to(c, LOOP_WRITE);
		return true;
	case SSL_ERROR_ZERO_RETURN:
		fail_text(c, "the peer closed the connection");
		return false;
	default:
		(void)ssl_error(c, &e);
		fail(c, &e);
		return false;
	}
}

static void
flush(struct tls_client *c)
{
	bool had = c->queue.n > 0;

	while (c->sent < c->queue.n) {
		int n = SSL_write(c->ssl, c->queue.p + c->sent, (int)(c->queue.n - c->sent));

		if (n <= 0) {
			(void)wait_more(c, n);
			return;
		}
		c->sent += (size_t)n;
	}
	buf_clear(&c->queue);
	c->sent = 0;
	listen_to(c, 0);
	if (had)
		c->fn(NULL, c->arg);
}

static void
handshake(struct tls_client *c)
{
	int rc = SSL_connect(c->ssl);

	if (rc != 1) {
		(void)wait_more(c, rc);
		return;
	}
	c->is_connected = true;
	loop_timer_cancel(c->late);
	c->late = NULL;
	loop_io_set(c->io, LOOP_READ);
	c->fn(NULL, c->arg);
}

/* false: it is broken, closed or paused. */
static bool
take(struct tls_client *c)
{
	char p[READ_MAX];
	int n = 0;

	while (!c->is_paused && (n = SSL_read(c->ssl, p, sizeof p)) > 0) {
		bool is_paused = c->on_data != NULL && !c->on_data(p, (size_t)n, c->arg);

		if (c->is_closed)
			return false;
		c->is_paused = is_paused;
	}
	if (!c->is_paused)
		return wait_more(c, n);
	listen_to(c, c->sent < c->queue.n ? LOOP_WRITE : 0);
	return true;
}

/* true: it is still there. */
static bool
take_if_due(struct tls_client *c, int what)
{
	if ((what & LOOP_READ) == 0 && !c->must_take)
		return true;
	c->must_take = false;
	return take(c) && !c->is_closed;
}

static void
on_io(int fd, int what, void *arg)
{
	struct tls_client *c = arg;

	(void)fd;
	if (!c->is_connected)
		handshake(c);
	else if (take_if_due(c, what) && c->sent < c->queue.n)
		flush(c);
}

static void
on_late(void *arg)
{
	fail_text(arg, "the connection was not made in time");
}

static int
open_socket(struct tls_client *c, const struct tls_client_opts *o, struct err *e)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} to = { 0 };
	socklen_t n;
	int one = 1;

	if (inet_pton(AF_INET, o->address, &to.in.sin_addr) == 1) {
		to.in.sin_family = AF_INET;
		to.in.sin_port = htons((uint16_t)o->port);
		n = sizeof to.in;
	} else if (inet_pton(AF_INET6, o->address, &to.in6.sin6_addr) == 1) {
		to.in6.sin6_family = AF_INET6;
		to.in6.sin6_port = htons((uint16_t)o->port);
		n = sizeof to.in6;
	} else {
		return err_set(e, ERR_INVALID, "address", "%s is no address", o->address);
	}
	c->fd = socket(to.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return err_set(e, ERR_SYSTEM, NULL, "cannot make a socket");
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(c->fd, &to.sa, n) < 0 && errno != EINPROGRESS)
		return err_set(e, ERR_SYSTEM, NULL, "cannot connect to %s", o->address);
	return 0;
}

static int
open_tls(struct tls_client *c, const struct tls_client_opts *o, struct err *e)
{
	unsigned char ip[16];

	c->ctx = SSL_CTX_new(TLS_client_method());
	if (c->ctx == NULL || SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) != 1)
		return ssl_error(c, e);
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	(void)SSL_CTX_set_mode(
	    c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (o->ca_file != NULL && *o->ca_file != '\0'
	        ? SSL_CTX_load_verify_locations(c->ctx, o->ca_file, NULL) != 1
	        : SSL_CTX_set_default_verify_paths(c->ctx) != 1)
		return ssl_error(c, e);
	if (o->cert_file != NULL &&
	    (SSL_CTX_use_certificate_chain_file(c->ctx, o->cert_file) != 1 ||
	        SSL_CTX_use_PrivateKey_file(c->ctx,
	            o->key_file == NULL ? o->cert_file : o->key_file, SSL_FILETYPE_PEM) != 1))
		return ssl_error(c, e);
	c->ssl = SSL_new(c->ctx);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
		return ssl_error(c, e);
	if (inet_pton(AF_INET, o->host, ip) == 1 || inet_pton(AF_INET6, o->host, ip) == 1) {
		if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), o->host) != 1)
			return ssl_error(c, e);
	} else if (SSL_set1_host(c->ssl, o->host) != 1 ||
	           SSL_set_tlsext_host_name(c->ssl, o->host) != 1) {
		return ssl_error(c, e);
	}
	return 0;
}

struct tls_client *
tls_client_start(
    struct loop *l, const struct tls_client_opts *o, tls_client_fn *fn, void *arg, struct err *e)
{
	AUTO(tls_client_close) struct tls_client *c = xcalloc(1, sizeof *c);

	*c =
	    (struct tls_client){ .loop = l, .fd = -1, .fn = fn, .on_data = o->on_data, .arg = arg };
	if (open_socket(c, o, e) < 0 || open_tls(c, o, e) < 0)
		return NULL;
	c->io = loop_io_start(l, c->fd, LOOP_READ | LOOP_WRITE, on_io, c);
	c->late =
	    loop_timer_start(l, o->connect_ms > 0 ? o->connect_ms : CONNECT_MS, false, on_late, c);
	return STEAL(c);
}

void
tls_client_write(struct tls_client *c, const void *p, size_t n)
{
	if (!c->is_connected || c->is_broken)
		return;
	buf_add(&c->queue, p, n);
	listen_to(c, LOOP_WRITE); /* sent by the loop: no callback from here */
}

void
tls_client_resume(struct tls_client *c)
{
	if (!c->is_paused || c->is_broken)
		return;
	c->is_paused = false;
	/* Bytes that TLS has read already make no socket readable. */
	listen_to(c, LOOP_WRITE);
	c->must_take = true;
}

size_t
tls_client_queued(const struct tls_client *c)
{
	return c->queue.n - c->sent;
}

static void
free_later(void *p)
{
	free(p);
}

void
tls_client_close(struct tls_client *take_c)
{
	struct tls_client *c = take_c;

	if (c == NULL)
		return;
	c->is_closed = true;
	loop_io_cancel(c->io);
	loop_timer_cancel(c->late);
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	if (c->fd >= 0)
		close(c->fd);
	buf_fini(&c->queue);
	loop_free_later(c->loop, free_later, c); /* it may be in its own callback */
}
