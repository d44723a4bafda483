/* broker/api_route.h: which handler a method and path have. */
#pragma once

#include <stdbool.h>

#include "lib/base/str.h"

struct api_call;
struct api_param;

/* Takes the call; see api_call.h. */
typedef void api_handler_fn(struct api_call *c);

/* What a token must hold besides `session`. */
enum api_scope {
	API_SCOPE_OPEN,     /* no login at all */
	API_SCOPE_SESSION,  /* nothing else will do */
	API_SCOPE_USERINFO, /* `userinfo` or `read` */
	API_SCOPE_READ,     /* `read` */
	API_SCOPE_OBJECT,   /* decided with the domain or application (access) */
	API_SCOPE_RAW,   /* as OBJECT; the body is the handler's: not read, no parameters in it */
	API_SCOPE_ADMIN, /* `session` of an administrator */
};

struct api_route {
	const char *method;
	const char
	    *path; /* "domain|domains/:domain/members"; a leading "APP" is both forms of an app */
	enum api_scope scope;
	api_handler_fn *fn;
};

/* path: behind /broker/rest, with or without a suffix such as .json. Fills the path's parameters.
 * NULL: none; then out_has_path tells whether another method would do. out_is_xml: by suffix. */
const struct api_route *api_route_find(struct str method, const char *path,
    struct api_param *params, bool *out_has_path, bool *out_is_xml);
