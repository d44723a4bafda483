/* broker/api_domain.h: the domain of a call's path; parameters that several lists share. */
#pragma once

#include <stdbool.h>

#include "broker/access.h"

struct api_call;

/* The domain of the path into d (zeroed); false: the call has ended (404, 403). */
bool api_domain_load(struct api_call *c, enum access_want want, struct wire_domain *d);
/* owner=@self or nothing, as *out_self tells; else the call has ended and this is false. */
bool api_domain_owner_is_self(struct api_call *c, bool *out_self);
/* Is the word in the parameter `include`? */
bool api_domain_includes(const struct api_call *c, const char *word);
