/* lib/http/http_bearer.h: who may ask: those that show a token. */
#pragma once

#include <stdbool.h>

struct http_req;

/* "Authorization: Bearer TOKEN" is among the fields. */
bool http_bearer_is(const struct http_req *r, const char *token);
