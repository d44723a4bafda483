#include "router/tls_hello.h"

#include <string.h>

enum { LIST_HEAD = 2, NAME_HEAD = 3, TYPE_HOST = 0 };

static size_t
u16(const unsigned char *p)
{
	return (size_t)p[0] << 8 | p[1];
}

static bool
copy_host(const unsigned char *p, size_t n, char *out)
{
	if (n > 0 && p[n - 1] == '.')
		n--;
	if (n == 0 || n > TLS_HELLO_HOST_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = (char)p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' &&
		    c != '_')
			return false;
		out[i] = c;
	}
	out[n] = '\0';
	return true;
}

bool
tls_hello_host(const unsigned char *p, size_t n, char out[TLS_HELLO_HOST_MAX + 1])
{
	size_t at = LIST_HEAD;

	if (n < LIST_HEAD || u16(p) != n - LIST_HEAD)
		return false;
	while (n - at >= NAME_HEAD) {
		size_t len = u16(p + at + 1);

		if (len > n - at - NAME_HEAD)
			return false;
		if (p[at] == TYPE_HOST)
			return copy_host(p + at + NAME_HEAD, len, out);
		at += NAME_HEAD + len;
	}
	return false;
}

bool
tls_hello_offers(const unsigned char *p, size_t n, const char *proto)
{
	size_t at = LIST_HEAD, want = strlen(proto);

	if (n < LIST_HEAD || u16(p) != n - LIST_HEAD)
		return false;
	while (at < n) {
		size_t len = p[at];

		if (len == 0 || len > n - at - 1)
			return false;
		if (len == want && memcmp(p + at + 1, proto, len) == 0)
			return true;
		at += 1 + len;
	}
	return false;
}
