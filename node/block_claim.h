/* node/block_claim.h: asks the broker for a range of instances' addresses that no other node of the
 * cluster has (net_block.h). Only a node that has none yet asks. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct block_claim { /* pointers are borrowed */
	const char *broker, *token, *node;
	const char *ca_file, *cert_file, *key_file; /* of an https broker, as of http_client */
	bool is_unanswered, is_told;                /* its own */
};

/* A net_block_admits_fn; arg: a struct block_claim. Blocks for 2 s at most. */
int block_claim_admits(const char *range, void *arg, struct err *e) MUST_CHECK;
/* Was e that nobody answered? Then waits a moment, before net_open is called again: meanwhile
 * nothing is locked. */
bool block_claim_waits(struct block_claim *c, const struct err *e);
