/* node/deployment_tree.h: ~/app-deployments as OpenShift v2's scripts know it: the deployment that
 * runs, with its metadata.json. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

struct deployment_tree { /* strings borrowed; may be NULL */
	const char *id;  /* 8 hex */
	const char *ref, *sha1;
	int64_t created; /* Unix time in s; 0: not known */
	bool hot_deploy, force_clean_build;
};

/* Blocks. Below the upper of a home; what is there already stays. Nothing is followed out of it. */
int deployment_tree_write(
    const char *upper, const struct deployment_tree *d, struct err *e) MUST_CHECK;
