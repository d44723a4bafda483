#include "cli/top_view.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/mem.h"
#include "lib/base/str.h"

enum {
	BARS = 10,
	BAR_FIRST_US = 256, /* the first ends there, each other at four times that */
	BAR_HEIGHTS = 8,
	NAME_MIN = 11,
	NAME_MAX = 40,
	HEAD_LINES = 3,
	CELL_MAX = 32,
};

static int64_t
number(const struct codec_value *v, const char *member)
{
	return codec_int(codec_get(v, member), 0);
}

/* --- cells --- */

/* Bytes of the first `width` columns. */
static size_t
clip(const char *s, size_t n, int width)
{
	size_t i = 0;

	for (; i < n && (width > 0 || ((unsigned char)s[i] & 0xc0) == 0x80); i++)
		width -= ((unsigned char)s[i] & 0xc0) != 0x80;
	return i;
}

static int
width_of(const char *s)
{
	int n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void
add_time(struct buf *b, int64_t us)
{
	char cell[CELL_MAX];

	if (us == 0)
		(void)snprintf(cell, sizeof cell, "-");
	else if (us < 1000)
		(void)snprintf(cell, sizeof cell, "%" PRId64 "us", us);
	else if (us < 1000000)
		(void)snprintf(cell, sizeof cell, "%.1fms", (double)us / 1000);
	else
		(void)snprintf(cell, sizeof cell, "%.1fs", (double)us / 1000000);
	buf_addf(b, " %7s", cell);
}

static unsigned
bar_of(int64_t below_us)
{
	unsigned i = 0;

	for (int64_t end = BAR_FIRST_US; below_us > end && i < BARS - 1; end *= 4)
		i++;
	return i;
}

/* How many took how long, the highest bar for most. */
static void
add_bars(const struct top_view *v, struct buf *b, const struct codec_value *took)
{
	static const char *const blocks[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const letters[] = { " ", ".", ":", "-", "=", "+", "*", "#", "@" };
	int64_t bars[BARS] = { 0 }, most = 1;

	for (size_t i = 0; i < codec_count(took); i++) {
		const struct codec_value *place = codec_at(took, i);
		int64_t *bar = &bars[bar_of(number(place, "below_us"))];

		*bar += number(place, "requests");
		most = *bar > most ? *bar : most;
	}
	buf_addc(b, ' ');
	for (size_t i = 0; i < BARS; i++) {
		int64_t h = bars[i] <= 0 ? 0 : (bars[i] * BAR_HEIGHTS + most - 1) / most;

		buf_adds(b, (v->has_blocks ? blocks : letters)[h]);
	}
}

/* --- lines --- */

static void
end_line(const struct top_view *v, struct buf *out, struct buf *line)
{
	size_t n = v->width <= 0 ? line->n : clip(line->p, line->n, v->width);

	buf_add(out, line->p, n);
	buf_addc(out, '\n');
	buf_truncate(line, 0);
}

static void
add_counts(const struct top_view *v, struct buf *b, const struct codec_value *row, int64_t seconds)
{
	double s = (double)(seconds > 0 ? seconds : 1);

	buf_addf(b, " %8.1f %9" PRId64 " %7" PRId64 " %6" PRId64,
	    (double)number(row, "requests") / s, number(row, "requests"), number(row, "errors"),
	    number(row, "active"));
	add_time(b, number(row, "p50_us"));
	add_time(b, number(row, "p95_us"));
	add_time(b, number(row, "p99_us"));
	add_bars(v, b, codec_get(row, "took"));
}

/* DOMAIN/NAME, or the id of one that is gone. Caller owns. */
static char *
name_of(const struct codec_value *row)
{
	const char *name = codec_string(codec_get(row, "name"));
	const char *domain = codec_string(codec_get(row, "domain_id"));
	const char *id = codec_string(codec_get(row, "id"));
	AUTO(free)
	char *raw = name != NULL && domain != NULL ? xasprintf("%s/%s", domain, name)
	                                           : xstrdup(id == NULL ? "" : id);
	struct buf b = { 0 };

	str_clean(raw, strlen(raw), &b);
	return b.p == NULL ? xstrdup("") : buf_steal(&b);
}

static void
add_name(struct buf *b, const char *name, int width)
{
	size_t n = clip(name, strlen(name), width);
	int shown = width_of(name) < width ? width_of(name) : width;

	buf_add(b, name, n);
	buf_addf(b, "%*s", width - shown, "");
}

static int
name_width(const struct codec_value *apps)
{
	int widest = NAME_MIN;

	for (size_t i = 0; i < codec_count(apps); i++) {
		AUTO(free) char *name = name_of(codec_at(apps, i));

		if (width_of(name) > widest)
			widest = width_of(name);
	}
	return widest < NAME_MAX ? widest : NAME_MAX;
}

void
top_view_draw(const struct top_view *v, const struct codec_value *traffic, struct buf *out)
{
	const struct codec_value *apps = codec_get(traffic, "applications");
	int64_t seconds = number(traffic, "seconds");
	int width = name_width(apps);
	AUTO_FINI(buf_fini) struct buf line = { 0 };

	buf_addf(&line, "%" PRId64 " applications with traffic in the last %" PRId64 " s, by %s",
	    number(traffic, "applications_with_traffic"), seconds, v->sort);
	end_line(v, out, &line);
	add_name(&line, "APPLICATION", width);
	buf_addf(&line, " %8s %9s %7s %6s %7s %7s %7s %s", "REQ/S", "REQUESTS", "ERRORS", "ACTIVE",
	    "P50", "P95", "P99", "<.25ms>16s");
	end_line(v, out, &line);
	add_name(&line, "all", width);
	add_counts(v, &line, codec_get(traffic, "total"), seconds);
	end_line(v, out, &line);
	for (size_t i = 0; i < codec_count(apps); i++) {
		AUTO(free) char *name = name_of(codec_at(apps, i));

		if (v->height > 0 && (int)i >= v->height - HEAD_LINES - (v->foot != NULL))
			break;
		add_name(&line, name, width);
		add_counts(v, &line, codec_at(apps, i), seconds);
		end_line(v, out, &line);
	}
	if (v->foot == NULL)
		return;
	str_clean(v->foot, strlen(v->foot), &line);
	end_line(v, out, &line);
}
