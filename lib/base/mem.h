/* lib/base/mem.h: allocation that never fails (out of memory aborts) and owning locals. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

void *xmalloc(size_t n) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
/* Grows or shrinks an array of n elements of size bytes; overflow aborts. p may be NULL. */
void *xreallocarray(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull, nonnull(1)));
/* NULL stays NULL. */
char *xstrdup_null(const char *s);
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull, nonnull(1)));
char *xasprintf(const char *fmt, ...)
    __attribute__((malloc, returns_nonnull, nonnull(1), format(printf, 1, 2)));

/* Keeps n bytes for when there is no memory left: an allocation that fails takes them first, so
 * that its daemon has time to give up something. Again after that: false, if they cannot be had
 * yet. */
bool mem_reserve(size_t n);
/* Whether they are gone. Any thread. */
bool mem_is_reserve_used(void);

/* For daemons, first thing: large blocks go back to the system when freed, and threads share two
 * heaps, so that a peak of work does not stay resident. */
void mem_setup(void);

/* Frees *p and points it at a copy of s (or NULL). */
void mem_set_str(char **p, const char *s);

/* Owning locals: `AUTO(buf_free) struct buf *b = NULL;` calls buf_free(b) at the end of scope,
 * `AUTO_FINI(err_fini) struct x x = {0};` calls x_fini(&x). Each needs DEFINE_AUTO or
 * DEFINE_AUTO_FINI once, after the function's declaration. */
#define AUTO(f) __attribute__((cleanup(f##_auto)))
#define AUTO_FINI(f) __attribute__((cleanup(f)))
#define DEFINE_AUTO(type, f)                                                                       \
	static inline __attribute__((unused)) void f##_auto(type *p)                               \
	{                                                                                          \
		f(*p);                                                                             \
	}

/* Takes the value out of an owning variable, which becomes NULL. */
#define STEAL(p)                                                                                   \
	({                                                                                         \
		__typeof__(p) steal_ = (p);                                                        \
		(p) = NULL;                                                                        \
		steal_;                                                                            \
	})

DEFINE_AUTO(char *, free)
/* AUTO(free_ptr) for owning pointers of any type but char *. */
static inline __attribute__((unused)) void
free_ptr_auto(void *p)
{
	free(*(void **)p);
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* The struct that holds member m at address p. */
#define CONTAINER_OF(p, type, m) ((type *)((char *)(p)-offsetof(type, m)))
