/* node/build_work.h: the blocking steps of a build, each a worker's job with copies of all that it
 * looks at: scratch made, tree looked at, result sealed, scratch removed. */
#pragma once

#include <stdint.h>

#include "lib/base/err.h"
#include "lib/oci/oci_layer.h"
#include "lib/wire/wire_node.h"
#include "node/build_plan.h"

struct build;
struct cart_dir_entry;
struct layer_store;

#define BUILD_WORK_REPO "app-root/runtime/repo" /* of the tree, in a home */
#define BUILD_WORK_RUNTIME "app-root/runtime"   /* of an artifact */

/* What the stack is, as far as builds depend on it. */
struct build_stack {
	char digest[65];
	int64_t mtime;       /* of the file that it is the digest of */
	char *node, *python; /* versions, owned; NULL: none */
};
/* The host stack's digest is that of the packages' list; read again when that has changed. */
void build_work_look_at_stack(struct build_stack *s);

enum build_work_kind {
	BUILD_WORK_MAKE,
	BUILD_WORK_PLAN,
	BUILD_WORK_SEAL,
	BUILD_WORK_CLEAN,
	BUILD_WORK_MEASURE, /* fails with ERR_LIMIT when the tree is above bytes_max, or the disk
	                       full */
};

struct build_work {
	struct build *build; /* the asker, for done only */
	enum build_work_kind kind;
	struct layer_store *layers; /* borrowed, as web */
	const struct cart_dir_entry *web;
	struct build_stack stack;
	struct wire_build_order order;
	struct oci_layer_result src;
	struct build_plan plan;          /* out of PLAN, into SEAL */
	struct wire_build_result result; /* out of SEAL: layers, image */
	char *dir;                       /* scratch */
	int64_t bytes_max;               /* MEASURE */
	int repo;                        /* out of MAKE (owned until taken), into PLAN (borrowed) */
	int rc;
	struct err e;
};

/* For worker_submit. */
void build_work_run(void *work);
void build_work_free(void *take_work);
/* What SEAL needs of a plan. */
void build_work_copy_plan(struct build_plan *to, const struct build_plan *from);
