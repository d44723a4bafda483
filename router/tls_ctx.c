#include "router/tls_ctx.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "lib/base/mem.h"
#include "router/tls_conn.h"

/* Mozilla's "intermediate" suites; X25519 first: its exchange costs the least. */
#define CIPHERS                                                                                    \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

struct tls_ctx {
	SSL_CTX *ssl;       /* owned */
	BIO_METHOD *method; /* owned */
};

/* The reason that OpenSSL gives. */
static int
set_reason(struct err *e, const char *pem)
{
	unsigned long code = ERR_peek_error();
	const char *why = code == 0 ? "no reason given" : ERR_reason_error_string(code);

	ERR_clear_error();
	return err_set(e, ERR_INVALID, "cert", "%s holds no certificate with its key: %s", pem,
	    why == NULL ? "it cannot be read" : why);
}

/* RFC 7301: HTTP/2 if the client speaks it. */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
    unsigned in_n, void *arg)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";
	unsigned char *chosen;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&chosen, out_n, ours, sizeof ours - 1, in, in_n) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static void
set_profile(SSL_CTX *c)
{
	SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
	SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
	                           SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	(void)SSL_CTX_set_cipher_list(c, CIPHERS);
	(void)SSL_CTX_set_ciphersuites(c, SUITES);
	(void)SSL_CTX_set1_groups_list(c, GROUPS);
	/* An idle connection holds no buffer; a record is read with one call. */
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_read_ahead(c, 1);
	/* Sessions are the clients' to keep (RFC 5077, RFC 8446 4.6.1): one ticket each. */
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(c, 1);
	SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL);
}

struct tls_ctx *
tls_ctx_new(const char *pem, struct err *e)
{
	struct tls_ctx *c = xcalloc(1, sizeof *c);

	c->ssl = SSL_CTX_new(TLS_server_method());
	c->method = tls_conn_method();
	if (c->ssl == NULL || c->method == NULL) {
		(void)err_set(e, ERR_SYSTEM, NULL, "OpenSSL cannot be set up");
		tls_ctx_free(c);
		return NULL;
	}
	set_profile(c->ssl);
	if (SSL_CTX_use_certificate_chain_file(c->ssl, pem) != 1 ||
	    SSL_CTX_use_PrivateKey_file(c->ssl, pem, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(c->ssl) != 1) {
		(void)set_reason(e, pem);
		tls_ctx_free(c);
		return NULL;
	}
	return c;
}

void
tls_ctx_free(struct tls_ctx *take_c)
{
	if (take_c == NULL)
		return;
	SSL_CTX_free(take_c->ssl);
	BIO_meth_free(take_c->method);
	free(take_c);
}

struct ssl_st *
tls_ctx_new_ssl(struct tls_ctx *c)
{
	return SSL_new(c->ssl);
}

struct bio_st *
tls_ctx_new_bio(struct tls_ctx *c)
{
	return BIO_new(c->method);
}
