/* Reads heads from stdin (4 bytes of length in host order, then the bytes) and prints for each how
 * http_head_request reads it: "bad", "more", or method, target, minor version, framing, length,
 * keep-alive, fields. */
#include <stdint.h>
#include <stdio.h>

#include "lib/http/http_head.h"

static char text[1 << 16];

static void
print(enum http_head_result r, const struct http_head *h)
{
	static const char *const framings[] = { "none", "length", "chunked", "close" };

	if (r != HTTP_HEAD_OK) {
		puts(r == HTTP_HEAD_MORE ? "more" : "bad");
		return;
	}
	printf("%.*s %.*s %d %s %lld %d %zu\n", (int)h->method.n, h->method.p, (int)h->target.n,
	    h->target.p, h->minor, framings[h->framing], (long long)h->length, h->keep_alive, h->n);
}

int
main(void)
{
	struct http_head h;
	uint32_t n;

	while (fread(&n, sizeof n, 1, stdin) == 1 && n <= sizeof text) {
		if (fread(text, 1, n, stdin) != n)
			return 1;
		print(http_head_request(text, n, 0, &h), &h);
		(void)fflush(stdout);
	}
	return 0;
}
