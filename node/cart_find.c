#include "node/cart_find.h"

#include "lib/base/mem.h"
#include "lib/cart/cart_dir.h"

const struct cart_dir_entry *
cart_find(const struct cart_dir *d, const struct wire_gear_cart *c)
{
	const struct cart_dir_entry *x =
	    c->cart_version == NULL ? NULL : cart_dir_find(d, c->name, c->version, c->cart_version);

	return x != NULL ? x : cart_dir_find(d, c->name, c->version, NULL);
}

const struct cart_dir_entry **
cart_find_all(const struct cart_dir *d, const struct wire_gear_cart_list *l, struct err *e)
{
	AUTO(free_ptr) const struct cart_dir_entry **v = xcalloc(l->n + 1, sizeof *v);

	for (size_t i = 0; i < l->n; i++) {
		v[i] = cart_find(d, &l->v[i]);
		if (v[i] == NULL) {
			(void)err_set(e, ERR_NOT_FOUND, "cartridges",
			    "this node has no cartridge %s-%s", l->v[i].name, l->v[i].version);
			return NULL;
		}
	}
	return STEAL(v);
}
