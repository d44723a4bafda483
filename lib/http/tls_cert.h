/* lib/http/tls_cert.h: certificates and keys as people give them: PEM, checked, in one form. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

enum {
	TLS_CERT_CHAIN_MAX = 32 * 1024, /* bytes of PEM */
	TLS_CERT_KEY_MAX = 16 * 1024,
	TLS_CERT_PASS_MAX = 1024,
};

/* What a server needs. */
struct tls_cert {
	char *chain;                   /* owned: PEM, its own certificate first */
	char *key;                     /* owned: PEM, not encrypted; wiped */
	int64_t not_before, not_after; /* of its own; Unix time */
};
void tls_cert_fini(struct tls_cert *c);

/* Both as given: PEM, texts of any kind around it; pass may be NULL. Out is zeroed. ERR_INVALID,
 * with field "ssl_certificate" or "private_key". An encrypted key may take seconds: on a worker. */
int tls_cert_read(const char *chain, const char *key, const char *pass, struct tls_cert *out,
    struct err *e) MUST_CHECK;
/* The same from one text that holds both, with a key that is not encrypted: our own files. */
int tls_cert_read_own(const char *pem, struct tls_cert *out, struct err *e) MUST_CHECK;
/* The host names of the first certificate, lower case; also "*.example.com". */
void tls_cert_names(const char *chain, struct str_list *out);
/* A new key (P-256) with a certificate of its own signature for these names, for ten years. */
int tls_cert_make(const struct str_list *names, struct tls_cert *out, struct err *e) MUST_CHECK;
/* The same that answers a challenge of TLS-ALPN-01 (RFC 8737 3): digest is the SHA-256 of the key
 * authorization, base64url. ERR_INVALID: it is none. */
int tls_cert_make_challenge(
    const char *host, const char *digest, struct tls_cert *out, struct err *e) MUST_CHECK;
/* A new key (P-256) and the request for a certificate for host, both PEM; caller owns, the key is
 * wiped by secret_free. */
int tls_cert_request(
    const char *host, char **out_key, char **out_request, struct err *e) MUST_CHECK;
