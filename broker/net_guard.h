/* broker/net_guard.h: which addresses what users name may reach: none inside. Private, loopback,
 * link-local, multicast and reserved ranges, those embedded in IPv6, and this machine's own are
 * refused, but for what the administrator allows. */
#pragma once

#include <stdbool.h>

#include "lib/base/err.h"
#include "lib/base/mem.h"
#include "lib/base/str.h"

struct net_guard;
struct sockaddr;

/* allow: ranges as ADDRESS or ADDRESS/BITS. */
struct net_guard *net_guard_new(const struct str_list *allow, struct err *e) MUST_CHECK;
void net_guard_free(struct net_guard *take_g);
DEFINE_AUTO(struct net_guard *, net_guard_free)

/* http_call_allows_fn: arg is the guard. */
bool net_guard_allows(const struct sockaddr *sa, void *guard);
/* Resolves host (blocks: on a worker) and writes the first address that is allowed. ERR_DENIED:
 * there is none; ERR_NOT_FOUND: no such name. */
int net_guard_resolve(
    const struct net_guard *g, const char *host, char **out_address, struct err *e) MUST_CHECK;
