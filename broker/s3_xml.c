#include "broker/s3_xml.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

static const char upload[] = "<Upload>";

static struct str
text_within(struct str in, const char *tag)
{
	AUTO(free) char *open = xasprintf("<%s>", tag);
	size_t n = strlen(open);
	const char *p = memmem(in.p, in.n, open, n), *lt;

	if (p == NULL)
		return (struct str){ "", 0 };
	p += n;
	n = (size_t)(in.p + in.n - p);
	lt = memchr(p, '<', n);
	return (struct str){ p, lt == NULL ? n : (size_t)(lt - p) };
}

struct str
s3_xml_text(const char *text, const char *tag)
{
	return text_within(str_of(text), tag);
}

bool
s3_xml_upload(const char **at, struct str *key, struct str *id)
{
	const char *p;

	while ((p = strstr(*at, upload)) != NULL) {
		const char *next = strstr(p + strlen(upload), upload);
		struct str one = { p, next == NULL ? strlen(p) : (size_t)(next - p) };

		*at = p + strlen(upload);
		*key = text_within(one, "Key");
		*id = text_within(one, "UploadId");
		if (key->n > 0 && id->n > 0 && id->n <= S3_XML_ID_MAX)
			return true;
	}
	return false;
}
