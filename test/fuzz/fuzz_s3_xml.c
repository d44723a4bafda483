/* Answers of an S3 store. */
#include <stdlib.h>
#include <string.h>

#include "broker/s3_xml.h"
#include "lib/base/mem.h"
#include "test/fuzz/fuzz.h"

static void
within(const char *text, struct str s)
{
	size_t n = strlen(text);

	if (s.n > 0 && (s.p < text || s.p + s.n > text + n || memchr(s.p, '<', s.n) != NULL))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(free) char *text = xstrndup((const char *)data, n);
	const char *at = text;
	struct str key, id;

	within(text, s3_xml_text(text, "Code"));
	within(text, s3_xml_text(text, "UploadId"));
	while (s3_xml_upload(&at, &key, &id)) {
		within(text, key);
		within(text, id);
		if (key.n == 0 || id.n == 0 || id.n > S3_XML_ID_MAX)
			abort();
	}
	return 0;
}
