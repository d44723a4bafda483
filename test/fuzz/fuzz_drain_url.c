/* URLs of log drains: one that is taken can be connected to, of the others the field is named. */
#include <stdlib.h>
#include <string.h>

#include "broker/drain_sink.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"
#include "test/fuzz/fuzz.h"

static const char syslog_scheme[] = "syslog+tls://";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	AUTO(free) char *url = xstrndup((const char *)data, n);
	bool is_syslog = str_has_prefix(url, syslog_scheme);
	struct err e = { 0 };

	if (drain_sink_check(url, &e) < 0) {
		if (e.code != ERR_INVALID || strcmp(e.field, "url") != 0 || e.text[0] == '\0')
			abort();
		return 0;
	}
	if (strlen(url) > DRAIN_SINK_URL_MAX || strpbrk(url, "\r\n") != NULL)
		abort();
	if (!is_syslog && !str_has_prefix(url, "https://"))
		abort();
	if (is_syslog && (url[strlen(syslog_scheme)] == '\0' || strchr(url, '@') != NULL))
		abort();
	return 0;
}
