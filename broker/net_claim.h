/* broker/net_claim.h: which node has which range of instances' addresses: a record each, taken by
 * compare-and-swap, so that no two nodes of the cluster ever have the same. Kept while the node is
 * away, for its instances may run on. Loop thread. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"

struct broker;
struct http_req;
struct store_txn;

/* POST /internal/node/addresses. Takes the request. */
void net_claim_handle(struct broker *b, struct http_req *r);
/* Adds to t that the node has the range, and no other one, unless it is so already (*out_any).
 * ERR_CONFLICT: it is another node's; ERR_INVALID. */
int net_claim_add(const struct broker *b, struct store_txn *t, const char *node,
    const char *addresses, bool *out_any, struct err *e) MUST_CHECK;
