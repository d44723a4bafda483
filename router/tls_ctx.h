/* router/tls_ctx.h: what all TLS connections share: versions, ciphers, groups, the certificate.
 * Made before the lanes start; they only read it. */
#pragma once

#include "lib/base/err.h"

struct bio_method_st;
struct bio_st;
struct ssl_st;
struct tls_ctx;

/* pem: file with a certificate, its chain and its key. Blocks: at start. NULL: ERR_INVALID. */
struct tls_ctx *tls_ctx_new(const char *pem, struct err *e);
void tls_ctx_free(struct tls_ctx *take_c); /* NULL is fine */
/* For one connection; the caller's. NULL: out of memory. */
struct ssl_st *tls_ctx_new_ssl(struct tls_ctx *c);
struct bio_st *tls_ctx_new_bio(struct tls_ctx *c);
