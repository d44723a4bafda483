#include "broker/route_paths.h"

#include <stdlib.h>
#include <string.h>

#include "broker/gear_ends.h"
#include "lib/base/mem.h"
#include "lib/wire/wire_cart.h"

enum { PATHS_MAX = 64, PATH_MAX_LEN = 128 };

void
route_paths_fini(struct route_path_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].path);
		free(l->v[i].backend);
	}
	free(l->v);
	*l = (struct route_path_list){ 0 };
}

/* "admin/" → "/admin"; NULL: the root, or nothing that a route can have. */
static char *
clean_path(const char *s)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	                           "-._~/";
	AUTO(free) char *path = NULL;
	size_t n;

	if (s == NULL || s[0] == '\0')
		return NULL;
	path = xasprintf("%s%s", s[0] == '/' ? "" : "/", s);
	n = strlen(path);
	while (n > 0 && path[n - 1] == '/')
		path[--n] = '\0';
	return n < 2 || n > PATH_MAX_LEN || strspn(path, good) != n ? NULL : STEAL(path);
}

static bool
has_path(const struct route_path_list *l, const char *path)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].path, path) == 0)
			return true;
	}
	return false;
}

/* The first of v2's options that says something counts. What the node served itself (noproxy, file)
 * is not there. */
static int
answer_of(const struct wire_cart_mapping *m)
{
	bool is_to_https = m->tohttps || m->ssl_to_gear;

	return m->gone        ? WIRE_ROUTE_GONE
	       : m->forbidden ? WIRE_ROUTE_FORBIDDEN
	       : m->noproxy   ? WIRE_ROUTE_NOTHING
	       : m->health    ? WIRE_ROUTE_HEALTH
	       : m->redirect  ? WIRE_ROUTE_REDIRECT
	       : m->file      ? WIRE_ROUTE_NOTHING
	       : is_to_https  ? WIRE_ROUTE_TO_HTTPS
	                      : WIRE_ROUTE_PROXY;
}

/* Whatever else is said of it, the address itself leads to the application. */
static void
note_root(struct route_path_list *l, const struct wire_cart_endpoint *ep)
{
	l->root_tls = wire_cart_root_is_tls(ep);
	for (size_t i = 0; i < ep->mappings.n; i++) {
		const struct wire_cart_mapping *m = &ep->mappings.v[i];

		if (m->frontend[0] != '\0')
			continue;
		l->root_answer =
		    answer_of(m) == WIRE_ROUTE_TO_HTTPS ? WIRE_ROUTE_TO_HTTPS : WIRE_ROUTE_PROXY;
		return;
	}
}

static void
add(struct route_path_list *l, const struct gear_port *p, const struct wire_cart_mapping *m)
{
	AUTO(free) char *path = clean_path(m->frontend);
	AUTO(free) char *backend = clean_path(m->backend);

	if (path == NULL || l->n >= PATHS_MAX || has_path(l, path))
		return;
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n++] = (struct route_path){ .path = STEAL(path),
		.backend = backend == NULL ? xstrdup("") : STEAL(backend),
		.answer = answer_of(m),
		.tls = wire_cart_mapping_is_tls(m),
		.port = p->is_front ? 0 : p->public_port };
}

static int
longest_first(const void *a, const void *b)
{
	const struct route_path *x = a, *y = b;
	size_t nx = strlen(x->path), ny = strlen(y->path);

	return nx != ny ? (nx > ny ? -1 : 1) : strcmp(x->path, y->path);
}

void
route_paths_list(const struct broker *b, const struct wire_gear_cart_list *carts,
    const struct wire_gear_cart_list *known, struct route_path_list *out)
{
	AUTO_FINI(gear_ends_fini) struct gear_ends ends = { 0 };

	gear_ends_list(b, carts, known, &ends);
	for (size_t i = 0; i < ends.ports.n; i++) {
		const struct gear_port *p = &ends.ports.v[i];

		if (carts->v[p->cart].is_service)
			continue;
		if (p->is_front)
			note_root(out, p->ep);
		for (size_t k = 0; k < p->ep->mappings.n; k++)
			add(out, p, &p->ep->mappings.v[k]);
	}
	if (out->n > 0)
		qsort(out->v, out->n, sizeof *out->v, longest_first);
}
