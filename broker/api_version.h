/* broker/api_version.h: which version and format a request wants. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct api_version {
	int minor; /* of 1.minor */
	bool no_links;
	bool is_xml;
	bool is_lines;
};

/* All may be NULL. ERR_INVALID: no such version (406); out then holds the newest. */
int api_version_pick(const char *accept, const char *content_type, const char *user_agent,
    struct api_version *out, struct err *e) MUST_CHECK;
