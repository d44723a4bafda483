/* broker/api_domain.h: parameters that several lists share. */
#pragma once

#include <stdbool.h>

struct api_call;

/* owner=@self or nothing; else the call has ended and this is false. */
bool api_domain_owner_is_self(struct api_call *c);
/* Is the word in the parameter `include`? */
bool api_domain_includes(const struct api_call *c, const char *word);
