/* What the ACME client writes, with the authority's words in it: a sentence for the owner. */
#include <stdlib.h>
#include <string.h>

#include "broker/acme_reason.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "test/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(free) char *text = xstrndup((const char *)data, n);
	AUTO(free) char *why = acme_reason(text, strlen(text), "exit 2");

	if (*why == '\0' || strlen(why) > 500 || !str_is_utf8(why, strlen(why)))
		abort();
	for (const char *p = why; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ')
			abort();
	}
	return 0;
}
