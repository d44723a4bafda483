#include "router/basic_auth.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/secret.h"
#include "lib/wire/wire_routing.h"
#include "router/rate.h"

enum { KNOWN = 512, DIGEST = 32 };

struct basic_auth {
	uint8_t secret[DIGEST];
	uint8_t known[KNOWN][DIGEST]; /* of pairs that were right */
};

/* Whom a password is checked against when there is no such user: it takes as long. */
static const char nobody[] = "pbkdf2-sha256$2000$00000000000000000000000000000000$"
                             "0000000000000000000000000000000000000000000000000000000000000000";

struct basic_auth *
basic_auth_new(void)
{
	struct basic_auth *a = xcalloc(1, sizeof *a);

	secret_random(a, sizeof *a); /* no digest is known by what memory is at first */
	return a;
}

void
basic_auth_free(struct basic_auth *take_a)
{
	free(take_a);
}

bool
basic_auth_parse(
    struct str header, char out[BASIC_AUTH_PAIR_MAX + 2], struct str *name, struct str *password)
{
	AUTO(free_ptr) char *pair = NULL;
	size_t n = 0;

	if (header.n < 6 || strncasecmp(header.p, "basic ", 6) != 0)
		return false;
	header = str_trim((struct str){ header.p + 6, header.n - 6 });
	if (header.n > (BASIC_AUTH_PAIR_MAX + 2) / 3 * 4)
		return false;
	pair = str_base64_decode(header, &n);
	if (pair == NULL || n > BASIC_AUTH_PAIR_MAX || memchr(pair, '\0', n) != NULL)
		return false;
	memcpy(out, pair, n);
	secret_wipe(pair, n);
	out[n] = '\0';
	*password = str_cut((struct str){ out, n }, ':', name);
	if (password->p == NULL)
		return false;
	out[name->n] = '\0';
	return true;
}

static const char *
hash_of(const struct wire_routing_user_list *users, const char *name)
{
	const char *hash = NULL;

	for (size_t i = 0; i < users->n; i++) {
		if (users->v[i].hash != NULL && secret_equal(name, users->v[i].name))
			hash = users->v[i].hash;
	}
	return hash;
}

static void
digest(const struct basic_auth *a, const char *hash, const char *name, const char *password,
    uint8_t out[DIGEST])
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	buf_add(&b, hash, strlen(hash) + 1);
	buf_add(&b, name, strlen(name) + 1);
	buf_adds(&b, password);
	secret_hmac(a->secret, sizeof a->secret, b.p, b.n, out);
	secret_wipe(b.p, b.n);
}

static bool
same_digest(const uint8_t *a, const uint8_t *b)
{
	unsigned diff = 0;

	for (int i = 0; i < DIGEST; i++)
		diff |= (unsigned)(a[i] ^ b[i]);
	return diff == 0;
}

static enum basic_auth_result
check_pair(struct basic_auth *a, struct rate *rates, uint64_t key,
    const struct wire_routing_user_list *users, const char *name, const char *password,
    int64_t now_ms)
{
	static const struct rate_limit mine = { BASIC_AUTH_RATE, 1, BASIC_AUTH_BURST };
	static const struct rate_limit all = { BASIC_AUTH_LANE_RATE, 1, BASIC_AUTH_LANE_RATE };
	static const uint8_t lane[16] = { 0 };
	const char *hash = hash_of(users, name);
	uint8_t want[DIGEST], *known;
	bool ok;

	digest(a, hash == NULL ? nobody : hash, name, password, want);
	known = a->known[(want[0] | want[1] << 8) % KNOWN];
	if (hash != NULL && same_digest(want, known))
		return BASIC_AUTH_OK;
	if (rate_take(rates, key, &mine, now_ms) != 0 ||
	    rate_take(rates, rate_key(rates, 0, lane), &all, now_ms) != 0)
		return BASIC_AUTH_BUSY;
	ok = secret_quick_verify(hash == NULL ? nobody : hash, password);
	if (hash == NULL || !ok)
		return BASIC_AUTH_NO;
	memcpy(known, want, sizeof want);
	return BASIC_AUTH_OK;
}

enum basic_auth_result
basic_auth_check(struct basic_auth *a, struct rate *rates, uint64_t key,
    const struct wire_routing_user_list *users, struct str header, int64_t now_ms)
{
	char pair[BASIC_AUTH_PAIR_MAX + 2];
	struct str name, password;
	enum basic_auth_result r = BASIC_AUTH_NO;

	if (basic_auth_parse(header, pair, &name, &password))
		r = check_pair(a, rates, key, users, name.p, password.p, now_ms);
	secret_wipe(pair, sizeof pair);
	return r;
}
