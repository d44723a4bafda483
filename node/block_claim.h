/* node/block_claim.h: asks the broker for a range of instances' addresses that no other node of the
 * cluster has (net_block.h). Only a node that has none yet asks. */
#pragma once

#include "lib/base/err.h"

struct block_claim { /* all borrowed */
	const char *broker, *token, *node;
	const char *ca_file, *cert_file,
	    *key_file; /* of an https broker; NULL: as of http_client */
};

/* A net_block_admits_fn; arg: a struct block_claim. Blocks, until the broker answers: at start. */
int block_claim_admits(const char *range, void *arg, struct err *e) MUST_CHECK;
