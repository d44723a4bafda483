#include "broker/gear_ends.h"

#include <stdlib.h>

#include "broker/cart_pick.h"
#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"

void
gear_ends_list(
    const struct broker *b, const struct wire_gear_cart_list *carts, struct gear_ends *out)
{
	AUTO(free_ptr) const struct cart_dir_entry **v = xcalloc(carts->n + 1, sizeof *v);

	out->n = carts->n;
	out->carts = xcalloc(carts->n + 1, sizeof *out->carts);
	for (size_t i = 0; i < carts->n; i++) {
		cart_pick_load(b, &carts->v[i], &out->carts[i].cart);
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
