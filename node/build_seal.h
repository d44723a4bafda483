/* node/build_seal.h: what a build left becomes layers and an image. Blocks. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/oci/oci_layer.h"
#include "lib/wire/wire_node.h"

struct build_plan;
struct cart_dir_entry;
struct layer_store;

struct build_seal {
	const char *dir; /* scratch of the build: up/ holds all, in the shape of a home */
	const struct wire_build_order *order;
	const struct cart_dir_entry *web;
	const struct build_plan *plan;
	const struct oci_layer_result
	    *src; /* of the unpacking: without a container up/ is still that */
	struct layer_store *layers;
};

/* The three parts of up/ (repository; dependencies; what else was written) move into the store;
 * layers and image of out are set. Safe against a power cut when this returns. */
int build_seal(
    const struct build_seal *in, struct wire_build_result *out, struct err *e) MUST_CHECK;
