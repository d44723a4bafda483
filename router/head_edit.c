#include "router/head_edit.h"

#include <string.h>

static char
fold(char c)
{
	return c == '_' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool
is_field(const char *line, size_t n, const char *name)
{
	size_t k = 0;

	for (; name[k] != '\0'; k++) {
		if (k == n || fold(line[k]) != fold(name[k]))
			return false;
	}
	return k < n && line[k] == ':';
}

/* The line after the one at `at`; the start line and the empty one have no name that fits. */
static size_t
next_line(const struct buf *b, size_t at)
{
	const char *end = memchr(b->p + at, '\n', b->n - at);

	return end == NULL ? b->n : (size_t)(end - b->p) + 1;
}

void
head_edit_remove(struct buf *b, size_t from, const char *name)
{
	size_t at = next_line(b, from), to = at;

	while (at < b->n) {
		size_t next = next_line(b, at);

		if (!is_field(b->p + at, next - at, name)) {
			memmove(b->p + to, b->p + at, next - at);
			to += next - at;
		}
		at = next;
	}
	buf_truncate(b, to);
}

void
head_edit_add(struct buf *b, const char *name, const char *value)
{
	buf_truncate(b, b->n - 2);
	buf_addf(b, "%s: %s\r\n\r\n", name, value);
}

struct str
head_edit_get(const struct buf *b, size_t from, const char *name)
{
	for (size_t at = next_line(b, from); at < b->n;) {
		size_t next = next_line(b, at);

		if (is_field(b->p + at, next - at, name)) {
			size_t skip = strlen(name) + 1;

			return str_trim((struct str){ b->p + at + skip, next - at - skip - 2 });
		}
		at = next;
	}
	return (struct str){ 0 };
}
