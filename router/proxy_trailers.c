#include "router/proxy_trailers.h"

#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "router/proxy_head.h"

static const char *const forbidden[] = {
	"age",
	"authorization",
	"cache-control",
	"content-encoding",
	"content-range",
	"content-type",
	"cookie",
	"date",
	"expect",
	"expires",
	"location",
	"max-forwards",
	"pragma",
	"range",
	"retry-after",
	"set-cookie",
	"status",
	"vary",
	"warning",
	"www-authenticate",
};

static bool
may_pass(struct str name)
{
	if (proxy_head_is_own(name) || (name.n > 3 && strncasecmp(name.p, "if-", 3) == 0))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
		if (str_eq_nocase(name, forbidden[i]))
			return false;
	}
	return true;
}

void
proxy_trailers_clean(struct buf *section)
{
	size_t at = 0, to = 0;

	while (at < section->n) {
		const char *line = section->p + at, *lf = memchr(line, '\n', section->n - at);
		size_t n = lf == NULL ? section->n - at : (size_t)(lf - line) + 1;
		const char *colon = memchr(line, ':', n);

		if (colon == NULL || may_pass((struct str){ line, (size_t)(colon - line) })) {
			memmove(section->p + to, line, n);
			to += n;
		}
		at += n;
	}
	buf_truncate(section, to);
}
