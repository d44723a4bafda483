/* What a ClientHello's extensions say: nothing beyond the bytes is read, and a host is one. */
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "router/tls_hello.h"
#include "test/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(free) char *copy = xmalloc(n == 0 ? 1 : n); /* its end is watched */
	char host[TLS_HELLO_HOST_MAX + 1];

	memcpy(copy, data, n);
	if (tls_hello_host((const unsigned char *)copy, n, host) &&
	    (host[0] == '\0' || strpbrk(host, " /*\r\n") != NULL))
		abort();
	if (tls_hello_offers((const unsigned char *)copy, n, "acme-tls/1") && n < 13)
		abort();
	return 0;
}
