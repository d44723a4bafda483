/* broker/api_cart_lines.h: lines of cartridges' scripts (CLIENT_RESULT: …) as messages of a call.
 */
#pragma once

#include <stdbool.h>

#include "lib/base/str.h"

struct api_call;

/* In the order of v2: debug, warning, then error and result; before a failure the result first.
 * Lines without a known prefix are left out. Returns how many errors there were. */
int api_cart_lines(struct api_call *c, const struct str_list *lines, bool has_failed);
/* Those of one cartridge of an application. */
void api_cart_messages(struct api_call *c, const char *app_id, const char *cart);
