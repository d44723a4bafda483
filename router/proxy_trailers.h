/* router/proxy_trailers.h: which fields may pass behind a body (RFC 9110 6.5.1). */
#pragma once

#include "lib/base/buf.h"

/* Takes out of a trailer section (lines, then an empty one) what frames a message, routes it, or
 * must be known before its body. */
void proxy_trailers_clean(struct buf *section);
