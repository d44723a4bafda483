#include "router/cookie.h"

#include <string.h>
#include <strings.h>

#include "lib/base/str.h"

/* What is found on the way. */
struct search {
	const char *name;
	char *value;
	size_t size;
	bool is_found;
};

static void
note(struct search *s, struct str value)
{
	size_t n = value.n < s->size ? value.n : s->size - 1;

	if (s->is_found)
		return;
	s->is_found = true;
	memcpy(s->value, value.p, n);
	s->value[n] = '\0';
}

static bool
is_wanted(struct search *s, struct str pair)
{
	struct str name, value = str_cut(pair, '=', &name);

	if (value.p == NULL || !str_eq(str_trim(name), s->name))
		return false;
	note(s, str_trim(value));
	return true;
}

/* The pairs of a field's value at p, n bytes; returns how many are left. */
static size_t
filter_pairs(struct search *s, char *p, size_t n)
{
	struct str rest = { p, n };
	char *to = p;

	while (rest.p != NULL) {
		struct str pair;
		const char *from;
		size_t len;

		rest = str_cut(rest, ';', &pair);
		if (is_wanted(s, pair))
			continue;
		from = pair.p;
		len = pair.n;
		if (to == p)
			while (len > 0 && (*from == ' ' || *from == '\t')) {
				from++;
				len--;
			}
		else
			*to++ = ';';
		memmove(to, from, len);
		to += len;
	}
	return (size_t)(to - p);
}

static bool
is_cookie(const char *line, size_t n)
{
	return n > strlen("cookie:") && strncasecmp(line, "cookie:", strlen("cookie:")) == 0;
}

/* The field of n bytes at line, with its line end, moved to `to`; returns what is left of it. */
static size_t
filter_field(struct search *s, char *to, const char *line, size_t n)
{
	size_t skip = strlen("cookie:"), end = n, left;

	memmove(to, line, n);
	while (end > skip && (to[end - 1] == '\n' || to[end - 1] == '\r'))
		end--;
	while (skip < end && (to[skip] == ' ' || to[skip] == '\t'))
		skip++;
	left = filter_pairs(s, to + skip, end - skip);
	if (left == 0)
		return 0;
	memmove(to + skip + left, to + end, n - end);
	return skip + left + n - end;
}

bool
cookie_take(struct buf *head, const char *name, char *value, size_t size)
{
	struct search s = { .name = name, .value = value, .size = size };
	size_t to = 0;

	for (size_t at = 0; at < head->n;) {
		const char *lf = memchr(head->p + at, '\n', head->n - at);
		size_t n = lf == NULL ? head->n - at : (size_t)(lf - head->p) + 1 - at;

		if (at != 0 && is_cookie(head->p + at, n)) {
			to += filter_field(&s, head->p + to, head->p + at, n);
		} else {
			memmove(head->p + to, head->p + at, n);
			to += n;
		}
		at += n;
	}
	buf_truncate(head, to);
	return s.is_found;
}
