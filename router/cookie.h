/* router/cookie.h: one cookie of a request, taken out of its head. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/buf.h"

/* Removes all cookies of that name from a whole head; what is left of the fields stays as it is.
 * value gets the first one's, cut to size. false: there is none. */
bool cookie_take(struct buf *head, const char *name, char *value, size_t size);
