#include "broker/cart_rules.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"

static const char field_one[] = "cartridge";
static const char field_all[] = "cartridges";

static int
refuse(struct cart_rules *r, int exit_code)
{
	r->exit_code = exit_code;
	return -1;
}

bool
cart_rules_add(struct cart_rules *r, const struct wire_cart *c, void *tag, bool is_new)
{
	if (r->n == CART_RULES_MAX)
		return false;
	r->v[r->n++] = (struct cart_rules_item){ .cart = c, .tag = tag, .is_new = is_new };
	return true;
}

bool
cart_rules_has(const struct wire_cart *c, const char *feature)
{
	AUTO(free) char *full = NULL;
	AUTO(free) char *plain = NULL;

	if (strcmp(c->name, feature) == 0 || str_list_has(&c->provides, feature))
		return true;
	full = wire_cart_full_name(c);
	plain = xasprintf("%s-%s", c->name, c->version);
	return strcmp(full, feature) == 0 || strcmp(plain, feature) == 0;
}

static bool
is(const struct wire_cart *c, const char *category)
{
	return wire_cart_has_category(c, category);
}

/* What counts as a plugin in a scalable application. */
static bool
is_plugin(const struct wire_cart *c)
{
	return is(c, "plugin") || is(c, "web_proxy") || is(c, "ci_builder");
}

/* --- each cartridge alone --- */

static bool
scales(const struct wire_cart *c)
{
	for (size_t i = 0; i < c->components.n; i++) {
		const struct wire_cart_scaling *s = &c->components.v[i].scaling;

		if (s->min != 1 || s->max != 1)
			return true;
	}
	return c->components.n == 0;
}

static int64_t
least_gears(const struct wire_cart *c)
{
	int64_t min = 1;

	for (size_t i = 0; i < c->components.n; i++) {
		if (c->components.v[i].scaling.min > min)
			min = c->components.v[i].scaling.min;
	}
	return min;
}

static bool
needs_scaling(const struct wire_cart *c)
{
	for (size_t i = 0; i < c->components.n; i++) {
		if (c->components.v[i].scaling.is_required)
			return true;
	}
	return false;
}

static int
check_scalable(struct cart_rules *r, const struct wire_cart *c, const char *name, struct err *e)
{
	if (is(c, "web_framework") && !scales(c)) {
		(void)err_set(e, ERR_INVALID, field_one,
		    "%s cannot be scaled and so cannot be in a scalable application. Leave 'scale' "
		    "out.",
		    name);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	if (!is_plugin(c) && !is(c, "service") && !is(c, "web_framework") && !is(c, "external")) {
		(void)err_set(e, ERR_INVALID, field_one,
		    "%s cannot be in a scalable application: it is neither a plugin nor a service.",
		    name);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	return 0;
}

static int
check_plain(struct cart_rules *r, const struct wire_cart *c, const char *name, struct err *e)
{
	if (is(c, "web_proxy")) {
		(void)err_set(
		    e, ERR_INVALID, field_one, "%s can be in scalable applications only.", name);
		return refuse(r, CART_RULES_CANNOT);
	}
	if (needs_scaling(c) || least_gears(c) > 1) {
		(void)err_set(e, ERR_INVALID, field_one,
		    "%s needs a scalable application: create it with 'scale': true.", name);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	return 0;
}

static int
check_one(struct cart_rules *r, const struct cart_rules_item *x, struct err *e)
{
	const struct wire_cart *c = x->cart;
	AUTO(free) char *name = wire_cart_full_name(c);

	if (c->components.n > 1) {
		(void)err_set(e, ERR_INVALID, field_one,
		    "%s has %zu components; a cartridge of an application can have one.", name,
		    c->components.n);
		return refuse(r, CART_RULES_THERE);
	}
	if (c->is_obsolete && !r->allows_obsolete && !x->is_pulled) {
		(void)err_set(e, ERR_INVALID, field_one,
		    "%s is obsolete and cannot be added any more.", name);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	if (is(c, "domain_scope") && r->domain != NULL && r->domain(c, r->arg)) {
		(void)err_set(e, ERR_INVALID, field_one,
		    "%s is already in another application of this domain; there can be one.", name);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	return r->is_scalable ? check_scalable(r, c, name, e) : check_plain(r, c, name, e);
}

/* --- two together --- */

static int
check_twice(struct cart_rules *r, size_t i, size_t k, struct err *e)
{
	const struct wire_cart *a = r->v[i].cart;
	const struct wire_cart *b = r->v[k].cart;
	AUTO(free) char *name = wire_cart_full_name(a);

	if (strcmp(a->name, b->name) == 0) {
		if (r->v[i].is_new && r->v[k].is_new)
			(void)err_set(e, ERR_CONFLICT, field_one,
			    "The cartridge %s is given twice, or in two versions. Give it once.",
			    a->name);
		else
			(void)err_set(
			    e, ERR_CONFLICT, field_one, "%s is already in the application.", name);
		return refuse(r, CART_RULES_THERE);
	}
	if ((is(a, "web_framework") && is(b, "web_framework")) ||
	    (is(a, "web_proxy") && is(b, "web_proxy"))) {
		AUTO(free) char *other = wire_cart_full_name(b);

		(void)err_set(e, ERR_CONFLICT, field_one,
		    "An application has one %s cartridge: %s and %s cannot be together.",
		    is(a, "web_framework") ? "web" : "proxy", other, name);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	return 0;
}

static int
check_conflicts(
    struct cart_rules *r, const struct wire_cart *a, const struct wire_cart *b, struct err *e)
{
	for (size_t i = 0; i < a->conflicts.n; i++) {
		AUTO(free) char *x = NULL;
		AUTO(free) char *y = NULL;

		if (!cart_rules_has(b, a->conflicts.v[i]))
			continue;
		x = wire_cart_full_name(a);
		y = wire_cart_full_name(b);
		(void)err_set(e, ERR_CONFLICT, field_one,
		    "%s conflicts with %s and cannot be in the same application.", x, y);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	return 0;
}

static int
check_pairs(struct cart_rules *r, struct err *e)
{
	for (size_t i = 0; i < r->n; i++) {
		for (size_t k = 0; k < i; k++) {
			if ((r->v[i].is_new || r->v[k].is_new) &&
			    (check_twice(r, i, k, e) < 0 ||
			        check_conflicts(r, r->v[i].cart, r->v[k].cart, e) < 0 ||
			        check_conflicts(r, r->v[k].cart, r->v[i].cart, e) < 0))
				return -1;
		}
	}
	return 0;
}

/* --- what is required --- */

static bool
is_met(const struct cart_rules *r, const char *feature, const struct wire_cart *but)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->v[i].cart != but && cart_rules_has(r->v[i].cart, feature))
			return true;
	}
	return false;
}

/* All of one base: the first is the newest. */
static int
check_same(struct cart_rules *r, const struct wire_cart *c, const char *feature,
    const struct cart_rules_item *v, size_t n, struct err *e)
{
	AUTO(free) char *name = wire_cart_full_name(c);

	if (n == 0) {
		(void)err_set(e, ERR_INVALID, field_all,
		    "%s requires '%s', and no cartridge provides that.", name, feature);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	for (size_t i = 1; i < n; i++) {
		AUTO(free) char *x = NULL;
		AUTO(free) char *y = NULL;

		if (strcmp(v[i].cart->name, v[0].cart->name) == 0)
			continue;
		x = wire_cart_full_name(v[0].cart);
		y = wire_cart_full_name(v[i].cart);
		(void)err_set(e, ERR_CONFLICT, field_all,
		    "%s requires '%s', which several cartridges provide, as %s and %s. Add the one "
		    "you want too.",
		    name, feature, x, y);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	return 0;
}

static int
pull(struct cart_rules *r, const struct wire_cart *c, const char *feature, struct err *e)
{
	struct cart_rules_item v[CART_RULES_MAX];
	size_t n = r->find == NULL ? 0 : r->find(feature, v, CART_RULES_MAX, r->arg);

	if (n > CART_RULES_MAX)
		n = CART_RULES_MAX;
	if (check_same(r, c, feature, v, n, e) < 0)
		return -1;
	if (!cart_rules_add(r, v[0].cart, v[0].tag, true)) {
		(void)err_set(e, ERR_LIMIT, field_all, "An application can have %d cartridges.",
		    CART_RULES_MAX);
		return refuse(r, CART_RULES_UNUSABLE);
	}
	r->v[r->n - 1].is_pulled = true;
	return 0;
}

/* What is pulled in may require more: v grows while it is walked. */
static int
pull_all(struct cart_rules *r, struct err *e)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct wire_cart *c = r->v[i].cart;

		for (size_t k = 0; r->v[i].is_new && k < c->requires.n; k++) {
			if (!is_met(r, c->requires.v[k], NULL) &&
			    pull(r, c, c->requires.v[k], e) < 0)
				return -1;
		}
	}
	return 0;
}

/* --- order --- */

static int
class_of(const struct wire_cart *c)
{
	if (is(c, "web_framework"))
		return 0;
	return is(c, "service") ? 1 : 2;
}

struct edges {
	bool v[CART_RULES_MAX][CART_RULES_MAX]; /* [a][b]: a before b */
};

static bool
is_meant(const struct wire_cart *c, const struct str_list *any)
{
	for (size_t i = 0; i < any->n; i++) {
		if (cart_rules_has(c, any->v[i]) || is(c, any->v[i]))
			return true;
	}
	return false;
}

static size_t
matches(const struct cart_rules *r, const struct wire_cart_any *item, bool out[CART_RULES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		out[i] = is_meant(r->v[i].cart, &item->names);
		n += out[i];
	}
	return n;
}

/* The Configure-Order of one cartridge: each item before the next. */
static int
add_order(struct cart_rules *r, size_t of, struct edges *x, struct err *e)
{
	const struct wire_cart_any_list *l = &r->v[of].cart->configure_order;
	bool before[CART_RULES_MAX] = { 0 };
	bool now[CART_RULES_MAX];

	for (size_t k = 0; k < l->n; k++) {
		if (matches(r, &l->v[k], now) == 0) {
			AUTO(free) char *name = wire_cart_full_name(r->v[of].cart);

			(void)err_set(e, ERR_INVALID, field_all,
			    "The Configure-Order of %s names '%s', which the application does not "
			    "have.",
			    name, l->v[k].names.n == 0 ? "" : l->v[k].names.v[0]);
			return refuse(r, CART_RULES_UNMET);
		}
		for (size_t a = 0; a < r->n; a++) {
			for (size_t b = 0; b < r->n; b++) {
				if (before[a] && now[b] && a != b)
					x->v[a][b] = true;
			}
		}
		for (size_t a = 0; a < r->n; a++)
			before[a] = before[a] || now[a];
	}
	return 0;
}

static bool
is_free(const struct cart_rules *r, const struct edges *x, const bool *done, size_t at)
{
	for (size_t k = 0; k < r->n; k++) {
		if (!done[k] && k != at && x->v[k][at])
			return false;
	}
	return true;
}

/* Of those that nothing must precede, the first as given. */
static size_t
pick_free(const struct cart_rules *r, const struct edges *x, const bool *done)
{
	for (size_t i = 0; i < r->n; i++) {
		if (!done[i] && is_free(r, x, done, i))
			return i;
	}
	return r->n;
}

int
cart_rules_sort(struct cart_rules *r, struct err *e)
{
	AUTO(free_ptr) struct edges *x = xcalloc(1, sizeof *x);
	struct cart_rules_item out[CART_RULES_MAX];
	bool done[CART_RULES_MAX] = { 0 };

	for (size_t a = 0; a < r->n; a++) {
		for (size_t b = 0; b < r->n; b++)
			x->v[a][b] = class_of(r->v[a].cart) < class_of(r->v[b].cart);
	}
	for (size_t i = 0; i < r->n; i++) {
		if (add_order(r, i, x, e) < 0)
			return -1;
	}
	for (size_t n = 0; n < r->n; n++) {
		size_t i = pick_free(r, x, done);

		if (i == r->n) {
			(void)err_set(e, ERR_CONFLICT, field_all,
			    "The cartridges contradict each other about the order in which they "
			    "are to be configured (Configure-Order).");
			return refuse(r, CART_RULES_UNUSABLE);
		}
		done[i] = true;
		out[n] = r->v[i];
	}
	memcpy(r->v, out, r->n * sizeof *out);
	return 0;
}

int
cart_rules_resolve(struct cart_rules *r, struct err *e)
{
	r->exit_code = 0;
	if (check_pairs(r, e) < 0 || pull_all(r, e) < 0 || check_pairs(r, e) < 0)
		return -1;
	for (size_t i = 0; i < r->n; i++) {
		if (r->v[i].is_new && check_one(r, &r->v[i], e) < 0)
			return -1;
	}
	return cart_rules_sort(r, e);
}

/* --- removal --- */

/* Does v[i] require what only those that go provide? */
static bool
loses(const struct cart_rules *r, size_t i)
{
	const struct wire_cart *c = r->v[i].cart;

	for (size_t k = 0; k < c->requires.n; k++) {
		bool was_met = false;
		bool is_left = false;

		for (size_t j = 0; j < r->n; j++) {
			bool has = j != i && cart_rules_has(r->v[j].cart, c->requires.v[k]);

			was_met = was_met || has;
			is_left = is_left || (has && !r->v[j].is_new);
		}
		if (was_met && !is_left)
			return true;
	}
	return false;
}

int
cart_rules_remove(struct cart_rules *r, size_t at, struct err *e)
{
	bool again = true;

	for (size_t i = 0; i < r->n; i++)
		r->v[i].is_new = i == at;
	while (again) {
		again = false;
		for (size_t i = 0; i < r->n; i++) {
			if (!r->v[i].is_new && loses(r, i))
				r->v[i].is_new = again = true;
		}
	}
	for (size_t i = 0; i < r->n; i++) {
		const struct wire_cart *c = r->v[i].cart;

		if (!r->v[i].is_new || (!is(c, "web_framework") && !is(c, "web_proxy")))
			continue;
		(void)err_set(e, ERR_INVALID, field_one,
		    "The %s cartridge %s-%s cannot be removed from its application. Delete the "
		    "application instead.",
		    is(c, "web_framework") ? "web" : "proxy", c->name, c->version);
		return refuse(r, CART_RULES_CANNOT);
	}
	return 0;
}
