#include "lib/wire/wire_acme.h"

#include <string.h>

#include "lib/base/str.h"

enum { HOST_MAX = 255, ID_MAX = 64, WORD_MAX = 16, ERROR_MAX = 1024 };

#define BASE64URL "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

static const struct codec_field challenge_fields[] = {
	CODEC_STR(struct wire_challenge, host, HOST_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_challenge, token, WIRE_CHALLENGE_TOKEN_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_challenge, answer, WIRE_CHALLENGE_ANSWER_MAX, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_challenge, struct wire_challenge, challenge_fields)

static const struct codec_field acme_fields[] = {
	CODEC_STR(struct wire_acme, host, HOST_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_acme, app_id, ID_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_acme, challenge, WORD_MAX, CODEC_REQUIRED),
	CODEC_INT(struct wire_acme, due_at, 0, INT64_MAX, 0),
	CODEC_INT(struct wire_acme, tries, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_INT(struct wire_acme, failed_at, 0, INT64_MAX, CODEC_OMIT_NULL),
	CODEC_STR(struct wire_acme, error, ERROR_MAX, CODEC_OMIT_NULL),
	CODEC_EXTRA(struct wire_acme, extra),
	CODEC_END,
};
DEFINE_CODEC(wire_acme, struct wire_acme, acme_fields)

static const struct codec_field word_fields[] = {
	CODEC_STR(struct wire_acme_word, word, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_acme_word, type, WORD_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_acme_word, host, HOST_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_acme_word, token, WIRE_CHALLENGE_TOKEN_MAX, CODEC_REQUIRED),
	CODEC_STR(struct wire_acme_word, answer, WIRE_CHALLENGE_ANSWER_MAX, CODEC_REQUIRED),
	CODEC_END,
};
DEFINE_CODEC(wire_acme_word, struct wire_acme_word, word_fields)

static bool
is_of(const char *s, const char *letters)
{
	size_t n = strlen(s);

	return n > 0 && strspn(s, letters) == n;
}

int
wire_challenge_check(const struct wire_challenge *c, struct err *e)
{
	if (!is_of(c->token, BASE64URL))
		return err_set(e, ERR_INVALID, "token", "must be of letters, digits, '-' and '_'");
	if (!is_of(c->answer, BASE64URL "."))
		return err_set(
		    e, ERR_INVALID, "answer", "must be of letters, digits, '-', '_' and '.'");
	return 0;
}
