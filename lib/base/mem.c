#include "lib/base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static _Atomic(void *) reserve; /* owned */
static atomic_bool is_reserve_used;

/* Makes room for one more try, or gives up. */
static void
use_reserve(void)
{
	void *p = atomic_exchange(&reserve, NULL);

	if (p == NULL) {
		(void)fputs("out of memory\n", stderr);
		abort();
	}
	atomic_store(&is_reserve_used, true);
	free(p);
}

bool
mem_reserve(size_t n)
{
	void *none = NULL, *p = malloc(n);

	if (p == NULL)
		return false;
	if (!atomic_compare_exchange_strong(&reserve, &none, p))
		free(p); /* it is there */
	atomic_store(&is_reserve_used, false);
	return true;
}

bool
mem_is_reserve_used(void)
{
	return atomic_load_explicit(&is_reserve_used, memory_order_relaxed);
}

void *
xmalloc(size_t n)
{
	void *p;

	while ((p = malloc(n == 0 ? 1 : n)) == NULL)
		use_reserve();
	return p;
}

void *
xcalloc(size_t n, size_t size)
{
	void *p;

	while ((p = calloc(n == 0 ? 1 : n, size == 0 ? 1 : size)) == NULL)
		use_reserve();
	return p;
}

void *
xreallocarray(void *p, size_t n, size_t size)
{
	void *q;

	while ((q = reallocarray(p, n == 0 ? 1 : n, size == 0 ? 1 : size)) == NULL)
		use_reserve();
	return q;
}

char *
xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *
xstrdup_null(const char *s)
{
	return s == NULL ? NULL : xstrdup(s);
}

char *
xstrndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *p = xmalloc(len + 1);

	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

char *
xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	while (vasprintf(&s, fmt, ap) < 0) {
		va_end(ap);
		use_reserve();
		va_start(ap, fmt);
	}
	va_end(ap);
	return s;
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
