/* broker/api_link.h: the links of objects: tables of what can be done next. */
#pragma once

#include "broker/api_json.h"

struct api_call;

struct api_link_param {
	const char *name; /* NULL ends a list */
	const char *type;
	const char *description;
	const char *valid; /* JSON array; NULL: any */
	const char *dflt;  /* JSON; NULL: null */
};

struct api_link {
	const char *key; /* NULL ends a table */
	const char *rel;
	const char *method;
	const char *path;                      /* behind the object's own; "" = itself */
	const struct api_link_param *required; /* or NULL */
	const struct api_link_param *optional; /* or NULL */
	int min_minor, max_minor;              /* versions that have it; max 0: all later ones */
};

/* Member "links", unless the client wants none. base: "domain/x", behind /broker/rest/. */
void api_link_write(
    const struct api_call *c, struct api_json *j, const struct api_link *links, const char *base);
/* The object of links alone, as member `key` (NULL: element). */
void api_link_map(const struct api_call *c, struct api_json *j, const char *key,
    const struct api_link *links, const char *base);
