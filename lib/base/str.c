#include "lib/base/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <strings.h>

#include "lib/base/mem.h"

bool
str_eq(struct str a, const char *b)
{
	return strlen(b) == a.n && memcmp(a.p, b, a.n) == 0;
}

bool
str_same(const char *a, const char *b)
{
	return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) == 0;
}

bool
str_eq_nocase(struct str a, const char *b)
{
	return strlen(b) == a.n && strncasecmp(a.p, b, a.n) == 0;
}

bool
str_has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool
str_has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

struct str
str_trim(struct str s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

struct str
str_cut(struct str s, char c, struct str *head)
{
	const char *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);

	if (at == NULL) {
		*head = s;
		return (struct str){ NULL, 0 };
	}
	*head = (struct str){ s.p, (size_t)(at - s.p) };
	return (struct str){ at + 1, s.n - head->n - 1 };
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int
str_to_i64(struct str s, int64_t min, int64_t max, const char *field, int64_t *out, struct err *e)
{
	bool negative = s.n > 0 && s.p[0] == '-';
	size_t i = negative ? 1 : 0;
	__int128 v = 0;

	if (i == s.n)
		return err_set(e, ERR_INVALID, field, "must be a whole number, is empty");
	for (; i < s.n; i++) {
		if (!is_digit(s.p[i]))
			return err_set(e, ERR_INVALID, field, "must be a whole number, is \"%.*s\"",
			    (int)(s.n > 64 ? 64 : s.n), s.p);
		v = v * 10 + (s.p[i] - '0');
		if (v > (__int128)1 << 64)
			v = (__int128)1 << 64;
	}
	if (negative)
		v = -v;
	if (v < min || v > max)
		return err_set(e, ERR_INVALID, field,
		    "must be between %" PRId64 " and %" PRId64 ", is %.*s", min, max,
		    (int)(s.n > 64 ? 64 : s.n), s.p);
	*out = (int64_t)v;
	return 0;
}

size_t
str_utf8_len(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t len = p[0] < 0x80   ? 1
	             : p[0] < 0xc2 ? 0
	             : p[0] < 0xe0 ? 2
	             : p[0] < 0xf0 ? 3
	             : p[0] < 0xf5 ? 4
	                           : 0;

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

bool
str_is_utf8(const char *s, size_t n)
{
	while (n > 0) {
		size_t len = str_utf8_len(s, n);

		if (len == 0)
			return false;
		s += len;
		n -= len;
	}
	return true;
}

void
str_lower(char *s)
{
	for (; *s != '\0'; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s - 'A' + 'a');
}

static bool
is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool
str_is_name(const char *s, size_t max)
{
	size_t n = 0;

	for (; s[n] != '\0'; n++)
		if (!is_alnum(s[n]) || n >= max)
			return false;
	return n > 0;
}

bool
str_is_host(const char *s)
{
	size_t n = 0, label = 0;

	for (; s[n] != '\0'; n++) {
		char c = s[n];

		if (n >= 255)
			return false;
		if (c == '.') {
			if (label == 0 || s[n - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!(is_digit(c) || (c >= 'a' && c <= 'z') || (c == '-' && label > 0)) ||
		    ++label > 63)
			return false;
	}
	return label > 0 && s[n - 1] != '-';
}

bool
str_is_env_name(const char *s)
{
	size_t n = 0;

	for (; s[n] != '\0'; n++)
		if (n >= 128 || !(is_alnum(s[n]) || s[n] == '_') || (n == 0 && is_digit(s[n])))
			return false;
	return n > 0;
}

bool
str_is_hex(const char *s, size_t n)
{
	return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

static int
hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

char *
str_url_decode(struct str s, bool plus, struct err *e)
{
	AUTO(free) char *out = xmalloc(s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '+' && plus) {
			c = ' ';
		} else if (c == '%') {
			int hi = s.n - i > 2 ? hex_value(s.p[i + 1]) : -1;
			int lo = s.n - i > 2 ? hex_value(s.p[i + 2]) : -1;

			if (hi < 0 || lo < 0) {
				(void)err_set(e, ERR_INVALID, NULL,
				    "has a bad percent escape: write %%25 for a percent sign");
				return NULL;
			}
			c = (char)(hi * 16 + lo);
			i += 2;
		}
		if (c == '\0') {
			(void)err_set(e, ERR_INVALID, NULL, "has a NUL byte: remove it");
			return NULL;
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return STEAL(out);
}

void
str_list_take(struct str_list *l, char *take_s)
{
	l->v = xreallocarray(l->v, l->n + 1, sizeof *l->v);
	l->v[l->n++] = take_s;
}

void
str_list_add(struct str_list *l, const char *s)
{
	str_list_take(l, xstrdup(s));
}

bool
str_list_has(const struct str_list *l, const char *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->v[i], s) == 0)
			return true;
	return false;
}

void
str_list_remove(struct str_list *l, const char *s)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (strcmp(l->v[i], s) == 0)
			free(l->v[i]);
		else
			l->v[n++] = l->v[i];
	}
	l->n = n;
}

char *
str_list_pop(struct str_list *l)
{
	return l->n == 0 ? NULL : l->v[--l->n];
}

void
str_list_copy(struct str_list *to, const struct str_list *from)
{
	for (size_t i = 0; i < from->n; i++)
		str_list_add(to, from->v[i]);
}

void
str_list_fini(struct str_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct str_list){ 0 };
}
