#include "broker/gear_ends.h"

#include <stdlib.h>
#include <string.h>

#include "broker/cart_pick.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"

/* The record of a gear names a downloaded cartridge only: the application's has its manifest. */
static const struct wire_gear_cart *
with_manifest(const struct wire_gear_cart *c, const struct wire_gear_cart_list *known)
{
	for (size_t i = 0; i < known->n; i++) {
		const struct wire_gear_cart *k = &known->v[i];

		if (k->manifest != NULL && c->digest != NULL && k->digest != NULL &&
		    strcmp(k->name, c->name) == 0 && strcmp(k->digest, c->digest) == 0)
			return k;
	}
	return c;
}

void
gear_ends_list(const struct broker *b, const struct wire_gear_cart_list *carts,
    const struct wire_gear_cart_list *known, struct gear_ends *out)
{
	AUTO(free_ptr) const struct cart_dir_entry **v = xcalloc(carts->n + 1, sizeof *v);

	out->n = carts->n;
	out->carts = xcalloc(carts->n + 1, sizeof *out->carts);
	for (size_t i = 0; i < carts->n; i++) {
		cart_pick_load(b, with_manifest(&carts->v[i], known), &out->carts[i].cart);
		v[i] = &out->carts[i];
	}
	gear_ports_list(v, carts->n, &out->ports);
}

void
gear_ends_fini(struct gear_ends *l)
{
	gear_ports_fini(&l->ports);
	for (size_t i = 0; i < l->n; i++)
		wire_cart_fini(&l->carts[i].cart);
	free(l->carts);
	*l = (struct gear_ends){ 0 };
}
