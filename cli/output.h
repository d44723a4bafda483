/* cli/output.h: everything the commands print: tables, JSON, single values. */
#pragma once

#include <stdbool.h>

#include "cli/cmd.h"
#include "lib/codec/codec.h"

/* A column of a table: a member of each object: "NAME"; "NAME[-1]", the last element of an array;
 * "NAME.NAME", of an object in it;
 * "NAME=TEXT", "*" where the member is TEXT and else nothing. */
struct output_column {
	const char *title;
	const char *member; /* NULL ends */
};

/* data: an array or one object. With --json the data as it is, pretty; else a table. Control
 * characters are not printed. */
void output_table(
    const struct cmd_line *l, const struct codec_value *data, const struct output_column *columns);
/* One object as "Title  value" lines, or JSON (columns NULL: always). */
void output_object(
    const struct cmd_line *l, const struct codec_value *data, const struct output_column *columns);
/* A line for people: not with --json or --quiet. */
void output_note(const struct cmd_line *l, const char *fmt, ...) PRINTF(2, 3);
/* A line of progress, on standard error; not with --quiet. Control characters are dropped. */
void output_progress(const struct cmd_line *l, const char *line);
/* Text from outside, without control characters but tab, to stdout with a newline. */
void output_line(const char *text, size_t n);
