/* broker/acme.h: certificates of aliases by ACME (RFC 8555): which are due, a few at once, again
 * with backoff when they fail; renewed when a third of their life is left. The protocol is spoken
 * by a program of its own, uacme. */
#pragma once

#include "lib/base/err.h"

struct acme;
struct broker;
struct http_req;

/* NULL: ERR_INVALID, ERR_NOT_FOUND: settings that cannot be. */
struct acme *acme_start(struct broker *b, struct err *e);
void acme_stop(struct acme *take_a); /* NULL is fine */

/* POST /acme of the hook socket. Takes the request. */
void acme_handle(struct broker *b, struct http_req *r);
