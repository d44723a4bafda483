#include "lib/http/tls_ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { SKEW_S = 300, CHAIN_CERTS_MAX = 10 };

DEFINE_AUTO(BIO *, BIO_free_all)
DEFINE_AUTO(OCSP_BASICRESP *, OCSP_BASICRESP_free)
DEFINE_AUTO(OCSP_CERTID *, OCSP_CERTID_free)
DEFINE_AUTO(OCSP_REQUEST *, OCSP_REQUEST_free)
DEFINE_AUTO(OCSP_RESPONSE *, OCSP_RESPONSE_free)
DEFINE_AUTO(X509_STORE *, X509_STORE_free)

/* A certificate and who signed it. */
struct pair {
	X509 *own, *issuer; /* owned */
};

static void
pair_fini(struct pair *p)
{
	X509_free(p->own);
	X509_free(p->issuer);
}

static int
fail(struct err *e, enum err_code code, const char *why)
{
	ERR_clear_error();
	return err_set(e, code, "staple", "%s", why);
}

static int
read_pair(const char *chain, struct pair *out, struct err *e)
{
	AUTO(BIO_free_all) BIO *in = BIO_new_mem_buf(chain, -1);

	out->own = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
	for (int i = 0; out->own != NULL && out->issuer == NULL && i < CHAIN_CERTS_MAX; i++) {
		X509 *x = PEM_read_bio_X509(in, NULL, NULL, NULL);

		if (x == NULL)
			break;
		if (X509_check_issued(x, out->own) == X509_V_OK)
			out->issuer = x;
		else
			X509_free(x);
	}
	ERR_clear_error();
	if (out->own == NULL)
		return fail(e, ERR_NOT_FOUND, "there is no certificate");
	/* one of its own signature is its own authority */
	if (out->issuer == NULL && X509_check_issued(out->own, out->own) == X509_V_OK) {
		X509_up_ref(out->own);
		out->issuer = out->own;
	}
	return out->issuer == NULL
	           ? fail(e, ERR_NOT_FOUND, "who signed the certificate is not in its chain")
	           : 0;
}

static char *
responder(X509 *x)
{
	STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(x);
	char *url = NULL;

	for (int i = 0; i < sk_OPENSSL_STRING_num(urls) && url == NULL; i++) {
		if (str_has_prefix(sk_OPENSSL_STRING_value(urls, i), "http"))
			url = xstrdup(sk_OPENSSL_STRING_value(urls, i));
	}
	X509_email_free(urls);
	return url;
}

int
tls_ocsp_ask(const char *chain, char **out_url, struct buf *out, struct err *e)
{
	AUTO_FINI(pair_fini) struct pair p = { 0 };
	AUTO(OCSP_REQUEST_free) OCSP_REQUEST *r = OCSP_REQUEST_new();
	AUTO(free) char *url = NULL;
	OCSP_CERTID *id;
	unsigned char *der = NULL;
	int n;

	if (read_pair(chain, &p, e) < 0)
		return -1;
	url = responder(p.own);
	if (url == NULL)
		return fail(e, ERR_NOT_FOUND, "the certificate names no responder");
	id = OCSP_cert_to_id(NULL, p.own, p.issuer);
	if (r == NULL || id == NULL || OCSP_request_add0_id(r, id) == NULL) {
		OCSP_CERTID_free(id);
		return fail(e, ERR_SYSTEM, "OpenSSL makes no request");
	}
	n = i2d_OCSP_REQUEST(r, &der);
	if (n <= 0)
		return fail(e, ERR_SYSTEM, "OpenSSL makes no request");
	buf_add(out, der, (size_t)n);
	OPENSSL_free(der);
	*out_url = STEAL(url);
	return 0;
}

/* --- the answer --- */

static int64_t
time_of(const ASN1_GENERALIZEDTIME *t)
{
	struct tm tm = { 0 };

	return t == NULL || ASN1_TIME_to_tm(t, &tm) != 1 ? 0 : (int64_t)timegm(&tm);
}

static OCSP_BASICRESP *
read_basic(const void *der, size_t n, struct err *e)
{
	const unsigned char *p = der;
	AUTO(OCSP_RESPONSE_free) OCSP_RESPONSE *r = NULL;
	OCSP_BASICRESP *basic;
	int status;

	if (n == 0 || n > TLS_OCSP_MAX || (r = d2i_OCSP_RESPONSE(NULL, &p, (long)n)) == NULL)
		return (void)fail(e, ERR_INVALID, "the responder's answer is none"), NULL;
	status = OCSP_response_status(r);
	if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
		ERR_clear_error();
		(void)err_set(e, ERR_INVALID, "staple", "the responder says: %s",
		    OCSP_response_status_str(status));
		return NULL;
	}
	basic = OCSP_response_get1_basic(r);
	if (basic == NULL)
		(void)fail(e, ERR_INVALID, "the responder's answer is of an unknown kind");
	return basic;
}

/* By the authority itself, or by whom it made a responder (RFC 6960 4.2.2.2). */
static bool
is_signed(OCSP_BASICRESP *basic, X509 *issuer)
{
	AUTO(X509_STORE_free) X509_STORE *store = X509_STORE_new();

	return store != NULL && X509_STORE_add_cert(store, issuer) == 1 &&
	       X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
	       OCSP_basic_verify(basic, NULL, store, 0) == 1;
}

int
tls_ocsp_read(const char *chain, const void *der, size_t n, struct tls_ocsp *out, struct err *e)
{
	AUTO_FINI(pair_fini) struct pair p = { 0 };
	AUTO(OCSP_BASICRESP_free) OCSP_BASICRESP *basic = NULL;
	AUTO(OCSP_CERTID_free) OCSP_CERTID *id = NULL;
	ASN1_GENERALIZEDTIME *revoked, *from, *until;
	int status, reason;

	if (read_pair(chain, &p, e) < 0 || (basic = read_basic(der, n, e)) == NULL)
		return -1;
	if (!is_signed(basic, p.issuer))
		return fail(e, ERR_INVALID,
		    "the responder's answer is not signed by the certificate's authority");
	id = OCSP_cert_to_id(NULL, p.own, p.issuer);
	if (id == NULL ||
	    OCSP_resp_find_status(basic, id, &status, &reason, &revoked, &from, &until) != 1)
		return fail(e, ERR_INVALID, "the responder's answer is about another certificate");
	if (until == NULL)
		return fail(
		    e, ERR_INVALID, "the responder does not say how long its answer is good");
	if (OCSP_check_validity(from, until, SKEW_S, -1) != 1 ||
	    time_of(until) <= (int64_t)time(NULL))
		return fail(e, ERR_INVALID, "the responder's answer is too old, or of the future");
	if (status == V_OCSP_CERTSTATUS_UNKNOWN)
		return fail(e, ERR_INVALID, "the responder does not know the certificate");
	*out = (struct tls_ocsp){ .is_revoked = status == V_OCSP_CERTSTATUS_REVOKED,
		.from_at = time_of(from),
		.until_at = time_of(until) };
	ERR_clear_error();
	return 0;
}

int64_t
tls_ocsp_until(const void *der, size_t n)
{
	struct err none = { 0 };
	AUTO(OCSP_BASICRESP_free) OCSP_BASICRESP *basic = read_basic(der, n, &none);
	ASN1_GENERALIZEDTIME *revoked, *from, *until = NULL;
	OCSP_SINGLERESP *one = basic == NULL ? NULL : OCSP_resp_get0(basic, 0);
	int reason;

	if (one == NULL)
		return 0;
	(void)OCSP_single_get0_status(one, &reason, &revoked, &from, &until);
	return time_of(until);
}
