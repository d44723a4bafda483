#include "broker/api_version.h"

#include <string.h>
#include <strings.h>

#include "broker/api_call.h"
#include "lib/base/str.h"

enum { RHC_MINOR = 3, WORD_SHOWN_MAX = 32 };

static const char versions[] = "1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7";

/* The first part of a header that begins with "version": what is behind '='. */
static struct str
find_version(struct str header)
{
	while (header.n > 0) {
		struct str item;

		header = str_cut(header, ',', &item);
		while (item.n > 0) {
			struct str part;
			struct str name;
			struct str value;

			item = str_cut(item, ';', &part);
			part = str_trim(part);
			if (part.n < 7 || strncasecmp(part.p, "version", 7) != 0)
				continue;
			value = str_cut(part, '=', &name);
			return value.p == NULL ? STR("") : str_trim(value);
		}
	}
	return (struct str){ NULL, 0 };
}

/* Formats and bare tokens of Accept. */
static void
read_accept(struct str header, struct api_version *out)
{
	bool is_first = true;

	while (header.n > 0) {
		struct str item;

		header = str_cut(header, ',', &item);
		for (bool is_type = true; item.n > 0; is_type = false) {
			struct str part;

			item = str_cut(item, ';', &part);
			part = str_trim(part);
			if (!is_type && str_eq_nocase(part, "nolinks"))
				out->no_links = true;
			if (!is_type || !is_first)
				continue;
			out->is_xml = str_eq_nocase(part, "application/xml") ||
			              str_eq_nocase(part, "text/xml");
			out->is_lines = str_eq_nocase(part, "application/x-ndjson");
		}
		is_first = false;
	}
}

int
api_version_pick(const char *accept, const char *content_type, const char *user_agent,
    struct api_version *out, struct err *e)
{
	struct str v = find_version(str_of(accept));

	*out = (struct api_version){ .minor = API_MINOR_MAX };
	read_accept(str_of(accept), out);
	if (v.p == NULL)
		v = find_version(str_of(content_type));
	if (v.p == NULL) {
		if (user_agent != NULL && strncmp(user_agent, "rhc", 3) == 0)
			out->minor = RHC_MINOR;
		return 0;
	}
	if (v.n == 3 && strncmp(v.p, "1.", 2) == 0 && v.p[2] >= '0' &&
	    v.p[2] <= '0' + API_MINOR_MAX) {
		out->minor = v.p[2] - '0';
		return 0;
	}
	return err_set(e, ERR_INVALID, NULL,
	    "Requested API version %.*s is not supported. Supported versions are %s.",
	    (int)(v.n > WORD_SHOWN_MAX ? WORD_SHOWN_MAX : v.n), v.p, versions);
}
