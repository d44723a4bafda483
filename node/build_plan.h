/* node/build_plan.h: what a build has to do, from the unpacked tree: how the application starts,
 * whether its dependencies are those of the deployment before, whether a builder instance is needed
 * at all. Blocks. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/oci/oci_layer.h"
#include "lib/wire/wire_node.h"

struct cart_dir_entry;
struct layer_store;

struct build_plan_in {
	const struct wire_build_order *order;
	const struct cart_dir_entry *web;   /* the cartridge that builds */
	const struct oci_layer_result *src; /* of the unpacking */
	struct layer_store *layers;
	const char *stack_digest;
	const char *node_version;   /* "20.20.2"; NULL: the stack has none */
	const char *python_version; /* "3.11.2"; NULL: none */
	int repo;                   /* the tree */
};

struct build_plan { /* all owned */
	struct wire_start start;
	char *release;
	struct wire_var_list processes; /* of the Procfile, beside web and release */
	char *deps_key;                 /* "" : nothing to install */
	bool deps_reused;               /* the previous deployment's layer serves */
	bool needs_container;
	bool is_clean;           /* the marker force_clean_build, or the order */
	struct str_list actions; /* of cart_action_argv, in order, when a container is needed */
	struct str_list notes;   /* lines for the pusher */
};
void build_plan_fini(struct build_plan *p);

/* out: zeroed. ERR_INVALID: the tree cannot be built or started; the text says why. */
int build_plan_make(
    const struct build_plan_in *in, struct build_plan *out, struct err *e) MUST_CHECK;
