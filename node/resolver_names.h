/* node/resolver_names.h: the names that the resolver answers itself, and the servers that it asks
 * for all others; both from files that are read again when they change. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/base/mem.h"

enum { RESOLVER_SERVERS_MAX = 3, RESOLVER_ADDRESSES_MAX = 16 };

struct resolver_names;

/* names: lines `APP NAME ADDRESS`; servers: resolv.conf. Absent files are empty. */
struct resolver_names *resolver_names_new(const char *names, const char *servers);
void resolver_names_free(struct resolver_names *take_n);
DEFINE_AUTO(struct resolver_names *, resolver_names_free)

/* Addresses of a name as the app sees it, in turn first; network byte order. -1: not ours: ask. */
int resolver_names_find(struct resolver_names *n, const char *app, const char *name,
    uint32_t out[RESOLVER_ADDRESSES_MAX]);

struct resolver_server {
	struct sockaddr_storage address;
	socklen_t length;
};
/* How many; out is filled. */
size_t resolver_names_servers(
    struct resolver_names *n, struct resolver_server out[RESOLVER_SERVERS_MAX]);
