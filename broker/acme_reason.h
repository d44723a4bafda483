/* broker/acme_reason.h: what the ACME client says when it fails, as a sentence for the owner. */
#pragma once

#include <stddef.h>

/* text: what it wrote, which holds words of the authority; why: how it ended. Caller owns. */
char *acme_reason(const char *text, size_t n, const char *why);
