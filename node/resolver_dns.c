#include "node/resolver_dns.h"

#include <string.h>

enum { FLAG_RESPONSE = 0x80, OPCODE = 0x78, FLAG_RD = 0x01, FLAG_RA = 0x80, ANSWERS_MAX = 64 };

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static size_t
put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return 2;
}

/* Appends a label; false: it holds what no host name of ours has. */
static bool
add_label(char *name, size_t *at, const uint8_t *p, size_t n)
{
	size_t i;

	if (*at > 0)
		name[(*at)++] = '.';
	for (i = 0; i < n; i++) {
		uint8_t c = p[i];

		if (c <= ' ' || c >= 0x7f || c == '.')
			return false;
		name[(*at)++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
	}
	return true;
}

/* Offset behind the name, or 0. */
static size_t
parse_name(const uint8_t *p, size_t n, size_t at, char name[256])
{
	size_t out = 0, total = 0;
	bool is_text = true;

	while (at < n && p[at] != 0) {
		size_t len = p[at];

		/* Questions are not compressed. */
		if (len > 63 || at + 1 + len > n || (total += len + 1) > 254)
			return 0;
		if (is_text)
			is_text = add_label(name, &out, p + at + 1, len);
		at += 1 + len;
	}
	name[is_text ? out : 0] = '\0';
	return at < n ? at + 1 : 0;
}

int
resolver_dns_parse(const uint8_t *p, size_t n, struct resolver_dns_query *q)
{
	size_t at;

	*q = (struct resolver_dns_query){ 0 };
	if (n < RESOLVER_DNS_HEAD || (p[2] & FLAG_RESPONSE) != 0)
		return -1;
	q->id = get16(p);
	if ((p[2] & OPCODE) != 0)
		return RESOLVER_DNS_NOTIMP;
	if (get16(p + 4) != 1)
		return RESOLVER_DNS_FORMERR;
	at = parse_name(p, n, RESOLVER_DNS_HEAD, q->name);
	if (at == 0 || at + 4 > n) {
		q->name[0] = '\0';
		return RESOLVER_DNS_FORMERR;
	}
	q->type = get16(p + at);
	q->class = get16(p + at + 2);
	q->question_end = at + 4;
	return 0;
}

static size_t
put_head(
    const uint8_t *p, const struct resolver_dns_query *q, int code, size_t answers, uint8_t *out)
{
	size_t n = q->question_end == 0 ? RESOLVER_DNS_HEAD : q->question_end;

	memcpy(out, p, n);
	out[2] = (uint8_t)(FLAG_RESPONSE | (p[2] & (OPCODE | FLAG_RD)));
	out[3] = (uint8_t)(FLAG_RA | code);
	(void)put16(out + 4, q->question_end == 0 ? 0 : 1);
	(void)put16(out + 6, (unsigned)answers);
	(void)put16(out + 8, 0);
	(void)put16(out + 10, 0);
	return n;
}

size_t
resolver_dns_error(const uint8_t *p, const struct resolver_dns_query *q, int code, uint8_t *out)
{
	return put_head(p, q, code, 0, out);
}

size_t
resolver_dns_answer(const uint8_t *p, const struct resolver_dns_query *q, const uint32_t *addresses,
    size_t n, uint8_t *out)
{
	size_t at, i;

	if (q->type != RESOLVER_DNS_A || q->class != RESOLVER_DNS_IN)
		n = 0;
	if (n > ANSWERS_MAX)
		n = ANSWERS_MAX;
	/* 12 + 255 + 4 + 64 * 16 bytes: far from the limit, but over 512 only for many. */
	at = put_head(p, q, 0, n, out);
	for (i = 0; i < n; i++) {
		at += put16(out + at, 0xc000 | RESOLVER_DNS_HEAD);
		at += put16(out + at, RESOLVER_DNS_A);
		at += put16(out + at, RESOLVER_DNS_IN);
		at += put16(out + at, 0);
		at += put16(out + at, RESOLVER_DNS_TTL_S);
		at += put16(out + at, 4);
		memcpy(out + at, &addresses[i], 4);
		at += 4;
	}
	return at;
}

bool
resolver_dns_matches(const uint8_t *p, const struct resolver_dns_query *q, const uint8_t *answer,
    size_t n, uint16_t id)
{
	return n >= q->question_end && q->question_end > 0 && get16(answer) == id &&
	       (answer[2] & FLAG_RESPONSE) != 0 && get16(answer + 4) == 1 &&
	       memcmp(p + RESOLVER_DNS_HEAD, answer + RESOLVER_DNS_HEAD,
	           q->question_end - RESOLVER_DNS_HEAD) == 0;
}

void
resolver_dns_set_id(uint8_t *p, uint16_t id)
{
	(void)put16(p, id);
}
