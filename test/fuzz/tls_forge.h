/* test/fuzz/tls_forge.h: records that a client of TLS 1.3 with a known secret sends, whatever they
 * hold. TLS_AES_128_GCM_SHA256. */
#pragma once

#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { TLS_FORGE_SECRET = 32, TLS_FORGE_MORE = 5 + 16 /* bytes of a record beside its content */ };

struct tls_forge {
	uint64_t n; /* records by this key */
	unsigned char secret[TLS_FORGE_SECRET], key[16], iv[12];
};

static inline bool
tls_forge_derive(struct tls_forge *f, const char *label, unsigned char *to, size_t n)
{
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
	EVP_KDF_CTX *c = EVP_KDF_CTX_new(kdf);
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int("mode", &mode),
		OSSL_PARAM_construct_utf8_string("digest", (char *)(uintptr_t) "SHA256", 0),
		OSSL_PARAM_construct_octet_string("key", f->secret, sizeof f->secret),
		OSSL_PARAM_construct_octet_string("prefix", (char *)(uintptr_t) "tls13 ", 6),
		OSSL_PARAM_construct_octet_string("label", (char *)(uintptr_t)label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};
	bool ok = EVP_KDF_derive(c, to, n, params) == 1;

	EVP_KDF_CTX_free(c);
	EVP_KDF_free(kdf);
	return ok;
}

/* Of f->secret. */
static inline bool
tls_forge_start(struct tls_forge *f)
{
	f->n = 0;
	return tls_forge_derive(f, "key", f->key, sizeof f->key) &&
	       tls_forge_derive(f, "iv", f->iv, sizeof f->iv);
}

/* New keys, as behind a KeyUpdate. */
static inline bool
tls_forge_renew(struct tls_forge *f)
{
	unsigned char next[TLS_FORGE_SECRET];

	if (!tls_forge_derive(f, "traffic upd", next, sizeof next))
		return false;
	memcpy(f->secret, next, sizeof next);
	return tls_forge_start(f);
}

/* The next record: p, whose last byte that is not 0 is its type. Returns n + TLS_FORGE_MORE; 0: it
 * failed. */
static inline size_t
tls_forge(struct tls_forge *f, unsigned char *to, const void *p, size_t n)
{
	unsigned char iv[sizeof f->iv], *body = to + 5;
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	bool ok;
	int k;

	memcpy(iv, f->iv, sizeof iv);
	for (int i = 0; i < 8; i++)
		iv[11 - i] ^= (unsigned char)(f->n >> (8 * i));
	f->n++;
	memcpy(to, "\x17\x03\x03", 3);
	to[3] = (unsigned char)((n + 16) >> 8);
	to[4] = (unsigned char)(n + 16);
	ok = EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, f->key, iv) == 1 &&
	     EVP_EncryptUpdate(c, NULL, &k, to, 5) == 1 &&
	     EVP_EncryptUpdate(c, body, &k, p, (int)n) == 1 &&
	     EVP_EncryptFinal_ex(c, body + n, &k) == 1 &&
	     EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, body + n) == 1;
	EVP_CIPHER_CTX_free(c);
	return ok ? n + TLS_FORGE_MORE : 0;
}
