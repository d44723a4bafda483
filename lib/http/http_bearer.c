#include "lib/http/http_bearer.h"

#include <string.h>

#include "lib/base/secret.h"
#include "lib/base/str.h"
#include "lib/http/http_server.h"

bool
http_bearer_is(const struct http_req *r, const char *token)
{
	const char *given = http_req_header(r, "Authorization");

	return given != NULL && str_has_prefix(given, "Bearer ") &&
	       secret_equal(given + strlen("Bearer "), token);
}
