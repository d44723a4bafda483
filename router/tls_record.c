#include "router/tls_record.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/secret.h"

enum {
	TAG = 16,
	NONCE = 12,
	SECRET_MAX = 48,
	KEY_MAX = 32,
	BODY_MAX = TLS_RECORD_MAX - TLS_RECORD_HEAD,
	INFO_MAX = 32,
	UPDATE = 5, /* bytes of a KeyUpdate */
	SUITES = 3,
};

/* RFC 8446 5.5: AES-GCM takes 2^24.5 full records by one key. */
#define RECORDS_MAX (UINT64_C(1) << 24)

enum { TYPE_ALERT = 21, TYPE_HANDSHAKE = 22, TYPE_DATA = 23 };
enum { LEVEL_WARNING = 1, LEVEL_FATAL = 2 };
enum {
	CLOSE_NOTIFY = 0,
	UNEXPECTED_MESSAGE = 10,
	BAD_RECORD_MAC = 20,
	RECORD_OVERFLOW = 22,
	ILLEGAL_PARAMETER = 47,
	DECODE_ERROR = 50,
	USER_CANCELED = 90,
};
enum { KEY_UPDATE = 24 };

static const struct suite {
	const char *cipher, *digest;
	uint16_t id;
	uint8_t key_n, hash_n;
} suites[SUITES] = {
	{ "AES-128-GCM", "SHA256", 0x1301, 16, 32 },
	{ "AES-256-GCM", "SHA384", 0x1302, 32, 48 },
	{ "ChaCha20-Poly1305", "SHA256", 0x1303, 32, 32 },
};

struct tls_record_kit {
	EVP_CIPHER *cipher[SUITES]; /* owned */
	EVP_MAC_CTX *mac[SUITES];   /* owned: HMAC by the suite's digest, without a key */
};

/* What goes one way. */
struct way {
	EVP_CIPHER_CTX *cipher; /* owned */
	uint64_t n;             /* records by this key */
	uint8_t iv[NONCE];
	uint8_t secret[SECRET_MAX];
	bool has_secret;
};

struct tls_record {
	const struct tls_record_kit *kit; /* borrowed */
	struct way in, out;
	uint8_t message[UPDATE]; /* of a handshake message that is not complete */
	uint8_t message_n;
	uint8_t suite;  /* place in suites */
	bool owes_keys; /* new ones are to be told before the next data */
};

/* --- life --- */

struct tls_record_kit *
tls_record_kit_new(void)
{
	struct tls_record_kit *k = xcalloc(1, sizeof *k);
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	bool ok = hmac != NULL;

	for (int i = 0; i < SUITES && ok; i++) {
		OSSL_PARAM params[] = {
			OSSL_PARAM_construct_utf8_string(
			    OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)suites[i].digest, 0),
			OSSL_PARAM_construct_end(),
		};

		k->cipher[i] = EVP_CIPHER_fetch(NULL, suites[i].cipher, NULL);
		k->mac[i] = EVP_MAC_CTX_new(hmac);
		ok = k->cipher[i] != NULL && k->mac[i] != NULL &&
		     EVP_MAC_CTX_set_params(k->mac[i], params) == 1;
	}
	EVP_MAC_free(hmac);
	if (ok)
		return k;
	tls_record_kit_free(k);
	return NULL;
}

void
tls_record_kit_free(struct tls_record_kit *take_k)
{
	if (take_k == NULL)
		return;
	for (int i = 0; i < SUITES; i++) {
		EVP_CIPHER_free(take_k->cipher[i]);
		EVP_MAC_CTX_free(take_k->mac[i]);
	}
	free(take_k);
}

struct tls_record *
tls_record_new(const struct tls_record_kit *kit)
{
	struct tls_record *r = xcalloc(1, sizeof *r);

	r->kit = kit;
	return r;
}

void
tls_record_free(struct tls_record *take_r)
{
	if (take_r == NULL)
		return;
	EVP_CIPHER_CTX_free(take_r->in.cipher);
	EVP_CIPHER_CTX_free(take_r->out.cipher);
	secret_wipe(take_r, sizeof *take_r);
	free(take_r);
}

/* --- keys --- */

static int
digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "LABEL RANDOM SECRET": the third word, in hexadecimal digits. */
static void
take_secret(struct way *w, const char *line)
{
	const char *p = strrchr(line, ' ');
	size_t n = 0;

	for (p++; n < SECRET_MAX && digit(p[0]) >= 0 && digit(p[1]) >= 0; p += 2)
		w->secret[n++] = (uint8_t)(digit(p[0]) << 4 | digit(p[1]));
	w->n = 0;
	w->has_secret = true;
}

void
tls_record_secret(struct tls_record *r, const char *line)
{
	static const char client[] = "CLIENT_TRAFFIC_SECRET_0 ";
	static const char server[] = "SERVER_TRAFFIC_SECRET_0 ";

	if (strncmp(line, client, sizeof client - 1) == 0)
		take_secret(&r->in, line);
	else if (strncmp(line, server, sizeof server - 1) == 0)
		take_secret(&r->out, line);
}

void
tls_record_sent(struct tls_record *r)
{
	r->out.n += r->out.has_secret;
}

/* RFC 8446 7.1, HKDF-Expand-Label without a context, of at most one block of the digest. */
static bool
expand(const struct tls_record *r, EVP_MAC_CTX *mac, const struct way *w, const char *label,
    uint8_t *to, size_t n)
{
	uint8_t info[INFO_MAX], block[SECRET_MAX];
	size_t label_n = strlen(label), info_n = 0, block_n;
	bool ok;

	info[info_n++] = 0;
	info[info_n++] = (uint8_t)n;
	info[info_n++] = (uint8_t)(label_n + 6);
	memcpy(info + info_n, "tls13 ", 6);
	memcpy(info + info_n + 6, label, label_n);
	info_n += label_n + 6;
	info[info_n++] = 0;
	info[info_n++] = 1; /* the first block */
	ok = EVP_MAC_init(mac, w->secret, suites[r->suite].hash_n, NULL) == 1 &&
	     EVP_MAC_update(mac, info, info_n) == 1 &&
	     EVP_MAC_final(mac, block, &block_n, sizeof block) == 1 && block_n >= n;
	if (ok)
		memcpy(to, block, n);
	secret_wipe(block, sizeof block);
	return ok;
}

static bool
set_key(const struct tls_record *r, EVP_MAC_CTX *mac, struct way *w)
{
	uint8_t key[KEY_MAX];
	bool ok = expand(r, mac, w, "key", key, suites[r->suite].key_n) &&
	          expand(r, mac, w, "iv", w->iv, sizeof w->iv) &&
	          EVP_CipherInit_ex(
	              w->cipher, r->kit->cipher[r->suite], NULL, key, NULL, w == &r->out) == 1;

	secret_wipe(key, sizeof key);
	return ok;
}

/* RFC 8446 7.2: the secret that follows. */
static bool
renew(struct tls_record *r, struct way *w)
{
	EVP_MAC_CTX *mac = EVP_MAC_CTX_dup(r->kit->mac[r->suite]);
	bool ok = mac != NULL &&
	          expand(r, mac, w, "traffic upd", w->secret, suites[r->suite].hash_n) &&
	          set_key(r, mac, w);

	EVP_MAC_CTX_free(mac);
	w->n = 0;
	return ok;
}

bool
tls_record_start(struct tls_record *r, uint16_t suite)
{
	EVP_MAC_CTX *mac;
	bool ok;

	while (r->suite < SUITES && suites[r->suite].id != suite)
		r->suite++;
	if (r->suite == SUITES || !r->in.has_secret || !r->out.has_secret)
		return false;
	mac = EVP_MAC_CTX_dup(r->kit->mac[r->suite]);
	r->in.cipher = EVP_CIPHER_CTX_new();
	r->out.cipher = EVP_CIPHER_CTX_new();
	ok = mac != NULL && r->in.cipher != NULL && r->out.cipher != NULL &&
	     set_key(r, mac, &r->in) && set_key(r, mac, &r->out);
	EVP_MAC_CTX_free(mac);
	return ok;
}

/* Readies the cipher for the next record, whose head is authenticated, too. */
static bool
begin(struct way *w, const uint8_t head[TLS_RECORD_HEAD])
{
	uint8_t nonce[NONCE];
	int n;

	memcpy(nonce, w->iv, sizeof nonce);
	for (int i = 0; i < 8; i++)
		nonce[NONCE - 1 - i] ^= (uint8_t)(w->n >> (8 * i));
	w->n++;
	return EVP_CipherInit_ex(w->cipher, NULL, NULL, NULL, nonce, -1) == 1 &&
	       EVP_CipherUpdate(w->cipher, NULL, &n, head, TLS_RECORD_HEAD) == 1;
}

/* --- out --- */

static void
set_head(uint8_t p[TLS_RECORD_HEAD], size_t body_n)
{
	p[0] = TYPE_DATA;
	p[1] = p[2] = 3;
	p[3] = (uint8_t)(body_n >> 8);
	p[4] = (uint8_t)body_n;
}

/* The next n bytes of v, from *at of its first, as one record. */
static int
seal_one(struct way *w, struct buf *out, const struct iovec **v, size_t *at, size_t n, uint8_t type)
{
	size_t all = TLS_RECORD_HEAD + n + 1 + TAG;
	uint8_t *p;
	int put;

	buf_reserve(out, all);
	p = (uint8_t *)out->p + out->n;
	set_head(p, n + 1 + TAG);
	if (!begin(w, p))
		return -1;
	p += TLS_RECORD_HEAD;
	while (n > 0) {
		size_t piece = (*v)->iov_len - *at < n ? (*v)->iov_len - *at : n;

		if (piece > 0 && EVP_CipherUpdate(w->cipher, p, &put,
		                     (const uint8_t *)(*v)->iov_base + *at, (int)piece) != 1)
			return -1;
		p += piece;
		n -= piece;
		*at += piece;
		if (*at == (*v)->iov_len) {
			(*v)++;
			*at = 0;
		}
	}
	if (EVP_CipherUpdate(w->cipher, p, &put, &type, 1) != 1 ||
	    EVP_CipherFinal_ex(w->cipher, p + 1, &put) != 1 ||
	    EVP_CIPHER_CTX_ctrl(w->cipher, EVP_CTRL_AEAD_GET_TAG, TAG, p + 1) != 1)
		return -1;
	out->n += all;
	out->p[out->n] = '\0';
	return 0;
}

static int
seal_bytes(struct tls_record *r, struct buf *out, uint8_t type, const uint8_t *p, size_t n)
{
	const struct iovec v = { (void *)(uintptr_t)p, n }, *next = &v;
	size_t at = 0;

	return seal_one(&r->out, out, &next, &at, n, type);
}

static int
tell_keys(struct tls_record *r, struct buf *out)
{
	static const uint8_t update[UPDATE] = { KEY_UPDATE, 0, 0, 1, 0 };

	r->owes_keys = false;
	if (seal_bytes(r, out, TYPE_HANDSHAKE, update, sizeof update) < 0)
		return -1;
	return renew(r, &r->out) ? 0 : -1;
}

int
tls_record_seal(struct tls_record *r, struct buf *out, const struct iovec *v, int n)
{
	size_t left = 0, at = 0;

	for (int i = 0; i < n; i++)
		left += v[i].iov_len;
	while (left > 0) {
		size_t piece = left < TLS_RECORD_PLAIN ? left : TLS_RECORD_PLAIN;

		if ((r->owes_keys || r->out.n >= RECORDS_MAX) && tell_keys(r, out) < 0)
			return -1;
		if (seal_one(&r->out, out, &v, &at, piece, TYPE_DATA) < 0)
			return -1;
		left -= piece;
	}
	return 0;
}

static void
alert(struct tls_record *r, struct buf *out, uint8_t what)
{
	const uint8_t p[] = { what == CLOSE_NOTIFY ? LEVEL_WARNING : LEVEL_FATAL, what };

	(void)seal_bytes(r, out, TYPE_ALERT, p, sizeof p);
}

void
tls_record_close(struct tls_record *r, struct buf *out)
{
	alert(r, out, CLOSE_NOTIFY);
}

/* --- in --- */

size_t
tls_record_length(const unsigned char *p)
{
	size_t n = (size_t)p[3] << 8 | p[4];

	return p[0] == TYPE_DATA && p[1] == 3 && n > TAG && n <= BODY_MAX ? TLS_RECORD_HEAD + n : 0;
}

void
tls_record_refuse(struct tls_record *r, struct buf *out)
{
	alert(r, out, UNEXPECTED_MESSAGE);
}

static enum tls_record_got
broken(struct tls_record *r, struct buf *answer, uint8_t what)
{
	alert(r, answer, what);
	return TLS_RECORD_BROKEN;
}

static enum tls_record_got
take_alert(struct tls_record *r, const uint8_t *p, size_t n, struct buf *answer)
{
	if (n != 2)
		return broken(r, answer, DECODE_ERROR);
	return p[1] == CLOSE_NOTIFY    ? TLS_RECORD_END
	       : p[1] == USER_CANCELED ? TLS_RECORD_QUIET
	                               : TLS_RECORD_BROKEN;
}

/* RFC 8446 4.6.3: nothing else comes from a client behind the handshake. What it asks for waits for
 * the next data, so that many make one. */
static enum tls_record_got
take_message(struct tls_record *r, const uint8_t *p, size_t n, struct buf *answer)
{
	static const uint8_t update[UPDATE - 1] = { KEY_UPDATE, 0, 0, 1 };

	if (n == 0 || n > (size_t)UPDATE - r->message_n)
		return broken(r, answer, UNEXPECTED_MESSAGE);
	memcpy(r->message + r->message_n, p, n);
	r->message_n = (uint8_t)(r->message_n + n);
	if (r->message[0] != KEY_UPDATE)
		return broken(r, answer, UNEXPECTED_MESSAGE);
	if (r->message_n < UPDATE)
		return TLS_RECORD_QUIET;
	r->message_n = 0;
	if (memcmp(r->message, update, sizeof update) != 0)
		return broken(r, answer, DECODE_ERROR);
	if (r->message[UPDATE - 1] > 1)
		return broken(r, answer, ILLEGAL_PARAMETER);
	r->owes_keys |= r->message[UPDATE - 1] == 1;
	return renew(r, &r->in) ? TLS_RECORD_QUIET : TLS_RECORD_BROKEN;
}

/* The content, of which the last byte that is not 0 tells the type. */
static enum tls_record_got
take(struct tls_record *r, const uint8_t *p, size_t n, size_t *out_n, struct buf *answer)
{
	if (n > TLS_RECORD_PLAIN + 1)
		return broken(r, answer, RECORD_OVERFLOW);
	while (n > 0 && p[n - 1] == 0)
		n--;
	if (n == 0)
		return broken(r, answer, UNEXPECTED_MESSAGE);
	n--;
	if (r->message_n != 0 && p[n] != TYPE_HANDSHAKE)
		return broken(r, answer, UNEXPECTED_MESSAGE);
	switch (p[n]) {
	case TYPE_DATA:
		*out_n = n;
		return TLS_RECORD_DATA;
	case TYPE_HANDSHAKE:
		return take_message(r, p, n, answer);
	case TYPE_ALERT:
		return take_alert(r, p, n, answer);
	default:
		return broken(r, answer, UNEXPECTED_MESSAGE);
	}
}

enum tls_record_got
tls_record_open(struct tls_record *r, unsigned char *p, size_t n, unsigned char *to, size_t *out_n,
    struct buf *answer)
{
	size_t body_n = n - TLS_RECORD_HEAD - TAG;
	EVP_CIPHER_CTX *c = r->in.cipher;
	int got, rest;

	*out_n = 0;
	if (!begin(&r->in, p) ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, p + TLS_RECORD_HEAD + body_n) != 1 ||
	    EVP_CipherUpdate(c, to, &got, p + TLS_RECORD_HEAD, (int)body_n) != 1 ||
	    EVP_CipherFinal_ex(c, to + got, &rest) != 1) {
		ERR_clear_error();
		return broken(r, answer, BAD_RECORD_MAC);
	}
	return take(r, to, body_n, out_n, answer);
}
