/* lib/wire/wire_acme.h: certificates that the platform gets by ACME (RFC 8555): what aliases wait
 * for, and what routers answer to the authority meanwhile. */
#pragma once

#include "lib/base/err.h"
#include "lib/codec/codec.h"

enum { WIRE_CHALLENGE_TOKEN_MAX = 128, WIRE_CHALLENGE_ANSWER_MAX = 256 };

/* key: store_key_challenge(host, token); kind "challenge" of the routers' feed, key = host/token:
 * GET /.well-known/acme-challenge/TOKEN of that host is answered so (RFC 8555 8.3). */
struct wire_challenge {
	char *host;
	char *token;
	char *answer; /* the key authorization */
};
DECLARE_CODEC(wire_challenge, struct wire_challenge)
/* Both are of the letters that base64url has, and a dot in the answer. ERR_INVALID names the
 * field. */
int wire_challenge_check(const struct wire_challenge *c, struct err *e) MUST_CHECK;

/* As `challenge` of a wire_acme: what the platform's setting says; or one way. */
#define WIRE_ACME_ANY "any"
#define WIRE_ACME_HTTP "http-01"
#define WIRE_ACME_TLS "tls-alpn-01"

/* key: store_key_acme(host): an alias whose certificate comes by ACME. */
struct wire_acme {
	char *host;
	char *app_id;
	char *challenge;   /* one of the three above */
	int64_t due_at;    /* Unix time of the next try; 0: at once */
	int64_t tries;     /* that failed since the last certificate */
	int64_t failed_at; /* Unix time of the last of them */
	char *error;       /* what went wrong with it; NULL: nothing */
	char *extra;
};
DECLARE_CODEC(wire_acme, struct wire_acme)

/* POST /acme of the broker's hook socket: what the ACME client says of a challenge. */
struct wire_acme_word {
	char *word; /* begin, done, failed */
	char *type; /* http-01, tls-alpn-01, dns-01 */
	char *host; /* the identifier */
	char *token;
	char *answer; /* the key authorization; of tls-alpn-01 its SHA-256, base64url */
};
DECLARE_CODEC(wire_acme_word, struct wire_acme_word)
