#include "lib/cart/cart_needs.h"

#include "lib/base/file.h"

int
cart_needs_check(const struct wire_cart *c, struct err *e)
{
	const struct wire_cart_datum_list *l = &c->pinion.needs;

	for (size_t i = 0; i < l->n; i++) {
		const char *package = l->v[i].text;

		if (file_exists(l->v[i].key))
			continue;
		if (package[0] == '\0')
			return err_set(e, ERR_NOT_FOUND, NULL, "%s is missing", l->v[i].key);
		return err_set(e, ERR_NOT_FOUND, NULL,
		    "%s is missing: install the Debian package %s", l->v[i].key, package);
	}
	return 0;
}
