#include "lib/http/tls_cert.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum {
	CHAIN_CERTS_MAX = 10,
	RSA_BITS_MIN = 2048,
	RSA_BITS_MAX = 4096,
	ROUNDS_MAX = 1000000, /* of the derivation of a key from a pass phrase */
	MADE_DAYS = 3650,
	DIGEST = 32, /* bytes of SHA-256 */
};

DEFINE_AUTO(BIO *, BIO_free_all)
DEFINE_AUTO(EVP_PKEY *, EVP_PKEY_free)
DEFINE_AUTO(X509 *, X509_free)
DEFINE_AUTO(X509_REQ *, X509_REQ_free)
DEFINE_AUTO(X509_SIG *, X509_SIG_free)
DEFINE_AUTO(PBE2PARAM *, PBE2PARAM_free)
DEFINE_AUTO(PBKDF2PARAM *, PBKDF2PARAM_free)
DEFINE_AUTO(PKCS8_PRIV_KEY_INFO *, PKCS8_PRIV_KEY_INFO_free)

void
tls_cert_fini(struct tls_cert *c)
{
	free(c->chain);
	secret_free(c->key);
	*c = (struct tls_cert){ 0 };
}

static int
bad_cert(struct err *e, const char *why)
{
	ERR_clear_error();
	return err_set(e, ERR_INVALID, "ssl_certificate",
	    "The certificate cannot be used: %s. Give it as PEM, followed by those of its chain.",
	    why);
}

static int
bad_key(struct err *e, const char *why)
{
	ERR_clear_error();
	return err_set(e, ERR_INVALID, "private_key", "The private key cannot be used: %s.", why);
}

/* What the BIO holds, as a string. */
static char *
text_of(BIO *b)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	return xstrndup(p, n < 0 ? 0 : (size_t)n);
}

/* --- the certificates --- */

static int64_t
time_of(const ASN1_TIME *t)
{
	struct tm tm = { 0 };

	return ASN1_TIME_to_tm(t, &tm) != 1 ? 0 : (int64_t)timegm(&tm);
}

/* All of them, written anew; the first is the caller's. */
static X509 *
read_chain(const char *pem, struct tls_cert *out, struct err *e)
{
	AUTO(BIO_free_all) BIO *in = BIO_new_mem_buf(pem, -1);
	AUTO(BIO_free_all) BIO *to = BIO_new(BIO_s_mem());
	AUTO(X509_free) X509 *first = NULL;
	int n = 0;

	if (in == NULL || to == NULL)
		return (void)bad_cert(e, "no memory"), NULL;
	for (;; n++) {
		AUTO(X509_free) X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);

		if (x == NULL)
			break;
		if (n == CHAIN_CERTS_MAX)
			return (void)bad_cert(e, "its chain has more than 10 certificates"), NULL;
		if (PEM_write_bio_X509(to, x) != 1)
			return (void)bad_cert(e, "it cannot be written"), NULL;
		if (first == NULL)
			first = STEAL(x);
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return (void)bad_cert(e, "it is malformed"), NULL;
	ERR_clear_error();
	if (first == NULL)
		return (void)bad_cert(e, "there is no '-----BEGIN CERTIFICATE-----'"), NULL;
	out->not_before = time_of(X509_get0_notBefore(first));
	out->not_after = time_of(X509_get0_notAfter(first));
	if (out->not_after <= (int64_t)time(NULL))
		return (void)bad_cert(e, "it has expired"), NULL;
	out->chain = text_of(to);
	return STEAL(first);
}

/* --- the key --- */

static int
on_pass(char *out, int n, int is_write, void *pass)
{
	size_t len = pass == NULL ? 0 : strlen(pass);

	(void)is_write;
	if (len == 0 || len > (size_t)n)
		return -1;
	memcpy(out, pass, len);
	return (int)len;
}

/* Deriving the key takes bounded time: the rounds are what the file says. */
static bool
is_cheap(const X509_SIG *sig)
{
	AUTO(PBE2PARAM_free) PBE2PARAM *p = NULL;
	AUTO(PBKDF2PARAM_free) PBKDF2PARAM *k = NULL;
	const X509_ALGOR *alg;
	const ASN1_OBJECT *oid;
	const void *param;
	int type;

	X509_SIG_get0(sig, &alg, NULL);
	X509_ALGOR_get0(&oid, &type, &param, alg);
	if (OBJ_obj2nid(oid) != NID_pbes2 || type != V_ASN1_SEQUENCE)
		return false;
	p = ASN1_item_unpack(param, ASN1_ITEM_rptr(PBE2PARAM));
	if (p == NULL)
		return false;
	X509_ALGOR_get0(&oid, &type, &param, p->keyfunc);
	if (OBJ_obj2nid(oid) == NID_id_scrypt)
		return true; /* OpenSSL bounds its memory, which bounds its time */
	if (OBJ_obj2nid(oid) != NID_id_pbkdf2 || type != V_ASN1_SEQUENCE)
		return false;
	k = ASN1_item_unpack(param, ASN1_ITEM_rptr(PBKDF2PARAM));
	return k != NULL && ASN1_INTEGER_get(k->iter) > 0 &&
	       ASN1_INTEGER_get(k->iter) <= ROUNDS_MAX;
}

static EVP_PKEY *
read_encrypted(const char *pem, const char *pass, struct err *e)
{
	AUTO(BIO_free_all) BIO *in = BIO_new_mem_buf(pem, -1);
	AUTO(X509_SIG_free) X509_SIG *sig = PEM_read_bio_PKCS8(in, NULL, NULL, NULL);
	AUTO(PKCS8_PRIV_KEY_INFO_free) PKCS8_PRIV_KEY_INFO *info = NULL;

	if (sig == NULL)
		return (void)bad_key(e, "it is malformed"), NULL;
	if (!is_cheap(sig))
		return (void)bad_key(e,
		           "it is encrypted in a way that is not accepted; encrypt it with "
		           "'openssl pkcs8 -topk8 -v2 aes256', or give it as it is"),
		       NULL;
	if (pass == NULL)
		return (void)bad_key(e, "it is encrypted: give its pass phrase, pass_phrase"), NULL;
	info = PKCS8_decrypt(sig, pass, (int)strlen(pass));
	if (info == NULL)
		return (void)bad_key(e, "the pass phrase is wrong"), NULL;
	return EVP_PKCS82PKEY(info);
}

/* RSA of a usual size, P-256, P-384 or Ed25519. */
static bool
is_usable(const EVP_PKEY *k)
{
	int bits = EVP_PKEY_get_bits(k);

	switch (EVP_PKEY_get_base_id(k)) {
	case EVP_PKEY_RSA:
		return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX;
	case EVP_PKEY_EC:
		return bits == 256 || bits == 384;
	case EVP_PKEY_ED25519:
		return true;
	default:
		return false;
	}
}

static EVP_PKEY *
read_key(const char *pem, const char *pass, struct err *e)
{
	AUTO(EVP_PKEY_free) EVP_PKEY *k = NULL;
	struct err why = { 0 };

	if (strstr(pem, "-----BEGIN ENCRYPTED PRIVATE KEY-----") != NULL) {
		k = read_encrypted(pem, pass, &why);
	} else {
		AUTO(BIO_free_all) BIO *in = BIO_new_mem_buf(pem, -1);

		k = PEM_read_bio_PrivateKey(in, NULL, on_pass, (void *)(uintptr_t)pass);
	}
	if (k == NULL && why.code != ERR_NONE)
		return *e = why, NULL;
	if (k == NULL)
		return (void)bad_key(e, "it is no key in PEM, or its pass phrase is wrong"), NULL;
	if (!is_usable(k))
		return (void)bad_key(
		           e, "it is not RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519"),
		       NULL;
	return STEAL(k);
}

static int
write_key(EVP_PKEY *k, struct tls_cert *out)
{
	AUTO(BIO_free_all) BIO *to = BIO_new(BIO_s_secmem());

	if (to == NULL || PEM_write_bio_PrivateKey(to, k, NULL, NULL, 0, NULL, NULL) != 1)
		return -1;
	out->key = text_of(to);
	return 0;
}

int
tls_cert_read(
    const char *chain, const char *key, const char *pass, struct tls_cert *out, struct err *e)
{
	AUTO_FINI(tls_cert_fini) struct tls_cert c = { 0 };
	AUTO(X509_free) X509 *x = NULL;
	AUTO(EVP_PKEY_free) EVP_PKEY *k = NULL;

	ERR_clear_error();
	if (strlen(chain) > TLS_CERT_CHAIN_MAX)
		return bad_cert(e, "it is longer than 32 KB");
	if (strlen(key) > TLS_CERT_KEY_MAX)
		return bad_key(e, "it is longer than 16 KB");
	x = read_chain(chain, &c, e);
	k = x == NULL ? NULL : read_key(key, pass, e);
	if (k == NULL)
		return -1;
	if (X509_check_private_key(x, k) != 1)
		return bad_key(e, "it is not the one of the certificate");
	if (write_key(k, &c) < 0)
		return bad_key(e, "it cannot be written");
	ERR_clear_error();
	*out = c;
	c = (struct tls_cert){ 0 };
	return 0;
}

int
tls_cert_read_own(const char *pem, struct tls_cert *out, struct err *e)
{
	return tls_cert_read(pem, pem, NULL, out, e);
}

void
tls_cert_names(const char *chain, struct str_list *out)
{
	AUTO(BIO_free_all) BIO *in = BIO_new_mem_buf(chain, -1);
	AUTO(X509_free) X509 *x = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
	GENERAL_NAMES *names =
	    x == NULL ? NULL : X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
		AUTO(free) char *name = NULL;
		size_t n;

		if (g->type != GEN_DNS)
			continue;
		n = (size_t)ASN1_STRING_length(g->d.dNSName);
		name = xstrndup((const char *)ASN1_STRING_get0_data(g->d.dNSName), n);
		str_lower(name);
		if (strlen(name) == n && n > 0)
			str_list_take(out, STEAL(name));
	}
	GENERAL_NAMES_free(names);
	ERR_clear_error();
}

/* --- one of our own --- */

static bool
add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext != NULL && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

/* RFC 8737 6.1: id-pe-acmeIdentifier, critical, with the digest as an octet string. */
static bool
add_acme(X509 *x, const unsigned char digest[DIGEST])
{
	unsigned char der[2 + DIGEST] = { V_ASN1_OCTET_STRING, DIGEST };
	ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext = NULL;
	bool ok;

	memcpy(der + 2, digest, DIGEST);
	if (oid != NULL && value != NULL && ASN1_OCTET_STRING_set(value, der, sizeof der) == 1)
		ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value);
	ok = ext != NULL && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(oid);
	return ok;
}

/* digest: of a challenge; NULL: it is none. */
static bool
fill(X509 *x, EVP_PKEY *k, const struct str_list *names, const unsigned char *digest)
{
	AUTO_FINI(buf_fini) struct buf alt = { 0 };
	X509_NAME *name = X509_get_subject_name(x);
	uint64_t serial;

	secret_random(&serial, sizeof serial);
	for (size_t i = 0; i < names->n; i++)
		buf_addf(&alt, "%sDNS:%s", i == 0 ? "" : ",", names->v[i]);
	return X509_set_version(x, X509_VERSION_3) == 1 &&
	       ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(x), -3600) != NULL &&
	       X509_time_adj_ex(X509_getm_notAfter(x), MADE_DAYS, 0, NULL) != NULL &&
	       X509_set_pubkey(x, k) == 1 &&
	       X509_NAME_add_entry_by_txt(
	           name, "CN", MBSTRING_UTF8, (const unsigned char *)"Pinion", -1, -1, 0) == 1 &&
	       X509_set_issuer_name(x, name) == 1 &&
	       add_extension(x, NID_basic_constraints, "critical,CA:TRUE") &&
	       add_extension(x, NID_subject_alt_name, alt.p) &&
	       (digest == NULL || add_acme(x, digest)) && X509_sign(x, k, EVP_sha256()) != 0;
}

static int
make(const struct str_list *names, const unsigned char *digest, struct tls_cert *out, struct err *e)
{
	AUTO_FINI(tls_cert_fini) struct tls_cert c = { 0 };
	AUTO(EVP_PKEY_free) EVP_PKEY *k = EVP_EC_gen("P-256");
	AUTO(X509_free) X509 *x = X509_new();
	AUTO(BIO_free_all) BIO *to = BIO_new(BIO_s_mem());

	if (k == NULL || x == NULL || to == NULL || !fill(x, k, names, digest) ||
	    PEM_write_bio_X509(to, x) != 1 || write_key(k, &c) < 0) {
		ERR_clear_error();
		return err_set(e, ERR_SYSTEM, NULL, "OpenSSL makes no certificate");
	}
	c.chain = text_of(to);
	c.not_before = time_of(X509_get0_notBefore(x));
	c.not_after = time_of(X509_get0_notAfter(x));
	*out = c;
	c = (struct tls_cert){ 0 };
	return 0;
}

int
tls_cert_make(const struct str_list *names, struct tls_cert *out, struct err *e)
{
	return make(names, NULL, out, e);
}

/* base64url without padding -> bytes */
static bool
read_digest(const char *text, unsigned char out[DIGEST])
{
	AUTO(free) char *b64 = xasprintf("%s=", text);
	AUTO(free) char *p = NULL;
	size_t n = 0;

	for (char *c = b64; *c != '\0'; c++)
		*c = (char)(*c == '-' ? '+' : *c == '_' ? '/' : *c);
	p = str_base64_decode(str_of(b64), &n);
	if (p == NULL || n != DIGEST)
		return false;
	memcpy(out, p, DIGEST);
	return true;
}

int
tls_cert_make_challenge(const char *host, const char *digest, struct tls_cert *out, struct err *e)
{
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	unsigned char bytes[DIGEST];

	if (!read_digest(digest, bytes))
		return err_set(e, ERR_INVALID, "answer", "is no SHA-256 in base64url");
	str_list_add(&names, host);
	return make(&names, bytes, out, e);
}

/* --- a request for one of an authority --- */

static bool
fill_request(X509_REQ *r, EVP_PKEY *k, const char *host)
{
	AUTO(free) char *alt = xasprintf("DNS:%s", host);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alt);
	STACK_OF(X509_EXTENSION) *all = sk_X509_EXTENSION_new_null();
	bool ok = ext != NULL && all != NULL && sk_X509_EXTENSION_push(all, ext) > 0;

	if (!ok)
		X509_EXTENSION_free(ext);
	/* no subject: a common name has at most 64 bytes, a host more */
	ok = ok && X509_REQ_add_extensions(r, all) == 1 &&
	     X509_REQ_set_version(r, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(r, k) == 1 &&
	     X509_REQ_sign(r, k, EVP_sha256()) != 0;
	sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
	return ok;
}

int
tls_cert_request(const char *host, char **out_key, char **out_request, struct err *e)
{
	AUTO_FINI(tls_cert_fini) struct tls_cert c = { 0 };
	AUTO(EVP_PKEY_free) EVP_PKEY *k = EVP_EC_gen("P-256");
	AUTO(X509_REQ_free) X509_REQ *r = X509_REQ_new();
	AUTO(BIO_free_all) BIO *to = BIO_new(BIO_s_mem());

	if (k == NULL || r == NULL || to == NULL || !fill_request(r, k, host) ||
	    PEM_write_bio_X509_REQ(to, r) != 1 || write_key(k, &c) < 0) {
		ERR_clear_error();
		return err_set(e, ERR_SYSTEM, NULL, "OpenSSL makes no request");
	}
	*out_key = STEAL(c.key);
	*out_request = text_of(to);
	return 0;
}
