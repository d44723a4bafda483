#include "node/cart_find.h"

#include "lib/base/mem.h"
#include "node/cart_store.h"

const struct cart_dir_entry **
cart_find_all(struct cart_store *s, const struct wire_gear_cart_list *l, struct err *e)
{
	AUTO(free_ptr) const struct cart_dir_entry **v = xcalloc(l->n + 1, sizeof *v);

	for (size_t i = 0; i < l->n; i++) {
		v[i] = cart_store_find(s, &l->v[i]);
		if (v[i] == NULL) {
			(void)err_set(e, ERR_NOT_FOUND, "cartridges",
			    "this node has no cartridge %s-%s", l->v[i].name, l->v[i].version);
			return NULL;
		}
	}
	return STEAL(v);
}
