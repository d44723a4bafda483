/* router/to_https.h: whether a request came by https, and where it is sent when it should have. A
 * trusted proxy has the last word (X-Forwarded-Proto), so that behind a balancer that ends TLS
 * nothing goes in circles. */
#pragma once

#include <stdbool.h>

struct proxy;

enum { TO_HTTPS_FOR_NOW = 302 };

extern const char to_https_why[]; /* for a page */

bool to_https_came(const struct proxy *x);
/* Whether it is a challenge of ACME (RFC 8555 8.3): they come by http, and stay there. */
bool to_https_is_challenge(const struct proxy *x);
/* Whether a route that says so sends it there: not where nothing serves https, neither the router
 * nor a trusted proxy. */
bool to_https_must(const struct proxy *x);
/* Answers with the same address by https. x is gone. */
void to_https_send(struct proxy *x, int status);
