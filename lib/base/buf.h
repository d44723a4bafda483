/* lib/base/buf.h: growable bytes, always NUL-terminated. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

/* Zero-initialised is valid and empty; p is never NULL after the first append. */
struct buf {
	char *p; /* owned */
	size_t n;
	size_t cap;
};

void buf_fini(struct buf *b);
void buf_clear(struct buf *b);                /* keeps the memory */
void buf_reserve(struct buf *b, size_t more); /* room for more bytes past n */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addstr(struct buf *b, struct str s);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_drop(struct buf *b, size_t n); /* removes n bytes from the front */
void buf_truncate(struct buf *b, size_t n);
/* Appends unless the whole would pass max: then ERR_LIMIT and b is unchanged. */
int buf_add_max(struct buf *b, const void *p, size_t n, size_t max, struct err *e) MUST_CHECK;
/* JSON string with quotes; invalid UTF-8 becomes U+FFFD. s NULL writes null. */
void buf_add_json_str(struct buf *b, const char *s);
void buf_add_json_strn(struct buf *b, const char *s, size_t n);
/* A member of the object that b begins with `{`, behind a comma where one is needed. value NULL
 * adds nothing. */
void buf_add_json_member(struct buf *b, const char *name, const char *value);
/* At most `most` bytes of s for a message: control characters and bytes beyond ASCII as \xNN. */
void buf_add_printable(struct buf *b, const char *s, size_t most);
/* Percent-encodes all but RFC 3986 unreserved characters. */
void buf_add_url(struct buf *b, const char *s);
/* The bytes as a NUL-terminated string owned by the caller; b becomes empty. */
char *buf_steal(struct buf *b);
struct str buf_str(const struct buf *b);
