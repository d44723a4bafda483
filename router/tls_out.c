#include "router/tls_out.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "router/tls_conn.h"

struct tls_out {
	SSL_CTX *ssl;       /* owned */
	BIO_METHOD *method; /* owned */
};

/* OpenSSL hands over its reference. */
static int
on_session(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION **kept = SSL_get_app_data(ssl);

	SSL_SESSION_free(*kept);
	*kept = session;
	return 1;
}

static SSL_CTX *
new_ctx(void)
{
	static const unsigned char alpn[] = "\x08http/1.1";
	SSL_CTX *s = SSL_CTX_new(TLS_client_method());

	if (s == NULL)
		return NULL;
	SSL_CTX_set_min_proto_version(s, TLS1_2_VERSION);
	/* What proves nothing need not be strong: an old cartridge's certificate will do. */
	SSL_CTX_set_verify(s, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_security_level(s, 0);
	/* Old servers close without a word; a body's length tells what is missing. */
	SSL_CTX_set_options(
	    s, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(s, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_clear_mode(s, SSL_MODE_AUTO_RETRY); /* tls_conn counts */
	SSL_CTX_set_read_ahead(s, 1);
	SSL_CTX_set_session_cache_mode(s, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(s, on_session);
	if (SSL_CTX_set_alpn_protos(s, alpn, sizeof alpn - 1) != 0) {
		SSL_CTX_free(s);
		return NULL;
	}
	return s;
}

struct tls_out *
tls_out_new(void)
{
	struct tls_out *t = xcalloc(1, sizeof *t);

	t->ssl = new_ctx();
	t->method = tls_conn_method();
	if (t->ssl == NULL || t->method == NULL) {
		tls_out_free(t);
		return NULL;
	}
	return t;
}

void
tls_out_free(struct tls_out *take_t)
{
	if (take_t == NULL)
		return;
	SSL_CTX_free(take_t->ssl);
	BIO_meth_free(take_t->method);
	free(take_t);
}

/* RFC 6066 3: names only. */
static bool
is_name(const char *host)
{
	struct in_addr four;

	return *host != '\0' && strchr(host, ':') == NULL && inet_pton(AF_INET, host, &four) != 1;
}

/* A session is of one name (RFC 8446 4.6.1). */
static bool
is_of(const SSL_SESSION *s, const char *host)
{
	const char *name = s == NULL ? NULL : SSL_SESSION_get0_hostname(s);

	return s != NULL && strcmp(name == NULL ? "" : name, is_name(host) ? host : "") == 0;
}

int
tls_out_start(struct tls_out *t, struct sock *s, const char *host, struct ssl_session_st **session)
{
	SSL *ssl = SSL_new(t->ssl);
	BIO *b = ssl == NULL ? NULL : BIO_new(t->method);
	bool ok = b != NULL && (!is_name(host) || SSL_set_tlsext_host_name(ssl, host) == 1);

	ERR_clear_error();
	if (!ok) {
		SSL_free(ssl);
		BIO_free(b);
		errno = ENOMEM;
		return -1;
	}
	SSL_set_app_data(ssl, session);
	if (is_of(*session, host))
		(void)SSL_set_session(ssl, *session);
	tls_conn_start_client(s, ssl, b, host);
	return 0;
}

void
tls_out_forget(struct ssl_session_st **session)
{
	SSL_SESSION_free(*session);
	*session = NULL;
}
