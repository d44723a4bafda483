#include "router/host_key.h"

#include <string.h>

static uint64_t
mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

uint32_t
host_key_hash(uint64_t seed, const char *p, size_t n)
{
	uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u), w;

	while (n > 8) {
		memcpy(&w, p, 8);
		h = mix(h ^ w, 0xe7037ed1a0b428dbu);
		p += 8;
		n -= 8;
	}
	w = 0;
	memcpy(&w, p, n);
	h = mix(h ^ w, 0x8ebc6af09c88c6e3u);
	return (uint32_t)(h ^ (h >> 32));
}

size_t
host_key(const char *p, size_t n, char out[HOST_NAME_MAX + 1])
{
	size_t k = 0;

	if (n > 0 && *p == '[') { /* an IPv6 literal: up to the bracket */
		const char *end = memchr(p, ']', n);

		if (end == NULL || (size_t)(end - p) >= HOST_NAME_MAX)
			return 0;
		n = (size_t)(end - p) + 1;
		memcpy(out, p, n);
		out[n] = '\0';
		return n;
	}
	for (; k < n && p[k] != ':'; k++) {
		char c = p[k];

		if (k == HOST_NAME_MAX)
			return 0;
		if (c >= 'A' && c <= 'Z')
			c = (char)(c + 32);
		else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
		             c == '.' || c == '_'))
			return 0;
		out[k] = c;
	}
	if (k > 0 && out[k - 1] == '.')
		k--;
	out[k] = '\0';
	return k;
}

bool
host_key_is_path(const char *path)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	                           "-._~/";
	size_t n = strlen(path);

	return n > 1 && n <= HOST_PATH_MAX && path[0] == '/' && path[n - 1] != '/' &&
	       strspn(path, good) == n;
}

bool
host_key_is_route(const char *host)
{
	char key[HOST_NAME_MAX + 1];
	const char *p = strncmp(host, "*.", 2) == 0 ? host + 2 : host;
	const char *path = strchr(p, '/');
	size_t n = path == NULL ? strlen(p) : (size_t)(path - p);

	return n > 0 && host_key(p, n, key) == n && strncmp(key, p, n) == 0 &&
	       (path == NULL || host_key_is_path(path));
}
