/* router/host_key.h: the form of a host name by which its route is kept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HOST_NAME_MAX = 253,
	HOST_PATH_MAX = 128, /* of the path of a route that has one */
};

/* Lower case, without port or final dot, into out. 0: no valid host. */
size_t host_key(const char *p, size_t n, char out[HOST_NAME_MAX + 1]);
uint32_t host_key_hash(uint64_t seed, const char *p, size_t n);
/* "/a/path" of letters, digits and -._~/ */
bool host_key_is_path(const char *path);
/* A key, or *.KEY; or one of these with a path behind it. */
bool host_key_is_route(const char *host);
