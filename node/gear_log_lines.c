#include "node/gear_log_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/mem.h"

enum { STAMP_LEN = 24 };

void
gear_log_lines_fini(struct gear_log_lines *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		wire_log_line_fini(&l->v[i]);
	free(l->v);
	*l = (struct gear_log_lines){ 0 };
}

/* 2026-01-31T09:15:00.123Z and a space. */
static bool
has_stamp(struct str s)
{
	static const char shape[] = "0000-00-00T00:00:00.000Z ";
	size_t i;

	if (s.n < sizeof shape - 1)
		return false;
	for (i = 0; i < sizeof shape - 1; i++) {
		bool is_digit = s.p[i] >= '0' && s.p[i] <= '9';

		if (shape[i] == '0' ? !is_digit : s.p[i] != shape[i])
			return false;
	}
	return true;
}

static char *
copy_text(struct str s)
{
	size_t n = s.n < GEAR_LOG_LINE_MAX ? s.n : GEAR_LOG_LINE_MAX, i;
	char *out = xmalloc(n + 1);

	for (i = 0; i < n; i++)
		out[i] = s.p[i] == '\0' ? ' ' : s.p[i];
	if (n > 0 && out[n - 1] == '\r')
		n--;
	out[n] = '\0';
	return out;
}

void
gear_log_lines_parse(
    struct str text, const char *gear, const struct gear_log_group *g, struct gear_log_lines *out)
{
	const char *before = out->n > 0 ? out->v[out->n - 1].time : "1970-01-01T00:00:00.000Z";
	size_t cap = out->n;
	struct str line;

	while (text.n > 0) {
		struct wire_log_line *l;

		text = str_cut(text, '\n', &line);
		if (out->n == cap) {
			cap = cap * 2 + 16;
			out->v = xreallocarray(out->v, cap, sizeof *out->v);
		}
		l = &out->v[out->n++];
		*l = (struct wire_log_line){ .gear = xstrdup(gear),
			.instance = xstrdup(g->instance),
			.source = xstrdup(g->source) };
		if (has_stamp(line)) {
			l->time = xstrndup(line.p, STAMP_LEN);
			line.p += STAMP_LEN + 1;
			line.n -= STAMP_LEN + 1;
		} else {
			l->time = xstrdup(before);
		}
		l->line = copy_text(line);
		before = l->time;
	}
}

void
gear_log_lines_merge(struct gear_log_lines *a, struct gear_log_lines *take_b)
{
	struct gear_log_lines out = { 0 };
	size_t i = 0, j = 0;

	if (a->n == 0 || take_b->n == 0) {
		if (a->n == 0) {
			free(a->v);
			*a = *take_b;
		} else {
			free(take_b->v);
		}
		*take_b = (struct gear_log_lines){ 0 };
		return;
	}
	out.v = xcalloc(a->n + take_b->n, sizeof *out.v);
	while (i < a->n || j < take_b->n) {
		bool is_a =
		    j == take_b->n || (i < a->n && strcmp(a->v[i].time, take_b->v[j].time) <= 0);

		out.v[out.n++] = is_a ? a->v[i++] : take_b->v[j++];
	}
	free(a->v);
	free(take_b->v);
	*take_b = (struct gear_log_lines){ 0 };
	*a = out;
}

void
gear_log_lines_trim(struct gear_log_lines *l, size_t lines, size_t bytes)
{
	size_t keep = 0, sum = 0, drop, i;

	while (keep < l->n && keep < lines) {
		sum += strlen(l->v[l->n - 1 - keep].line) + STAMP_LEN;
		if (sum > bytes)
			break;
		keep++;
	}
	drop = l->n - keep;
	for (i = 0; i < drop; i++)
		wire_log_line_fini(&l->v[i]);
	if (drop > 0 && keep > 0)
		memmove(l->v, l->v + drop, keep * sizeof *l->v);
	l->n = keep;
}

off_t
gear_log_lines_read(int fd, off_t from, off_t to, bool all, struct buf *out)
{
	size_t want = to > from ? (size_t)(to - from) : 0, start = out->n, n;

	buf_reserve(out, want + 1);
	while (out->n - start < want) {
		ssize_t got = pread(
		    fd, out->p + out->n, want - (out->n - start), from + (off_t)(out->n - start));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		out->n += (size_t)got;
	}
	for (n = out->n; !all && n > start && out->p[n - 1] != '\n'; n--)
		;
	out->n = n;
	out->p[n] = '\0';
	return from + (off_t)(n - start);
}
