#include "broker/gear_group.h"

#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "broker/cart_pick.h"
#include "lib/base/mem.h"

enum { NONE = -1 };

/* Each cartridge points to one of its group, the group's first to itself. */
struct joined {
	const struct wire_app *a;
	const struct wire_cart *carts; /* manifests */
	size_t *to;
};

static size_t
root(const struct joined *j, size_t i)
{
	while (j->to[i] != i)
		i = j->to[i];
	return i;
}

static void
join(struct joined *j, size_t a, size_t b)
{
	a = root(j, a);
	b = root(j, b);
	if (a < b)
		j->to[b] = a;
	else
		j->to[a] = b;
}

/* By name, full name, feature or category. */
static bool
is_named(const struct joined *j, size_t i, const char *word)
{
	const struct wire_cart *c = &j->carts[i];
	AUTO(free) char *full = wire_cart_full_name(c);
	AUTO(free) char *plain = xasprintf("%s-%s", c->name, c->version);

	return strcmp(c->name, word) == 0 || strcmp(full, word) == 0 || strcmp(plain, word) == 0 ||
	       str_list_has(&c->provides, word) || wire_cart_has_category(c, word);
}

static void
join_override(struct joined *j, const struct wire_cart_any *names)
{
	size_t first = j->a->cartridges.n;

	for (size_t i = 0; i < j->a->cartridges.n; i++) {
		bool is_in = false;

		for (size_t k = 0; k < names->names.n; k++)
			is_in = is_in || is_named(j, i, names->names.v[k]);
		if (is_in && first == j->a->cartridges.n)
			first = i;
		else if (is_in)
			join(j, first, i);
	}
}

static void
join_all(struct joined *j)
{
	const struct wire_gear_cart_list *l = &j->a->cartridges;
	size_t web = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (l->v[i].is_web)
			web = i;
	}
	for (size_t i = 0; i < l->n; i++) {
		if (!j->a->scalable || !l->v[i].is_service)
			join(j, web, i);
	}
	for (size_t i = 0; i < l->n; i++) {
		for (size_t k = 0; k < j->carts[i].group_overrides.n; k++)
			join_override(j, &j->carts[i].group_overrides.v[k]);
	}
}

/* What its members ask for: the largest Min, the smallest Max. */
static void
count_gears(const struct joined *j, size_t i, struct gear_group *g)
{
	const struct wire_cart *c = &j->carts[i];

	for (size_t k = 0; j->a->scalable && k < c->components.n; k++) {
		const struct wire_cart_scaling *s = &c->components.v[k].scaling;

		if (s->min > g->gears)
			g->gears = s->min;
		if (s->max > 0 && (g->max < 0 || s->max < g->max))
			g->max = s->max;
	}
}

static struct gear_group *
add_group(struct gear_group_list *l)
{
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n] = (struct gear_group){ .gears = 1, .max = -1 };
	return &l->v[l->n++];
}

static void
collect(const struct joined *j, size_t first, struct gear_group *g)
{
	for (size_t i = 0; i < j->a->cartridges.n; i++) {
		const struct wire_gear_cart *c = &j->a->cartridges.v[i];

		if (root(j, i) != first)
			continue;
		str_list_add(&g->carts, c->name);
		g->is_web = g->is_web || c->is_web;
		count_gears(j, i, g);
	}
	if (g->max > 0 && g->gears > g->max)
		g->gears = g->max;
}

void
gear_group_plan(const struct broker *b, const struct wire_app *a, struct gear_group_list *out)
{
	size_t n = a->cartridges.n;
	AUTO(free_ptr) struct wire_cart *carts = xcalloc(n + 1, sizeof *carts);
	AUTO(free_ptr) size_t *to = xcalloc(n + 1, sizeof *to);
	struct joined j = { a, carts, to };

	for (size_t i = 0; i < n; i++) {
		to[i] = i;
		cart_pick_load(b, &a->cartridges.v[i], &carts[i]);
	}
	join_all(&j);
	for (size_t i = 0; i < n; i++) {
		if (root(&j, i) == i)
			collect(&j, i, add_group(out));
	}
	for (size_t i = 1; i < out->n; i++) {
		struct gear_group g = out->v[i];

		if (!g.is_web)
			continue;
		memmove(&out->v[1], &out->v[0], i * sizeof g);
		out->v[0] = g;
	}
	for (size_t i = 0; i < n; i++)
		wire_cart_fini(&carts[i]);
}

void
gear_group_fini(struct gear_group_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		str_list_fini(&l->v[i].carts);
	free(l->v);
	*l = (struct gear_group_list){ 0 };
}

int64_t
gear_group_others(const struct gear_group_list *l)
{
	int64_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += l->v[i].is_web ? 0 : l->v[i].gears;
	return n;
}

const char *
gear_group_profile(const struct gear_group *g, const struct wire_app *a)
{
	for (size_t i = 0; !g->is_web && i < a->cartridges.n; i++) {
		const struct wire_gear_cart *c = &a->cartridges.v[i];

		if (c->profile != NULL && str_list_has(&g->carts, c->name))
			return c->profile;
	}
	return a->profile;
}

int
gear_group_check(const struct gear_group_list *l, const struct wire_app *a, struct err *e)
{
	for (size_t k = 0; k < l->n; k++) {
		const char *size = gear_group_profile(&l->v[k], a);

		for (size_t i = 0; i < a->cartridges.n; i++) {
			const struct wire_gear_cart *c = &a->cartridges.v[i];

			if (c->profile != NULL && str_list_has(&l->v[k].carts, c->name) &&
			    strcmp(c->profile, size) != 0)
				return err_set(e, ERR_INVALID, "gear_size",
				    "The gears that cartridge '%s' comes to have the size '%s', "
				    "not "
				    "'%s'. Leave gear_size out.",
				    c->name, size, c->profile);
		}
	}
	return 0;
}

void
gear_group_carts(
    const struct gear_group *g, const struct wire_app *a, struct wire_gear_cart_list *to)
{
	for (size_t i = 0; i < a->cartridges.n; i++) {
		if (str_list_has(&g->carts, a->cartridges.v[i].name))
			codec_copy(&wire_gear_cart_codec, codec_list_add(&wire_gear_cart_codec, to),
			    &a->cartridges.v[i]);
	}
}

int
gear_group_of(const struct gear_group_list *l, const struct wire_gear *gear)
{
	int found = NONE;

	for (size_t i = 0; i < gear->cartridges.n; i++) {
		const struct wire_gear_cart *c = &gear->cartridges.v[i];

		for (size_t k = 0; k < l->n; k++) {
			if (!str_list_has(&l->v[k].carts, c->name))
				continue;
			/* What holds the web framework is its gear, whatever else is there. */
			if (found == NONE || l->v[k].is_web)
				found = (int)k;
		}
	}
	return found;
}
