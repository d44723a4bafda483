#include "cli/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/mem.h"

enum { COLUMNS_MAX = 12 };

static void
print_json(const struct codec_value *data)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	codec_dump(data, true, &b);
	(void)puts(b.p);
}

/* A value as people read it. Caller owns. */
static char *
text_of(const struct codec_value *v)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };
	const char *s = codec_string(v);

	if (s != NULL) {
		str_clean(s, strlen(s), &b);
	} else if (codec_type(v) == CODEC_ARRAY) {
		for (size_t i = 0; i < codec_count(v); i++) {
			AUTO(free) char *item = text_of(codec_at(v, i));

			buf_addf(&b, "%s%s", i == 0 ? "" : ", ", item);
		}
	} else if (codec_type(v) == CODEC_BOOLEAN) {
		buf_adds(&b, codec_bool(v, false) ? "yes" : "no");
	} else if (codec_type(v) != CODEC_NULL) {
		codec_dump(v, false, &b);
	}
	return buf_steal(&b);
}

/* What a column shows of an object. Caller owns. */
static char *
cell_of(const struct codec_value *row, const char *member)
{
	const char *dot = strchr(member, '.');

	if (dot != NULL) {
		AUTO(free) char *outer = xstrndup(member, (size_t)(dot - member));

		return cell_of(codec_get(row, outer), dot + 1);
	}
	size_t n = strcspn(member, "[=");
	AUTO(free) char *name = xstrndup(member, n);
	const struct codec_value *v = codec_get(row, name);
	const char *s = codec_string(v);

	if (member[n] == '=')
		return xstrdup(s != NULL && strcmp(s, member + n + 1) == 0 ? "*" : "");
	if (member[n] == '[' && codec_count(v) > 0)
		v = codec_at(v, codec_count(v) - 1);
	return text_of(v);
}

/* Columns on the screen: UTF-8 continuation bytes take none. */
static int
width_of(const char *s)
{
	int n = 0;

	for (; *s != '\0'; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static void
print_cell(const char *text, int width, bool is_last)
{
	(void)printf("%s%*s", text, is_last ? 0 : width - width_of(text) + 2, "");
}

static size_t
row_count(const struct codec_value *data)
{
	return codec_type(data) == CODEC_ARRAY ? codec_count(data) : 1;
}

static const struct codec_value *
row_at(const struct codec_value *data, size_t i)
{
	return codec_type(data) == CODEC_ARRAY ? codec_at(data, i) : data;
}

void
output_table(
    const struct cmd_line *l, const struct codec_value *data, const struct output_column *columns)
{
	int widths[COLUMNS_MAX];
	size_t n = 0;

	if (cmd_has(l, "json")) {
		print_json(data);
		return;
	}
	for (; columns[n].member != NULL; n++)
		widths[n] = width_of(columns[n].title);
	for (size_t i = 0; i < row_count(data); i++) {
		for (size_t k = 0; k < n; k++) {
			AUTO(free)
			char *text = cell_of(row_at(data, i), columns[k].member);

			if (width_of(text) > widths[k])
				widths[k] = width_of(text);
		}
	}
	for (size_t k = 0; k < n && !cmd_has(l, "quiet"); k++)
		print_cell(columns[k].title, widths[k], k + 1 == n);
	if (!cmd_has(l, "quiet"))
		(void)putchar('\n');
	for (size_t i = 0; i < row_count(data); i++) {
		for (size_t k = 0; k < n; k++) {
			AUTO(free)
			char *text = cell_of(row_at(data, i), columns[k].member);

			print_cell(text, widths[k], k + 1 == n);
		}
		(void)putchar('\n');
	}
}

void
output_object(
    const struct cmd_line *l, const struct codec_value *data, const struct output_column *columns)
{
	if (cmd_has(l, "json") || columns == NULL) {
		print_json(data);
		return;
	}
	for (; columns->member != NULL; columns++) {
		AUTO(free) char *text = cell_of(data, columns->member);

		if (text[0] != '\0')
			(void)printf("%-18s %s\n", columns->title, text);
	}
}

void
output_note(const struct cmd_line *l, const char *fmt, ...)
{
	va_list ap;

	if (cmd_has(l, "json") || cmd_has(l, "quiet"))
		return;
	va_start(ap, fmt);
	(void)vprintf(fmt, ap);
	va_end(ap);
	(void)putchar('\n');
}

static void
print_line(FILE *out, const char *text, size_t n)
{
	AUTO_FINI(buf_fini) struct buf b = { 0 };

	str_clean(text, n, &b);
	buf_addc(&b, '\n');
	(void)fwrite(b.p, 1, b.n, out);
}

void
output_progress(const struct cmd_line *l, const char *line)
{
	if (!cmd_has(l, "quiet"))
		print_line(stderr, line, strlen(line));
}

void
output_line(const char *text, size_t n)
{
	print_line(stdout, text, n);
}
