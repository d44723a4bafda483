#include "node/semver.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct version {
	long part[3];
	int n; /* parts given; what is not given, or x, is open */
};

/* "v18.2.x" -> 18.2 with n 2. Returns what is after it; NULL: no version. */
static const char *
read_version(const char *s, struct version *v)
{
	*v = (struct version){ 0 };
	while (*s == 'v' || *s == '=')
		s++;
	if (*s == '*' || *s == 'x' || *s == 'X') {
		s++;
	} else {
		while (v->n < 3 && isdigit((unsigned char)*s)) {
			char *end;

			v->part[v->n++] = strtol(s, &end, 10);
			s = end;
			if (*s != '.')
				break;
			s++;
			if (*s == 'x' || *s == 'X' || *s == '*') {
				s++;
				break;
			}
		}
		if (v->n == 0)
			return NULL;
	}
	while (*s == '.' || *s == '*' || *s == 'x')
		s++;
	if (*s == '-' && s[1] != ' ') /* pre-release and build are not looked at */
		s += strcspn(s, " |");
	else if (*s == '+')
		s += strcspn(s, " |");
	return s;
}

/* By the first n parts. */
static int
compare(const struct version *a, const struct version *b, int n)
{
	for (int i = 0; i < n; i++) {
		if (a->part[i] != b->part[i])
			return a->part[i] < b->part[i] ? -1 : 1;
	}
	return 0;
}

static bool
is_caret(const struct version *have, const struct version *want)
{
	int fixed = 1; /* up to the first part that is not zero */

	while (fixed < want->n && want->part[fixed - 1] == 0)
		fixed++;
	return compare(have, want, fixed) == 0 && compare(have, want, 3) >= 0;
}

static bool
is_one(const struct version *have, const char *op, const struct version *want)
{
	if (strcmp(op, ">=") == 0)
		return compare(have, want, 3) >= 0;
	if (strcmp(op, ">") == 0)
		return compare(have, want, want->n) > 0;
	if (strcmp(op, "<=") == 0)
		return compare(have, want, want->n) <= 0;
	if (strcmp(op, "<") == 0)
		return compare(have, want, 3) < 0;
	if (strcmp(op, "^") == 0)
		return want->n == 0 || is_caret(have, want);
	if (strcmp(op, "~") == 0)
		return compare(have, want, want->n < 2 ? want->n : 2) == 0 &&
		       compare(have, want, 3) >= 0;
	return compare(have, want, want->n) == 0;
}

static const char *
read_operator(const char *s, char op[3])
{
	size_t n = strspn(s, "<>=^~");

	if (n > 2)
		n = 2;
	memcpy(op, s, n);
	op[n] = '\0';
	s += n;
	return s + strspn(s, " >");
}

/* The comparators up to "||"; *s is left there. */
static bool
is_set(const struct version *have, const char **s)
{
	bool ok = true;

	while (**s != '\0' && strncmp(*s, "||", 2) != 0) {
		struct version want, upper;
		const char *after;
		char op[3];

		*s += strspn(*s, " \t,");
		if (**s == '\0' || strncmp(*s, "||", 2) == 0)
			break;
		after = read_version(read_operator(*s, op), &want);
		if (after == NULL) {
			*s += strcspn(*s, "|");
			return true;
		}
		if (strncmp(after, " - ", 3) == 0 && read_version(after + 3, &upper) != NULL) {
			ok = ok && is_one(have, ">=", &want) && is_one(have, "<=", &upper);
			after = read_version(after + 3, &upper);
		} else {
			ok = ok && is_one(have, op, &want);
		}
		*s = after + (*after != '\0' && strchr(" |,", *after) == NULL);
	}
	return ok;
}

bool
semver_satisfies(const char *version, const char *range)
{
	struct version have;
	const char *s = range;

	if (read_version(version, &have) == NULL || range[strspn(range, " ")] == '\0')
		return true;
	for (;;) {
		if (is_set(&have, &s))
			return true;
		if (strncmp(s, "||", 2) != 0)
			return false;
		s += 2;
	}
}
