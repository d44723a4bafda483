#include "router/tls_conn.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/mem.h"
#include "router/lane.h"
#include "router/sock.h"
#include "router/stats.h"
#include "router/tls_ctx.h"
#include "router/tls_light.h"
#include "router/tls_record.h"

enum {
	SMALL = 4096,
	QUIET_MAX = 6, /* reads in a row that gave records, and nothing in them */
};

struct tls_conn {
	SSL *ssl; /* owned */
	union {
		struct {                  /* of a client */
			int64_t start_us; /* of the handshake; 0: it is over */
			int64_t took_us;
			struct tls_record *record; /* owned; NULL: goes on by OpenSSL */
		};
		struct {                 /* to an instance */
			const char *why; /* the handshake failed; NULL: it did not */
			char *host;      /* owned: what was asked for */
		};
	};
	bool was_short; /* the socket had less than was asked for: it is empty */
	bool is_dry;    /* it had nothing */
	bool is_made;   /* to an instance: the handshake is over */
	uint8_t quiet;  /* reads without data since the last one with some */
};

/* --- what OpenSSL reads and writes --- */

static int
bio_read(BIO *b, char *p, size_t n, size_t *out_n)
{
	struct sock *s = BIO_get_data(b);
	struct tls_conn *t = s->over;
	ssize_t got;

	BIO_clear_retry_flags(b);
	do
		got = recv(s->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	*out_n = got > 0 ? (size_t)got : 0;
	t->was_short = got > 0 && (size_t)got < n;
	t->is_dry = got < 0;
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		BIO_set_retry_read(b);
	if (got == 0)
		BIO_set_flags(b, BIO_FLAGS_IN_EOF);
	return got > 0;
}

static int
bio_write(BIO *b, const char *p, size_t n, size_t *out_n)
{
	struct sock *s = BIO_get_data(b);

	buf_add(&s->lane->sealed, p, n);
	*out_n = n;
	return 1;
}

static long
bio_ctrl(BIO *b, int cmd, long num, void *p)
{
	(void)num;
	(void)p;
	if (cmd == BIO_CTRL_EOF)
		return BIO_test_flags(b, BIO_FLAGS_IN_EOF) != 0;
	return cmd == BIO_CTRL_FLUSH;
}

struct bio_method_st *
tls_conn_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sock");

	if (m == NULL)
		return NULL;
	(void)BIO_meth_set_read_ex(m, bio_read);
	(void)BIO_meth_set_write_ex(m, bio_write);
	(void)BIO_meth_set_ctrl(m, bio_ctrl);
	return m;
}

/* --- what OpenSSL tells of a client's handshake --- */

static void
on_secret(const SSL *ssl, const char *line)
{
	const struct sock *s = BIO_get_data(SSL_get_rbio(ssl));
	const struct tls_conn *t = s->over;

	if (t->record != NULL)
		tls_record_secret(t->record, line);
}

/* arg: the connection's record. */
static void
on_message(int is_sent, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
{
	(void)version;
	(void)p;
	(void)n;
	(void)ssl;
	if (is_sent && type == SSL3_RT_HEADER)
		tls_record_sent(arg);
}

void
tls_conn_listen(struct ssl_ctx_st *s)
{
	SSL_CTX_set_keylog_callback(s, on_secret);
	SSL_CTX_set_msg_callback(s, on_message);
}

/* --- the layer --- */

static void
free_conn(struct tls_conn *t)
{
	SSL_free(t->ssl);
	free(t);
	ERR_clear_error();
}

/* What a call of OpenSSL that did not succeed means, as of recv(2). */
static ssize_t
failure(struct tls_conn *t, int rc)
{
	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		break;
	}
	ERR_clear_error();
	errno = EPROTO;
	return -1;
}

/* The handshake has ended. */
static void
note_handshake(struct sock *s, struct tls_conn *t)
{
	struct stats *stats = s->lane->stats;

	t->took_us = lane_monotonic_us() - t->start_us;
	t->start_us = 0;
	stats->all.handshakes++;
	stats_time(&stats->all.tls, t->took_us);
}

/* Records came that are nobody's data: tickets, new keys. Who sends them without end would have the
 * lane for itself, since each costs more to read than to write. */
static bool
is_quiet(struct tls_conn *t, int rc)
{
	return !t->is_dry && SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ &&
	       ++t->quiet <= QUIET_MAX;
}

static ssize_t
read_some(struct sock *s, void *p, size_t n, bool *out_more)
{
	struct tls_conn *t = s->over;
	size_t all = 0, got;
	int rc = 1;

	ERR_clear_error();
	t->was_short = false;
	do {
		t->is_dry = false;
		rc = SSL_read_ex(t->ssl, (char *)p + all, n - all, &got);
		if (rc > 0) {
			all += got;
			t->quiet = 0;
		}
	} while (rc > 0 ? all < n && (SSL_has_pending(t->ssl) || !t->was_short) : is_quiet(t, rc));
	if (all == 0 && t->quiet > QUIET_MAX) {
		errno = EPROTO;
		return -1;
	}
	if (all == 0)
		return failure(t, rc);
	*out_more = rc > 0 && (SSL_has_pending(t->ssl) || !t->was_short);
	return (ssize_t)all;
}

/* OpenSSL has read the handshake's records and not a byte behind them. What it would do from here,
 * but for the rare client that asked for short records, is done with less memory. */
static bool
become_light(struct sock *s, struct tls_conn *t)
{
	const SSL_SESSION *session = SSL_get_session(t->ssl);

	if (SSL_version(t->ssl) != TLS1_3_VERSION || session == NULL ||
	    SSL_SESSION_get_max_fragment_length(session) != TLSEXT_max_fragment_length_DISABLED ||
	    !tls_record_start(
	        t->record, SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(t->ssl))))
		return false;
	tls_light_start(s, STEAL(t->record), t->took_us);
	free_conn(t);
	return true;
}

static ssize_t
tls_recv(struct sock *s, void *p, size_t n, bool *out_more)
{
	struct tls_conn *t = s->over;
	int rc;

	if (t->start_us == 0)
		return read_some(s, p, n, out_more);
	ERR_clear_error();
	rc = SSL_do_handshake(t->ssl);
	if (rc != 1)
		return failure(t, rc);
	note_handshake(s, t);
	if (become_light(s, t))
		return s->layer->recv(s, p, n, out_more);
	SSL_set_read_ahead(t->ssl, 1); /* a record is read with one call */
	SSL_set_msg_callback(t->ssl, NULL);
	tls_record_free(STEAL(t->record));
	return read_some(s, p, n, out_more);
}

static int
write_all(struct tls_conn *t, const void *p, size_t n)
{
	size_t put;

	return n == 0 || SSL_write_ex(t->ssl, p, n, &put) > 0 ? 0 : -1;
}

/* Little goes into one record. */
static int
tls_seal(struct sock *s, const struct iovec *v, int n)
{
	struct tls_conn *t = s->over;
	char small[SMALL];
	size_t kept = 0;

	ERR_clear_error();
	for (int i = 0; i < n; i++) {
		const char *p = v[i].iov_base;
		size_t left = v[i].iov_len, fits = sizeof small - kept;

		if (fits > left)
			fits = left;
		if (fits != 0)
			memcpy(small + kept, p, fits);
		kept += fits;
		if (fits == left)
			continue;
		if (write_all(t, small, kept) < 0 || write_all(t, p + fits, left - fits) < 0)
			return -1;
		kept = 0;
	}
	return write_all(t, small, kept);
}

static void
tls_shut(struct sock *s)
{
	struct tls_conn *t = s->over;

	ERR_clear_error();
	if (SSL_is_init_finished(t->ssl))
		(void)SSL_shutdown(t->ssl);
}

static void
tls_drop(struct sock *s, bool is_reset)
{
	struct tls_conn *t = s->over;

	(void)is_reset;
	s->lane->stats->all.handshake_failures += t->start_us != 0;
	tls_record_free(t->record);
	free_conn(t);
}

static const struct sock_layer tls_layer = {
	.recv = tls_recv,
	.seal = tls_seal,
	.shut = tls_shut,
	.drop = tls_drop,
};

static struct tls_conn *
new_conn(struct sock *s, SSL *take_ssl, BIO *take_bio)
{
	struct tls_conn *t = xcalloc(1, sizeof *t);

	t->ssl = take_ssl;
	BIO_set_data(take_bio, s);
	BIO_set_init(take_bio, 1);
	SSL_set_bio(take_ssl, take_bio, take_bio);
	return t;
}

int
tls_conn_start(struct sock *s, struct tls_ctx *ctx)
{
	SSL *ssl = tls_ctx_new_ssl(ctx);
	BIO *b = ssl == NULL ? NULL : tls_ctx_new_bio(ctx);
	struct tls_conn *t;

	if (b == NULL) {
		SSL_free(ssl);
		ERR_clear_error();
		return -1;
	}
	t = new_conn(s, ssl, b);
	t->start_us = lane_monotonic_us();
	t->record = tls_record_new(tls_ctx_kit(ctx));
	SSL_set_msg_callback_arg(ssl, t->record);
	SSL_set_accept_state(ssl);
	sock_lay(s, &tls_layer, t);
	return 0;
}

int64_t
tls_conn_take_us(struct sock *s)
{
	struct tls_conn *t = s->over;
	int64_t us;

	if (tls_light_is(s))
		return tls_light_take_us(s);
	if (s->layer != &tls_layer)
		return 0;
	us = t->took_us;
	t->took_us = 0;
	return us;
}

/* --- to an instance --- */

/* A sentence for the log. errno: of the socket, if that failed. */
static const char *
why_not(const struct tls_conn *t, int rc)
{
	switch (SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_ZERO_RETURN:
		return "The application closed the connection within the TLS handshake.";
	case SSL_ERROR_SYSCALL:
		return errno == ECONNRESET || errno == EPIPE
		           ? "The application broke the connection off within the TLS handshake."
		           : NULL;
	default:
		break;
	}
	switch (ERR_GET_REASON(ERR_peek_error())) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_PACKET_LENGTH_TOO_LONG:
		return "The application does not speak TLS, though its cartridge says so.";
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return "The application speaks no TLS that is 1.2 or newer.";
	default:
		return "The TLS handshake with the application failed.";
	}
}

/* 0: it is over; 1: not yet; -1: it failed. */
static int
shake(struct tls_conn *t)
{
	int rc;

	ERR_clear_error();
	errno = 0;
	rc = SSL_do_handshake(t->ssl);
	if (rc == 1) {
		t->is_made = true;
		return 0;
	}
	if (SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ)
		return 1;
	t->why = why_not(t, rc);
	ERR_clear_error();
	return -1;
}

/* Who has a request to send drives the handshake; who reads must not, since nobody would send then.
 */
static ssize_t
client_recv(struct sock *s, void *p, size_t n, bool *out_more)
{
	const struct tls_conn *t = s->over;

	if (t->is_made)
		return read_some(s, p, n, out_more);
	errno = EAGAIN;
	return -1;
}

static int
client_seal(struct sock *s, const struct iovec *v, int n)
{
	struct tls_conn *t = s->over;
	int rc = t->is_made ? 0 : shake(t);

	return rc != 0 ? rc : tls_seal(s, v, n);
}

static void
client_shut(struct sock *s)
{
	const struct tls_conn *t = s->over;

	if (t->is_made)
		tls_shut(s);
}

static void
client_drop(struct sock *s, bool is_reset)
{
	struct tls_conn *t = s->over;

	(void)is_reset;
	if (t->is_made) /* else OpenSSL takes its session for spoiled */
		SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN);
	free(t->host);
	free_conn(t);
}

static const struct sock_layer client_layer = {
	.recv = client_recv,
	.seal = client_seal,
	.shut = client_shut,
	.drop = client_drop,
};

void
tls_conn_start_client(
    struct sock *s, struct ssl_st *take_ssl, struct bio_st *take_bio, const char *host)
{
	struct tls_conn *t = new_conn(s, take_ssl, take_bio);

	SSL_set_connect_state(take_ssl);
	t->host = xstrdup(host);
	sock_lay(s, &client_layer, t);
}

const char *
tls_conn_why(const struct sock *s)
{
	const struct tls_conn *t = s->over;

	return s->layer == &client_layer ? t->why : NULL;
}

bool
tls_conn_may_serve(const struct sock *s, const char *host)
{
	const struct tls_conn *t = s->over;

	return s->layer == &client_layer && strcmp(t->host, host) == 0 && !SSL_has_pending(t->ssl);
}
