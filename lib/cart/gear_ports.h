/* lib/cart/gear_ports.h: addresses and ports of a gear's endpoints, as OpenShift v2 names them: a
 * private address and port for the software, a public port for the application's other gears. Pure;
 * they do not change when other cartridges come and go. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cart_dir_entry;
struct wire_cart_endpoint;

enum { GEAR_PORTS_FIRST = 35531 }; /* of the public ones, v2's PORT_BEGIN */

struct gear_port {
	size_t cart;                         /* index of its cartridge */
	const struct wire_cart_endpoint *ep; /* borrowed */
	char ip[16];                         /* equal IP names of a cartridge share it */
	int port;                            /* what the software binds */
	int public_port;                     /* on the address of its instance, too */
	bool is_front;  /* the web framework's, for what no other mapping takes */
	bool is_mapped; /* some other path leads to it */
};
struct gear_port_list {
	struct gear_port *v; /* owned */
	size_t n;
};
/* Endpoints that have a private address, in the cartridges' order. An entry of carts may be NULL.
 * out: zeroed. */
void gear_ports_list(
    const struct cart_dir_entry *const *carts, size_t n, struct gear_port_list *out);
void gear_ports_fini(struct gear_port_list *l);

/* The address by which the application's gears know this one: 127.32.x.y by its range of users,
 * which no other gear of the node has. */
void gear_ports_gear_ip(int64_t uid_base, char out[16]);
/* The same of a gear on another node: 127.48.0.0/12, by its UUID. */
void gear_ports_peer_ip(const char *uuid, char out[16]);
