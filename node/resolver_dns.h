/* node/resolver_dns.h: the little of DNS messages (RFC 1035) that the resolver must understand: one
 * question in, addresses or an error out, and whether an answer belongs to a question. Pure; any
 * bytes may come. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RESOLVER_DNS_HEAD = 12,
	RESOLVER_DNS_UDP_MAX = 4096, /* of a query, and of an answer that we make */
	RESOLVER_DNS_MAX = 65535,
	RESOLVER_DNS_A = 1,
	RESOLVER_DNS_IN = 1,
	RESOLVER_DNS_FORMERR = 1,
	RESOLVER_DNS_SERVFAIL = 2,
	RESOLVER_DNS_NOTIMP = 4,
	RESOLVER_DNS_TTL_S = 5,
};

struct resolver_dns_query {
	uint16_t id, type, class;
	char name[256];      /* lower case, dotted, no dot at the end; "" for what is no text */
	size_t question_end; /* offset behind the question; 0: no question was read */
};

/* 0: a query that may be answered or forwarded. > 0: answer with this code. -1: not worth an
 * answer. */
int resolver_dns_parse(const uint8_t *p, size_t n, struct resolver_dns_query *q);

/* Into out (at least RESOLVER_DNS_UDP_MAX bytes); returns the length. p: the query's bytes. */
size_t resolver_dns_error(
    const uint8_t *p, const struct resolver_dns_query *q, int code, uint8_t *out);
/* Addresses in network byte order; none, or another type than A: an empty answer. */
size_t resolver_dns_answer(const uint8_t *p, const struct resolver_dns_query *q,
    const uint32_t *addresses, size_t n, uint8_t *out);

/* Is it the answer with that id to the question of the query p? */
bool resolver_dns_matches(const uint8_t *p, const struct resolver_dns_query *q,
    const uint8_t *answer, size_t n, uint16_t id);
void resolver_dns_set_id(uint8_t *p, uint16_t id);
