#include "lib/base/str.h"

#include "lib/base/mem.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *
str_base64(const void *p, size_t n)
{
	const unsigned char *in = p;
	char *out = xmalloc(n / 3 * 4 + 5);
	size_t o = 0;

	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		unsigned v = (unsigned)in[i] << 16 | (left > 1 ? (unsigned)in[i + 1] << 8 : 0) |
		             (left > 2 ? in[i + 2] : 0);

		out[o++] = alphabet[v >> 18];
		out[o++] = alphabet[v >> 12 & 63];
		out[o++] = left > 1 ? alphabet[v >> 6 & 63] : '=';
		out[o++] = left > 2 ? alphabet[v & 63] : '=';
	}
	out[o] = '\0';
	return out;
}

static int
value_of(char c)
{
	const char *at = c == '\0' ? NULL : strchr(alphabet, c);

	return at == NULL ? -1 : (int)(at - alphabet);
}

void *
str_base64_decode(struct str s, size_t *out_n)
{
	AUTO(free) char *out = xmalloc(s.n / 4 * 3 + 1);
	size_t o = 0;

	if (s.n % 4 != 0)
		return NULL;
	for (size_t i = 0; i < s.n; i += 4) {
		bool last = i + 4 == s.n;
		size_t pad = !last || s.p[i + 3] != '=' ? 0 : s.p[i + 2] == '=' ? 2 : 1;
		unsigned v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k >= 4 - pad ? 0 : value_of(s.p[i + k]);

			if (d < 0)
				return NULL;
			v = v << 6 | (unsigned)d;
		}
		if ((pad == 1 && (v & 0xff) != 0) || (pad == 2 && (v & 0xffff) != 0))
			return NULL;
		out[o++] = (char)(v >> 16);
		if (pad < 2)
			out[o++] = (char)(v >> 8 & 0xff);
		if (pad < 1)
			out[o++] = (char)(v & 0xff);
	}
	out[o] = '\0';
	*out_n = o;
	return STEAL(out);
}
