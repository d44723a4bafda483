/* lib/http/tls_ocsp.h: is a certificate still good (OCSP, RFC 6960): what to ask whom, and what
 * the answer says, if it is to be believed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"

enum { TLS_OCSP_MAX = 16 * 1024 }; /* bytes of an answer */

/* Of the first certificate of a chain (PEM): the responder's URL, which the caller owns, and the
 * request. ERR_NOT_FOUND: it names none, or the one who signed it is not in the chain. */
int tls_ocsp_ask(const char *chain, char **out_url, struct buf *out, struct err *e) MUST_CHECK;

struct tls_ocsp {
	bool is_revoked;
	int64_t from_at, until_at; /* Unix time; until_at is after now */
};
/* Is the answer that of its certificate's authority, in force, and about it? ERR_INVALID. */
int tls_ocsp_read(
    const char *chain, const void *der, size_t n, struct tls_ocsp *out, struct err *e) MUST_CHECK;
/* Until when the first status in it holds, whoever says so; 0: it is no answer. */
int64_t tls_ocsp_until(const void *der, size_t n);
