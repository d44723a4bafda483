/* What a client of TLS 1.3 sends behind its handshake, sealed by its own keys: the input is pieces
 * of LENGTH TYPE PADDING BYTES…, each a record; with TYPE 0 the bytes are there unsealed. Data come
 * as they were sent, and nothing else does; what is sealed in between is no larger than it must be.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "router/tls_record.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/tls_forge.h"

enum { PIECE = 3, RAW = 0, HANDSHAKE = 22, DATA = 23, UPDATE = 5, SEALED = 5 + 17 };

static const char client[] = "CLIENT_TRAFFIC_SECRET_0 00 "
                             "abababababababababababababababababababababababababababababababab";
static const char server[] = "SERVER_TRAFFIC_SECRET_0 00 "
                             "abababababababababababababababababababababababababababababababab";

struct talk {
	struct tls_record *r;
	struct tls_forge forge;
	size_t message_n; /* bytes of handshake messages */
	struct buf out;
};

/* false: the connection is over. */
static bool
give(struct talk *t, unsigned char *p, size_t n, uint8_t type, const uint8_t *sent, size_t sent_n)
{
	AUTO(free_ptr) unsigned char *to = xmalloc(n);
	enum tls_record_got got;
	size_t got_n = 1;

	got = tls_record_open(t->r, p, n, to, &got_n, &t->out);
	check(got == TLS_RECORD_DATA || got_n == 0);
	if (got == TLS_RECORD_DATA)
		check(type == DATA && got_n == sent_n && memcmp(to, sent, sent_n) == 0);
	if (got == TLS_RECORD_QUIET && type == HANDSHAKE) {
		t->message_n += sent_n;
		if (t->message_n % UPDATE == 0)
			check(tls_forge_renew(&t->forge));
	}
	return got == TLS_RECORD_DATA || got == TLS_RECORD_QUIET;
}

static bool
take_raw(struct talk *t, const uint8_t *p, size_t n)
{
	AUTO(free_ptr) unsigned char *copy = NULL;
	size_t length = n < TLS_RECORD_HEAD ? 0 : tls_record_length(p);

	check(length <= TLS_RECORD_MAX);
	if (length == 0 || length > n) {
		tls_record_refuse(t->r, &t->out);
		return false;
	}
	copy = xmalloc(length);
	memcpy(copy, p, length);
	return give(t, copy, length, RAW, NULL, 0);
}

static bool
take_sealed(struct talk *t, const uint8_t *p, size_t n, uint8_t type, size_t padding)
{
	AUTO(free_ptr) unsigned char *plain = xcalloc(1, n + 1 + padding);
	AUTO(free_ptr) unsigned char *sealed = xmalloc(n + 1 + padding + TLS_FORGE_MORE);
	size_t sealed_n;

	memcpy(plain, p, n);
	plain[n] = type;
	sealed_n = tls_forge(&t->forge, sealed, plain, n + 1 + padding);
	check(sealed_n != 0 && tls_record_length(sealed) == sealed_n);
	return give(t, sealed, sealed_n, type, p, n);
}

/* An answer in between. */
static void
answer(struct talk *t, const uint8_t *p, size_t n)
{
	struct iovec v[] = { { (void *)(uintptr_t)p, n }, { NULL, 0 },
		{ (void *)(uintptr_t)p, n } };
	size_t before = t->out.n;

	check(tls_record_seal(t->r, &t->out, v, 3) == 0);
	check(t->out.n - before <= 2 * n + SEALED + SEALED + UPDATE);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct tls_record_kit *kit;
	static struct tls_forge first;
	struct talk t = { 0 };
	bool goes_on = true;

	if (kit == NULL) {
		kit = tls_record_kit_new();
		memset(first.secret, 0xab, sizeof first.secret);
		check(kit != NULL && tls_forge_start(&first));
	}
	t.forge = first;
	t.r = tls_record_new(kit);
	tls_record_secret(t.r, client);
	tls_record_secret(t.r, server);
	check(tls_record_start(t.r, 0x1301));
	while (goes_on && n >= PIECE) {
		size_t length = data[0] < n - PIECE ? data[0] : n - PIECE;
		const uint8_t *p = data + PIECE;

		goes_on = data[1] == RAW ? take_raw(&t, p, length)
		                         : take_sealed(&t, p, length, data[1], data[2]);
		if (goes_on)
			answer(&t, p, length);
		data = p + length;
		n -= PIECE + length;
	}
	tls_record_close(t.r, &t.out);
	tls_record_free(t.r);
	buf_fini(&t.out);
	return 0;
}
