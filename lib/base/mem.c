#include "lib/base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void *
checked(void *p)
{
	if (p == NULL) {
		(void)fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

void *
xmalloc(size_t n)
{
	return checked(malloc(n == 0 ? 1 : n));
}

void *
xcalloc(size_t n, size_t size)
{
	return checked(calloc(n == 0 ? 1 : n, size == 0 ? 1 : size));
}

void *
xreallocarray(void *p, size_t n, size_t size)
{
	return checked(reallocarray(p, n == 0 ? 1 : n, size == 0 ? 1 : size));
}

char *
xstrdup(const char *s)
{
	return checked(strdup(s));
}

char *
xstrdup_null(const char *s)
{
	return s == NULL ? NULL : xstrdup(s);
}

char *
xstrndup(const char *s, size_t n)
{
	return checked(strndup(s, n));
}

char *
xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return checked(s);
}

void
mem_set_str(char **p, const char *s)
{
	char *copy = xstrdup_null(s);

	free(*p);
	*p = copy;
}

void
mem_setup(void)
{
	enum { MMAP_FROM = 64 * 1024, TRIM_FROM = 256 * 1024, HEAPS = 2 };

	(void)mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
	(void)mallopt(M_TRIM_THRESHOLD, TRIM_FROM);
	(void)mallopt(M_ARENA_MAX, HEAPS);
}
