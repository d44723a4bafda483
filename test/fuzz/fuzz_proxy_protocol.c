/* The PROXY protocol: what is taken lies within the bytes, more bytes never change it, and a part
 * of it only ever wants more. */
#include "test/fuzz/fuzz.h"

#include <string.h>

#include "router/proxy_protocol.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct proxy_protocol all, part;
	enum proxy_protocol_result r = proxy_protocol_parse(data, n, &all);
	char text[PEER_TEXT];

	if (r != PROXY_PROTOCOL_OK) {
		check(r != PROXY_PROTOCOL_MORE || n < PROXY_PROTOCOL_MAX);
		return 0;
	}
	check(all.size > 0 && all.size <= n && all.size <= PROXY_PROTOCOL_MAX);
	for (size_t i = 0; i < all.size; i++)
		check(proxy_protocol_parse(data, i, &part) == PROXY_PROTOCOL_MORE);
	check(proxy_protocol_parse(data, all.size, &part) == PROXY_PROTOCOL_OK);
	check(part.size == all.size && part.has_client == all.has_client &&
	      part.client.port == all.client.port &&
	      memcmp(part.client.address, all.client.address, sizeof all.client.address) == 0);
	if (all.has_client)
		check(peer_text(&all.client, text) > 0);
	return 0;
}
