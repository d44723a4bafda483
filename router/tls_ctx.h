/* router/tls_ctx.h: what all TLS connections share: versions, ciphers, groups, certificates, keys
 * of tickets. Made before the lanes start; they only read it, but for the table, which has a lock.
 */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct bio_method_st;
struct bio_st;
struct cert_table;
struct ssl_ctx_st;
struct ssl_st;
struct tls_ctx;
struct tls_record_kit;

/* pem: files with a certificate, its chain and its key each, or directories of such files (*.pem);
 * the first serves whoever names no host that another one is for. Empty: one is made. profile:
 * "modern" (TLS 1.3 alone) or "intermediate". Blocks: at start. NULL: ERR_INVALID. */
struct tls_ctx *tls_ctx_new(const struct str_list *pem, const char *profile, struct err *e);
void tls_ctx_free(struct tls_ctx *take_c);           /* NULL is fine */
struct cert_table *tls_ctx_certs(struct tls_ctx *c); /* borrowed */
/* Reads the files again; what cannot be read stays as it was. Control thread; blocks. */
int tls_ctx_reload(struct tls_ctx *c, const struct str_list *pem, struct err *e) MUST_CHECK;
/* For one connection; the caller's. NULL: out of memory. */
struct ssl_st *tls_ctx_new_ssl(struct tls_ctx *c);
struct bio_st *tls_ctx_new_bio(struct tls_ctx *c);
const struct tls_record_kit *tls_ctx_kit(const struct tls_ctx *c); /* borrowed */

/* References to what is ready of one certificate. */
struct ssl_ctx_st *tls_ctx_keep(struct ssl_ctx_st *s);
void tls_ctx_drop(struct ssl_ctx_st *take_s); /* NULL is fine */
