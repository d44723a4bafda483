/* broker/gear_ends.h: the endpoints that a gear's cartridges have by their manifests, with the
 * addresses and ports that the node gives them. */
#pragma once

#include "lib/cart/gear_ports.h"
#include "lib/wire/wire_gear.h"

struct broker;
struct cart_dir_entry;

struct gear_ends {
	struct gear_port_list ports; /* cart: index in the list of cartridges */
	/* its own */
	struct cart_dir_entry *carts;
	size_t n;
};

/* Of catalogue's and downloaded ones; a cartridge that is gone has none. known: the application's
 * list, where the manifests of downloaded ones are. out: zeroed. */
void gear_ends_list(const struct broker *b, const struct wire_gear_cart_list *carts,
    const struct wire_gear_cart_list *known, struct gear_ends *out);
void gear_ends_fini(struct gear_ends *l);
