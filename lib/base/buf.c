#include "lib/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"

void
buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

void
buf_clear(struct buf *b)
{
	buf_truncate(b, 0);
}

void
buf_reserve(struct buf *b, size_t more)
{
	size_t want = b->n + more + 1;

	assert(want > b->n);
	if (want <= b->cap)
		return;
	size_t cap = b->cap < 64 ? 64 : b->cap;
	while (cap < want)
		cap += cap / 2 + 1;
	b->p = xreallocarray(b->p, cap, 1);
	b->cap = cap;
	b->p[b->n] = '\0';
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
	if (n >= b->cap - b->n)
		buf_reserve(b, n);
	if (n > 0)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void
buf_adds(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void
buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void
buf_addstr(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

void
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	buf_reserve(b, 128);
	va_start(ap, fmt);
	n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	if ((size_t)n >= b->cap - b->n) {
		b->p[b->n] = '\0';
		buf_reserve(b, (size_t)n);
		va_start(ap, fmt);
		n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
		va_end(ap);
	}
	b->n += (size_t)n;
}

void
buf_drop(struct buf *b, size_t n)
{
	assert(n <= b->n);
	if (n == 0)
		return;
	memmove(b->p, b->p + n, b->n - n);
	buf_truncate(b, b->n - n);
}

void
buf_truncate(struct buf *b, size_t n)
{
	assert(n <= b->n);
	b->n = n;
	if (b->p != NULL)
		b->p[n] = '\0';
}

int
buf_add_max(struct buf *b, const void *p, size_t n, size_t max, struct err *e)
{
	if (b->n > max || n > max - b->n)
		return err_set(e, ERR_LIMIT, NULL, "more than %zu bytes", max);
	buf_add(b, p, n);
	return 0;
}

static void
add_json_control(struct buf *b, unsigned char c)
{
	static const char names[] = "btn fr"; /* 8, 9, 10, -, 12, 13 */

	if (c >= 8 && c <= 13 && c != 11) {
		buf_addc(b, '\\');
		buf_addc(b, names[c - 8]);
	} else {
		buf_addf(b, "\\u%04x", c);
	}
}

void
buf_add_json_strn(struct buf *b, const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t from = 0, i = 0;

	buf_addc(b, '"');
	while (i < n) {
		size_t len = str_utf8_len(s + i, n - i);

		if (len > 0 && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') {
			i += len;
			continue;
		}
		buf_add(b, s + from, i - from);
		if (len == 0) {
			buf_adds(b, "\xef\xbf\xbd");
		} else if (p[i] < 0x20) {
			add_json_control(b, p[i]);
		} else {
			buf_addc(b, '\\');
			buf_addc(b, (char)p[i]);
		}
		from = ++i;
	}
	buf_add(b, s + from, i - from);
	buf_addc(b, '"');
}

void
buf_add_json_str(struct buf *b, const char *s)
{
	if (s == NULL)
		buf_adds(b, "null");
	else
		buf_add_json_strn(b, s, strlen(s));
}

void
buf_add_json_member(struct buf *b, const char *name, const char *value)
{
	if (value == NULL)
		return;
	if (b->n > 0 && b->p[b->n - 1] != '{')
		buf_addc(b, ',');
	buf_add_json_str(b, name);
	buf_addc(b, ':');
	buf_add_json_str(b, value);
}

void
buf_add_printable(struct buf *b, const char *s, size_t most)
{
	for (size_t i = 0; s[i] != '\0' && i < most; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c >= 0x7f)
			buf_addf(b, "\\x%02x", c);
		else
			buf_addc(b, (char)c);
	}
}

void
buf_add_url(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		    strchr("-._~", c) != NULL)
			buf_addc(b, (char)c);
		else
			buf_addf(b, "%%%02X", c);
	}
}

char *
buf_steal(struct buf *b)
{
	char *p = b->p == NULL ? xstrdup("") : b->p;

	*b = (struct buf){ 0 };
	return p;
}

struct str
buf_str(const struct buf *b)
{
	return (struct str){ b->p == NULL ? "" : b->p, b->n };
}
