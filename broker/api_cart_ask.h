/* broker/api_cart_ask.h: cartridges as calls name them: "php-5.4", ["php", {"url": …}]. */
#pragma once

#include <stdbool.h>

#include "broker/cart_pick.h"

struct api_call;

/* The parameter `cartridges` or `cartridge`; may_be_top: or name, url … of the call itself. None:
 * out stays empty. false: the call has ended (422). */
bool api_cart_ask(struct api_call *c, bool may_be_top, struct cart_ask_list *out);
/* May gears of that domain have the storage that is asked for? A domain that is not there yet is
 * the asker's. false: the call has ended. */
bool api_cart_ask_storage(struct api_call *c, const char *domain, const struct cart_ask_list *l);
