/* Records of TLS 1.3 by tls_record against OpenSSL as the client: each suite, both ways, new keys,
 * the end, and what is refused. */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/http/tls_cert.h"
#include "router/tls_record.h"
#include "test/fuzz/tls_forge.h"

enum { LARGE = 100000 };

static struct tls_record_kit *kit;
static struct tls_cert cert;
static struct tls_record *record; /* the server's */

static const char *const suites[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
	"TLS_CHACHA20_POLY1305_SHA256" };

static void
on_secret(const SSL *ssl, const char *line)
{
	(void)ssl;
	tls_record_secret(record, line);
}

static void
on_message(int is_sent, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
{
	(void)version;
	(void)p;
	(void)n;
	(void)ssl;
	(void)arg;
	if (is_sent && type == SSL3_RT_HEADER)
		tls_record_sent(record);
}

static SSL *
server_new(void)
{
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());
	BIO *b = BIO_new_mem_buf(cert.chain, -1), *k = BIO_new_mem_buf(cert.key, -1);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	EVP_PKEY *key = PEM_read_bio_PrivateKey(k, NULL, NULL, NULL);
	SSL *s;

	assert_int_equal(SSL_CTX_use_certificate(c, x), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(c, key), 1);
	SSL_CTX_set_keylog_callback(c, on_secret);
	SSL_CTX_set_msg_callback(c, on_message);
	SSL_CTX_set_num_tickets(c, 2);
	s = SSL_new(c);
	SSL_set_accept_state(s);
	SSL_set_bio(s, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_CTX_free(c);
	X509_free(x);
	EVP_PKEY_free(key);
	BIO_free(b);
	BIO_free(k);
	return s;
}

static SSL *
client_new(const char *suite)
{
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());
	SSL *s;

	assert_int_equal(SSL_CTX_set_ciphersuites(c, suite), 1);
	s = SSL_new(c);
	SSL_CTX_free(c);
	SSL_set_connect_state(s);
	SSL_set_bio(s, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	return s;
}

static void
carry(SSL *from, SSL *to)
{
	char p[4096];
	int n;

	while ((n = BIO_read(SSL_get_wbio(from), p, sizeof p)) > 0)
		assert_int_equal(BIO_write(SSL_get_rbio(to), p, n), n);
}

/* A client whose server is `record` from now on. */
static SSL *
start(const char *suite)
{
	SSL *client = client_new(suite), *server = server_new();

	record = tls_record_new(kit);
	for (int i = 0; i < 4; i++) {
		(void)SSL_do_handshake(client);
		carry(client, server);
		(void)SSL_do_handshake(server);
		carry(server, client);
	}
	assert_true(SSL_is_init_finished(server) && SSL_is_init_finished(client));
	assert_true(
	    tls_record_start(record, SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(server))));
	SSL_free(server);
	return client;
}

static void
stop(SSL *client)
{
	SSL_free(client);
	tls_record_free(STEAL(record));
}

/* What the client sent, by records; the last one's kind. */
static enum tls_record_got
read_all(SSL *client, struct buf *out, struct buf *answer, bool in_place)
{
	enum tls_record_got got = TLS_RECORD_QUIET;
	unsigned char p[TLS_RECORD_MAX], plain[TLS_RECORD_MAX];

	while (BIO_read(SSL_get_wbio(client), p, TLS_RECORD_HEAD) == TLS_RECORD_HEAD) {
		unsigned char *to = in_place ? p + TLS_RECORD_HEAD : plain;
		size_t n = tls_record_length(p), plain_n;
		int body = (int)n - TLS_RECORD_HEAD;

		assert_true(body > 0);
		assert_int_equal(BIO_read(SSL_get_wbio(client), p + TLS_RECORD_HEAD, body), body);
		got = tls_record_open(record, p, n, to, &plain_n, answer);
		buf_add(out, to, plain_n);
	}
	return got;
}

static void
say(SSL *client, const char *pieces[], int n)
{
	AUTO_FINI(buf_fini) struct buf sealed = { 0 }, want = { 0 }, got = { 0 };
	struct iovec v[4];
	char p[4096];
	size_t k;

	for (int i = 0; i < n; i++) {
		v[i] = (struct iovec){ (void *)(uintptr_t)pieces[i], strlen(pieces[i]) };
		buf_adds(&want, pieces[i]);
	}
	assert_int_equal(tls_record_seal(record, &sealed, v, n), 0);
	assert_int_equal(BIO_write(SSL_get_rbio(client), sealed.p, (int)sealed.n), sealed.n);
	while (SSL_read_ex(client, p, sizeof p, &k) == 1)
		buf_add(&got, p, k);
	assert_int_equal(SSL_get_error(client, 0), SSL_ERROR_WANT_READ);
	assert_int_equal(got.n, want.n);
	assert_memory_equal(got.p, want.p, want.n);
}

static void
hear(SSL *client, const char *text, bool in_place)
{
	AUTO_FINI(buf_fini) struct buf got = { 0 }, answer = { 0 };
	size_t n;

	assert_int_equal(SSL_write_ex(client, text, strlen(text), &n), 1);
	assert_int_equal(read_all(client, &got, &answer, in_place), TLS_RECORD_DATA);
	assert_int_equal(answer.n, 0);
	assert_string_equal(got.p, text);
}

static void
test_both_ways(void **state)
{
	char large[LARGE + 1];

	(void)state;
	memset(large, 'x', LARGE);
	large[LARGE] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
		SSL *c = start(suites[i]);

		for (int k = 0; k < 3; k++) {
			say(c, (const char *[]){ "one", "", "two" }, 3);
			hear(c, "a question", k == 1);
			say(c, (const char *[]){ "head", large, "tail", large }, 4);
			hear(c, large, k == 1);
		}
		SSL_set_block_padding(c, 512);
		hear(c, "padded", false);
		stop(c);
	}
}

static void
test_new_keys(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(suites); i++) {
		SSL *c = start(suites[i]);

		for (int k = 0; k < 6; k++) {
			AUTO_FINI(buf_fini) struct buf got = { 0 }, answer = { 0 };

			assert_int_equal(
			    SSL_key_update(c, k % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED
			                                 : SSL_KEY_UPDATE_NOT_REQUESTED),
			    1);
			assert_int_equal(SSL_do_handshake(c), 1);
			assert_int_equal(read_all(c, &got, &answer, false), TLS_RECORD_QUIET);
			assert_int_equal(got.n + answer.n, 0);
			hear(c, "by new keys", false);
			say(c, (const char *[]){ "and the answer" }, 1);
		}
		stop(c);
	}
}

static void
test_ends(void **state)
{
	AUTO_FINI(buf_fini) struct buf got = { 0 }, answer = { 0 };
	SSL *c = start(suites[0]);
	char p[10];

	(void)state;
	tls_record_close(record, &answer);
	assert_int_equal(BIO_write(SSL_get_rbio(c), answer.p, (int)answer.n), answer.n);
	assert_int_equal(SSL_get_error(c, SSL_read(c, p, sizeof p)), SSL_ERROR_ZERO_RETURN);
	buf_clear(&answer);
	assert_true(SSL_shutdown(c) >= 0);
	assert_int_equal(read_all(c, &got, &answer, false), TLS_RECORD_END);
	assert_int_equal(got.n + answer.n, 0);
	stop(c);
}

/* The alert that the client is told. */
static int
told(SSL *c, const struct buf *answer)
{
	char p[10];

	assert_true(answer->n > 0);
	assert_int_equal(BIO_write(SSL_get_rbio(c), answer->p, (int)answer->n), answer->n);
	assert_int_equal(SSL_get_error(c, SSL_read(c, p, sizeof p)), SSL_ERROR_SSL);
	return ERR_GET_REASON(ERR_get_error()) - SSL_AD_REASON_OFFSET;
}

static void
test_changed(void **state)
{
	(void)state;
	for (size_t at = TLS_RECORD_HEAD; at < 40; at += 7) {
		AUTO_FINI(buf_fini) struct buf answer = { 0 };
		SSL *c = start(suites[at % 3]);
		unsigned char p[1000], to[1000];
		size_t n, got;

		assert_int_equal(SSL_write_ex(c, "0123456789abcdef", 16, &n), 1);
		n = (size_t)BIO_read(SSL_get_wbio(c), p, sizeof p);
		assert_int_equal(tls_record_length(p), n);
		p[at < n ? at : n - 1] ^= 1;
		assert_int_equal(
		    tls_record_open(record, p, n, to, &got, &answer), TLS_RECORD_BROKEN);
		assert_int_equal(got, 0);
		assert_int_equal(told(c, &answer), SSL_AD_BAD_RECORD_MAC);
		stop(c);
	}
}

/* --- what OpenSSL as a client never sends --- */

static void
check(const char *p, size_t n, enum tls_record_got want, bool is_told)
{
	static const char ab[] = "abababababababababababababababababababababababababababababababab";
	AUTO_FINI(buf_fini) struct buf answer = { 0 };
	unsigned char sealed[TLS_RECORD_MAX + 100], to[TLS_RECORD_MAX];
	struct tls_forge f = { 0 };
	AUTO(free) char *client = xasprintf("CLIENT_TRAFFIC_SECRET_0 00 %s", ab);
	AUTO(free) char *server = xasprintf("SERVER_TRAFFIC_SECRET_0 00 %s", ab);
	size_t got;

	record = tls_record_new(kit);
	tls_record_secret(record, client);
	tls_record_secret(record, server);
	assert_true(tls_record_start(record, 0x1301));
	memset(f.secret, 0xab, sizeof f.secret);
	assert_true(tls_forge_start(&f));
	n = tls_forge(&f, sealed, p, n);
	assert_int_not_equal(n, 0);
	assert_int_equal(tls_record_open(record, sealed, n, to, &got, &answer), want);
	assert_int_equal(got, 0);
	assert_int_equal(answer.n != 0, is_told);
	tls_record_free(STEAL(record));
}

#define CHECK(p, want, is_told) check(p, sizeof(p) - 1, want, is_told)

static void
test_refused(void **state)
{
	char large[TLS_RECORD_PLAIN + 2];

	(void)state;
	CHECK("\x17", TLS_RECORD_DATA, false);
	CHECK("\0", TLS_RECORD_BROKEN, true); /* no type */
	CHECK("\0\0\0\0", TLS_RECORD_BROKEN, true);
	CHECK("abc\x14", TLS_RECORD_BROKEN, true); /* of no such type */
	CHECK("\x01\x14", TLS_RECORD_BROKEN, true);
	CHECK("\x01\0\x15", TLS_RECORD_END, false);
	CHECK("\x01\x5a\x15", TLS_RECORD_QUIET, false);
	CHECK("\x02\x28\x15\0\0", TLS_RECORD_BROKEN, false);
	CHECK("\x02\x15", TLS_RECORD_BROKEN, true);
	CHECK("\x01\0\x01\0\x15", TLS_RECORD_BROKEN, true);
	CHECK("\x16", TLS_RECORD_BROKEN, true); /* an empty message */
	CHECK("\x18\0\0\x01\0\x16", TLS_RECORD_QUIET, false);
	CHECK("\x18\0\x16", TLS_RECORD_QUIET, false); /* the rest may come */
	CHECK("\x18\0\0\x01\x01\x16\0", TLS_RECORD_QUIET, false);
	CHECK("\x18\0\0\x01\x02\x16", TLS_RECORD_BROKEN, true);
	CHECK("\x18\0\0\x02\x01\x16", TLS_RECORD_BROKEN, true);
	CHECK("\x18\0\0\x01\0\x18\x16", TLS_RECORD_BROKEN, true); /* old keys end a record */
	CHECK("\x01\0\0\x01\0\x16", TLS_RECORD_BROKEN, true);
	memset(large, 0x17, sizeof large);
	check(large, sizeof large, TLS_RECORD_BROKEN, true);
}

static void
test_heads(void **state)
{
	(void)state;
	assert_int_equal(tls_record_length((const unsigned char *)"\x17\x03\x03\0\x11"), 22);
	assert_int_equal(tls_record_length((const unsigned char *)"\x17\x03\x03\x41\0"), 16645);
	assert_int_equal(tls_record_length((const unsigned char *)"\x17\x03\x03\x41\x01"), 0);
	assert_int_equal(tls_record_length((const unsigned char *)"\x17\x03\x03\0\x10"), 0);
	assert_int_equal(tls_record_length((const unsigned char *)"\x16\x03\x03\0\x30"), 0);
	assert_int_equal(tls_record_length((const unsigned char *)"\x14\x03\x03\0\x01"), 0);
	assert_int_equal(tls_record_length((const unsigned char *)"GET /"), 0);
}

static int
setup(void **state)
{
	AUTO_FINI(str_list_fini) struct str_list names = { 0 };
	struct err e = { 0 };

	(void)state;
	str_list_add(&names, "localhost");
	kit = tls_record_kit_new();
	return kit == NULL || tls_cert_make(&names, &cert, &e) < 0 ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	tls_record_kit_free(kit);
	tls_cert_fini(&cert);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_new_keys),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_heads),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
