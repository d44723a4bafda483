#include "router/tls_ctx.h"

#include <dirent.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/http/tls_cert.h"
#include "lib/http/tls_ocsp.h"
#include "router/cert_table.h"
#include "router/tls_conn.h"
#include "router/tls_hello.h"
#include "router/tls_record.h"

/* Mozilla's "intermediate" suites; X25519 first: its exchange costs the least. */
#define CIPHERS                                                                                    \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"
/* RFC 8737: the protocol, and what stands before a host in the table of certificates. */
#define ACME "acme-tls/1"

enum { FILE_MAX = 128 * 1024, NAMES_MAX = 1000, KEY_NAME = 16, KEY_AES = 32, KEY_MAC = 32 };

struct tls_ctx {
	SSL_CTX *ssl;               /* owned: of all connections at first, and of sessions */
	BIO_METHOD *method;         /* owned */
	struct cert_table *certs;   /* owned */
	EVP_CIPHER *cipher;         /* owned: of tickets */
	struct tls_record_kit *kit; /* owned */
	bool is_modern;
};

/* An OCSP response, kept with the SSL_CTX that it is of. */
struct staple {
	size_t n;
	unsigned char *p; /* owned */
	int64_t until_at; /* Unix time: it says nothing any more */
};

static int
set_reason(struct err *e, const char *pem)
{
	unsigned long code = ERR_peek_error();
	const char *why = code == 0 ? "no reason given" : ERR_reason_error_string(code);

	ERR_clear_error();
	return err_set(e, ERR_INVALID, "cert", "%s holds no certificate with its key: %s", pem,
	    why == NULL ? "it cannot be read" : why);
}

struct ssl_ctx_st *
tls_ctx_keep(struct ssl_ctx_st *s)
{
	SSL_CTX_up_ref(s);
	return s;
}

void
tls_ctx_drop(struct ssl_ctx_st *take_s)
{
	SSL_CTX_free(take_s);
}

/* --- what a handshake asks --- */

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

/* With the certificate of a challenge nothing else is spoken. */
static int
on_acme(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
    unsigned in_n, void *arg)
{
	(void)ssl;
	(void)in;
	(void)in_n;
	(void)arg;
	*out = (const unsigned char *)ACME;
	*out_n = sizeof ACME - 1;
	return SSL_TLSEXT_ERR_OK;
}

/* The certificate by the host that the client names; without one the connection's own stays. */
static int
on_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_ctx *c = arg;
	const unsigned char *p;
	char name[sizeof ACME + 1 + TLS_HELLO_HOST_MAX + 1];
	char *host = name + sizeof ACME;
	SSL_CTX *own;
	size_t n;

	(void)alert;
	if (cert_table_count(c->certs) == 0)
		return SSL_CLIENT_HELLO_SUCCESS;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) != 1 ||
	    !tls_hello_host(p, n, host))
		*host = '\0';
	if (SSL_client_hello_get0_ext(
	        ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p, &n) == 1 &&
	    tls_hello_offers(p, n, ACME)) {
		memcpy(name, ACME " ", sizeof ACME);
		host = name;
	}
	own = cert_table_find(c->certs, host);
	if (own == NULL && *host != '\0' && host != name)
		own = cert_table_find(c->certs, "");
	if (own != NULL) {
		SSL_set_SSL_CTX(ssl, own);
		SSL_CTX_free(own);
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

static int
on_status(SSL *ssl, void *arg)
{
	const struct staple *s = arg;
	void *copy = (int64_t)time(NULL) < s->until_at ? OPENSSL_memdup(s->p, s->n) : NULL;

	if (copy == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)s->n);
	return SSL_TLSEXT_ERR_OK;
}

/* RFC 5077 4: AES-256-CBC and HMAC-SHA-256, by keys that all routers share. */
static int
on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
    EVP_MAC_CTX *mac, int is_made)
{
	struct tls_ctx *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	unsigned char key[CERT_TICKET_KEY];
	int which = cert_table_ticket(c->certs, is_made ? NULL : name, key);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(
		    OSSL_MAC_PARAM_KEY, key + KEY_NAME + KEY_AES, KEY_MAC),
		OSSL_PARAM_construct_utf8_string(
		    OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
		OSSL_PARAM_construct_end(),
	};
	int rc = which;

	if (which == 0)
		return 0; /* no ticket; a whole handshake */
	if (is_made)
		memcpy(name, key, KEY_NAME);
	if ((is_made && RAND_bytes(iv, EVP_CIPHER_get_iv_length(c->cipher)) != 1) ||
	    EVP_CipherInit_ex2(cipher, c->cipher, key + KEY_NAME, iv, is_made, NULL) != 1 ||
	    EVP_MAC_CTX_set_params(mac, params) != 1)
		rc = -1;
	secret_wipe(key, sizeof key);
	return rc;
}

/* --- what is ready of a certificate --- */

static void
staple_free(void *parent, void *p, CRYPTO_EX_DATA *ad, int index, long num, void *arg)
{
	struct staple *s = p;

	(void)parent;
	(void)ad;
	(void)index;
	(void)num;
	(void)arg;
	if (s == NULL)
		return;
	free(s->p);
	free(s);
}

static int staple_index = -1;

static SSL_CTX *
base_new(struct tls_ctx *c)
{
	SSL_CTX *s = SSL_CTX_new(TLS_server_method());

	if (s == NULL)
		return NULL;
	SSL_CTX_set_min_proto_version(s, c->is_modern ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_options(s, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
	                           SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	(void)SSL_CTX_set_cipher_list(s, CIPHERS);
	(void)SSL_CTX_set_ciphersuites(s, SUITES);
	(void)SSL_CTX_set1_groups_list(s, GROUPS);
	SSL_CTX_set_mode(s, SSL_MODE_RELEASE_BUFFERS); /* an idle connection holds none */
	SSL_CTX_clear_mode(s, SSL_MODE_AUTO_RETRY);    /* tls_conn counts */
	tls_conn_listen(s);
	/* Sessions are the clients' to keep (RFC 5077, RFC 8446 4.6.1): one ticket each. */
	SSL_CTX_set_session_cache_mode(s, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(s, 1);
	SSL_CTX_set_alpn_select_cb(s, on_alpn, NULL);
	SSL_CTX_set_app_data(s, c);
	return s;
}

/* 1: all of it is there and belongs together. */
static int
use_pem(SSL_CTX *s, const char *chain, const char *key)
{
	BIO *in = BIO_new_mem_buf(chain, -1);
	X509 *x = in == NULL ? NULL : PEM_read_bio_X509_AUX(in, NULL, NULL, NULL);
	int ok = x != NULL && SSL_CTX_use_certificate(s, x) == 1;

	X509_free(x);
	while (ok && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL)
		ok = SSL_CTX_add0_chain_cert(s, x) == 1;
	BIO_free(in);
	in = ok ? BIO_new_mem_buf(key, -1) : NULL;
	EVP_PKEY *k = in == NULL ? NULL : PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
	ok = k != NULL && SSL_CTX_use_PrivateKey(s, k) == 1 && SSL_CTX_check_private_key(s) == 1;
	EVP_PKEY_free(k);
	BIO_free(in);
	if (ok)
		ERR_clear_error(); /* the end of the chain */
	return ok;
}

static void
use_staple(SSL_CTX *s, const char *base64)
{
	struct staple *st = xcalloc(1, sizeof *st);

	st->p = str_base64_decode(str_of(base64), &st->n);
	SSL_CTX_set_ex_data(s, staple_index, st); /* owns it */
	if (st->p == NULL)
		return;
	st->until_at = tls_ocsp_until(st->p, st->n);
	SSL_CTX_set_tlsext_status_cb(s, on_status);
	SSL_CTX_set_tlsext_status_arg(s, st);
}

static struct ssl_ctx_st *
make(const char *host, const char *chain, const char *key, const char *staple, void *arg)
{
	SSL_CTX *s = base_new(arg);

	ERR_clear_error();
	if (s != NULL && use_pem(s, chain, key) != 1) {
		SSL_CTX_free(s);
		s = NULL;
	}
	ERR_clear_error();
	if (s != NULL && staple != NULL)
		use_staple(s, staple);
	if (s != NULL && str_has_prefix(host, ACME))
		SSL_CTX_set_alpn_select_cb(s, on_acme, NULL);
	return s;
}

/* --- files --- */

static bool
is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Files of the list, and of its directories in order of their names. */
static int
list_files(const struct str_list *pem, struct str_list *out, struct err *e)
{
	for (size_t i = 0; i < pem->n; i++) {
		struct dirent **v;
		int n;

		if (!is_dir(pem->v[i])) {
			str_list_add(out, pem->v[i]);
			continue;
		}
		n = scandir(pem->v[i], &v, NULL, alphasort);
		if (n < 0)
			return err_set(e, ERR_SYSTEM, "cert", "cannot list %s", pem->v[i]);
		for (int k = 0; k < n; k++) {
			if (str_has_suffix(v[k]->d_name, ".pem"))
				str_list_take(out, file_join(pem->v[i], v[k]->d_name));
			free(v[k]);
		}
		free(v);
	}
	return out->n > 0 || pem->n == 0
	           ? 0
	           : err_set(e, ERR_INVALID, "cert", "%s has no file *.pem", pem->v[0]);
}

static int
read_pem(const char *path, struct tls_cert *out, struct err *e)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	int rc;

	if (file_read(path, FILE_MAX, &b, e) < 0)
		return err_wrap(e, "cert");
	rc = tls_cert_read_own(b.p == NULL ? "" : b.p, out, e);
	secret_wipe(b.p, b.n);
	return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

static int
put_names(struct tls_ctx *c, const struct tls_cert *cert, bool is_first, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };

	tls_cert_names(cert->chain, &names);
	if (is_first)
		str_list_add(&names, "");
	for (size_t i = 0; i < names.n && i < NAMES_MAX; i++) {
		const struct wire_cert w = { .host = names.v[i],
			.chain = cert->chain,
			.key = cert->key,
			.source = (char *)(uintptr_t) "file",
			.not_after = cert->not_after };

		if (cert_table_put(c->certs, &w, e) < 0)
			return -1;
	}
	return 0;
}

int
tls_ctx_reload(struct tls_ctx *c, const struct str_list *pem, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list files = { 0 };

	if (list_files(pem, &files, e) < 0)
		return -1;
	for (size_t i = 0; i < files.n; i++) {
		AUTO_FINI(tls_cert_fini) struct tls_cert cert = { 0 };

		if (read_pem(files.v[i], &cert, e) < 0 || put_names(c, &cert, i == 0, e) < 0)
			return -1;
	}
	return 0;
}

/* The first becomes every connection's own; the others are for their names. */
static int
load(struct tls_ctx *c, const struct str_list *pem, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list files = { 0 };
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };

	if (list_files(pem, &files, e) < 0)
		return -1;
	for (size_t i = 0; i < files.n || i == 0; i++) {
		AUTO_FINI(tls_cert_fini) struct tls_cert cert = { 0 };

		if (files.n == 0) {
			str_list_add(&names, "localhost");
			if (tls_cert_make(&names, &cert, e) < 0)
				return -1;
		} else if (read_pem(files.v[i], &cert, e) < 0) {
			return -1;
		}
		if (i == 0 && use_pem(c->ssl, cert.chain, cert.key) != 1)
			return set_reason(e, files.n == 0 ? "OpenSSL" : files.v[0]);
		if (i > 0 && put_names(c, &cert, false, e) < 0)
			return -1;
	}
	return 0;
}

/* --- life --- */

struct tls_ctx *
tls_ctx_new(const struct str_list *pem, const char *profile, struct err *e)
{
	struct tls_ctx *c = xcalloc(1, sizeof *c);

	if (staple_index < 0)
		staple_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, staple_free);
	c->is_modern = strcmp(profile, "modern") == 0;
	c->certs = cert_table_new(make, c);
	cert_table_rotate(c->certs);
	c->ssl = base_new(c);
	c->method = tls_conn_method();
	c->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	c->kit = tls_record_kit_new();
	if (c->ssl == NULL || c->method == NULL || c->cipher == NULL || c->kit == NULL) {
		(void)err_set(e, ERR_SYSTEM, NULL, "OpenSSL cannot be set up");
		tls_ctx_free(c);
		return NULL;
	}
	SSL_CTX_set_client_hello_cb(c->ssl, on_hello, c);
	(void)SSL_CTX_set_tlsext_ticket_key_evp_cb(c->ssl, on_ticket);
	if (load(c, pem, e) < 0) {
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
	cert_table_free(take_c->certs);
	SSL_CTX_free(take_c->ssl);
	BIO_meth_free(take_c->method);
	EVP_CIPHER_free(take_c->cipher);
	tls_record_kit_free(take_c->kit);
	free(take_c);
}

struct cert_table *
tls_ctx_certs(struct tls_ctx *c)
{
	return c->certs;
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

const struct tls_record_kit *
tls_ctx_kit(const struct tls_ctx *c)
{
	return c->kit;
}
