#include "lib/cart/gear_ports.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"

enum {
	WEB_BLOCK = 0x7f01f400,   /* 127.1.244.0: v2's for uid 1000, which each gear's user has */
	FIRST_BLOCK = 0x7f100000, /* 127.16.0.0 … 127.31.255.128 */
	BLOCKS = 8192,
	BLOCK_BITS = 7, /* 127 addresses, as v2 */
	BLOCK_LAST = 126,
	GEAR_BASE = 0x7f200000, /* 127.32.0.0 */
	PEER_BASE = 0x7f300000, /* 127.48.0.0 … 127.63.255.255 */
	PEER_MASK = 0xfffff,
	FRONT_PORT = 8080,
	IDS = 65536, /* of users of one gear */
};

static void
to_text(uint32_t a, char out[16])
{
	(void)snprintf(
	    out, 16, "%u.%u.%u.%u", a >> 24, (a >> 16) & 255U, (a >> 8) & 255U, a & 255U);
}

static uint32_t
hash(const char *s)
{
	uint32_t h = 2166136261U;

	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 16777619U;
	return h ^ h >> 16;
}

/* By name, not by place: what install wrote down stays true. */
static uint32_t
block_of(const struct cart_dir_entry *const *carts, uint32_t *blocks, size_t i)
{
	uint32_t k;

	if (wire_cart_is_web(&carts[i]->cart))
		return WEB_BLOCK;
	for (k = hash(carts[i]->cart.name) % BLOCKS;; k = (k + 1) % BLOCKS) {
		uint32_t block = (uint32_t)FIRST_BLOCK + (k << BLOCK_BITS);
		bool is_taken = false;

		for (size_t j = 0; j < i; j++)
			is_taken = is_taken || blocks[j] == block;
		if (!is_taken)
			return block;
	}
}

static void
add(struct gear_port_list *l, const struct gear_port *p)
{
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n++] = *p;
}

static bool
has_mapping(const struct wire_cart_endpoint *ep, bool is_root)
{
	for (size_t i = 0; i < ep->mappings.n; i++) {
		const char *path = ep->mappings.v[i].frontend;

		if ((path == NULL || path[0] == '\0') == is_root)
			return true;
	}
	return false;
}

static void
add_cart(const struct cart_dir_entry *c, size_t index, uint32_t block, struct gear_port_list *out)
{
	size_t first = out->n;
	uint32_t ips = 0;

	for (size_t i = 0; i < c->cart.endpoints.n; i++) {
		const struct wire_cart_endpoint *ep = &c->cart.endpoints.v[i];
		struct gear_port p = { .cart = index,
			.ep = ep,
			.port = (int)ep->private_port,
			.public_port = GEAR_PORTS_FIRST + (int)out->n,
			.is_mapped = has_mapping(ep, false) };

		if (ep->private_ip_name == NULL)
			continue;
		for (size_t k = first; k < out->n && p.ip[0] == '\0'; k++) {
			if (strcmp(out->v[k].ep->private_ip_name, ep->private_ip_name) == 0)
				memcpy(p.ip, out->v[k].ip, sizeof p.ip);
		}
		if (p.ip[0] == '\0')
			to_text(block + 1 + ips++ % BLOCK_LAST, p.ip);
		add(out, &p);
	}
}

/* Of the web framework's endpoints, from first on: that of the root mapping, else one at v2's usual
 * port, else none. */
static void
mark_front(struct gear_port_list *l, size_t first)
{
	for (size_t i = first; i < l->n; i++) {
		if (has_mapping(l->v[i].ep, true)) {
			l->v[i].is_front = true;
			return;
		}
	}
	for (size_t i = first; i < l->n; i++) {
		if (l->v[i].port == FRONT_PORT) {
			l->v[i].is_front = true;
			return;
		}
	}
}

void
gear_ports_list(const struct cart_dir_entry *const *carts, size_t n, struct gear_port_list *out)
{
	AUTO(free_ptr) uint32_t *blocks = xcalloc(n + 1, sizeof *blocks);

	for (size_t i = 0; i < n; i++) {
		size_t first = out->n;

		if (carts[i] == NULL)
			continue;
		blocks[i] = block_of(carts, blocks, i);
		add_cart(carts[i], i, blocks[i], out);
		if (wire_cart_is_web(&carts[i]->cart))
			mark_front(out, first);
	}
}

void
gear_ports_fini(struct gear_port_list *l)
{
	free(l->v);
	*l = (struct gear_port_list){ 0 };
}

void
gear_ports_gear_ip(int64_t uid_base, char out[16])
{
	to_text((uint32_t)GEAR_BASE + (uint32_t)(uid_base / IDS), out);
}

void
gear_ports_peer_ip(const char *uuid, char out[16])
{
	to_text((uint32_t)PEER_BASE | (hash(uuid) & PEER_MASK), out);
}
