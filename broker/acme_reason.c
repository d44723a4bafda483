#include "broker/acme_reason.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "lib/codec/codec.h"

enum { REASON_MAX = 500 };

#define REPORT "the server reported the following error:\n"

/* The authority's own words: a problem document (RFC 7807) behind REPORT; NULL: there are none. */
static char *
detail_of(const char *text)
{
	const char *at = strstr(text, REPORT), *end;
	struct codec_value *v;
	struct err e = { 0 };
	const char *detail;
	char *out;

	if (at == NULL)
		return NULL;
	at += sizeof REPORT - 1;
	end = strstr(at, "\n}");
	if (end == NULL)
		return NULL;
	v = codec_parse(at, (size_t)(end - at) + 2, &e);
	if (v == NULL)
		return NULL;
	detail = codec_string(codec_get(v, "detail"));
	out = xstrdup_null(detail);
	codec_value_free(v);
	return out;
}

/* The first line that says more than that it tries again. */
static char *
line_of(const char *text)
{
	for (const char *at = text; *at != '\0';) {
		size_t n = strcspn(at, "\n");
		const char *from = str_has_prefix(at, "uacme: ") ? at + strlen("uacme: ") : at;
		AUTO(free) char *line = xstrndup(from, n - (size_t)(from - at));

		if (*line != '\0' && strstr(line, "before retrying") == NULL)
			return STEAL(line);
		at += n + (at[n] == '\n' ? 1 : 0);
	}
	return NULL;
}

char *
acme_reason(const char *text, size_t n, const char *why)
{
	AUTO(free) char *all = xstrndup(text, n);
	AUTO(free) char *said = detail_of(all);
	AUTO_FINI(buf_fini) struct buf clean = { 0 };

	if (said == NULL)
		said = line_of(all);
	if (said == NULL)
		said = xstrdup(why);
	str_clean(said, strlen(said), &clean);
	while (clean.n > REASON_MAX || (clean.n > 0 && !str_is_utf8(clean.p, clean.n)))
		buf_truncate(&clean, clean.n > REASON_MAX ? REASON_MAX : clean.n - 1);
	for (size_t i = 0; i < clean.n; i++) {
		if (clean.p[i] == '\n' || clean.p[i] == '\t')
			clean.p[i] = ' ';
	}
	return clean.n == 0 ? xstrdup(why) : buf_steal(&clean);
}
