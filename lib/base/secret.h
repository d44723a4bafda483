/* lib/base/secret.h: random bytes, constant-time comparison, wiped memory, password hashes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"

void secret_random(void *p, size_t n); /* getrandom; failure aborts */
char *secret_random_hex(size_t bytes); /* caller owns; 2 characters a byte */
/* n characters of URL-safe base64 alphabet; caller owns. */
char *secret_random_text(size_t n);
bool secret_equal(const char *a, const char *b); /* constant time in the length of a */
void secret_wipe(void *p, size_t n);
void secret_free(char *take_s); /* wipes a string, then frees it; NULL is fine */
DEFINE_AUTO(char *, secret_free)

/* Hex SHA-256 into out (65 bytes). */
void secret_sha256_hex(const void *p, size_t n, char out[65]);
/* HMAC-SHA-256 into out (32 bytes). */
void secret_hmac(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[32]);

/* SHA-1 into out (20 bytes): only where a protocol has chosen it. */
void secret_sha1(const void *p, size_t n, uint8_t out[20]);

/* argon2id, 19 MiB, t = 2, p = 1 (OWASP), encoded form. Blocks some 20 ms: on a worker only.
 * Caller owns. */
char *secret_password_hash(const char *password, struct err *e);
bool secret_password_verify(const char *encoded, const char *password);

/* PBKDF2-HMAC-SHA-256, 2,000 rounds, about a millisecond: for passwords that are checked where
 * nothing may block for long, and seldom. Caller owns. */
char *secret_quick_hash(const char *password);
bool secret_quick_verify(const char *encoded, const char *password);

/* SHA-256 of a stream. */
struct secret_sha256;
struct secret_sha256 *secret_sha256_new(void);
/* MD5 instead, of which _end gives 32 digits: only for checksums that others chose. */
struct secret_sha256 *secret_sha256_new_md5(void);
void secret_sha256_add(struct secret_sha256 *h, const void *p, size_t n);
void secret_sha256_end(struct secret_sha256 *h, char out[65]); /* hex; nothing may be added after */
void secret_sha256_free(struct secret_sha256 *take_h);
