#include "lib/base/secret.h"

#include <argon2.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

enum { ARGON_T = 2, ARGON_M_KIB = 19456, ARGON_P = 1, SALT_SIZE = 16, HASH_SIZE = 32 };

void
secret_random(void *p, size_t n)
{
	unsigned char *at = p;

	while (n > 0) {
		ssize_t got = getrandom(at, n, 0);

		if (got <= 0)
			abort();
		at += got;
		n -= (size_t)got;
	}
}

static char *
to_hex(const unsigned char *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = '\0';
	return out;
}

char *
secret_random_hex(size_t bytes)
{
	AUTO(free_ptr) unsigned char *raw = xmalloc(bytes);

	secret_random(raw, bytes);
	return to_hex(raw, bytes, xmalloc(2 * bytes + 1));
}

char *
secret_random_text(size_t n)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	char *out = xmalloc(n + 1);

	secret_random(out, n);
	for (size_t i = 0; i < n; i++)
		out[i] = alphabet[(unsigned char)out[i] & 63];
	out[n] = '\0';
	return out;
}

bool
secret_equal(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned char differ = n == m ? 0 : 1;

	for (size_t i = 0; i < n; i++)
		differ |= (unsigned char)(a[i] ^ b[m == 0 ? 0 : i % m]);
	return differ == 0;
}

void
secret_wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}

void
secret_free(char *take_s)
{
	if (take_s == NULL)
		return;
	secret_wipe(take_s, strlen(take_s));
	free(take_s);
}

void
secret_sha256_hex(const void *p, size_t n, char out[65])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (EVP_Digest(p, n, md, &len, EVP_sha256(), NULL) != 1)
		abort();
	(void)to_hex(md, 32, out);
}

void
secret_sha1(const void *p, size_t n, uint8_t out[20])
{
	if (EVP_Digest(p, n, out, NULL, EVP_sha1(), NULL) != 1)
		abort();
}

void
secret_hmac(const void *key, size_t key_n, const void *p, size_t n, uint8_t out[32])
{
	unsigned len = 32;

	if (HMAC(EVP_sha256(), key, (int)key_n, p, n, out, &len) == NULL)
		abort();
}

char *
secret_password_hash(const char *password, struct err *e)
{
	unsigned char salt[SALT_SIZE];
	char encoded[256];

	secret_random(salt, sizeof salt);
	if (argon2id_hash_encoded(ARGON_T, ARGON_M_KIB, ARGON_P, password, strlen(password), salt,
	        sizeof salt, HASH_SIZE, encoded, sizeof encoded) != ARGON2_OK) {
		(void)err_set(e, ERR_BUG, "password", "cannot be hashed");
		return NULL;
	}
	return xstrdup(encoded);
}

bool
secret_password_verify(const char *encoded, const char *password)
{
	return argon2id_verify(encoded, password, strlen(password)) == ARGON2_OK;
}

struct secret_sha256 *
secret_sha256_new(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		abort();
	return (struct secret_sha256 *)ctx;
}

struct secret_sha256 *
secret_sha256_new_md5(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_md5(), NULL) != 1)
		abort();
	return (struct secret_sha256 *)ctx;
}

void
secret_sha256_add(struct secret_sha256 *h, const void *p, size_t n)
{
	if (EVP_DigestUpdate((EVP_MD_CTX *)h, p, n) != 1)
		abort();
}

void
secret_sha256_end(struct secret_sha256 *h, char out[65])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (EVP_DigestFinal_ex((EVP_MD_CTX *)h, md, &len) != 1)
		abort();
	(void)to_hex(md, len, out);
}

void
secret_sha256_free(struct secret_sha256 *take_h)
{
	EVP_MD_CTX_free((EVP_MD_CTX *)take_h);
}
enum { QUICK_ROUNDS = 2000, QUICK_ROUNDS_MAX = 10000, QUICK_SALT = 16, QUICK_KEY = 32 };

static char *
quick_encode(const char *password, int rounds, const char *salt)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t key[QUICK_KEY];
	char text[2 * QUICK_KEY + 1];

	if (PKCS5_PBKDF2_HMAC(password, -1, (const uint8_t *)salt, (int)strlen(salt), rounds,
	        EVP_sha256(), sizeof key, key) != 1)
		abort();
	for (size_t i = 0; i < sizeof key; i++) {
		text[2 * i] = hex[key[i] >> 4];
		text[2 * i + 1] = hex[key[i] & 15];
	}
	text[2 * QUICK_KEY] = '\0';
	secret_wipe(key, sizeof key);
	return xasprintf("pbkdf2-sha256$%d$%s$%s", rounds, salt, text);
}

char *
secret_quick_hash(const char *password)
{
	AUTO(free) char *salt = secret_random_hex(QUICK_SALT);

	return quick_encode(password, QUICK_ROUNDS, salt);
}

bool
secret_quick_verify(const char *encoded, const char *password)
{
	struct str rest = str_of(encoded), kind, rounds, salt;
	AUTO(secret_free) char *again = NULL;
	AUTO(free) char *salt_text = NULL;
	struct err e = { 0 };
	int64_t n;

	rest = str_cut(rest, '$', &kind);
	rest = str_cut(rest, '$', &rounds);
	(void)str_cut(rest, '$', &salt);
	if (!str_eq(kind, "pbkdf2-sha256") || salt.n == 0 ||
	    str_to_i64(rounds, 1, QUICK_ROUNDS_MAX, "rounds", &n, &e) < 0)
		return false;
	salt_text = xstrndup(salt.p, salt.n);
	again = quick_encode(password, (int)n, salt_text);
	return secret_equal(encoded, again);
}
