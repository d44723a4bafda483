/* DNS messages: what is parsed can be answered in every way within bounds, and an answer of ours
 * matches its question and no other id. */
#include "test/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "node/resolver_dns.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint32_t addresses[100] = { 0x0700407f };
	struct resolver_dns_query q;
	uint8_t out[RESOLVER_DNS_UDP_MAX];
	size_t m;
	int rc;

	if (n > RESOLVER_DNS_MAX)
		return 0;
	rc = resolver_dns_parse(data, n, &q);
	if (rc < 0)
		return 0;
	check(q.question_end <= n && strlen(q.name) < sizeof q.name);
	m = resolver_dns_error(data, &q, rc == 0 ? RESOLVER_DNS_SERVFAIL : rc, out);
	check(m >= RESOLVER_DNS_HEAD && m <= n && (out[2] & 0x80) != 0);
	if (rc != 0)
		return 0;
	check(resolver_dns_matches(data, &q, out, m, q.id));
	m = resolver_dns_answer(data, &q, addresses, 100, out);
	check(m <= sizeof out && resolver_dns_matches(data, &q, out, m, q.id));
	resolver_dns_set_id(out, (uint16_t)(q.id + 1));
	check(!resolver_dns_matches(data, &q, out, m, q.id));
	return 0;
}
