/* broker/route_paths.h: paths of an application's host that lead to other endpoints than the web
 * framework's first: Mappings of the cartridges' manifests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/wire/wire_gear.h"
#include "lib/wire/wire_route.h"

struct broker;

struct route_path {
	char *path;    /* "/admin" */
	char *backend; /* "": what is below the path alone */
	int answer;    /* enum wire_route_answer */
	bool tls;      /* the instances speak it there */
	int64_t port;  /* on an instance's address; 0: that of the application itself */
};
struct route_path_list {
	struct route_path *v; /* owned; longest path first */
	size_t n;
	int root_answer; /* the same of the address itself: proxy or to_https */
	bool root_tls;
};

/* carts: of a web gear, in its order; known: the application's, whose manifests they have. out:
 * zeroed. */
void route_paths_list(const struct broker *b, const struct wire_gear_cart_list *carts,
    const struct wire_gear_cart_list *known, struct route_path_list *out);
void route_paths_fini(struct route_path_list *l);
